//! `mcp start`.

use clap::Args;

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::{progress, status};
use crate::rpc::agent_v1 as proto;

/// Start a service, or one component of it; it comes back after a reboot
///
/// Sets `active = true` in the local definition, if there is one and the
/// whole service is started.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp start mcq\n  mcp start metacrypt/web")]
pub struct StartArgs {
    /// The service, or service/component
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: ServicePath,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked, or the local definition cannot be written.
pub async fn run(context: &Context<'_>, args: &StartArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service.service, &args.node.node).await?;
    let request = proto::ServiceRequest {
        service: args.service.service.to_string(),
        component: args.service.wire_component(),
    };
    let node = &target.node.name;
    let answer = target.client.start(request).await.map_err(|s| status::error(node, &s))?;
    let exit = progress::follow(context, node, answer.into_inner()).await?;
    if exit == Exit::Done && args.service.component.is_none() {
        target.set_active(context, true)?;
    }
    Ok(exit)
}
