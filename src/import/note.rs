//! What an import has to tell besides the definition.

use std::fmt;

/// Where something stands in what was imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, or `command line`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1; of a command line the number of the
    /// argument.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// It is not in the definition.
    Lost,
    /// It is in the definition, and means something else there.
    Changed,
    /// Something is left to the operator to do.
    Todo,
    /// It is not in the definition, and need not be.
    Needless,
}

impl NoteKind {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Changed => "changed",
            Self::Todo => "todo",
            Self::Needless => "needless",
        }
    }

    /// Returns what a comment of the definition begins with, if it is worth
    /// one.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Lost => Some("Not carried over"),
            Self::Changed => Some("Changed"),
            Self::Todo => Some("To do"),
            Self::Needless => None,
        }
    }
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// Where it stands.
    pub place: Place,
    /// What it is, such as `services.web.build`.
    pub what: String,
    /// What became of it, and what can be done: one sentence without a full
    /// stop.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}: {}", self.place, self.kind.as_str(), self.what, self.message)
    }
}

/// The notes of one import, in the order in which they came up.
#[derive(Debug, Default)]
pub(super) struct Notes {
    list: Vec<Note>,
    /// Those that no component is told of in a comment.
    heads: Vec<String>,
}

impl Notes {
    /// Adds a note that is about no component.
    pub(super) fn add(
        &mut self,
        kind: NoteKind,
        place: &Place,
        what: impl Into<String>,
        message: impl Into<String>,
    ) {
        let (what, message) = (what.into(), message.into());
        if let Some(word) = kind.word() {
            let line = format!("{word}: {what}: {message}.");
            if !self.heads.contains(&line) {
                self.heads.push(line);
            }
        }
        self.add_of_part(kind, place, what, message);
    }

    /// Adds a note that stands in a comment of a component.
    pub(super) fn add_of_part(
        &mut self,
        kind: NoteKind,
        place: &Place,
        what: impl Into<String>,
        message: impl Into<String>,
    ) {
        let note = Note { kind, place: place.clone(), what: what.into(), message: message.into() };
        if !self.list.contains(&note) {
            self.list.push(note);
        }
    }

    /// Tells that a variable is not set.
    pub(super) fn add_unset(&mut self, place: &Place, name: &str) {
        let message = "the variable is not set, so nothing is put in its place";
        self.add(NoteKind::Changed, place, format!("${{{name}}}"), message);
    }

    /// Returns the variables that are not set at a place.
    pub(super) fn unset(&self, place: &Place) -> impl Iterator<Item = &str> {
        let there = self.list.iter().filter(move |note| note.place == *place);
        there.filter_map(|note| note.what.strip_prefix("${")?.strip_suffix('}'))
    }

    /// Returns the comments on what belongs to no component.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.clone()
    }

    /// Returns the notes by place.
    pub(super) fn sorted(mut self) -> Vec<Note> {
        self.list.sort_by(|a, b| (&a.place, a.kind).cmp(&(&b.place, b.kind)));
        self.list
    }
}
