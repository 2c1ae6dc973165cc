//! `mcp adopt`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::connection;
use crate::cli::context::{Context, Exit};
use crate::cli::error::CliError;
use crate::cli::local;
use crate::cli::views::adopt::AdoptView;
use crate::cli::{progress, status};
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;
use crate::ui::visible_lines;

/// Take over containers that run, made by podman run, by units or by quadlets
///
/// The running containers SERVICE and SERVICE-* of the agent's user become the
/// components of SERVICE. Shown first are the definition, how podman's
/// arguments differ, and which containers are restarted, with the reason: a
/// container that already runs under the unit that it will have, with the same
/// arguments, is not. Ports, volumes and their data stay. If what comes does
/// not become ready, everything is put back. The definition is written to the
/// services directory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp adopt blog --dry-run\n  mcp adopt blog --yes -n rift")]
pub struct AdoptArgs {
    /// The containers SERVICE and SERVICE-*, and what the service is called
    #[arg(add = completion::strangers())]
    pub service: ServiceName,
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Where they run
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
enum AdoptError {
    #[error("{} is there and differs from the definition that the containers make", .0.display())]
    Differs(PathBuf),
    #[error("these containers would be taken over, and there is no terminal to ask on: {}", .0.join(", "))]
    Unasked(Vec<String>),
    #[error("nothing was done")]
    Declined,
}

/// Runs the command.
///
/// # Errors
///
/// There is nothing to take over, something stands against it, or nobody
/// confirmed it.
pub async fn run(context: &Context<'_>, args: &AdoptArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let node = context.one_node(&settings, &args.node.node, None)?;
    let mut client = connection::open(&settings, &node).await?;
    let service = args.service.to_string();
    let request = proto::PlanAdoptRequest { service: service.clone() };
    let refused = |s: tonic::Status| status::error(&node.name, &s);
    let plan = client.plan_adopt(request).await.map_err(refused)?.into_inner();
    let view = AdoptView::new(node.name.as_str(), &service, plan);
    for line in view.warnings() {
        context.ui.warning(&visible_lines(&line));
    }
    let path = local::path(&settings, &args.service);
    let is_there = match local::load(&path)? {
        Some(own) if own.text == view.definition => true,
        Some(_) => {
            let hint = format!("mv {0} {0}.before", path.display());
            return Err(CliError::failed(AdoptError::Differs(path)).hint(&hint));
        }
        None => false,
    };
    if args.dry_run {
        context.show(&view, |view| view.text(context.ui.palette()))?;
        return Ok(Exit::Done);
    }
    if !context.json {
        context.show(&view, |view| view.text(context.ui.palette()))?;
    }
    if !args.yes {
        confirm(context, &view)?;
    }
    let request = proto::AdoptRequest { service, fingerprint: view.fingerprint.clone() };
    let answer = client.adopt(request).await.map_err(refused)?;
    let exit = progress::follow(context, (&node.name, &args.service), answer.into_inner()).await?;
    if exit == Exit::Done && !is_there {
        local::write(&path, view.definition.as_bytes(), local::PRIVATE)?;
        context.ui.status(&format!("its definition is {}", path.display()));
    }
    if exit == progress::INTERRUPTED && !is_there {
        let name = &args.service;
        context.ui.hint(&format!("mcp service export {name}    # its definition, once it is done"));
    }
    Ok(exit)
}

fn confirm(context: &Context<'_>, view: &AdoptView) -> Result<(), CliError> {
    let all: Vec<String> = view.containers.iter().map(|c| c.container.clone()).collect();
    if !context.ui.can_ask() {
        let hint = format!("mcp adopt {} --yes", view.service);
        return Err(CliError::usage(AdoptError::Unasked(all)).hint(&hint));
    }
    let restarted = view.containers.iter().filter(|c| !c.in_place).count();
    let question =
        format!("Take {} over? {restarted} of {} is restarted.", all.join(", "), all.len());
    if context.ui.ask(&question).map_err(CliError::failed)? {
        return Ok(());
    }
    Err(CliError::failed(AdoptError::Declined))
}
