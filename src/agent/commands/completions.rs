//! `mcp-agent completions`.

use clap::{Args, CommandFactory as _};

use super::args::{Cli, CommandError, Output};
use crate::manual;

/// The arguments of `mcp-agent completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  source <(mcp-agent completions bash)")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_parser = manual::SHELLS)]
    pub shell: String,
}

/// Runs the command.
///
/// # Errors
///
/// The output cannot be written.
pub fn run(args: &CompletionsArgs, output: &mut Output<'_>) -> Result<(), CommandError> {
    let script = manual::completion_script(&Cli::command(), &args.shell)?;
    Ok(write!(output.data, "{}", script.unwrap_or_default())?)
}
