//! Quadlet files (`podman-systemd.unit(5)`).
//!
//! A key that a definition has goes there, if its value can be said there and
//! comes out as the same option of `podman run`. Every other key of
//! `[Container]`, and every value with a specifier of systemd in it, goes into
//! the unit as it is, through `extra`.

mod container;
mod health;
mod mounts;
mod network;
mod pod;
mod set;
mod systemd;
mod things;
mod unit;

use std::collections::BTreeMap;

use super::Files;
use super::finish::{Imported, Unfinished, finish};
use super::note::Notes;
use super::sheet::{Part, Sheet};
use super::things::Things;
use crate::names::{ComponentName, ServiceName};

/// Why Quadlet files are not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuadletError {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// No container is among the files.
    #[error("none of the files is a .container that can be imported")]
    NoContainer,
    /// Nothing can be made of it.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

/// Makes a definition of Quadlet files, all of them one service; the paths are
/// absolute. Returns the files that were read as well.
///
/// # Errors
///
/// [`QuadletError`]: nothing came out.
pub fn import(
    paths: &[String],
    files: &mut dyn Files,
    name: Option<&str>,
) -> Result<(Imported, Vec<String>), QuadletError> {
    let mut set = set::load(paths, files)?;
    let sheet = set::convert(&mut set, files, name)?;
    Ok((finish(sheet)?, set.read))
}

/// What is known of the services around a unit.
pub(super) struct Around<'a> {
    pub(super) service: &'a ServiceName,
    /// The components by their units' names, suffix left out.
    pub(super) names: &'a BTreeMap<String, ComponentName>,
    pub(super) files: &'a dyn Files,
    /// Whether it is the only one.
    pub(super) is_alone: bool,
}

/// Reads what a unit says besides its container: `[Unit]`, `[Service]` and
/// `[Install]`. A line that `is_own` is what the tool that wrote the unit
/// always writes, by key and value.
pub(super) fn surroundings(
    (part, sheet, notes): (&mut Part, &mut Sheet, Notes),
    around: &Around<'_>,
    (path, text): (&str, &str),
    is_own: impl Fn(&str, &str) -> bool,
) -> Notes {
    let mut unit = unit::Unit::new(path, text);
    unit.lines.retain(|line| !is_own(&line.key, &line.value));
    let set = set::Set::empty();
    let mut scope = set::Scope {
        set: &set,
        files: around.files,
        notes,
        things: Things::default(),
        service: around.service.clone(),
        names: around.names.clone(),
        before: Vec::new(),
    };
    systemd::convert(&mut scope, part, &unit, &mut sheet.service, around.is_alone);
    sheet.before.append(&mut scope.before);
    scope.notes
}
