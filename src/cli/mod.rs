//! `mcp`: what the operator types and reads.
//!
//! ```text
//! bin/mcp.rs --> run --> args --> commands/* --> connection --> an agent
//!                                    |
//!                                  views/* --> ui
//! ```
//!
//! One task on a current-thread runtime; several nodes are asked by joining
//! futures. Imports the core and [`crate::rpc`]; nothing imports it.

pub mod args;
pub mod commands;
pub mod completion;
pub mod config;
pub mod connection;
pub mod context;
pub mod definitions;
pub mod editor;
pub mod environment;
pub mod error;
pub mod full_screen;
pub mod local;
pub mod peers;
pub mod progress;
pub mod provision;
pub mod quickstart;
pub mod run;
pub mod session;
pub mod snippet;
pub mod starter;
pub mod status;
pub mod syncing;
pub mod target;
pub mod transfer;
pub mod views;

#[cfg(test)]
mod scripted_agent;
#[cfg(test)]
mod transcripts;

pub use environment::Environment;
pub use run::run;
