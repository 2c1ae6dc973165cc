//! `mcp status`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::status;
use crate::cli::views::problem;
use crate::cli::views::status::StatusView;
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Compare what was deployed with what systemd says, and show drift
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp status\n  mcp status mcq -n rift")]
pub struct StatusArgs {
    /// Show only this service
    #[arg(add = completion::services())]
    pub service: Option<ServiceName>,
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
    let service = args.service.as_ref().map(ToString::to_string).unwrap_or_default();
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let request = proto::StatusRequest { service: service.clone(), files: true };
            let answer = client.status(request).await;
            status::unless_missing(&node.name, answer, !service.is_empty())
        })
        .await?;
    let answers = answers.into_iter().map(|answer| answer.or_without_agent(args.service.as_ref()));
    let (answered, problems, errors) = problem::part(answers.collect());
    status::known_somewhere(args.service.as_ref(), &answered, &errors, |a| a.services.is_empty())?;
    let mut view = StatusView { problems, ..StatusView::default() };
    for (node, answer) in answered {
        view.add(&node, answer);
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(context.finish(&errors))
}
