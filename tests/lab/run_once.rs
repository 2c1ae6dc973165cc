//! A command in a container of its own, made like a component's.

use crate::definitions::{PAIR, with_component};
use crate::fixture::machine;
use crate::wait::until;

const API: &str = "pair-api.service";
