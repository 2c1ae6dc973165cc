//! From nothing to an agent and a service that runs, for an ordinary user of
//! one machine; and back.
//!
//! ```text
//!  host (mcp-agent doctor, podman) --> may it be? --> record: what is to be made
//!      --> mcp-agent install --user --> definition --> deploy --> URL
//!  record --> undeploy, definition, agent, image, directories: what was made
//! ```
//!
//! The record is written before anything is made, so that a quickstart that
//! was cut off is taken up again, and taken back.

pub mod example;
pub mod host;
pub mod make;
pub mod record;
pub mod remove;
