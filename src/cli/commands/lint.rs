//! `mcp lint`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::local;
use crate::cli::views::lint::{LintFile, LintView};
use crate::ui::visible;

/// Check definitions and show every mistake with its place
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mcp lint ~/.config/mcp/services/*.toml")]
pub struct LintArgs {
    /// The definitions
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// The output cannot be written. A file with mistakes, or one that cannot be
/// read, is shown and does not keep the others from being checked.
pub fn run(context: &Context<'_>, args: &LintArgs) -> Result<Exit, CliError> {
    let (mut view, mut exit) = (LintView::default(), Exit::Done);
    for path in &args.files {
        let file = local::required(path);
        let doubts = file.as_ref().map(local::LocalDefinition::doubts).unwrap_or_default();
        let checked = file.and_then(|file| file.service().map(drop));
        view.files.push(LintFile::new(path, checked.as_ref().err(), doubts.as_ref()));
        if let Some(doubts) = doubts {
            doubts.to_string().lines().for_each(|line| context.ui.warning(&visible(line)));
        }
        if let Err(error) = checked {
            error.report(context.ui);
            exit = Exit::Shown(ErrorKind::Usage);
        }
    }
    context.show(&view, LintView::text)?;
    Ok(exit)
}
