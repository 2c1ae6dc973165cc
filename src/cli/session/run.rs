//! The loop of a session: streams, signals, and its end.

use std::io;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::interrupts::{Interrupts, Told};
use super::start::current_size;
use crate::cli::args::ServicePath;
use crate::cli::context::{Context, Exit, harmless_json};
use crate::cli::error::{CliError, ErrorKind, OutputError};
use crate::cli::status;
use crate::cli::views::session::SessionLine;
use crate::names::NodeName;
use crate::rpc::INPUT_CHUNK;
use crate::rpc::agent_v1 as proto;
use crate::rpc::agent_v1::session_request::Message as Ask;
use crate::rpc::agent_v1::session_response::Message as Said;
use crate::terminal::{self, RawMode, Writer};

/// The status of a command that was not run, or whose end is not known; podman
/// and docker have the same.
const NOT_RUN: u8 = 125;
/// What a shell adds to the number of the signal that ended a program.
const BY_SIGNAL: i32 = 128;
/// `SIGPIPE` and `SIGHUP` (`signal(7)`).
const SIGPIPE: i32 = 13;
const SIGHUP: i32 = 1;
/// Messages that wait to be sent: more than input may be under way.
const QUEUE: usize = 64;

/// Where the command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// In a component's container.
    Exec,
    /// In a container of its own.
    RunOnce,
}

/// The session broke before the command's end.
#[derive(Debug, thiserror::Error)]
#[error("the session with node {node} is lost, and the command there is ended: {message}")]
pub struct Lost {
    node: NodeName,
    message: String,
}

/// The command was not run, or was ended.
#[derive(Debug, thiserror::Error)]
#[error("node {node}: {message}")]
pub struct NotRun {
    node: NodeName,
    message: String,
}

/// The streams of this process cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the session cannot be had here")]
pub struct HereError(#[from] io::Error);

impl From<HereError> for CliError {
    fn from(error: HereError) -> Self {
        Self::failed(error)
    }
}

/// Has a command run and returns its status as the exit; what goes wrong
/// besides is shown, and is `NOT_RUN` but for what is wrong with the arguments.
pub async fn run(
    context: &Context<'_>,
    call: Call,
    path: &ServicePath,
    own: &[NodeName],
    start: proto::SessionStart,
) -> Exit {
    let status = match open(context, call, path, own, start).await {
        Ok(mut session) => {
            let status = session.attend().await;
            // The terminal is as it was before anything is said.
            session.raw = None;
            match status {
                Ok(status) => session.finish(status).await,
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    match status {
        Ok(status) => Exit::Status(status),
        Err(error) => {
            error.report(context.ui);
            match error.kind {
                ErrorKind::Usage => Exit::Shown(ErrorKind::Usage),
                ErrorKind::Failed
                | ErrorKind::Unreachable
                | ErrorKind::NotAllowed
                | ErrorKind::TimeIsUp => Exit::Status(NOT_RUN),
            }
        }
    }
}

async fn open<'a>(
    context: &'a Context<'_>,
    call: Call,
    path: &ServicePath,
    own: &[NodeName],
    start: proto::SessionStart,
) -> Result<Session<'a>, CliError> {
    let settings = context.settings()?;
    let mut target = context.service(&settings, &path.service, own).await?;
    let (has_input, has_terminal) = (start.input, start.terminal.is_some());
    let (requests, queue) = mpsc::channel(QUEUE);
    let first = proto::SessionRequest { message: Some(Ask::Start(start)) };
    // There is room in a queue that is empty.
    drop(requests.send(first).await);
    let queue = ReceiverStream::new(queue);
    let node = target.node.name.clone();
    let answers = match call {
        Call::Exec => target.client.exec(queue).await,
        Call::RunOnce => target.client.run_once(queue).await,
    };
    let answers = answers.map_err(|status| status::error(&node, &status))?.into_inner();
    let interrupts = Interrupts::new().map_err(HereError)?;
    let is_raw = has_terminal && has_input;
    Ok(Session {
        context,
        call,
        node,
        requests,
        answers,
        interrupts,
        begun: proto::SessionBegun::default(),
        granted: 0,
        input: has_input.then(|| terminal::input(INPUT_CHUNK)).transpose().map_err(HereError)?,
        has_terminal,
        pending: None,
        out: Writer::new(io::stdout()).map_err(HereError)?,
        err: Writer::new(io::stderr()).map_err(HereError)?,
        raw: is_raw.then(RawMode::begin).transpose().map_err(HereError)?,
        asked: 0,
    })
}

/// Which of this process's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Out,
    Err,
}

type Answer = Result<Option<proto::SessionResponse>, Status>;

/// What a session waits for.
enum Event {
    Answer(Box<Answer>),
    /// Input; none: there is no more.
    Chunk(Option<Vec<u8>>),
    Told(Told),
    Written,
    NobodyReads,
}

struct Session<'a> {
    context: &'a Context<'a>,
    call: Call,
    node: NodeName,
    requests: mpsc::Sender<proto::SessionRequest>,
    answers: Streaming<proto::SessionResponse>,
    interrupts: Interrupts,
    begun: proto::SessionBegun,
    /// Chunks of input that may be sent.
    granted: u32,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    has_terminal: bool,
    /// What is to be written before more is taken.
    pending: Option<(Which, Vec<u8>)>,
    out: Writer,
    err: Writer,
    raw: Option<RawMode>,
    /// How often the command was asked to end.
    asked: u8,
}

impl Session<'_> {
    /// Goes on until the command's end; returns its status.
    async fn attend(&mut self) -> Result<i32, CliError> {
        loop {
            let status = match self.next().await {
                Event::Answer(answer) => self.take(*answer)?,
                Event::NobodyReads => Some(BY_SIGNAL + SIGPIPE),
                Event::Chunk(chunk) => {
                    self.pass_on(chunk).await;
                    None
                }
                Event::Told(told) => self.heed(told).await?,
                Event::Written => {
                    self.pending = None;
                    None
                }
            };
            if let Some(status) = status {
                return Ok(status);
            }
            if self.context.ui.is_closed() {
                return Ok(BY_SIGNAL + SIGPIPE);
            }
        }
    }

    async fn next(&mut self) -> Event {
        // What is cancelled here has taken nothing: a message or a chunk that
        // has come is given by the next call.
        tokio::select! {
            answer = self.answers.message(), if self.pending.is_none() => {
                Event::Answer(Box::new(answer))
            }
            written = write(&self.out, &self.err, self.pending.as_ref()), if self.pending.is_some() => {
                if written { Event::Written } else { Event::NobodyReads }
            }
            chunk = next(&mut self.input), if self.granted > 0 => Event::Chunk(chunk),
            told = self.interrupts.next() => Event::Told(told),
        }
    }

    /// Takes an answer; returns the status if it was the last one.
    fn take(&mut self, answer: Answer) -> Result<Option<i32>, CliError> {
        let answer = answer.map_err(|status| self.lost(&status))?;
        let answer = answer.ok_or_else(|| self.lost(&Status::unavailable("it said no more")))?;
        match answer.message {
            Some(Said::Begun(begun)) => self.begun = begun,
            Some(Said::Granted(more)) => self.granted = self.granted.saturating_add(more),
            Some(Said::Output(chunk)) => self.wrote(Which::Out, chunk)?,
            Some(Said::Errors(chunk)) => self.wrote(Which::Err, chunk)?,
            Some(Said::End(end)) => return self.ended(end).map(Some),
            None => {}
        }
        Ok(None)
    }

    fn wrote(&mut self, which: Which, chunk: Vec<u8>) -> Result<(), CliError> {
        if !self.context.json {
            self.pending = Some((which, chunk));
            return Ok(());
        }
        let stream = match which {
            Which::Out => "stdout",
            Which::Err => "stderr",
        };
        self.line(&SessionLine::wrote(stream, &chunk))
    }

    fn ended(&self, end: proto::SessionEnd) -> Result<i32, CliError> {
        let message = Some(end.message).filter(|message| !message.is_empty());
        if self.context.json {
            self.line(&SessionLine::Ended {
                status: end.status,
                unit: self.begun.unit.clone(),
                container: self.begun.container.clone(),
                message,
            })?;
        } else if let Some(message) = message {
            let error = NotRun { node: self.node.clone(), message };
            CliError::failed(error).report(self.context.ui);
        }
        Ok(end.status)
    }

    fn line(&self, line: &SessionLine) -> Result<(), CliError> {
        let document = serde_json::to_string(line).map_err(CliError::failed)?;
        let text = format!("{}\n", harmless_json(&document));
        Ok(self.context.ui.data(&text).map_err(OutputError::from)?)
    }

    fn lost(&self, status: &Status) -> CliError {
        let broke = std::error::Error::source(status).is_some();
        if !broke && status.code() != Code::Unavailable {
            return status::error(&self.node, status);
        }
        let lost = Lost { node: self.node.clone(), message: status.message().to_owned() };
        CliError::new(ErrorKind::Unreachable, lost).hint("mcp node list")
    }

    async fn ask(&self, message: Ask) {
        // A session that has ended says so itself.
        drop(self.requests.send(proto::SessionRequest { message: Some(message) }).await);
    }

    async fn pass_on(&mut self, chunk: Option<Vec<u8>>) {
        if let Some(chunk) = chunk {
            self.granted -= 1;
            self.ask(Ask::Input(chunk)).await;
        } else {
            self.input = None;
            self.ask(Ask::InputEnd(proto::SessionEmpty {})).await;
        }
    }

    /// Does what a signal asks for; returns the status if that is the end.
    async fn heed(&mut self, told: Told) -> Result<Option<i32>, CliError> {
        match told {
            Told::End(number) => return Ok(self.end(number).await),
            Told::Resumed => {
                if let Some(raw) = &self.raw {
                    raw.resume().map_err(HereError)?;
                }
                self.resize().await;
            }
            Told::Resized => self.resize().await,
        }
        Ok(None)
    }

    async fn resize(&self) {
        if self.has_terminal {
            self.ask(Ask::Size(current_size())).await;
        }
    }

    /// Has the command end. Its terminal takes the keys of a session that has
    /// one, so that a signal is meant for this program. Else the command is
    /// asked first, then told, and then left behind, which kills it.
    async fn end(&mut self, number: i32) -> Option<i32> {
        let gives_up = self.raw.is_some() || number == SIGHUP || self.asked >= 2;
        if gives_up {
            return Some(BY_SIGNAL + number);
        }
        self.asked += 1;
        if self.call == Call::Exec && self.asked == 1 {
            self.ask(Ask::Signal(number)).await;
        } else {
            self.context.ui.status("the command is being ended; once more leaves it behind");
            self.ask(Ask::Stop(proto::SessionEmpty {})).await;
        }
        None
    }

    /// Waits until everything is written; a signal ends that too.
    async fn finish(mut self, status: i32) -> Result<u8, CliError> {
        let written = async {
            self.out.finish().await?;
            self.err.finish().await
        };
        // Either way nothing is taken up again.
        tokio::select! {
            written = written => written.map_err(OutputError::from)?,
            Told::End(number) = self.interrupts.next() => return Ok(code(BY_SIGNAL + number)),
        }
        Ok(code(status))
    }
}

fn code(status: i32) -> u8 {
    u8::try_from(status).unwrap_or(NOT_RUN)
}

/// Hands on what is to be written once there is room; tells whether anybody
/// reads it.
async fn write(out: &Writer, err: &Writer, pending: Option<&(Which, Vec<u8>)>) -> bool {
    let Some((which, chunk)) = pending else { return true };
    let room = match which {
        Which::Out => out.room().await,
        Which::Err => err.room().await,
    };
    room.map(|room| room.send(chunk.clone())).is_some()
}

/// Returns the next chunk of input; without input, never.
async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}
