//! `mcp wait`.

use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::join_all;

use crate::cli::args::{NodeArgs, ServicePath};
use crate::cli::completion;
use crate::cli::config::{Node, Settings};
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::views::wait::{Seen, WaitView, Wanted};
use crate::cli::{connection, status};
use crate::rpc::agent_v1 as proto;

/// How often a node that went away is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Wait until services are ready, or stopped
///
/// A service is ready when every component of it runs and no check fails, or
/// has done its work and need not run on, and no operation is under way. It is
/// stopped when nothing of it runs. The exit code is 0 when all of them are,
/// and 5 when the time is up.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp wait mcq --timeout 2m && curl http://mcq/\n  mcp wait metacrypt/api mcr --ready\n  mcp wait mcq --stopped"
)]
pub struct WaitArgs {
    /// The services, or service/component
    #[arg(value_name = "SERVICE[/COMPONENT]", required = true, add = completion::services())]
    pub services: Vec<ServicePath>,
    /// Wait until they are ready; this is what happens without an option
    #[arg(long, conflicts_with = "stopped")]
    pub ready: bool,
    /// Wait until they are stopped
    #[arg(long)]
    pub stopped: bool,
    /// Give up after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub timeout: Duration,
    /// Where they are
    #[command(flatten)]
    pub node: NodeArgs,
}

/// The text is no time.
#[derive(Debug, thiserror::Error)]
#[error("write how long, such as 30s, 5m or 1h30m")]
struct NoTime;

fn time(text: &str) -> Result<Duration, NoTime> {
    let time: jiff::SignedDuration = text.parse().map_err(|_| NoTime)?;
    Duration::try_from(time).map_err(|_| NoTime)
}

/// The node ended its answer.
#[derive(Debug, thiserror::Error)]
#[error("the node tells no more")]
struct Ended;

/// Runs the command.
///
/// # Errors
///
/// A service is on no node that is known, or a node cannot be asked.
pub async fn run(context: &Context<'_>, args: &WaitArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let wanted = if args.stopped { Wanted::Stopped } else { Wanted::Ready };
    let began = Instant::now();
    let waits = args.services.iter().map(async |path| {
        let target = context.service(&settings, &path.service, &args.node.node).await?;
        let waiting = Waiting { context, settings: &settings, node: target.node, path, wanted };
        waiting.wait(args.timeout).await
    });
    let (mut seen, mut errors) = (Vec::new(), Vec::new());
    for result in join_all(waits).await {
        match result {
            Ok(last) => seen.push(last),
            Err(error) => errors.push(error),
        }
    }
    let mut view = WaitView::new(wanted, seen, began.elapsed());
    view.reached &= errors.is_empty();
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(match context.finish(&errors) {
        Exit::Done if !view.reached => Exit::Shown(ErrorKind::TimeIsUp),
        exit @ (Exit::Done | Exit::Differs | Exit::Shown(_) | Exit::Status(_)) => exit,
    })
}

/// One service that is waited for.
struct Waiting<'a> {
    context: &'a Context<'a>,
    settings: &'a Settings,
    node: Node,
    path: &'a ServicePath,
    wanted: Wanted,
}

/// Time for one look at least.
const ONE_LOOK: Duration = Duration::from_secs(2);

impl Waiting<'_> {
    /// Waits; when the time is up, what was seen last is the answer.
    async fn wait(&self, time: Duration) -> Result<Seen, CliError> {
        let mut last = Seen::new(self.node.name.as_str(), self.path, None, self.wanted);
        let mut been_there = false;
        let follow = async {
            loop {
                let ended = self.follow(&mut last, &mut been_there).await;
                match ended {
                    Ok(()) => return Ok(()),
                    Err(error) if been_there && error.kind == ErrorKind::Unreachable => {
                        let node = &self.node.name;
                        self.context.ui.status(&format!("node {node} went away; trying again"));
                    }
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        // A look takes a moment, however short the time.
        let time = time.max(ONE_LOOK);
        // That it is cut off when the time is up loses nothing: it only looks.
        match tokio::time::timeout(time, follow).await {
            Ok(ended) => ended?,
            Err(_) if !been_there => {
                return Err(status::error(&self.node.name, &tonic::Status::deadline_exceeded("")));
            }
            Err(_) => {}
        }
        Ok(last)
    }

    /// Follows the service until it is as wanted.
    async fn follow(&self, last: &mut Seen, been_there: &mut bool) -> Result<(), CliError> {
        let refused = |status| status::error(&self.node.name, &status);
        let mut client = connection::open(self.settings, &self.node).await?;
        let request = proto::StatusRequest { service: self.path.service.to_string(), files: false };
        let mut states = client.watch_status(request).await.map_err(refused)?.into_inner();
        while let Some(state) = states.message().await.map_err(refused)? {
            let service = state.services.into_iter().next();
            let first = !std::mem::replace(been_there, true);
            if service.is_none() && (first || self.wanted == Wanted::Ready) {
                let error = tonic::Status::not_found(format!("no service {}", self.path.service));
                return Err(refused(error));
            }
            *last = Seen::new(self.node.name.as_str(), self.path, service, self.wanted);
            if let Some(missing) = last.missing_component() {
                return Err(refused(tonic::Status::not_found(missing)));
            }
            if last.reached {
                return Ok(());
            }
        }
        Err(CliError::new(ErrorKind::Unreachable, Ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_as_people_write_it() {
        assert_eq!(time("90s").unwrap(), time("1m30s").unwrap());
        for bad in ["", "soon", "-5s", "5"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }
}
