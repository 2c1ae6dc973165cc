//! What a boot did, computed from what the user's systemd said: pure.
//!
//! ```text
//!  events --timeline--> one line a unit --chain--> what the last one waited for,
//!                                        |         and the first that broke
//!                                        +--difference--> against the boot before
//! ```
//!
//! [`crate::agent::engine`] reads the events and writes the answer.

pub mod chain;
pub mod difference;
pub mod timeline;

pub use chain::{Broken, Link};
pub use difference::Difference;
pub use timeline::{Attempt, Ended, Event, EventKind, Outcome, Timeline};
