//! `mcp doctor`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::status;
use crate::cli::views::doctor::DoctorView;
use crate::cli::views::problem;
use crate::rpc::agent_v1 as proto;

/// Look for what is wrong with nodes, and name the commands that mend it
///
/// Where the agent is down, `mcp-agent doctor` on the node does the same.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp doctor\n  mcp doctor -n rift --json")]
pub struct DoctorArgs {
    /// Show what is fine as well
    #[arg(short, long)]
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
pub async fn run(context: &Context<'_>, args: &DoctorArgs) -> Result<Exit, CliError> {
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let answer = client.doctor(proto::DoctorRequest {}).await;
            answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
        })
        .await?;
    let answers = answers.into_iter().map(|answer| answer.or_without_agent(None));
    let (answered, problems, errors) = problem::part(answers.collect());
    let mut view = DoctorView { problems, ..DoctorView::default() };
    for (node, answer) in answered {
        view.add(&node, answer);
    }
    context.show(&view, |view| view.text(args.all, context.ui.palette()))?;
    let exit = context.finish(&errors);
    Ok(if errors.is_empty() && view.has_failures() { Exit::Shown(ErrorKind::Failed) } else { exit })
}
