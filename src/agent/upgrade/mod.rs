//! Another program in the place of the installed one, and back.
//!
//! ```text
//!  mcp --chunks--> receive --whole, right, runs--> <state>/upgrade/mcp-agent-<hash>
//!                                                        |  record.json: a trial
//!                  the agent ends, systemd starts the installed program again
//!                                                        v
//!  installed program: handover --begun? failed : begun--> exec of the new one
//!                                                        |
//!  new program: confirm -- it answers on its socket --> record.json: current
//! ```
//!
//! The installed program is what systemd starts, always; it alone decides, so
//! that a new one that cannot even start is not asked. A trial is written down
//! before it begins and begins once: whatever ends it before it is confirmed,
//! a crash, systemd's patience, a power loss, the next start goes back.

pub mod confirm;
pub mod handover;
pub mod receive;
pub mod record;
pub mod running;
pub mod store;
pub mod trial_run;

pub use running::Running;
