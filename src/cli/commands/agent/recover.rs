//! `mcp agent recover`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::connection;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::status;
use crate::cli::views::operation::StepView;
use crate::cli::views::recovery::RecoveryView;
use crate::names::ServiceName;
use crate::rpc::agent_v1::{self as proto, recover_event::Event};
use crate::ui::visible_lines;

/// Bring back what was lost of registry, unit files or podman's storage
///
/// Any one of the three makes the other two again. Nothing that is newer
/// is overwritten. What should run is started, in order.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp agent recover --dry-run\n  mcp agent recover\n  mcp agent recover mcq"
)]
pub struct RecoverArgs {
    /// For these services do also what is not clear by itself
    #[arg(add = completion::services())]
    pub services: Vec<ServiceName>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which node
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked.
pub async fn run(context: &Context<'_>, args: &RecoverArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let node = context.one_node(&settings, &args.node.node, None)?;
    let mut client = connection::open(&settings, &node).await?;
    let request = proto::RecoverRequest {
        dry_run: args.dry_run,
        services: args.services.iter().map(ToString::to_string).collect(),
    };
    let failed = |status: tonic::Status| status::error(&node.name, &status);
    let mut events = client.recover(request).await.map_err(failed)?.into_inner();
    let mut view = RecoveryView::new(node.name.as_str(), args.dry_run);
    while let Some(event) = events.message().await.map_err(failed)? {
        match event.event {
            Some(Event::Plan(plan)) => view.plan(plan),
            Some(Event::Step(step)) => {
                if let Some(step) = StepView::ended(&step) {
                    context.ui.status(&step.line(context.ui.err_palette()));
                }
            }
            Some(Event::Warning(text)) => context.ui.warning(&visible_lines(&text)),
            Some(Event::End(end)) => view.end(end),
            None => {}
        }
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(if view.succeeded() { Exit::Done } else { Exit::Shown(ErrorKind::Failed) })
}
