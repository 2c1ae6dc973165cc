//! `mcp lint`: definitions, and the mistakes in them.

use std::path::Path;

use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::snippet::{InvalidFile, Mistake};
use crate::definition::diagnostic::position;

/// The files that were checked.
#[derive(Debug, Default, Serialize)]
pub struct LintView {
    /// In the order given.
    pub files: Vec<LintFile>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct LintFile {
    /// The file.
    pub path: String,
    /// Whether it may be deployed.
    pub valid: bool,
    /// The mistakes, by place.
    pub mistakes: Vec<LintMistake>,
    /// What may be deployed and is hardly meant, by place.
    pub warnings: Vec<LintMistake>,
    /// Why it could not be read; `null`: it could.
    pub unreadable: Option<String>,
}

/// One mistake.
#[derive(Debug, Serialize)]
pub struct LintMistake {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it; `null`: that cannot be said.
    pub help: Option<String>,
}

impl LintFile {
    /// Takes what checking a file came to.
    pub fn new(path: &Path, error: Option<&CliError>, doubts: Option<&InvalidFile>) -> Self {
        let invalid = error.and_then(|error| error.source.downcast_ref::<InvalidFile>());
        Self {
            path: path.display().to_string(),
            valid: error.is_none(),
            mistakes: invalid.map(mistakes).unwrap_or_default(),
            warnings: doubts.map(mistakes).unwrap_or_default(),
            unreadable: if invalid.is_none() { error.map(CliError::message) } else { None },
        }
    }
}

fn mistakes(file: &InvalidFile) -> Vec<LintMistake> {
    let mistake = |mistake: &Mistake| {
        let (line, column) = position(&file.text, mistake.span.start);
        let (message, help) = (mistake.message.clone(), mistake.help.clone());
        LintMistake { line, column, message, help }
    };
    file.mistakes.iter().map(mistake).collect()
}

impl LintView {
    /// Returns a line for each file that is as it should be; the others have
    /// been told about.
    pub fn text(&self) -> String {
        let valid = self.files.iter().filter(|file| file.valid);
        valid
            .flat_map(|file| {
                [
                    file.path.as_str(),
                    ": ok
",
                ]
            })
            .collect()
    }
}
