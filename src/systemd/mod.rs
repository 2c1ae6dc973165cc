//! The systemd user manager over D-Bus, and the journal.
//!
//! Imports [`crate::names`] and nothing else of ours. `systemctl` is never
//! run; child processes are `journalctl`, and `systemd-analyze` for calendars.
//!
//! ```text
//!  caller --start/stop--> Jobs <--JobRemoved-- one task a call, ended with it
//!  caller <--Change------ Watch <-PropertiesChanged, Reloading-- one task
//!  caller <--Change------ UnitWatch <- PropertiesChanged of its units alone
//!  caller <--Entry------- Follow <--stdout-- journalctl, killed with it
//! ```
//!
//! A task drains its signals at once, whether the caller reads or not: a
//! stream of zbus that nobody polls blocks its whole connection.

pub mod boot_journal;
pub mod calendar;
pub mod diagnosis;
pub mod edges;
pub mod invocation;
pub mod jobs;
pub mod journal;
pub mod last_words;
pub mod manager;
mod properties;
pub mod proxy;
pub mod state;
pub mod system;
pub mod timers;
pub mod transient;
pub mod unit_watch;
pub mod usage;
pub mod watch;

pub use boot_journal::BootEvent;
pub use diagnosis::Diagnosis;
pub use edges::UnitEdges;
pub use jobs::{JobMode, JobResult, Jobs};
pub use manager::{BusAddress, Manager, SystemdError};
pub use state::{ActiveState, Ended, ListedUnit, LoadState, UnitFiles, UnitState, since_epoch_ms};
pub use system::{ServiceLimits, SystemManager, SystemUnit};
pub use timers::TimerState;
pub use unit_watch::UnitWatch;
pub use usage::Usage;
pub use watch::{Change, Watch};
