//! A session with a command on a node: `mcp exec` and `mcp run`.

mod interrupts;
pub mod run;
pub mod start;

pub use run::{Call, run};
pub use start::StreamArgs;
