//! `mcp logs`.

use clap::Args;
use jiff::tz::TimeZone;

use crate::cli::args::ServicePath;
use crate::cli::completion;
use crate::cli::context::{Context, Exit, harmless_json};
use crate::cli::error::{CliError, OutputError};
use crate::cli::status;
use crate::cli::views::logs::{LogLine, LogStyle};
use crate::names::NodeName;
use crate::rpc::agent_v1 as proto;

/// How many lines are shown when nothing else limits them.
const LINES: u32 = 100;

/// Show the journal of a service, or of one component of it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp logs mcq -n 10\n  mcp logs metacrypt/api -f --since '10 min ago'"
)]
pub struct LogsArgs {
    /// The service, or service/component
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: ServicePath,
    /// Go on as lines come, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Show the last N lines; without it 100, or all that --since selects
    #[arg(short = 'n', long, visible_alias = "tail", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub lines: Option<u32>,
    /// Show lines from this time on: how long ago (10m, 2h30m), today, a day or
    /// a moment (2026-05-01, "2026-05-01 13:00")
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    pub timestamps: bool,
    /// Go to this node
    #[arg(long = "node", id = "own_node", value_name = "NODE", add = completion::nodes())]
    pub node: Vec<NodeName>,
}

/// Runs the command.
///
/// # Errors
///
/// The node cannot be asked, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &LogsArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &args.service.service, &args.node).await?;
    let request = proto::LogsRequest {
        service: args.service.service.to_string(),
        component: args.service.wire_component(),
        follow: args.follow,
        lines: args.lines.unwrap_or(if args.since.is_some() { 0 } else { LINES }),
        since: args.since.clone().unwrap_or_default(),
    };
    let style = LogStyle {
        palette: context.ui.palette(),
        timestamps: args.timestamps.then(TimeZone::system),
        all_of: args.service.component.is_none().then(|| args.service.service.to_string()),
    };
    let node = &target.node.name;
    let refused = |status| status::error(node, &status);
    let mut entries = target.client.logs(request).await.map_err(refused)?.into_inner();
    while let Some(entry) = entries.message().await.map_err(refused)? {
        let line = LogLine::from(entry);
        let text = if context.json {
            let document = serde_json::to_string(&line).map_err(CliError::failed)?;
            format!("{}\n", harmless_json(&document))
        } else {
            line.text(&style)
        };
        context.ui.data(&text).map_err(OutputError::from)?;
        if context.ui.is_closed() {
            break;
        }
    }
    Ok(Exit::Done)
}
