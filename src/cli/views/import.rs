//! `mcp import`: the definition that was made, and what there is to tell.

use serde::Serialize;

use crate::import::{Imported, NoteKind};

/// What an import came to.
#[derive(Debug, Serialize)]
pub struct ImportView {
    /// The service.
    pub service: String,
    /// Its components, in order.
    pub components: Vec<String>,
    /// The file; `null`: it was printed.
    pub path: Option<String>,
    /// Whether the file was written; `false`: it was so already, or nothing
    /// was to be written.
    pub changed: bool,
    /// The definition.
    pub definition: String,
    /// Every file that was read.
    pub read: Vec<String>,
    /// What there is to tell, by place.
    pub notes: Vec<NoteView>,
}

/// One thing to tell.
#[derive(Debug, Serialize)]
pub struct NoteView {
    /// `lost`, `changed`, `todo` or `needless`.
    pub kind: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1; of a command line the number of the argument.
    pub column: usize,
    /// What it is about.
    pub what: String,
    /// What became of it.
    pub message: String,
}

impl ImportView {
    /// Takes what an import came to.
    pub fn new(imported: &Imported, read: Vec<String>) -> Self {
        let note = |note: &crate::import::Note| NoteView {
            kind: note.kind.as_str().to_owned(),
            file: note.place.file.clone(),
            line: note.place.line,
            column: note.place.column,
            what: note.what.clone(),
            message: note.message.clone(),
        };
        Self {
            service: imported.service.to_string(),
            components: imported.components.clone(),
            path: None,
            changed: false,
            definition: imported.text.clone(),
            read,
            notes: imported.notes.iter().map(note).collect(),
        }
    }

    /// Says where the definition is.
    pub fn written(&mut self, path: &str, changed: bool) {
        self.path = Some(path.to_owned());
        self.changed = changed;
    }

    /// Returns a line for the file.
    pub fn text(&self) -> String {
        let path = self.path.as_deref().unwrap_or("-");
        let what = if self.changed { "written" } else { "unchanged" };
        format!("{path}: {what}, with {}\n", self.components.join(", "))
    }

    /// Returns the notes that a person has to know.
    pub fn to_tell(&self) -> impl Iterator<Item = &NoteView> {
        self.notes.iter().filter(|note| note.kind != NoteKind::Needless.as_str())
    }
}

impl NoteView {
    /// Returns it as a line.
    pub fn line(&self) -> String {
        let Self { kind, file, line, column, what, message } = self;
        format!("{file}:{line}:{column}: {kind}: {what}: {message}")
    }
}
