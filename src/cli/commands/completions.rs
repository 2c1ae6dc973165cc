//! `mcp completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::env::Shells;

use crate::cli::args::Cli;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, OutputError};

/// Print a shell's completion script, which asks mcp for names as they are typed
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  echo 'source <(mcp completions bash)' >> ~/.bashrc\n  mcp completions fish > ~/.config/fish/completions/mcp.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    pub shell: String,
}

/// Runs the command.
///
/// # Errors
///
/// The output cannot be written.
pub fn run(context: &Context<'_>, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let command = Cli::command();
    let name = command.get_name();
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(&args.shell) {
        shell
            .write_registration("COMPLETE", name, name, name, &mut script)
            .map_err(CliError::failed)?;
    }
    context.ui.data(&String::from_utf8_lossy(&script)).map_err(OutputError::from)?;
    Ok(Exit::Done)
}
