//! Editing a definition with the operator's editor, through a copy.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::context::Context;
use crate::cli::error::{CliError, FileError};
use crate::cli::local::{self, LocalDefinition};
use crate::names::ServiceName;

/// Why editing came to nothing.
#[derive(Debug, thiserror::Error)]
enum EditorError {
    #[error("cannot start the editor {}", .program.display())]
    Start { program: OsString, source: std::io::Error },
    #[error("the editor ended with {0}")]
    Ended(std::process::ExitStatus),
}

/// The copy that is edited; removed in the end, unless it is kept.
struct Copy {
    path: PathBuf,
    is_kept: bool,
}

impl Copy {
    /// Keeps the file if it holds anything but `before`; tells whether.
    fn keep(&mut self, before: &str) -> bool {
        self.is_kept = std::fs::read(&self.path).is_ok_and(|typed| typed != before.as_bytes());
        self.is_kept
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left over is a copy in the temporary directory.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Lets the operator edit a definition until it is valid or given up, and
/// saves it; tells whether it is another one now. What was typed and is not
/// saved is kept, and it is said where.
///
/// # Errors
///
/// The editor fails, the definition is invalid and nobody can be asked, or the
/// file cannot be written.
pub fn edit(
    context: &Context<'_>,
    local: &LocalDefinition,
    service: &ServiceName,
) -> Result<bool, CliError> {
    let mut copy = copy(local, service)?;
    let saved = until_valid(context, local, service, &copy.path).and_then(|text| match text {
        Some(text) if text != local.text => {
            local::save(&local.path, &text, local::PRIVATE).map(|()| Some(true))
        }
        Some(_) => Ok(Some(false)),
        None => Ok(None),
    });
    if !matches!(saved, Ok(Some(_))) && copy.keep(&local.text) {
        let path = copy.path.display();
        context.ui.warning(&format!("what was typed is kept in {path}"));
        context.ui.hint(&format!("mcp lint {path}"));
    }
    Ok(saved?.unwrap_or(false))
}

/// Returns the text that was typed once it is valid; `None` when it was given
/// up before.
fn until_valid(
    context: &Context<'_>,
    local: &LocalDefinition,
    service: &ServiceName,
    copy: &Path,
) -> Result<Option<String>, CliError> {
    loop {
        start(context, copy)?;
        let text = std::fs::read_to_string(copy).map_err(FileError::at("read", copy))?;
        let edited = LocalDefinition { path: local.path.clone(), text };
        let Err(error) = edited.check(service) else {
            return Ok(Some(edited.text));
        };
        if !context.ui.can_ask() {
            return Err(error);
        }
        error.report(context.ui);
        if !context.ui.ask("Edit again?").map_err(CliError::failed)? {
            return Ok(None);
        }
    }
}

fn copy(local: &LocalDefinition, service: &ServiceName) -> Result<Copy, CliError> {
    let name = format!("mcp-{service}-{}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    // A file or link that somebody put there is refused, not followed.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(FileError::at("create", &path))?;
    let copy = Copy { path, is_kept: false };
    file.write_all(local.text.as_bytes()).map_err(FileError::at("write", &copy.path))?;
    Ok(copy)
}

/// Runs the editor; words after its name are arguments, as in `code --wait`.
fn start(context: &Context<'_>, path: &Path) -> Result<(), CliError> {
    let editor = context.environment.editor.clone().unwrap_or_else(|| "vi".into());
    let words = editor.to_str().map(|text| text.split_whitespace().map(OsString::from).collect());
    let mut words: Vec<OsString> = words.unwrap_or_else(|| vec![editor]);
    let program = if words.is_empty() { "vi".into() } else { words.remove(0) };
    let status = Command::new(&program)
        .args(words)
        .arg(path)
        .status()
        .map_err(|source| CliError::failed(EditorError::Start { program, source }))?;
    if status.success() { Ok(()) } else { Err(CliError::failed(EditorError::Ended(status))) }
}
