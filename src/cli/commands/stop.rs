//! `mcp stop`.

use clap::Args;

use crate::cli::args::{self, NodeArgs};
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::{progress, status};
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Stop a service; it stays down after a reboot
///
/// A start or deploy of it that is under way is given up. Sets `active = false`
/// in the local definition, if there is one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mcp stop mcq")]
pub struct StopArgs {
    /// The service
    #[arg(value_parser = args::to_stop, add = completion::services())]
    pub service: ServiceName,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked, or the local definition cannot be written.
pub async fn run(context: &Context<'_>, args: &StopArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    // Before the node is asked: what cannot be written afterwards.
    target.local.as_ref().map(|local| local.with_active(false)).transpose()?;
    let request =
        proto::ServiceRequest { service: args.service.to_string(), component: String::new() };
    let node = &target.node.name;
    let answer = target.client.stop(request).await.map_err(|s| status::error(node, &s))?;
    let followed = (node, &args.service);
    let view = progress::shown(context, followed, answer.into_inner()).await?;
    let Some(view) = view else {
        let again = format!("mcp stop {}    # again, so that its definition says so", args.service);
        context.ui.hint(&again);
        return Ok(progress::INTERRUPTED);
    };
    // What was never there is not to come as stopped one day.
    if view.succeeded() && view.generation.is_some() {
        target.set_active(context, false)?;
    }
    Ok(progress::end(context, &view))
}
