//! The commands of `mcp import`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

use super::{compose, quadlet, run};
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::names::ServiceName;

/// Make definitions out of compose files, Quadlet files or podman run
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would replace the help text")]
pub enum ImportCommand {
    Compose(compose::ComposeArgs),
    Quadlet(quadlet::QuadletArgs),
    Run(run::RunArgs),
}

/// Where a definition goes.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Call the service this
    #[arg(long, value_name = "SERVICE")]
    pub name: Option<ServiceName>,
    /// Write to this directory instead of the services directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the definition instead
    #[arg(long, conflicts_with_all = ["out", "force"])]
    pub stdout: bool,
    /// Overwrite a definition that is there and differs
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
///
/// # Errors
///
/// Nothing can be made of what is imported, or it cannot be written.
pub fn dispatch(context: &Context<'_>, command: &ImportCommand) -> Result<Exit, CliError> {
    match command {
        ImportCommand::Compose(args) => compose::run(context, args),
        ImportCommand::Quadlet(args) => quadlet::run(context, args),
        ImportCommand::Run(args) => run::run(context, args),
    }
}
