//! Files and directories from one tree to another, over anything that carries
//! frames: what a push sends and an agent writes, and the other way round.
//!
//! ```text
//!  source --send--> Directory, File, Data, End, Done --receive--> temporary file
//!                <-- Held: what is there of a large file      --> rename
//! ```
//!
//! Both ends work below one open directory and reach everything from there
//! (`openat2(2)`, `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`): no name, link or
//! race leads out of it. Neither keeps more than one chunk of content, and the
//! names from the top to where it is.

mod error;
mod frame;
mod names;
mod passwd;
mod path;
mod pour;
mod receive;
mod send;
mod tree;

#[cfg(test)]
mod tests;

pub use error::TransferError;
pub use frame::{CHUNK, Frame, LARGE, Summary, Wire, WireError};
pub use names::{Kind, names};
pub use passwd::{Ids, OwnerError, UserText};
pub use path::{PathError, TreePath, shown};
pub use pour::{Terminal, pour};
pub use receive::{Receiving, receive};
pub use send::{Source, send};
pub use tree::open_directory;
