//! `mcp run`.

use clap::Args;

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::session::{self, Call, StreamArgs};

/// Run a command once, in a container of its own that is made like a component's
///
/// It has the component's image, environment, volumes, networks, user and
/// limits, and none of its published ports; it is removed at its end. The
/// component itself need not run. Exits with the command's status, 128 and the
/// signal's number if a signal ended it, or 125 if it was not run or its end is
/// not known.
#[derive(Debug, Args)]
#[command(
    name = "run",
    after_help = "Examples:\n  mcp run --rm shop/web -- ./manage.py migrate\n  mcp run --rm -it shop/db -- psql -h shop-db\n  mcp run --rm shop/db --entrypoint pg_dump -- -h shop-db shop >shop.sql"
)]
pub struct RunArgs {
    /// The component; the service alone if it has only one
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: ServicePath,
    /// Remove the container at its end, which is done in any case
    #[arg(long)]
    pub rm: bool,
    /// Run this program in the place of the component's entry point
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// What the command gets
    #[command(flatten)]
    pub streams: StreamArgs,
    /// Which node to go to
    #[command(flatten)]
    pub node: NodeArgs,
    /// The command and its arguments, instead of the component's
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the command.
///
/// # Errors
///
/// The arguments contradict each other; all else is shown here.
pub async fn run(context: &Context<'_>, args: &RunArgs) -> Result<Exit, CliError> {
    let mut start = args.streams.start(context, &args.service, &args.command)?;
    start.entrypoint = args.entrypoint.clone().unwrap_or_default();
    Ok(session::run(context, Call::RunOnce, &args.service, &args.node.node, start).await)
}
