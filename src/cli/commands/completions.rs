//! `mcp completions`.

use clap::{Args, CommandFactory as _};

use crate::cli::args::Cli;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, OutputError};
use crate::manual;

/// Print a shell's completion script, which asks mcp for names as they are typed
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  echo 'source <(mcp completions bash)' >> ~/.bashrc\n  mcp completions fish > ~/.config/fish/completions/mcp.fish"
)]
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
pub fn run(context: &Context<'_>, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let script =
        manual::completion_script(&Cli::command(), &args.shell).map_err(CliError::failed)?;
    context.ui.data(&script.unwrap_or_default()).map_err(OutputError::from)?;
    Ok(Exit::Done)
}
