//! `mcp purge`.

use clap::Args;

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::context::{Context, Exit};
use crate::cli::definitions::{self, Definitions};
use crate::cli::error::CliError;
use crate::cli::status;
use crate::cli::views::problem;
use crate::cli::views::purge::PurgeView;
use crate::names::ServiceName;
use crate::rpc::agent_v1 as proto;

/// Remove forgotten services from the registries of nodes
///
/// An entry is removed if the services directory does not define it, and
/// nothing of its service runs or was stopped by somebody: it failed, ended,
/// or is gone from the node. An entry goes with its service. Data stays.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcp purge --dry-run\n  mcp purge mcq -n rift")]
pub struct PurgeArgs {
    /// Only this service, or service/component
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: Option<ServicePath>,
    /// Show what would be removed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which nodes to purge
    #[command(flatten)]
    pub node: NodeArgs,
}

/// A file may be about any service.
#[derive(Debug, thiserror::Error)]
#[error("nobody can tell whose definition {} is, so every service may be defined", .0.display())]
struct Unknown(std::path::PathBuf);

/// Runs the command.
///
/// # Errors
///
/// The services directory cannot be read, or a file in it may be about any
/// service.
pub async fn run(context: &Context<'_>, args: &PurgeArgs) -> Result<Exit, CliError> {
    let all = definitions::load(&context.settings()?)?;
    for broken in &all.broken {
        context.ui.warning(&format!("{}; what it defines stays", broken.error.message()));
    }
    if let Some(broken) = all.unknown() {
        return Err(CliError::usage(Unknown(broken.path.clone())));
    }
    let service = args.service.as_ref().map(|path| path.service.to_string()).unwrap_or_default();
    let request = proto::PurgeRequest {
        component: args.service.as_ref().map(ServicePath::wire_component).unwrap_or_default(),
        dry_run: args.dry_run,
        defined: defined(&all),
        service,
    };
    let answers = context
        .ask(&args.node.node, async |node, mut client| {
            let answer = client.purge(request.clone()).await;
            status::unless_missing(&node.name, answer, !request.service.is_empty())
        })
        .await?;
    let (answered, problems, errors) = problem::part(answers);
    let named: Option<&ServiceName> = args.service.as_ref().map(|path| &path.service);
    status::known_somewhere(named, &answered, &errors, |a| a.results.is_empty())?;
    let mut view = PurgeView { dry_run: args.dry_run, problems, ..PurgeView::default() };
    for (node, answer) in answered {
        view.add(&node, answer);
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(context.finish(&errors))
}

fn defined(all: &Definitions) -> Vec<String> {
    let good = all.good.values().flat_map(|d| {
        let service = &d.service.name;
        d.service.components.iter().map(move |c| format!("{service}/{}", c.name))
    });
    // All of a service, where it cannot be read.
    let broken = all.broken.iter().flat_map(|b| &b.services).map(ToString::to_string);
    good.chain(broken).collect()
}
