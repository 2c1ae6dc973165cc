//! `mcp-master`: one per fleet. Today it answers `--version` and `--help`, and
//! makes what its package ships beside it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::manual::{self, PageError, Section};

/// Look after a fleet of nodes (nothing yet: nodes work without a master)
#[derive(Debug, Parser)]
#[command(name = "mcp-master", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `mcp-master` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a shell's completion script
    Completions {
        /// The shell
        #[arg(value_parser = manual::SHELLS)]
        shell: String,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Where to write them
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Says why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// A manual page could not be written.
    #[error(transparent)]
    Man(#[from] PageError),
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// Runs a command; data goes to `out`.
///
/// # Errors
///
/// What was asked for cannot be written.
pub fn run(cli: &Cli, out: &mut dyn Write) -> Result<(), MasterError> {
    match &cli.command {
        Command::Completions { shell } => {
            let script = manual::completion_script(&Cli::command(), shell)?;
            Ok(write!(out, "{}", script.unwrap_or_default())?)
        }
        Command::Man { out } => {
            manual::write_pages(Cli::command(), Section::Administration, out)?;
            Ok(())
        }
    }
}
