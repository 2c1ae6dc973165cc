//! `mcp man`, for packages.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use serde::Serialize;

use crate::cli::args::Cli;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::manual::{self, Section};

/// Write the manual pages
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mcp man --out /usr/share/man/man1")]
pub struct ManArgs {
    /// Where to write them
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// What `--json` shows.
#[derive(Debug, Serialize)]
struct Pages {
    files: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// The pages cannot be written.
pub fn run(context: &Context<'_>, args: &ManArgs) -> Result<Exit, CliError> {
    let files = manual::write_pages(Cli::command(), Section::Commands, &args.out)
        .map_err(CliError::failed)?;
    context.show(&Pages { files }, |_| String::new())?;
    Ok(Exit::Done)
}
