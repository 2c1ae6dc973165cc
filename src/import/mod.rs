//! Definitions out of what people already have: compose files, Quadlet files,
//! command lines of `podman run` and `docker run`, and containers that run.
//!
//! ```text
//!  compose files --compose--+
//!  Quadlet files --quadlet--+--> Sheet --finish--> text of a definition, notes
//!  podman run ... ----run---+
//!  containers that run ----+
//! ```
//!
//! Pure: what files hold comes through [`Files`]. Whatever cannot be carried
//! over is in the notes, with its place; nothing is dropped in silence. What
//! comes out is a valid definition.

mod check;
pub mod compose;
pub mod containers;
mod env;
pub mod files;
mod finish;
mod naming;
pub mod note;
mod options;
pub mod quadlet;
pub mod run;
mod sheet;
mod things;
mod values;

pub use files::Files;
pub use finish::{Imported, Unfinished};
pub use note::{Note, NoteKind, Place};

#[cfg(test)]
mod cases;
#[cfg(test)]
mod meaning;
