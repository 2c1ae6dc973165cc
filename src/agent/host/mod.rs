//! What the node must have for containers to come back and to work: one file
//! a check, each a pure judgement and the reading that it needs.
//!
//! `mcp boot verify` asks those that decide about the next boot, `mcp-agent
//! doctor` all of them.

pub mod account;
pub mod cgroups;
pub mod disk;
pub mod generator;
pub mod journal;
pub mod linger;
pub mod listener;
pub mod network_online;
pub mod owner;
pub mod podman;
pub mod registry;
pub mod subids;
pub mod uidmap;
pub mod user_manager;
