//! `mcp boot verify`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::status;
use crate::cli::views::boot_verify::{BootVerifyView, NodeFindings};
use crate::cli::views::problem;
use crate::rpc::agent_v1 as proto;

/// Prove that a node will come back from a reboot, or show why it will not
///
/// Changes nothing and starts nothing. Exits with 1 if anything failed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp boot verify\n  mcp boot verify -n rift --all")]
pub struct VerifyArgs {
    /// Also show what is as it should be
    #[arg(long)]
    pub all: bool,
    /// Which nodes to ask
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &VerifyArgs) -> Result<Exit, CliError> {
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let answer = client.boot_verify(proto::BootVerifyRequest {}).await;
            answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
        })
        .await?;
    let (answered, problems, errors) = problem::part(answers);
    let nodes = answered
        .into_iter()
        .map(|(node, answer)| NodeFindings::new(node, answer.findings))
        .collect();
    let view = BootVerifyView { nodes, problems };
    context.show(&view, |view| view.text(context.ui.palette(), args.all))?;
    Ok(match context.finish(&errors) {
        Exit::Done if view.failed() => Exit::Shown(ErrorKind::Failed),
        exit @ (Exit::Done | Exit::Differs | Exit::Shown(_) | Exit::Status(_)) => exit,
    })
}
