//! `mcp restart`.

use clap::Args;

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::{progress, status};
use crate::rpc::agent_v1 as proto;

/// Restart a service, or one component of it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp restart mcq\n  mcp restart metacrypt/web")]
pub struct RestartArgs {
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
/// The node cannot be asked.
pub async fn run(context: &Context<'_>, args: &RestartArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service.service, &args.node.node).await?;
    let request = proto::ServiceRequest {
        service: args.service.service.to_string(),
        component: args.service.wire_component(),
    };
    let node = &target.node.name;
    let answer = target.client.restart(request).await.map_err(|s| status::error(node, &s))?;
    progress::follow(context, (node, &args.service.service), answer.into_inner()).await
}
