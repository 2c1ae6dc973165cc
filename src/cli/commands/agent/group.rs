//! The commands of `mcp agent`.

use clap::Subcommand;

use super::{recover, status, upgrade};
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;

/// Look after a node's agent itself
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would replace the help text")]
pub enum AgentCommand {
    Upgrade(upgrade::UpgradeArgs),
    Status(status::StatusArgs),
    Recover(recover::RecoverArgs),
}

/// Runs the command.
///
/// # Errors
///
/// A node cannot be asked, or a file cannot be read.
pub async fn run(context: &Context<'_>, command: &AgentCommand) -> Result<Exit, CliError> {
    match command {
        AgentCommand::Upgrade(args) => upgrade::run(context, args).await,
        AgentCommand::Status(args) => status::run(context, args).await,
        AgentCommand::Recover(args) => recover::run(context, args).await,
    }
}
