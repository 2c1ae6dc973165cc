//! `mcp undeploy`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::{progress, status};
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Remove a service from its node; its data stays unless purged
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp undeploy mcq\n  mcp undeploy mcq --purge-data --yes")]
pub struct UndeployArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
    /// Remove its volumes as well; asks first
    #[arg(long)]
    pub purge_data: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Nobody said that the data may go.
#[derive(Debug, thiserror::Error)]
enum NotConfirmed {
    #[error("the data of {0} would be lost, and there is no terminal to ask on")]
    Unasked(ServiceName),
    #[error("nothing was removed")]
    Declined,
}

/// Runs the command.
///
/// # Errors
///
/// The removal of data was not confirmed, or the node cannot be asked.
pub async fn run(context: &Context<'_>, args: &UndeployArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    if args.purge_data && !args.yes {
        confirm(context, &args.service)?;
    }
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    let request =
        proto::UndeployRequest { service: args.service.to_string(), purge_data: args.purge_data };
    let node = &target.node.name;
    let answer = target.client.undeploy(request).await.map_err(|s| status::error(node, &s))?;
    let followed = (node, &args.service);
    let view = progress::shown(context, followed, answer.into_inner()).await?;
    let Some(view) = view else { return Ok(progress::INTERRUPTED) };
    if let Some(local) = target.local.as_ref().filter(|_| view.succeeded()) {
        let hint = format!("rm {}    # or `mcp sync` deploys it again", local.path.display());
        context.ui.hint(&hint);
    }
    Ok(progress::end(context, &view))
}

fn confirm(context: &Context<'_>, service: &ServiceName) -> Result<(), CliError> {
    if !context.ui.can_ask() {
        let hint = format!("mcp undeploy {service} --purge-data --yes");
        return Err(CliError::usage(NotConfirmed::Unasked(service.clone())).hint(hint));
    }
    let question = format!("Remove {service} and all data in its volumes? This cannot be undone.");
    if context.ui.ask(&question).map_err(CliError::failed)? {
        return Ok(());
    }
    Err(CliError::failed(NotConfirmed::Declined))
}
