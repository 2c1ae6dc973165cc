//! `mcp agent upgrade`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::cli::args::NodeArgs;
use crate::cli::completion;
use crate::cli::config::{Node, Settings};
use crate::cli::connection;
use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind, FileError};
use crate::cli::status;
use crate::cli::views::upgrade::{NodeUpgrade, UpgradesView};
use crate::elf::{self, ElfError, Machine};
use crate::names::{NodeName, Sha256Text};
use crate::rpc::agent_v1::upgrade_request::Part;
use crate::rpc::agent_v1::{self as proto, AgentStatusResponse};
use crate::rpc::client::AgentClient;

/// How much is sent at once.
const PART: usize = 256 * 1024;
/// Parts that wait for the network.
const PARTS: usize = 4;
/// How long an agent may be away: as long as systemd waits for the start of
/// one that hangs, and for the start of the one before it.
const AWAY: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(250);

/// Put another mcp-agent in the place of the one that runs, node by node
///
/// The program is sent to each node, looked at there, and started. If it does
/// not answer, the node goes back to the one before by itself, and nodes that
/// are still to come are left alone. Containers are not touched.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcp agent upgrade --dry-run\n  mcp agent upgrade rift\n  mcp agent upgrade --file amd64/mcp-agent --file arm64/mcp-agent"
)]
pub struct UpgradeArgs {
    /// Which nodes, in this order [default: all]
    #[arg(value_name = "NODE", add = completion::nodes())]
    pub nodes: Vec<NodeName>,
    /// The program; one for each kind of machine [default: mcp-agent beside
    /// this mcp]
    #[arg(long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Demand that the program has this SHA-256; one for each file
    #[arg(long, value_name = "HEX")]
    pub sha256: Vec<Sha256Text>,
    /// Send and look at it, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which nodes
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Says why nothing can be sent.
#[derive(Debug, thiserror::Error)]
enum UpgradeError {
    #[error("{} cannot be sent", path.display())]
    NoProgram { path: PathBuf, source: ElfError },
    #[error("{} and {} are both for {}", first.display(), second.display(), machine.as_str())]
    Twice { first: PathBuf, second: PathBuf, machine: Machine },
    #[error("{} has the SHA-256 {found}, which was not asked for", path.display())]
    OtherContent { path: PathBuf, found: Sha256Text },
    #[error("node {node} is {arch}, and there is no program for that")]
    NoneFor { node: NodeName, arch: String },
    #[error("there is no mcp-agent beside this mcp")]
    NoneBeside,
    #[error("node {node} did not come back within {} s", AWAY.as_secs())]
    Away { node: NodeName },
}

/// A program that can be sent.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    machine: Machine,
    sha256: Sha256Text,
    size: u64,
}

/// Runs the command.
///
/// # Errors
///
/// No file can be sent, or the config is invalid. What happens on a node is
/// part of the answer.
pub async fn run(context: &Context<'_>, args: &UpgradeArgs) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let chosen: Vec<NodeName> = args.node.node.iter().chain(&args.nodes).cloned().collect();
    let nodes = context.several(&settings, &chosen)?;
    let candidates = candidates(context, args)?;
    let mut view = UpgradesView { dry_run: args.dry_run, nodes: Vec::new() };
    let mut failed = None;
    for node in &nodes {
        let name = node.name.as_str();
        if failed.is_some() {
            view.nodes.push(NodeUpgrade::not_tried(name));
            continue;
        }
        let begun = std::time::Instant::now();
        let mut upgrade = NodeUpgrade::new(name);
        let done = one(context, (&settings, node), &candidates, (args.dry_run, &mut upgrade)).await;
        upgrade.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = done {
            upgrade.fail(error.message());
            failed = Some(error);
        } else if upgrade.has_failed() {
            failed = Some(CliError::failed(Undone));
        }
        view.nodes.push(upgrade);
    }
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(match failed {
        None => Exit::Done,
        Some(error) if error.source.is::<Undone>() => Exit::Shown(ErrorKind::Failed),
        Some(error) => {
            error.report(context.ui);
            Exit::Shown(error.kind)
        }
    })
}

/// A node went back to its program of before, which is shown.
#[derive(Debug, thiserror::Error)]
#[error("the upgrade was undone")]
struct Undone;

/// Upgrades one node.
async fn one(
    context: &Context<'_>,
    (settings, node): (&Settings, &Node),
    candidates: &[Candidate],
    (dry_run, upgrade): (bool, &mut NodeUpgrade),
) -> Result<(), CliError> {
    let failed = |status: tonic::Status| status::error(&node.name, &status);
    let mut client = connection::open(settings, node).await?;
    let before = client.agent_status(proto::AgentStatusRequest {}).await;
    let before = before.map_err(failed)?.into_inner();
    upgrade.from.clone_from(&before.version);
    let candidate =
        candidates.iter().find(|c| c.machine.as_str() == before.arch).ok_or_else(|| {
            let missing =
                UpgradeError::NoneFor { node: node.name.clone(), arch: before.arch.clone() };
            CliError::usage(missing).hint(format!("mcp agent upgrade {} --file FILE", node.name))
        })?;
    upgrade.sha256 = Some(candidate.sha256.to_string());
    if before.sha256 == candidate.sha256.as_str() && before.waiting.is_none() {
        upgrade.unchanged();
        return Ok(());
    }
    context.ui.status(&format!("{}: sending {}", node.name, candidate.path.display()));
    let answer = send(&mut client, candidate, dry_run).await.map_err(failed)?;
    drop(client);
    upgrade.accepted(answer, dry_run);
    if dry_run {
        return Ok(());
    }
    context.ui.status(&format!("{}: waiting for the new agent to answer", node.name));
    let waiting = verdict((settings, node), &before, &candidate.sha256, upgrade);
    tokio::time::timeout(AWAY, waiting).await.unwrap_or_else(|_elapsed| {
        let away = UpgradeError::Away { node: node.name.clone() };
        let hint = "on the node: systemctl status mcp-agent; journalctl -u mcp-agent -n 50";
        Err(CliError::new(ErrorKind::Unreachable, away).hint(hint))
    })
}

/// Asks the agent again and again, until it is another process and has come
/// to an end of the trial.
async fn verdict(
    (settings, node): (&Settings, &Node),
    before: &AgentStatusResponse,
    sha256: &Sha256Text,
    upgrade: &mut NodeUpgrade,
) -> Result<(), CliError> {
    loop {
        match ask(settings, node).await {
            Ok(after) => {
                let is_new = after.started_at_ms != before.started_at_ms;
                if is_new && upgrade.has_ended(after, sha256.as_str()) {
                    return Ok(());
                }
            }
            Err(error) if error.kind == ErrorKind::Unreachable => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(settings: &Settings, node: &Node) -> Result<AgentStatusResponse, CliError> {
    let mut client = connection::open(settings, node).await?;
    let answer = client.agent_status(proto::AgentStatusRequest {}).await;
    answer.map(tonic::Response::into_inner).map_err(|s| status::error(&node.name, &s))
}

/// Sends a program, and returns what the node says of it.
async fn send(
    client: &mut AgentClient,
    candidate: &Candidate,
    dry_run: bool,
) -> Result<proto::UpgradeResponse, tonic::Status> {
    let (sender, receiver) = mpsc::channel(PARTS);
    let sha256 = candidate.sha256.to_string();
    let head = proto::UpgradeHead { sha256, size: candidate.size, dry_run };
    let path = candidate.path.clone();
    // It ends by itself when the agent refuses the rest.
    let reading = tokio::task::spawn_blocking(move || read(&path, head, &sender));
    let answer = client.upgrade(ReceiverStream::new(receiver)).await;
    let read = reading.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
    match (answer, read) {
        // What the agent says explains more than that it took no more.
        (Ok(answer), _) => Ok(answer.into_inner()),
        (Err(_), Err(error)) => {
            let path = candidate.path.display();
            Err(tonic::Status::aborted(format!("{path} cannot be read to its end: {error}")))
        }
        (Err(status), Ok(())) => Err(status),
    }
}

/// Reads a file into messages, until nobody takes them.
fn read(
    path: &Path,
    head: proto::UpgradeHead,
    sender: &mpsc::Sender<proto::UpgradeRequest>,
) -> io::Result<()> {
    let message = |part| proto::UpgradeRequest { part: Some(part) };
    let mut file = File::open(path)?;
    let mut next = Part::Head(head);
    loop {
        if sender.blocking_send(message(next)).is_err() {
            return Ok(());
        }
        let mut data = vec![0; PART];
        let read = file.read(&mut data)?;
        if read == 0 {
            return Ok(());
        }
        data.truncate(read);
        next = Part::Data(data);
    }
}

/// Looks at the files that can be sent.
fn candidates(context: &Context<'_>, args: &UpgradeArgs) -> Result<Vec<Candidate>, CliError> {
    let paths = if args.file.is_empty() {
        let beside =
            context.environment.program.as_ref().map(|mcp| mcp.with_file_name("mcp-agent"));
        let beside = beside.filter(|path| path.exists()).ok_or_else(|| {
            CliError::usage(UpgradeError::NoneBeside).hint("mcp agent upgrade --file FILE")
        })?;
        vec![beside]
    } else {
        args.file.clone()
    };
    let mut found: Vec<Candidate> = Vec::new();
    for path in paths {
        let candidate = look(&path)?;
        if !args.sha256.is_empty() && !args.sha256.contains(&candidate.sha256) {
            let found = candidate.sha256;
            return Err(CliError::usage(UpgradeError::OtherContent { path, found }));
        }
        if let Some(same) = found.iter().find(|c| c.machine == candidate.machine) {
            let (first, machine) = (same.path.clone(), same.machine);
            return Err(CliError::usage(UpgradeError::Twice { first, second: path, machine }));
        }
        found.push(candidate);
    }
    Ok(found)
}

fn look(path: &Path) -> Result<Candidate, CliError> {
    let unreadable = |source| FileError::at("read", path)(source);
    let mut file = File::open(path).map_err(unreadable)?;
    let (mut hasher, mut size, mut begins) = (Sha256::new(), 0_u64, Vec::new());
    let mut buffer = vec![0; PART];
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        if begins.is_empty() {
            begins.extend(part.iter().take(elf::HEAD));
        }
        size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        hasher.update(part);
    }
    let machine = elf::machine(&begins).map_err(|source| {
        CliError::usage(UpgradeError::NoProgram { path: path.to_owned(), source })
    })?;
    let sha256 = Sha256Text::of(&hasher.finalize().into());
    Ok(Candidate { path: path.to_owned(), machine, sha256, size })
}
