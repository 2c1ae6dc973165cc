//! `mcp events`.

use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use jiff::tz::TimeZone;

use crate::cli::args::ServicePath;
use crate::cli::completion;
use crate::cli::config::{Node, Settings};
use crate::cli::context::{Context, Exit, harmless_json};
use crate::cli::error::{CliError, ErrorKind, OutputError};
use crate::cli::views::events::{EventLine, EventStyle};
use crate::cli::{connection, status};
use crate::names::NodeName;
use crate::rpc::agent_v1 as proto;

/// How many events are shown when nothing else limits them.
const LINES: u32 = 100;
/// How often a node that went away is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Show what happened to services: starts, failures, drift, deploys
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp events -f\n  mcp events metacrypt/api --since 1h\n  mcp events --kind failed --kind drift --json"
)]
pub struct EventsArgs {
    /// Only of this service, or service/component
    #[arg(value_name = "SERVICE[/COMPONENT]", add = completion::services())]
    pub service: Option<ServicePath>,
    /// Go on as events come, until interrupted; a node that goes away is
    /// taken up again where it was
    #[arg(short, long)]
    pub follow: bool,
    /// Show the last N events; without it 100, or all that --since selects
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub lines: Option<u32>,
    /// Show events from this time on: how long ago (10m, 2h30m), today, a day
    /// or a moment (2026-05-01, "2026-05-01 13:00")
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Show only this kind, such as failed or drift; may be given several times
    #[arg(long, value_name = "KIND", add = completion::event_kinds())]
    pub kind: Vec<String>,
    /// Go to this node; may be given several times
    #[arg(long = "node", id = "own_node", value_name = "NODE", add = completion::nodes())]
    pub node: Vec<NodeName>,
}

impl EventsArgs {
    fn request(&self) -> proto::EventsRequest {
        let service = self.service.as_ref();
        proto::EventsRequest {
            service: service.map(|path| path.service.to_string()).unwrap_or_default(),
            component: service.map(ServicePath::wire_component).unwrap_or_default(),
            kinds: self.kind.clone(),
            since: self.since.clone().unwrap_or_default(),
            lines: self.lines.unwrap_or(if self.since.is_some() { 0 } else { LINES }),
            follow: self.follow,
            after: 0,
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, or the output cannot be written.
pub async fn run(context: &Context<'_>, args: &EventsArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let nodes = context.several(&settings, &args.node)?;
    let style = EventStyle {
        palette: context.ui.palette(),
        zone: TimeZone::system(),
        nodes: nodes.len() > 1,
    };
    if args.follow {
        let follows = nodes.iter().map(|node| {
            follow(Followed { context, settings: &settings, node, style: &style }, args)
        });
        let ended = join_all(follows).await;
        let errors: Vec<CliError> = ended.into_iter().filter_map(Result::err).collect();
        return Ok(context.finish(&errors));
    }
    let answers = context
        .ask(&args.node, async |node, mut client| {
            let refused = |status| status::error(&node.name, &status);
            let mut events = client.events(args.request()).await.map_err(refused)?.into_inner();
            let mut lines = Vec::new();
            while let Some(event) = events.message().await.map_err(refused)? {
                lines.push(EventLine::new(node.name.as_str(), event));
            }
            Ok(lines)
        })
        .await?;
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer.result {
            Ok(events) => lines.extend(events),
            Err(error) => errors.push(error),
        }
    }
    // Each node's are in order already, whatever its clock did meanwhile.
    lines.sort_by_key(EventLine::time);
    for line in &lines {
        show(context, line, &style)?;
    }
    Ok(context.finish(&errors))
}

fn show(context: &Context<'_>, line: &EventLine, style: &EventStyle) -> Result<(), CliError> {
    let text = if context.json {
        let document = serde_json::to_string(line).map_err(CliError::failed)?;
        format!("{}\n", harmless_json(&document))
    } else {
        line.text(style)
    };
    Ok(context.ui.data(&text).map_err(OutputError::from)?)
}

/// A node whose events are followed.
#[derive(Clone, Copy)]
struct Followed<'a> {
    context: &'a Context<'a>,
    settings: &'a Settings,
    node: &'a Node,
    style: &'a EventStyle,
}

/// Follows one node. That it cannot be reached at first is an error; later it
/// is told, and tried again.
async fn follow(followed: Followed<'_>, args: &EventsArgs) -> Result<(), CliError> {
    let Followed { context, node, .. } = followed;
    let mut request = args.request();
    let mut been_there = false;
    loop {
        let error = match listen(followed, &mut request, &mut been_there).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !been_there || error.kind != ErrorKind::Unreachable {
            return Err(error);
        }
        if request.follow {
            context.ui.warning(&format!("node {} went away; trying again", node.name));
            // Said once.
            request.follow = false;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Shows events until the node goes away or nobody reads any more.
async fn listen(
    followed: Followed<'_>,
    request: &mut proto::EventsRequest,
    been_there: &mut bool,
) -> Result<(), CliError> {
    let Followed { context, settings, node, style } = followed;
    let refused = |status| status::error(&node.name, &status);
    let mut client = connection::open(settings, node).await?;
    let ask = proto::EventsRequest { follow: true, ..request.clone() };
    let mut events = client.events(ask).await.map_err(refused)?.into_inner();
    while let Some(event) = events.message().await.map_err(refused)? {
        if event.id == 0 {
            // A sign of life, before the first event.
            if std::mem::replace(been_there, true) && !request.follow {
                context.ui.status(&format!("node {} is back", node.name));
            }
            request.follow = true;
            continue;
        }
        // What comes after this, should the node go away.
        *request = proto::EventsRequest {
            after: event.id,
            lines: 0,
            since: String::new(),
            ..request.clone()
        };
        show(context, &EventLine::new(node.name.as_str(), event), style)?;
        if context.ui.is_closed() {
            return Ok(());
        }
    }
    Err(CliError::new(ErrorKind::Unreachable, Ended(node.name.clone())))
}

/// The agent ended.
#[derive(Debug, thiserror::Error)]
#[error("node {0} tells no more events")]
struct Ended(NodeName);
