//! The commands of `mcp boot`.

use clap::Subcommand;

use super::{plan, report, verify};
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;

/// Look at how a node boots
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would replace the help text")]
pub enum BootCommand {
    Plan(plan::PlanArgs),
    Verify(verify::VerifyArgs),
    Report(report::ReportArgs),
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, or the output cannot be written.
pub async fn run(context: &Context<'_>, command: &BootCommand) -> Result<Exit, CliError> {
    match command {
        BootCommand::Report(args) => report::run(context, args).await,
        BootCommand::Verify(args) => verify::run(context, args).await,
        BootCommand::Plan(args) => plan::run(context, args).await,
    }
}
