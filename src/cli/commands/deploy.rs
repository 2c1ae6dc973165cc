//! `mcp deploy`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::connection;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::local::{self, LocalDefinition};
use crate::cli::views::plan::PlanView;
use crate::cli::{progress, status};
use crate::names::NodeName;
use crate::rpc::agent_v1 as proto;
use crate::rpc::client::AgentClient;
use crate::ui::visible_lines;

/// Deploy a service, or one component of it, from its definition
///
/// The definition is -f FILE, else SERVICE.toml in the services directory,
/// else the one that the node accepted last.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp deploy mcq --dry-run\n  mcp deploy metacrypt/api\n  mcp deploy mcq -f ./mcq.toml -n rift"
)]
pub struct DeployArgs {
    /// The service, or service/component
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: ServicePath,
    /// Take the definition from this file
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Pull the images again, though the node has them
    #[arg(long)]
    pub pull: bool,
    /// Where to deploy
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Neither the operator nor the node has a definition.
#[derive(Debug, thiserror::Error)]
#[error("there is no definition of {service}: neither {} nor an accepted one on node {node}", path.display())]
struct NoDefinition {
    service: crate::names::ServiceName,
    path: PathBuf,
    node: NodeName,
}

/// Runs the command.
///
/// # Errors
///
/// There is no valid definition, or the node cannot be asked.
pub async fn run(context: &Context<'_>, args: &DeployArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let path = args.file.clone().unwrap_or_else(|| local::path(&settings, &args.service.service));
    let local = match &args.file {
        Some(file) => Some(local::required(file)?),
        None => local::load(&path)?,
    };
    if let Some(local) = &local {
        local.check(&args.service.service)?;
    }
    let defined = local.as_ref().and_then(LocalDefinition::node);
    let node = context.one_node(&settings, &args.node.node, defined.as_ref())?;
    let mut client = connection::open(&settings, &node).await?;
    let definition = match local {
        Some(local) => local.text,
        None => accepted(&mut client, &node.name, args, path.clone()).await?,
    };
    let request = proto::DeployRequest {
        definition,
        file_name: path.display().to_string(),
        component: args.service.wire_component(),
        pull: args.pull,
    };
    if args.dry_run {
        return plan(context, &mut client, &node.name, request).await;
    }
    let answer = client.deploy(request).await.map_err(|s| status::error(&node.name, &s))?;
    let followed = (&node.name, &args.service.service);
    progress::follow(context, followed, answer.into_inner()).await
}

/// Returns the definition that the node accepted last.
async fn accepted(
    client: &mut AgentClient,
    node: &NodeName,
    args: &DeployArgs,
    path: PathBuf,
) -> Result<String, CliError> {
    let service = &args.service.service;
    let request = proto::ServiceRequest { service: service.to_string(), component: String::new() };
    match client.definition(request).await {
        Ok(answer) => Ok(answer.into_inner().definition),
        Err(refused) if refused.code() == tonic::Code::NotFound => {
            let error =
                NoDefinition { service: service.clone(), path: path.clone(), node: node.clone() };
            Err(CliError::usage(error).hint(format!("write {}", path.display())))
        }
        Err(refused) => Err(status::error(node, &refused)),
    }
}

async fn plan(
    context: &Context<'_>,
    client: &mut AgentClient,
    node: &NodeName,
    request: proto::DeployRequest,
) -> Result<Exit, CliError> {
    let plan = client.plan(request).await.map_err(|s| status::error(node, &s))?.into_inner();
    let view = PlanView::new(node.as_str(), plan);
    for warning in &view.warnings {
        context.ui.warning(&visible_lines(warning));
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(Exit::Done)
}
