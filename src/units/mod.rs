//! The unit directories, and podman's generator that reads them.
//!
//! Imports [`crate::quadlet`] for the files as a value, and
//! [`crate::atomic_file`]. No tasks: [`store`] is synchronous (call it from
//! `spawn_blocking`), [`generator`] waits for a child process.

pub mod boot;
mod carry;
mod disk;
pub mod drop_ins;
pub mod foreign;
pub mod generator;
pub mod load_path;
mod port_files;
pub mod record;
pub mod release;
pub mod search;
pub mod stand_in;
pub mod store;
pub mod trial;

pub use generator::{Generator, GeneratorError, GeneratorReport};
pub use stand_in::StandIns;
pub use store::{Installed, OnDisk, Removed, UnitStore, UnitsError};
pub use trial::TrialStore;
