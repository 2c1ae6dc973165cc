//! The configuration file: TOML in, settings or every mistake out.
//!
//! `reader` finds mistakes and their places; `tables` has every key that
//! there is; each larger table has a file of its own that makes settings of
//! it.

mod backup;
mod boot;
mod monitor;
mod node;
pub mod problem;
mod reader;
mod server;
mod tables;

#[cfg(test)]
mod tests;

pub use problem::{ConfigError, ConfigProblem};
pub use reader::parse;
