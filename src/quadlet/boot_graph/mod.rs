//! What a user's systemd will make of unit files at its next start: which are
//! pulled in, by whom, in which order, with which limits (`systemd.unit(5)`).
//!
//! ```text
//!  Found (files, drop-ins, links) --unit--> Loaded --graph--> Graph
//!                                                               |
//!                          pulled in? by whom? a circle? the longest chain?
//! ```
//!
//! The files come from `units::load_path`.

pub mod found;
pub mod graph;
pub mod order;
pub mod time_span;
pub mod unit;

pub use found::{Content, DropIn, Found, Pull, PullIn, Source};
pub use graph::Graph;
pub use order::Chain;
pub use unit::{Loaded, State};
