//! `mcp ps`.

use clap::Args;
use jiff::Timestamp;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::status;
use crate::cli::views::problem;
use crate::cli::views::ps::PsView;
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Show what runs now, on every node
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp ps\n  mcp ps mcq --json")]
pub struct PsArgs {
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
pub async fn run(context: &Context<'_>, args: &PsArgs) -> Result<Exit, CliError> {
    let service = args.service.as_ref().map(ToString::to_string).unwrap_or_default();
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let request = proto::StatusRequest { service: service.clone(), files: false };
            let answer = client.status(request).await;
            status::unless_missing(&node.name, answer, !service.is_empty())
        })
        .await?;
    let (answered, problems, errors) = problem::part(answers);
    status::known_somewhere(args.service.as_ref(), &answered, &errors, |a| a.services.is_empty())?;
    let mut view = PsView { problems, ..PsView::default() };
    let now = Timestamp::now();
    for (node, answer) in answered {
        view.add(&node, answer, now);
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(context.finish(&errors))
}
