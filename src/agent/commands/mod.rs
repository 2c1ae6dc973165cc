//! The commands of `mcp-agent`, one file each.

pub mod args;
mod check_boot;
pub mod check_config;
pub mod completions;
pub mod doctor;
pub mod install;
pub mod man;
pub mod purge;
pub mod restore;
pub mod server;
pub mod snapshot;
pub mod token;

pub use args::{Cli, Command};
