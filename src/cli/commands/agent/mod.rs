//! `mcp agent`: looking after the agents themselves; one file a command.

pub mod group;
pub mod recover;
pub mod status;
pub mod upgrade;

pub use group::{AgentCommand, run};
