//! `mcp reconcile`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::views::plan::PlanView;
use crate::cli::{progress, status};
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Bring a service back to what was deployed
///
/// Puts back files that were edited or removed, starts what should run and
/// stops what should not. Drop-ins stay.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp reconcile mcq --dry-run\n  mcp reconcile mcq")]
pub struct ReconcileArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &ReconcileArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    let request =
        proto::ServiceRequest { service: args.service.to_string(), component: String::new() };
    let node = &target.node.name;
    let refused = |s| status::error(node, &s);
    if args.dry_run {
        let plan = target.client.plan_reconcile(request).await.map_err(refused)?;
        let view = PlanView::new(node.as_str(), plan.into_inner());
        context.show(&view, |view| view.text(context.ui.palette()))?;
        return Ok(Exit::Done);
    }
    let answer = target.client.reconcile(request).await.map_err(refused)?;
    progress::follow(context, (node, &args.service), answer.into_inner()).await
}
