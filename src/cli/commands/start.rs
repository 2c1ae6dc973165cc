//! `mcp start`.

use clap::Args;

use crate::cli::args::{self, NodeArgs};
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::{progress, status};
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Start a service that was stopped
///
/// Sets `active = true` in the local definition, if there is one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mcp start mcq")]
pub struct StartArgs {
    /// The service
    #[arg(value_parser = args::to_start, add = completion::services())]
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
pub async fn run(context: &Context<'_>, args: &StartArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    // Before the node is asked: what cannot be written afterwards.
    target.local.as_ref().map(|local| local.with_active(true)).transpose()?;
    let request =
        proto::ServiceRequest { service: args.service.to_string(), component: String::new() };
    let node = &target.node.name;
    let answer = target.client.start(request).await.map_err(|s| status::error(node, &s))?;
    let exit = progress::follow(context, (node, &args.service), answer.into_inner()).await?;
    // What is not ready yet is to run all the same.
    target.set_active(context, true)?;
    Ok(exit)
}
