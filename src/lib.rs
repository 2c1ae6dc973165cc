//! MCP, the Metacircular Control Plane: deploys and looks after containers on
//! a few Linux machines, and never runs a container itself.
//!
//! A TOML definition becomes podman Quadlet units, and systemd runs them:
//!
//! ```text
//!  service.toml --definition--> Service --deployment--> Deployment --quadlet--> UnitSet
//!                                                                                 |
//!        containers <-- systemd user manager <--systemd-- unit directories <--units
//! ```
//!
//! Three layers, and dependencies point one way (`tests/it/layers.rs` checks):
//!
//! - core, pure and synchronous: [`names`], [`definition`], [`deployment`],
//!   [`quadlet`], [`import`];
//! - edges, all I/O, which do not know each other: [`units`], [`systemd`], [`podman`],
//!   [`registry`], [`rpc`];
//! - programs, which compose the two: [`agent`], [`master`], [`cli`].
//!
//! Shared by edges and programs: [`atomic_file`], [`elf`], [`file_watch`], [`manual`],
//! [`secret`], [`supervise`], [`telemetry`], [`terminal`], [`transfer`], [`ui`].

pub mod names;

pub mod definition;
pub mod deployment;
pub mod quadlet;

pub mod import;

pub mod podman;
pub mod registry;
pub mod rpc;
pub mod systemd;
pub mod units;

pub mod agent;
pub mod cli;
pub mod master;

pub mod atomic_file;
pub mod elf;
pub mod file_watch;
pub mod manual;
pub mod secret;
pub mod supervise;
pub mod telemetry;
pub mod terminal;
pub mod transfer;
pub mod ui;
