//! `mcp-agent`: one per node; composes the core and the edges.
//!
//! ```text
//!  mcp-agent.toml --config--> Settings --run--> Parts --build--> Routes
//!                                                                  |
//!  caller --rpc::server--> gate (who, may they, audit) ------------+--> the service
//!
//!  SIGTERM, SIGINT --> signals --> shutdown --> every task
//!  SIGHUP ---------> signals --> log level, members (watch) --> gate
//! ```

pub mod backup;
pub mod boot_report;
pub mod boot_verify;
pub mod check;
pub mod commands;
pub mod config;
pub mod deploy_state;
pub mod doctor;
pub mod drained;
pub mod engine;
pub mod environment;
pub mod explain;
pub mod files;
pub mod finding;
pub mod forward;
pub mod gate;
pub mod host;
pub mod identity;
pub mod last_good;
pub mod listen;
pub mod listening;
pub mod main_process;
pub mod memory;
pub mod monitor;
pub mod plan;
pub mod probe;
mod probe_tls;
pub mod probe_values;
pub mod problems;
pub mod progress;
pub mod rescue;
pub mod restored;
pub mod run;
pub mod service;
pub mod session;
pub mod settings;
pub mod signals;
pub mod switch_file;
pub mod upgrade;
pub mod usage;

pub use gate::{AuditNote, Caller};
pub use problems::Problems;
pub use run::Parts;
pub use settings::Settings;
