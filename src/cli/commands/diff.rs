//! `mcp diff`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::status;
use crate::cli::views::history::DiffView;
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Show how two deployments of a service differ
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp diff mcq\n  mcp diff mcq 3 5")]
pub struct DiffArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
    /// The older generation; the one before the newer, if not given
    pub from: Option<u64>,
    /// The newer generation; the one in force, if not given
    pub to: Option<u64>,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &DiffArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    let request = proto::DiffRequest {
        service: args.service.to_string(),
        from: args.from.unwrap_or_default(),
        to: args.to.unwrap_or_default(),
    };
    let node = &target.node.name;
    let answer = target.client.diff(request).await;
    let answer = answer.map_err(|s| status::of_generation(node, &args.service, &s))?;
    let view = DiffView::new(args.service.as_str(), node.as_str(), answer.into_inner());
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(Exit::Done)
}
