//! `mcp sync`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use futures_util::future::join_all;

use crate::cli::args::NodeArgs;
use crate::cli::config::Node;
use crate::cli::connection;
use crate::cli::context::{Answer, Context, Exit};
use crate::cli::definitions::{self, Defined, Definitions};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::syncing::{self, Part, Planned};
use crate::cli::views::problem::NodeProblem;
use crate::cli::views::sync::{SyncFile, SyncView};
use crate::names::NodeName;

/// Bring nodes to what the services directory says
///
/// Every definition is deployed to its node: that of its `node =`, else the
/// only one. Services without a definition are told, and stay unless --prune
/// is given; their data stays in any case. Nodes are worked on at the same
/// time, the services of a node one after the other, behind what they depend
/// on. A file that cannot be used is told and keeps its service as it is.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp sync --dry-run\n  mcp sync --dry-run --exit-code -q >/dev/null || echo not in sync\n  mcp sync --prune --yes -n rift\n\nExit codes besides the usual: 5 with --exit-code, if something would change"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct SyncArgs {
    /// Show what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Undeploy what has no definition; asks first
    #[arg(long)]
    pub prune: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// End with 5 if something would be done
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// Which nodes to sync
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Why nothing is taken away.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{} holds no usable definition; --prune would take every service away", .0.display())]
    NothingDefined(PathBuf),
    #[error("these services would be undeployed, and there is no terminal to ask on: {}", .0.join(", "))]
    Unasked(Vec<String>),
    #[error("nothing was done")]
    Declined,
}

/// Runs the command.
///
/// # Errors
///
/// There is no services directory, or the removal of services was not
/// confirmed. What goes wrong with one node or service is shown, and does not
/// keep the others from being worked on.
pub async fn run(context: &Context<'_>, args: &SyncArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut all = definitions::load(&settings)?;
    let by_node = all.by_node(&settings);
    if args.prune && all.good.is_empty() {
        return Err(CliError::usage(SyncError::NothingDefined(settings.services_dir.clone())));
    }
    for broken in &all.broken {
        broken.error.report(context.ui);
    }
    let prune = args.prune && may_prune(context, &all);
    let nothing: Vec<Defined> = Vec::new();
    let part =
        |node: &NodeName| Part { here: by_node.get(node).unwrap_or(&nothing), all: &all, prune };
    let mut answers = context
        .ask(&args.node.node, async |node, client| {
            part(&node.name).plan(context, node, client).await
        })
        .await?;
    if !args.dry_run {
        confirm(context, args, &answers)?;
        let parts: BTreeMap<NodeName, Part<'_>> =
            answers.iter().map(|a| (a.node.name.clone(), part(&a.node.name))).collect();
        let working = answers.iter_mut().map(async |answer| {
            if let (Ok(planned), Some(part)) = (&mut answer.result, parts.get(&answer.node.name)) {
                let lost = carry_out(context, part, &answer.node, planned).await.err();
                return lost.map(|error| (answer.node.clone(), error));
            }
            None
        });
        let lost = join_all(working).await;
        return end(context, args, answers, lost.into_iter().flatten().collect(), &all);
    }
    end(context, args, answers, Vec::new(), &all)
}

/// Refuses to take anything away while a file may be about any service.
fn may_prune(context: &Context<'_>, all: &Definitions) -> bool {
    let Some(unknown) = all.unknown() else {
        return true;
    };
    context.ui.warning(&format!(
        "nothing is undeployed: nobody can tell whose definition {} is",
        unknown.path.display()
    ));
    false
}

fn confirm(
    context: &Context<'_>,
    args: &SyncArgs,
    answers: &[Answer<Planned>],
) -> Result<(), CliError> {
    let planned = answers.iter().filter_map(|a| a.result.as_ref().ok());
    let gone = syncing::takes_away(args, planned.flat_map(|p| &p.services));
    if gone.is_empty() || args.yes {
        return Ok(());
    }
    if !context.ui.can_ask() {
        let error = CliError::usage(SyncError::Unasked(gone));
        return Err(error.hint("mcp sync --prune --dry-run").hint("mcp sync --prune --yes"));
    }
    let question = format!("Undeploy {}? Their data stays.", gone.join(", "));
    if context.ui.ask(&question).map_err(CliError::failed)? {
        return Ok(());
    }
    Err(CliError::failed(SyncError::Declined))
}

async fn carry_out(
    context: &Context<'_>,
    part: &Part<'_>,
    node: &Node,
    planned: &mut Planned,
) -> Result<(), CliError> {
    let mut client = connection::open(&context.settings()?, node).await?;
    part.carry_out(context, node, &mut client, &mut planned.services).await
}

fn end(
    context: &Context<'_>,
    args: &SyncArgs,
    answers: Vec<Answer<Planned>>,
    lost: Vec<(Node, CliError)>,
    all: &Definitions,
) -> Result<Exit, CliError> {
    let mut view = SyncView { dry_run: args.dry_run, ..SyncView::default() };
    let mut kinds = Vec::new();
    view.problems.extend(lost.iter().map(|(node, error)| NodeProblem::new(node, error)));
    let mut errors: Vec<CliError> = lost.into_iter().map(|(_, error)| error).collect();
    for answer in answers {
        match answer.result {
            Ok(planned) => {
                kinds.extend(planned.refused);
                view.services.extend(planned.services);
            }
            Err(error) => {
                view.problems.push(NodeProblem::new(&answer.node, &error));
                errors.push(error);
            }
        }
    }
    view.broken = all
        .broken
        .iter()
        .map(|b| SyncFile {
            path: b.path.display().to_string(),
            services: b.services.iter().map(ToString::to_string).collect(),
            message: b.error.message(),
            unclear: b.unclear,
        })
        .collect();
    kinds.extend(all.broken.iter().map(|_| ErrorKind::Usage));
    view.summarise();
    if view.summary.failed > 0 {
        kinds.push(ErrorKind::Failed);
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    context.finish(&errors);
    kinds.extend(errors.iter().map(|e| e.kind));
    Ok(match worst(&kinds) {
        Some(kind) => Exit::Shown(kind),
        None if args.exit_code && view.has_work() => Exit::Differs,
        None => Exit::Done,
    })
}

/// Returns the kind that decides the exit code: first what keeps the answer
/// from being whole, then what is wrong with definitions, then what was tried.
fn worst(kinds: &[ErrorKind]) -> Option<ErrorKind> {
    [ErrorKind::Unreachable, ErrorKind::NotAllowed, ErrorKind::Usage, ErrorKind::Failed]
        .into_iter()
        .find(|kind| kinds.contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_outweighs_a_failure_and_no_node_that_was_not_asked() {
        use ErrorKind::{Failed, NotAllowed, Unreachable, Usage};
        assert_eq!(worst(&[]), None);
        assert_eq!(worst(&[Failed]), Some(Failed));
        assert_eq!(worst(&[Failed, Usage, Failed]), Some(Usage));
        assert_eq!(worst(&[Usage, NotAllowed]), Some(NotAllowed));
        assert_eq!(worst(&[NotAllowed, Usage, Unreachable]), Some(Unreachable));
    }
}
