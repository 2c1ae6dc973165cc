//! `mcp top`: what components use, live.
//!
//! ```text
//!  samples, lost nodes, keys --> Screen (state) --> lines of the terminal (frame)
//! ```
//!
//! Pure; `cli/commands/top.rs` has the clock, the nodes and the terminal.

pub mod frame;
pub mod row;
pub mod state;

pub use frame::{Frame, draw};
pub use row::{SampleView, TopRow, TopView};
pub use state::{Key, Next, Screen, SortKey};
