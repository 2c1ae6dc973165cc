//! The monitor: sees what happens to services, records it, tells it, and
//! heals what may be healed. No polling loop; a slow sweep is the net.
//!
//! ```text
//!  systemd (signals of our units) --+
//!  inotify (unit directories,       |
//!    podman's containers and exits) +--> watch --look--> turn (seen), flap --+
//!  engine (operation ended) --------+      |                                 +--> Events
//!  the sweep, every `interval` -----+      +--differences--> drift ----------+      |
//!                                          +--heal--> engine.reconcile       |      |
//!                                                                            v      v
//!     registry (events, observations) <--------------------------------------+   alerts
//!     whoever follows (`mcp events -f`) <-- newest event's number            |   |    |
//!                                                                      command   webhooks
//! ```
//!
//! One task watches and owns what was seen; one takes events to the command
//! and to each webhook, each with a bounded queue of its own. Pure are
//! [`kind`], [`seen`], [`drift`], [`flap`], [`cooldown`] and [`backoff`].

pub mod alerts;
pub mod backoff;
pub mod cooldown;
pub mod deaths;
pub mod differences;
pub mod drift;
pub mod event;
pub mod events;
pub mod files;
pub mod flap;
pub mod heal;
pub mod kind;
pub mod look;
mod schedules;
pub mod seen;
pub mod settings;
pub mod watch;
pub mod webhook;

pub use event::{Event, Notice};
pub use events::Events;
pub use kind::EventKind;
pub use settings::MonitorSettings;
pub use watch::Monitor;
