//! `mcp agent status`.

use clap::Args;
use jiff::Timestamp;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::status;
use crate::cli::views::agent_status::AgentsView;
use crate::cli::views::problem;
use crate::names::NodeName;
use crate::rpc::agent_v1 as proto;

/// Show which program each agent is, and what its last upgrade came to
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp agent status\n  mcp agent status rift --json")]
pub struct StatusArgs {
    /// Which nodes to ask [default: all]
    #[arg(value_name = "NODE", add = completion::nodes())]
    pub nodes: Vec<NodeName>,
    /// Which nodes to ask
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &StatusArgs) -> Result<Exit, CliError> {
    let chosen: Vec<NodeName> = args.node.node.iter().chain(&args.nodes).cloned().collect();
    let answers = context
        .ask(&chosen, async |node, mut client| {
            let answer = client.agent_status(proto::AgentStatusRequest {}).await;
            answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
        })
        .await?;
    let (answered, problems, errors) = problem::part(answers);
    let view = AgentsView::new(answered, problems, Timestamp::now());
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(context.finish(&errors))
}
