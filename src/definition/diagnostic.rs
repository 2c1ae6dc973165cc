//! One mistake in a definition, and where it is.

use std::fmt;
use std::ops::Range;

/// One mistake: what, where, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The bytes of the text that are wrong; always on character borders.
    pub span: Range<usize>,
    /// What is wrong, in one lower-case sentence without a full stop.
    pub message: String,
    /// How to mend it, if that can be said.
    pub help: Option<String>,
    /// Whether something is missing, rather than wrong.
    pub absent: bool,
}

/// Every mistake of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The mistakes, by place.
    pub diagnostics: Vec<Diagnostic>,
}

impl Invalid {
    /// Sorts the mistakes by place and drops repetitions.
    pub fn new(mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
        diagnostics.dedup();
        Self { diagnostics }
    }

    /// Returns the mistakes as plain lines, `file:line:column: what (help)`.
    pub fn lines(&self, file: &str, text: &str) -> Vec<String> {
        self.diagnostics
            .iter()
            .map(|d| {
                let (line, column) = position(text, d.span.start);
                let help = d.help.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
                format!("{file}:{line}:{column}: {}{help}", d.message)
            })
            .collect()
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.diagnostics.as_slice() {
            [one] => f.write_str(&one.message),
            many => write!(f, "the definition has {} mistakes", many.len()),
        }
    }
}

impl std::error::Error for Invalid {}

/// Returns line and column, both from 1, of a byte offset; columns count
/// characters.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
