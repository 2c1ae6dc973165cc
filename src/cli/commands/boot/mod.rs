//! `mcp boot`: how the nodes come up; one file a command.

pub mod group;
pub mod plan;
pub mod report;
pub mod verify;

pub use group::{BootCommand, run};
