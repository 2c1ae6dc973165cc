//! `mcp-agent man`, for packages.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::args::{Cli, CommandError};
use crate::manual::{self, Section};

/// The arguments of `mcp-agent man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mcp-agent man --out /usr/share/man/man8")]
pub struct ManArgs {
    /// Where to write them
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Runs the command.
///
/// # Errors
///
/// The pages cannot be written.
pub fn run(args: &ManArgs) -> Result<(), CommandError> {
    manual::write_pages(Cli::command(), Section::Administration, &args.out)?;
    Ok(())
}
