//! Compose files (<https://docs.docker.com/reference/compose-file/>).
//!
//! ```text
//!  text --yaml--> Node --interpolate--> --merge (include, extends, several files)--> Project
//!  Project --convert--> Sheet, one component for each service
//! ```

mod convert;
mod dotenv;
mod environment;
mod health;
mod images;
mod interpolate;
mod limits;
mod merge;
mod mounts;
mod network;
mod oneshot;
mod project;
mod service;
mod things;
mod yaml;

use super::Files;
use super::finish::{Imported, finish};
use super::note::Notes;

pub use project::{ComposeError, Options};
pub use yaml::BadYaml;

/// Makes a definition of a compose project; the paths are absolute, later
/// files are laid over earlier ones. Returns the files that were read as well.
///
/// # Errors
///
/// [`ComposeError`]: nothing came out.
pub fn import(
    paths: &[String],
    files: &mut dyn Files,
    options: &Options,
) -> Result<(Imported, Vec<String>), ComposeError> {
    let mut notes = Notes::default();
    let mut project = project::load(paths, files, options, &mut notes)?;
    let sheet = convert::convert(&mut project, files, options, notes)?;
    Ok((finish(sheet)?, project.read))
}
