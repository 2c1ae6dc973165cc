//! `mcp rollback`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::{progress, status};
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Deploy an earlier definition of a service again, as a new generation
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp rollback mcq\n  mcp rollback mcq --to 3")]
pub struct RollbackArgs {
    /// The service
    #[arg(add = completion::services())]
    pub service: ServiceName,
    /// Go back to this generation; the one before, if not given
    #[arg(long, value_name = "GENERATION", value_parser = clap::value_parser!(u64).range(1..), add = completion::generations())]
    pub to: Option<u64>,
    /// Where it is
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked.
pub async fn run(context: &Context<'_>, args: &RollbackArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    let request = proto::RollbackRequest {
        service: args.service.to_string(),
        to: args.to.unwrap_or_default(),
    };
    let node = &target.node.name;
    let answer = target.client.rollback(request).await;
    let answer = answer.map_err(|s| status::of_generation(node, &args.service, &s))?;
    progress::follow(context, (node, &args.service), answer.into_inner()).await
}
