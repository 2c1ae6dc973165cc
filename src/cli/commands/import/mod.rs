//! `mcp import`: definitions out of what people already have; one file a
//! command.

pub mod compose;
pub mod group;
pub mod quadlet;
pub mod run;
mod source;
mod write;

pub use group::{ImportCommand, dispatch};
