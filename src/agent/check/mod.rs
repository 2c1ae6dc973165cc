//! `mcp-agent check`: looks whether a running component is still healthy, and
//! does what its definition wants if it is not.
//!
//! ```text
//!  <container>-check.timer --every interval--> <container>-check.service
//!                                                   | asks the component; or reads podman's verdict
//!                                                   +--> $XDG_RUNTIME_DIR/mcp-checks/<container>.json
//!                                                   +--> systemd: restart it, stop it
//!  agent <--------------------- reads ------------------+ (status; follow: events)
//! ```
//!
//! All of it is systemd's: it goes on when the agent is dead.

pub mod follow;
pub mod memory;
pub mod record;
pub mod run;
pub mod watch;

pub use record::{OfRun, Record};
pub use run::{CheckArgs, CheckError};
pub use watch::{HealthChange, HealthWatch, Watched};
