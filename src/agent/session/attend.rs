//! `mcp-agent session`: one session, from its task to its end.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use prost::Message as _;
use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control::{self, Control};
use super::end::{Ending, PACE, own_pid};
use super::processes::{self, Family};
use super::streams::{self, Attached};
use super::task::{self, Reach, Task, WINDOW};
use crate::atomic_file;
use crate::rpc::agent_v1 as pb;
use crate::rpc::agent_v1::session_response::Message;
use crate::telemetry::Chain;

/// Answers that wait to be sent.
const QUEUE: usize = 4;
/// The status of a command that could not be run, as podman has it
/// (`podman-exec(1)`, "Exit Status").
pub const NOT_RUN: i32 = 125;

/// Hold a session of mcp exec or mcp run; run by units
#[derive(Debug, Clone, clap::Args)]
pub struct SessionArgs {}

/// Says why there was no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Standard input is no socket of the agent's.
    #[error("standard input is not a socket of mcp-agent")]
    Socket(#[source] io::Error),
    /// The agent was gone before it said what to do.
    #[error("the agent said nothing")]
    Silent,
    /// What the agent said is no task.
    #[error("the agent is of another version")]
    Task(#[source] serde_json::Error),
    /// The kernel does not do what is needed.
    #[error("cannot hold a session")]
    System(#[source] io::Error),
}

/// Runs the task that comes over standard input, and sends there what it
/// writes and how it ends. Ends the command when the agent goes away.
///
/// # Errors
///
/// [`SessionError`]; what concerns the command itself is sent.
pub async fn run(_: SessionArgs) -> Result<(), SessionError> {
    // What podman leaves behind becomes ours, and so is found.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| SessionError::System(errno.into()))?;
    let (mut from, to) = socket().map_err(SessionError::Socket)?.into_split();
    let frame = super::frame::read(&mut from).await.map_err(SessionError::Socket)?;
    let task: Task =
        serde_json::from_slice(&frame.ok_or(SessionError::Silent)?).map_err(SessionError::Task)?;
    let (out, answers) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(write(to, answers));
    let begun =
        podman(&task).and_then(|command| streams::start(command, task.input, task.terminal));
    let end = match begun {
        Ok(attached) => {
            attend(&task, attached, from, out.clone()).await.map_err(SessionError::System)?
        }
        Err(error) => pb::SessionEnd {
            status: NOT_RUN,
            message: format!("cannot run podman: {}", Chain(&error)),
        },
    };
    // Nobody is there to be told when the agent has gone.
    drop(out.send(Message::End(end)).await);
    drop(out);
    drop(writer.await);
    Ok(())
}

/// Takes standard input for the socket that it is.
fn socket() -> io::Result<UnixStream> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    // Tells a socket from a file or a terminal.
    socket.local_addr()?;
    UnixStream::from_std(socket)
}

/// Makes podman's call; the command's variables go into a file of the unit's
/// own directory, which goes with it.
fn podman(task: &Task) -> io::Result<Command> {
    let mut command = Command::new("podman");
    command.args(&task.options);
    if !task.env.is_empty() {
        let directory = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
        let directory = directory.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "there is no RUNTIME_DIRECTORY")
        })?;
        let file = directory.join("env");
        atomic_file::write(&file, task::env_file(&task.env).as_bytes(), 0o600)?;
        command.arg("--env-file").arg(file);
    }
    command.args(&task.operands);
    Ok(command)
}

async fn write(mut to: OwnedWriteHalf, mut answers: mpsc::Receiver<Message>) {
    while let Some(message) = answers.recv().await {
        let answer = pb::SessionResponse { message: Some(message) };
        if let Err(error) = super::frame::write(&mut to, &answer.encode_to_vec()).await {
            tracing::debug!(%error, "nobody listens any more");
            return;
        }
    }
}

/// Waits until podman has ended, and does meanwhile what the agent asks for.
async fn attend(
    task: &Task,
    mut attached: Attached,
    from: tokio::net::unix::OwnedReadHalf,
    out: mpsc::Sender<Message>,
) -> io::Result<pb::SessionEnd> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (input, chunks) = mpsc::channel(usize::try_from(WINDOW).unwrap_or(usize::MAX));
    let (controls, mut asked) = mpsc::channel(QUEUE);
    let reader = tokio::spawn(control::read(from, input, controls));
    let feeder = tokio::spawn(streams::feed(attached.input.take(), chunks, out.clone()));
    let (pumps, ended) = (TaskTracker::new(), CancellationToken::new());
    for output in attached.outputs.drain(..) {
        pumps.spawn(streams::pump(output, out.clone(), ended.clone()));
    }
    let mut ending: Option<Ending> = None;
    let mut is_there = true;
    let status = loop {
        // What is cancelled here has only waited.
        tokio::select! {
            status = attached.child.wait() => break status?,
            control = asked.recv(), if is_there => {
                if let Some(control) = control {
                    act(&control, task, &attached, &mut ending);
                } else {
                    is_there = false;
                    ending.get_or_insert_with(|| Ending::new(task));
                }
            }
            _ = terminate.recv() => {
                ending.get_or_insert_with(|| Ending::new(task));
            }
            () = tokio::time::sleep(PACE), if ending.is_some() => {}
        }
        if let Some(ending) = &mut ending {
            ending.step(attached.child.id());
        }
    };
    reader.abort();
    feeder.abort();
    let code = if has_begun() { code(status) } else { not_begun(code(status)) };
    // What is still there has lost its podman.
    to_family(|family| (family.command(Reach::All), Signal::KILL));
    ended.cancel();
    pumps.close();
    if is_there {
        pumps.wait().await;
    }
    let message = if code == NOT_RUN { "podman could not run the command" } else { "" };
    Ok(pb::SessionEnd { status: code, message: message.to_owned() })
}

fn act(control: &Control, task: &Task, attached: &Attached, ending: &mut Option<Ending>) {
    match *control {
        Control::Stop => match ending {
            // Asked for twice, it is to be over.
            Some(ending) => ending.hurry(),
            None => *ending = Some(Ending::new(task)),
        },
        Control::Resize(size) => {
            if let Some(pty) = &attached.pty
                && let Err(error) = pty.resize(size)
            {
                tracing::debug!(%error, "the terminal is gone");
            }
            to_family(|family| (family.podman(), Signal::WINCH));
        }
        Control::Signal(signal) => to_family(|family| (family.command(task.reach), signal)),
    }
}

/// Tells whether podman has begun the command, as far as can be seen.
fn has_begun() -> bool {
    match processes::list() {
        Ok(all) => Family::of(own_pid(), all).has_begun(),
        Err(error) => {
            tracing::error!(%error, "the processes cannot be found");
            true
        }
    }
}

fn to_family(choose: impl FnOnce(&Family) -> (Vec<i32>, Signal)) {
    match processes::list() {
        Ok(all) => {
            let (pids, signal) = choose(&Family::of(own_pid(), all));
            processes::signal(&pids, signal);
        }
        Err(error) => tracing::error!(%error, "the processes cannot be found"),
    }
}

/// Returns the status of a command that podman did not come to run: for a user
/// that is not there, say, podman 5.4 has others than its own, 255 of `exec`
/// and 126 of `run`.
fn not_begun(status: i32) -> i32 {
    match status {
        126 | 255 => NOT_RUN,
        other => other,
    }
}

/// Returns a status as a shell has it.
fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(NOT_RUN)
}
