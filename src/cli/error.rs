//! What the operator is told when a command fails.

use std::error::Error;
use std::fmt;

use crate::cli::snippet::InvalidFile;
use crate::telemetry::Chain;
use crate::ui::{Ui, visible_lines};

/// What kind of failure it is; the kind alone decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The operation was tried and failed.
    Failed,
    /// The command or a file was wrong; nothing was tried.
    Usage,
    /// A node could not be reached.
    Unreachable,
    /// The node refused the caller.
    NotAllowed,
    /// It did not come about in the time given.
    TimeIsUp,
}

impl ErrorKind {
    /// Returns the exit code: 1 failed, 2 usage, 3 unreachable, 4 not allowed,
    /// 5 time is up.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotAllowed => 4,
            Self::TimeIsUp => 5,
        }
    }
}

/// A failed command: its kind, what happened, and what to type next.
#[derive(Debug)]
pub struct CliError {
    /// Decides the exit code.
    pub kind: ErrorKind,
    /// What happened, with its causes.
    pub source: Box<dyn Error + Send + Sync>,
    /// The next commands to type.
    pub hints: Vec<String>,
}

impl CliError {
    /// Wraps an error.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into(), hints: Vec::new() }
    }

    /// Wraps an error of an operation that was tried.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Failed, source)
    }

    /// Wraps an error of the operator's command or files.
    pub fn usage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Usage, source)
    }

    /// Adds what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns the message with its causes on one line.
    pub fn message(&self) -> String {
        Chain(self.source.as_ref()).to_string()
    }

    /// Shows the error and its hints.
    pub fn report(&self, ui: &Ui) {
        if let Some(file) = self.source.downcast_ref::<InvalidFile>() {
            ui.error_detail(file.drawn(ui.err_palette()).trim_end());
        } else {
            ui.error(&visible_lines(&self.message()));
        }
        for hint in &self.hints {
            ui.hint(hint);
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

/// A file that could not be read or written, with its path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// What was tried: read, write, create.
    pub action: &'static str,
    /// The file.
    pub path: std::path::PathBuf,
    /// Why it failed.
    pub source: std::io::Error,
}

impl FileError {
    /// Returns a function for `map_err` that names the action and the file.
    pub fn at(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> CliError {
        let path = path.to_owned();
        move |source| CliError::failed(Self { action, path, source })
    }
}

/// The data could not be written to stdout.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output")]
pub struct OutputError(#[from] std::io::Error);

impl From<OutputError> for CliError {
    fn from(error: OutputError) -> Self {
        Self::failed(error)
    }
}
