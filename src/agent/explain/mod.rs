//! Why a component is in its state, and what to type.
//!
//! ```text
//!  systemd, journal, podman, files --engine/explain.rs--> Evidence
//!  Evidence --judge (pure): the first cause that fits--> Explanation
//! ```
//!
//! One file a kind of cause; each knows the words of systemd, podman and the
//! image registries that give it away, as measured with systemd 257 and podman
//! 5.4, and the commands that mend it. Imports the core, and of the agent what
//! is as pure.

pub mod cause;
pub mod evidence;
pub mod explanation;
pub mod journal;
pub mod judge;
pub mod owner;
pub mod schedule;
pub mod undeployed;

pub use evidence::{Evidence, Holder, Link, Mount, Operation, Stop, UnitFacts};
pub use explanation::{Cause, Explanation};
pub use journal::{Journal, Said, Speaker};
pub use judge::explain;
pub use owner::Owner;
pub use schedule::{Ending, FailedRun};
