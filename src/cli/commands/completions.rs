//! `mcp completions`.

use clap::{Args, CommandFactory as _};
use serde::Serialize;

use crate::cli::args::Cli;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
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

/// What `--json` shows.
#[derive(Debug, Serialize)]
struct Script<'a> {
    shell: &'a str,
    script: String,
}

/// Runs the command.
///
/// # Errors
///
/// The output cannot be written.
pub fn run(context: &Context<'_>, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let script =
        manual::completion_script(&Cli::command(), &args.shell).map_err(CliError::failed)?;
    let made = Script { shell: &args.shell, script: script.unwrap_or_default() };
    context.show(&made, |made| made.script.clone())?;
    Ok(Exit::Done)
}
