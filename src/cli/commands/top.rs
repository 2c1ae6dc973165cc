//! `mcp top`.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::config::{Node, Settings};
use crate::cli::context::{Answer, Context, Exit, harmless_json};
use crate::cli::error::{CliError, ErrorKind, OutputError};
use crate::cli::full_screen::FullScreen;
use crate::cli::views::problem;
use crate::cli::views::top::{Frame, Next, SampleView, Screen, SortKey, TopView, draw, frame};
use crate::cli::{connection, status};
use crate::names::{NodeName, ServiceName};
use crate::rpc::agent_v1 as proto;

/// Between the two samples of `--once`.
const GLANCE: Interval = Interval(500);
/// How often a node that went away is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How much longer than its interval a sample may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Show what components use, live: processors, memory, reading and writing
///
/// Keys: c, m, i, r, e, n sort by cpu, memory, io, restarts, events, name, and
/// the other way round when pressed again; / filters; t shows only what is in
/// trouble; space pauses; q ends. Nodes look only while somebody watches.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp top\n  mcp top --sort memory --filter metacrypt\n  mcp top --once --json"
)]
pub struct TopArgs {
    /// Show only this service
    #[arg(add = completion::services())]
    pub service: Option<ServiceName>,
    /// Sort by this, the most first
    #[arg(long, value_enum, default_value_t)]
    pub sort: SortKey,
    /// Show only components whose node/service/component holds this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,
    /// Look this often, in seconds: 0.2 to 60
    #[arg(short = 'd', long, value_name = "SECONDS", default_value = "2")]
    pub interval: Interval,
    /// Show it once, and end; so it is where no person reads
    #[arg(long)]
    pub once: bool,
    /// Which nodes to ask
    #[command(flatten)]
    pub node: NodeArgs,
}

/// The time between two samples, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(u32);

/// The text is no interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a number of seconds from 0.2 to 60")]
pub struct NoInterval;

impl FromStr for Interval {
    type Err = NoInterval;

    fn from_str(text: &str) -> Result<Self, NoInterval> {
        let seconds: f64 = text.parse().map_err(|_| NoInterval)?;
        let duration = Duration::try_from_secs_f64(seconds).map_err(|_| NoInterval)?;
        let ms = u32::try_from(duration.as_millis()).map_err(|_| NoInterval)?;
        if (200..=60_000).contains(&ms) { Ok(Self(ms)) } else { Err(NoInterval) }
    }
}

impl TopArgs {
    fn request(&self, interval: Interval) -> proto::TopRequest {
        proto::TopRequest {
            service: self.service.as_ref().map(ToString::to_string).unwrap_or_default(),
            interval_ms: interval.0,
        }
    }

    fn screen(&self) -> Screen {
        Screen { sort: self.sort, filter: self.filter.clone(), ..Screen::default() }
    }
}

/// Runs the command.
///
/// # Errors
///
/// The config is invalid, no node has the service, or the output cannot be
/// written.
pub async fn run(context: &Context<'_>, args: &TopArgs) -> Result<Exit, CliError> {
    let live = !args.once && context.ui.is_a_person() && !context.json;
    let stream = !args.once && context.json;
    // Also when it goes on: a mistake is told before the screen is taken.
    let answers = glance(context, args, live || stream).await?;
    let nodes: Vec<Node> = answers
        .iter()
        .filter(|answer| !matches!(answer.result, Ok(None)))
        .map(|answer| answer.node.clone())
        .collect();
    let (answered, problems, errors) = problem::part(answers);
    status::known_somewhere(args.service.as_ref(), &answered, &errors, Option::is_none)?;
    let samples = answered
        .into_iter()
        .filter_map(|(node, sample)| Some(SampleView::new(&node, sample?)))
        .collect::<Vec<_>>();
    if !(live || stream) || samples.is_empty() {
        let view = TopView { nodes: samples, problems };
        context.show(&view, |view| text(context, args, view))?;
        return Ok(context.finish(&errors));
    }
    let settings = context.settings()?;
    let watched = Watched { settings: &settings, request: args.request(args.interval) };
    if stream {
        return write_on(context, &watched, &nodes).await;
    }
    let mut screen = args.screen();
    for sample in samples {
        screen.sample(sample);
    }
    for problem in problems {
        screen.lose(&problem.node, Timestamp::now().as_millisecond(), problem.message);
    }
    watch(context, &watched, &nodes, screen).await
}

/// Asks every node for a sample; those that do not have the service answer
/// with none. What is used per second takes two.
async fn glance(
    context: &Context<'_>,
    args: &TopArgs,
    first: bool,
) -> Result<Vec<Answer<Option<proto::TopSample>>>, CliError> {
    context
        .ask(&args.node.node, async |node, mut client| {
            let refused = |status| status::error(&node.name, &status);
            let answer = match client.top(args.request(GLANCE)).await {
                Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
                answer => answer.map_err(refused)?,
            };
            let mut samples = answer.into_inner();
            let sample = samples.message().await.map_err(refused)?;
            if first { Ok(sample) } else { samples.message().await.map_err(refused) }
        })
        .await
}

fn text(context: &Context<'_>, args: &TopArgs, view: &TopView) -> String {
    let mut screen = args.screen();
    for sample in &view.nodes {
        screen.sample(sample.clone());
    }
    let frame = Frame {
        // A program that reads it wants names as they are.
        width: context.ui.columns().map_or(usize::MAX, |columns| columns.max(130)),
        height: None,
        palette: context.ui.palette(),
        now: Timestamp::now(),
    };
    let mut text = draw(&screen, frame).join("\n");
    text.push('\n');
    text
}

/// What is asked of nodes.
struct Watched<'a> {
    settings: &'a Settings,
    request: proto::TopRequest,
}

/// What a node tells.
enum Told {
    Sample(SampleView),
    Lost(NodeName, CliError),
}

/// Watches a node for ever, and takes it up again when it went away.
async fn follow(watched: &Watched<'_>, node: &Node, tell: mpsc::Sender<Told>) {
    loop {
        let error = match listen(watched, node, &tell).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if tell.send(Told::Lost(node.name.clone(), error)).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Tells samples until the node goes away, or nobody listens any more.
async fn listen(
    watched: &Watched<'_>,
    node: &Node,
    tell: &mpsc::Sender<Told>,
) -> Result<(), CliError> {
    let refused = |status| status::error(&node.name, &status);
    let patience = Duration::from_millis(u64::from(watched.request.interval_ms)) + PATIENCE;
    let mut client = connection::open(watched.settings, node).await?;
    let asked = client.top(watched.request.clone());
    let silent = |_| CliError::new(ErrorKind::Unreachable, Silent(node.name.clone()));
    let mut samples =
        tokio::time::timeout(patience, asked).await.map_err(silent)?.map_err(refused)?.into_inner();
    loop {
        let sample = tokio::time::timeout(patience, samples.message()).await.map_err(silent)?;
        let Some(sample) = sample.map_err(refused)? else { return Err(silent_end(node)) };
        let sample = SampleView::new(node.name.as_str(), sample);
        if tell.send(Told::Sample(sample)).await.is_err() {
            return Ok(());
        }
    }
}

fn silent_end(node: &Node) -> CliError {
    CliError::new(ErrorKind::Unreachable, Silent(node.name.clone()))
}

/// The node tells nothing any more.
#[derive(Debug, thiserror::Error)]
#[error("node {0} tells no more samples")]
struct Silent(NodeName);

/// Writes samples, one object a line, until nobody reads.
async fn write_on(
    context: &Context<'_>,
    watched: &Watched<'_>,
    nodes: &[Node],
) -> Result<Exit, CliError> {
    let (tell, mut told) = mpsc::channel(16);
    let mut followed =
        Box::pin(join_all(nodes.iter().map(|node| follow(watched, node, tell.clone()))));
    let mut lost = std::collections::BTreeSet::new();
    loop {
        let heard = tokio::select! {
            // They end only when nobody listens.
            _ = &mut followed => return Ok(Exit::Done),
            // May be cancelled: it only waits.
            heard = told.recv() => heard,
        };
        match heard {
            None => return Ok(Exit::Done),
            Some(Told::Sample(sample)) => {
                lost.remove(&sample.node);
                let document = serde_json::to_string(&sample).map_err(CliError::failed)?;
                let line = format!("{}\n", harmless_json(&document));
                context.ui.data(&line).map_err(OutputError::from)?;
                if context.ui.is_closed() {
                    return Ok(Exit::Done);
                }
            }
            Some(Told::Lost(node, error)) => {
                if lost.insert(node.to_string()) {
                    let why = error.message();
                    context.ui.warning(&format!("node {node} went away; trying again: {why}"));
                }
            }
        }
    }
}

/// Draws what nodes tell until the person has enough.
async fn watch(
    context: &Context<'_>,
    watched: &Watched<'_>,
    nodes: &[Node],
    mut screen: Screen,
) -> Result<Exit, CliError> {
    let mut resized = signal(SignalKind::window_change()).map_err(CliError::failed)?;
    let mut ended = signal(SignalKind::terminate()).map_err(CliError::failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(CliError::failed)?;
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    let mut terminal = FullScreen::take(context.ui).map_err(CliError::failed)?;
    let (tell, mut told) = mpsc::channel(16);
    let mut followed =
        Box::pin(join_all(nodes.iter().map(|node| follow(watched, node, tell.clone()))));
    loop {
        let (width, height) = FullScreen::size();
        screen.page = frame::page(&screen, height);
        let (palette, now) = (context.ui.palette(), Timestamp::now());
        let frame = Frame { width, height: Some(height), palette, now };
        terminal.show(&draw(&screen, frame)).map_err(OutputError::from)?;
        // All may be cancelled: they only wait, and what comes is kept.
        tokio::select! {
            _ = &mut followed => return Ok(Exit::Done),
            Some(heard) = told.recv() => match heard {
                Told::Sample(sample) => screen.sample(sample),
                Told::Lost(node, error) => {
                    screen.lose(node.as_str(), now.as_millisecond(), error.message());
                }
            },
            keys = terminal.keys() => {
                let Some(keys) = keys else { return Ok(Exit::Done) };
                if keys.into_iter().any(|key| screen.press(key) == Next::Quit) {
                    return Ok(Exit::Done);
                }
            }
            _ = resized.recv() => {}
            // Ages go on.
            _ = clock.tick() => {}
            _ = ended.recv() => return Ok(Exit::Done),
            // A key gives none, but somebody may send it.
            _ = interrupted.recv() => return Ok(Exit::Done),
            _ = hung_up.recv() => return Ok(Exit::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_bounds() {
        assert_eq!("2".parse(), Ok(Interval(2000)));
        assert_eq!("0.2".parse(), Ok(Interval(200)));
        for text in ["0", "-1", "61", "NaN", "inf", "x", "1e300"] {
            assert_eq!(text.parse::<Interval>(), Err(NoInterval), "{text}");
        }
    }
}
