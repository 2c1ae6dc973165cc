//! `mcp alert-test`.

use clap::Args;
use serde::Serialize;

use crate::cli::args::NodeArgs;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::status;
use crate::cli::views::findings::{self, FindingView};
use crate::rpc::agent_v1 as proto;

/// Try the alerts of a node: its command and its webhooks
///
/// The agent sends an event of kind "test" to each of them once, as it would
/// send any other, and says how that went.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mcp alert-test -n rift")]
pub struct AlertTestArgs {
    /// Where to try
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct AlertTestView {
    node: String,
    findings: Vec<FindingView>,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &AlertTestArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let node = context.one_node(&settings, &args.node.node, None)?;
    let mut client = crate::cli::connection::open(&settings, &node).await?;
    let answer = client.test_alerts(proto::TestAlertsRequest {}).await;
    let answer = answer.map_err(|s| status::error(&node.name, &s))?.into_inner();
    let findings = answer.findings.into_iter().map(FindingView::from).collect();
    let view = AlertTestView { node: node.name.to_string(), findings };
    context.show(&view, |view| findings::text(&view.findings, context.ui.palette()))?;
    let all_well = view.findings.iter().all(|finding| finding.level == "ok");
    Ok(if all_well { Exit::Done } else { Exit::Shown(ErrorKind::Failed) })
}
