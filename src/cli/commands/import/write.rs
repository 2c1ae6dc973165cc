//! The end of every import: the definition is written, the notes are told.

use std::path::PathBuf;

use super::group::OutputArgs;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, OutputError};
use crate::cli::local;
use crate::cli::views::import::ImportView;
use crate::import::{Imported, NoteKind};
use crate::ui::visible_lines;

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
#[error("{} is there and differs", .0.display())]
struct Differs(PathBuf);

/// Writes what came out, or prints it, and tells the notes.
///
/// # Errors
///
/// A definition is there that differs, or it cannot be written.
pub(super) fn write(
    context: &Context<'_>,
    args: &OutputArgs,
    imported: &Imported,
    read: Vec<String>,
) -> Result<Exit, CliError> {
    let mut view = ImportView::new(imported, read);
    if args.stdout {
        if context.json {
            context.show(&view, |_| String::new())?;
        } else if context.ui.out_is_terminal() {
            let text = visible_lines(&imported.text);
            context.ui.data_line(text.trim_end()).map_err(OutputError::from)?;
        } else {
            context.ui.data(&imported.text).map_err(OutputError::from)?;
        }
        tell(context, &view);
        return Ok(Exit::Done);
    }
    let path = match &args.out {
        Some(directory) => directory.join(format!("{}.toml", imported.service)),
        None => local::path(&context.settings()?, &imported.service),
    };
    let changed = match local::load(&path)? {
        Some(own) if own.text == imported.text => false,
        Some(_) if !args.force => {
            let hint = "--force overwrites it, --name gives another name, --stdout prints it";
            return Err(CliError::failed(Differs(path)).hint(hint));
        }
        Some(_) | None => {
            local::write(&path, imported.text.as_bytes(), local::PRIVATE)?;
            true
        }
    };
    view.written(&path.display().to_string(), changed);
    context.show(&view, ImportView::text)?;
    tell(context, &view);
    if changed {
        context.ui.hint(&format!("mcp deploy {} --dry-run", imported.service));
    }
    Ok(Exit::Done)
}

fn tell(context: &Context<'_>, view: &ImportView) {
    if context.json {
        return;
    }
    for note in view.to_tell() {
        let line = visible_lines(&note.line()).into_owned();
        if note.kind == NoteKind::Changed.as_str() {
            context.ui.remark(&line);
        } else {
            context.ui.warning(&line);
        }
    }
}
