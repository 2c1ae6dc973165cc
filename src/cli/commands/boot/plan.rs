//! `mcp boot plan`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::status;
use crate::cli::views::boot_plan::BootPlanView;
use crate::cli::views::problem;
use crate::rpc::agent_v1 as proto;

/// Show what starts after what at a boot, and what makes it ready
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp boot plan\n  mcp boot plan -n rift --json")]
pub struct PlanArgs {
    /// Which nodes to ask
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &PlanArgs) -> Result<Exit, CliError> {
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let answer = client.boot_plan(proto::BootPlanRequest {}).await;
            answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
        })
        .await?;
    let (answered, problems, errors) = problem::part(answers);
    let mut view = BootPlanView { problems, ..BootPlanView::default() };
    for (node, answer) in answered {
        view.add(&node, answer);
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(context.finish(&errors))
}
