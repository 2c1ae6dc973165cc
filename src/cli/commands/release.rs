//! `mcp release`.

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::{progress, status};
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Hand a service over to the user: its units stay and run on without us
///
/// The unit files move to ~/.config/containers/systemd/SERVICE on the node,
/// drop-ins included, and the agent forgets the service: nothing is restarted,
/// and it comes back after a reboot as before. The local definition stays.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp release mcq")]
pub struct ReleaseArgs {
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
/// The node cannot be asked.
pub async fn run(context: &Context<'_>, args: &ReleaseArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service, &args.node.node).await?;
    let request =
        proto::ServiceRequest { service: args.service.to_string(), component: String::new() };
    let node = &target.node.name;
    let answer = target.client.release(request).await.map_err(|s| status::error(node, &s))?;
    let exit = progress::follow(context, (node, &args.service), answer.into_inner()).await?;
    if let (Exit::Done, Some(local)) = (exit, &target.local) {
        context.ui.hint(&format!(
            "mv {0} {0}.released    # or mcp sync would deploy it again",
            local.path.display()
        ));
    }
    Ok(exit)
}
