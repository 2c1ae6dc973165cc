//! `mcp exec`.

use clap::Args;

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::session::{self, Call, StreamArgs};

/// Run a command in a component's container
///
/// Exits with the command's status, 128 and the signal's number if a signal
/// ended it, or 125 if it was not run or its end is not known.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp exec -it metacrypt/api -- sh\n  mcp exec mcq -- cat /etc/hostname\n  mcp exec -i shop/db -- psql -U shop <dump.sql\n  mcp exec -e LEVEL=debug --user root shop/web -- ./reload"
)]
pub struct ExecArgs {
    /// The component; the service alone if it has only one
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: ServicePath,
    /// What the command gets
    #[command(flatten)]
    pub streams: StreamArgs,
    /// Which node to go to
    #[command(flatten)]
    pub node: NodeArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the command.
///
/// # Errors
///
/// The arguments contradict each other; all else is shown here.
pub async fn run(context: &Context<'_>, args: &ExecArgs) -> Result<Exit, CliError> {
    let start = args.streams.start(context, &args.service, &args.command)?;
    Ok(session::run(context, Call::Exec, &args.service, &args.node.node, start).await)
}
