//! The commands of `mcp-agent`, one file each.

pub mod args;
pub mod check_config;
pub mod install;
pub mod restore;
pub mod server;
pub mod snapshot;
pub mod token;

pub use args::{Cli, Command};
