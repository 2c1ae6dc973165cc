//! Command lines of `podman run` and `docker run` (`podman-run(1)`).

pub(super) mod apply;
mod check;
mod network;
pub(super) mod parse;
pub(super) mod split;

use super::Files;
use super::finish::{Imported, Unfinished, finish};
use super::naming::{alike, named, short};
use super::note::{NoteKind, Notes, Place};
use super::sheet::{Part, Sheet, push};
use super::things::Things;
use crate::definition::model::OneOrMany;
use crate::names::{ComponentName, ContainerName, ServiceName};
use parse::Run;

/// Where a command line comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The words of one, as the shell has split them.
    Words(Vec<String>),
    /// Lines as they are typed, with quotes and lines that go on.
    Text {
        /// What the lines stand in.
        name: String,
        /// The lines.
        text: String,
    },
}

/// What an import is told besides the command line.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of the service.
    pub name: Option<String>,
    /// The directory that paths are relative to.
    pub directory: String,
    /// The home directory.
    pub home: String,
}

/// Why a command line is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Wrong {
    /// Where.
    pub place: Place,
    /// What, and what would be right.
    pub message: String,
}

/// Why nothing came out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// A command line is not taken.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// There is none.
    #[error("there is no podman run and no docker run")]
    NoRun,
    /// Nothing can be made of it.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

/// What applying the options of one run knows.
pub(super) struct Scope<'a> {
    pub(super) options: &'a Options,
    pub(super) files: &'a dyn Files,
    pub(super) notes: Notes,
    pub(super) service: ServiceName,
    pub(super) is_docker: bool,
    /// Whether a shell has filled in what it does.
    is_split: bool,
    pub(super) things: Things,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        options: &'a Options,
        files: &'a dyn Files,
        notes: Notes,
        service: &ServiceName,
    ) -> Self {
        let (service, things) = (service.clone(), Things::default());
        Self { options, files, notes, service, is_docker: false, is_split: true, things }
    }
}

impl Scope<'_> {
    fn tell(
        &mut self,
        part: &mut Part,
        kind: NoteKind,
        at: (&Place, &str),
        message: impl Into<String>,
    ) {
        part.tell(&mut self.notes, kind, at, message);
    }
}

/// Makes a definition of command lines: each run is a component of one
/// service.
///
/// # Errors
///
/// [`RunError`]: nothing came out.
pub fn import(
    source: &Source,
    files: &mut dyn Files,
    options: &Options,
) -> Result<Imported, RunError> {
    let mut notes = Notes::default();
    let commands = match source {
        Source::Words(words) => vec![split::of_words(words)],
        Source::Text { name, text } => split::of_text(name, text)?,
    };
    let mut runs: Vec<Run> = Vec::new();
    for command in &commands {
        if let Some(run) = parse::parse(command)? {
            runs.push(run);
        } else {
            let what = command.words.first().map(|(word, _)| word.clone()).unwrap_or_default();
            let message = "it is no podman run and no docker run";
            notes.add(NoteKind::Lost, &command.place, what, message);
        }
    }
    let Some(first) = runs.first() else { return Err(RunError::NoRun) };
    let names: Vec<String> = runs.iter().map(Run::name).collect();
    let plain: Vec<&str> = names.iter().map(String::as_str).collect();
    let wish = options.name.clone().or_else(|| alike(&plain));
    let wish = wish.unwrap_or_else(|| first.name());
    let service = named(&wish, &first.place, &mut notes);
    let mut scope = Scope::new(options, files, notes, &service);
    let mut sheet = Sheet::default();
    let mut taken: Vec<String> = Vec::new();
    for (run, name) in runs.iter().zip(&names) {
        scope.is_docker = run.is_docker;
        let own = short(name, &service, |name| taken.iter().any(|own| own == name));
        let own = own.map(|own| own.to_string()).unwrap_or_default();
        taken.push(own.clone());
        let program = if run.is_docker { "docker" } else { "podman" };
        let mut part = Part::new(&own, format!("{program} run {name}"), run.place.clone());
        part.remark("", format!("From {program} run, {}.", run.place));
        apply::apply(&mut scope, &mut part, run);
        renamed(&mut part, name, &service);
        sheet.parts.push(part);
    }
    sheet.service.name = Some(service.to_string());
    sheet.notes = scope.notes;
    sheet.things = scope.things;
    sheet.head.push("Made from a command line by mcp import.".to_owned());
    Ok(finish(sheet)?)
}

/// The container has another name: those in its networks find it by the old
/// one too.
pub(super) fn renamed(part: &mut Part, old: &str, service: &ServiceName) {
    let Ok(name) = part.name().parse::<ComponentName>() else { return };
    let is_mode = |name: &str| matches!(name, "host" | "none" | "private");
    let is_named = match &part.component.network {
        Some(OneOrMany::One(network)) => !is_mode(network),
        Some(OneOrMany::Many(_)) => true,
        None => false,
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if is_named && ContainerName::new(service, &name).as_str() != old && old.chars().all(good) {
        push(&mut part.component.aliases, old.to_owned());
    }
}
