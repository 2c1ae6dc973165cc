//! `mcp list`.

use clap::Args;
use jiff::Timestamp;

use crate::cli::args::NodeArgs;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::status;
use crate::cli::views::list::ListView;
use crate::cli::views::problem;
use crate::rpc::agent_v1 as proto;

/// List what the registries hold, without asking systemd
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp list\n  mcp list -n rift --json")]
pub struct ListArgs {
    /// Which nodes to ask
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &ListArgs) -> Result<Exit, CliError> {
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let answer = client.list(proto::ListRequest {}).await;
            answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
        })
        .await?;
    let (answered, problems, errors) = problem::part(answers);
    let mut view = ListView { problems, ..ListView::default() };
    let now = Timestamp::now();
    for (node, answer) in answered {
        view.add(&node, answer, now);
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(context.finish(&errors))
}
