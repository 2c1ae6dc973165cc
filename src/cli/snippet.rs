//! Mistakes in a file the operator wrote, drawn with their place and a caret.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::definition::Diagnostic;
use crate::definition::diagnostic::position;
use crate::ui::{Palette, masked, visible_lines};

/// One mistake: what, where, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// How to mend it, if that can be said.
    pub help: Option<String>,
}

impl From<Diagnostic> for Mistake {
    fn from(diagnostic: Diagnostic) -> Self {
        let Diagnostic { span, message, help, absent: _ } = diagnostic;
        Self { span, message, help }
    }
}

/// A file with mistakes; `Display` gives a plain line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidFile {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The mistakes, at least one.
    pub mistakes: Vec<Mistake>,
}

impl InvalidFile {
    /// Draws every mistake with its lines of the file.
    pub fn drawn(&self, palette: Palette) -> String {
        let renderer = if palette.paints() { Renderer::styled() } else { Renderer::plain() };
        let text = masked(&self.text);
        let path = self.path.display().to_string();
        let drawn: Vec<String> = self
            .mistakes
            .iter()
            .map(|mistake| {
                let message = visible_lines(&mistake.message);
                let snippet = Snippet::source(text.as_str())
                    .path(path.as_str())
                    .annotation(AnnotationKind::Primary.span(within(&text, &mistake.span)));
                let mut group = Level::ERROR.primary_title(message.as_ref()).element(snippet);
                if let Some(help) = &mistake.help {
                    group = group.element(Level::HELP.message(help.as_str()));
                }
                renderer.render(&[group])
            })
            .collect();
        format!("{}\n", drawn.join("\n\n"))
    }
}

impl fmt::Display for InvalidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.iter().enumerate() {
            let (line, column) = position(&self.text, mistake.span.start);
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{line}:{column}: {}", self.path.display(), mistake.message)?;
            if let Some(help) = &mistake.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for InvalidFile {}

/// Puts a span into the text and on borders of characters.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = border(text, span.start);
    start..border(text, span.end).max(start)
}

/// Returns the border of a character at or before `offset`.
fn border(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}
