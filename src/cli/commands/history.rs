//! `mcp history`.

use clap::Args;
use jiff::Timestamp;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::status;
use crate::cli::views::history::HistoryView;
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Show the deployments of a service that can be gone back to
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mcp history mcq")]
pub struct HistoryArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &HistoryArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    let request =
        proto::ServiceRequest { service: args.service.to_string(), component: String::new() };
    let node = &target.node.name;
    let answer = target.client.history(request).await.map_err(|s| status::error(node, &s))?;
    let view = HistoryView::new(
        args.service.as_str(),
        node.as_str(),
        answer.into_inner(),
        Timestamp::now(),
    );
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(Exit::Done)
}
