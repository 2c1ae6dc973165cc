//! Between a caller and the worker: frames go through, none is kept.

use std::io;
use std::process::Stdio;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::{Code, Status, Streaming};

use super::command::FilesArgs;
use super::worker::{LONGEST, framed};
use crate::agent::engine::toolchain::own_program;
use crate::rpc::agent_v1 as pb;
use crate::rpc::agent_v1::file_frame::Frame as Wire;
use crate::transfer::Frame;

/// How much of what podman says is told, in bytes.
const SAID: u64 = 4096;

/// What goes to the caller.
pub type Answers = mpsc::Sender<Result<pb::FileFrame, Status>>;

/// A worker, its pipes, and the right to run one.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    words: ChildStderr,
    _turn: OwnedSemaphorePermit,
}

/// What the agent knows of a transfer and the worker does not.
#[derive(Debug, Default)]
pub struct Known {
    /// The path on the node.
    pub path: String,
    /// Components that mount it.
    pub components: Vec<String>,
}

impl Worker {
    /// Starts a worker as root of the user's namespaces.
    ///
    /// # Errors
    ///
    /// podman cannot be run.
    pub fn start(args: &FilesArgs, turn: OwnedSemaphorePermit) -> io::Result<Self> {
        let mut command = Command::new("podman");
        command.args(["unshare", "--"]).arg(own_program()).args(args.words());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        Ok(Self {
            input: child.stdin.take().ok_or_else(gone)?,
            output: child.stdout.take().ok_or_else(gone)?,
            words: child.stderr.take().ok_or_else(gone)?,
            child,
            _turn: turn,
        })
    }

    /// Asks for the names in one directory, and waits for them.
    ///
    /// # Errors
    ///
    /// The worker cannot read it, or cannot be understood.
    pub async fn names(self, begin: pb::FilesBegin) -> Result<Vec<pb::FileEntry>, Status> {
        let Self { child: _child, mut input, mut output, words, _turn } = self;
        let frame = pb::FileFrame { frame: Some(Wire::Begin(begin)) };
        // The worker's own end says why it has ended.
        drop(input.write_all(&framed(&frame)).await);
        let mut names = Vec::new();
        loop {
            match read_frame(&mut output).await?.and_then(|frame| frame.frame) {
                Some(Wire::Entry(entry)) => names.push(entry),
                Some(Wire::Done(_)) => return Ok(names),
                Some(Wire::Failed(failed)) => {
                    return Err(Status::new(Code::from_i32(failed.code), failed.message));
                }
                Some(_) => return Err(Status::internal("the names cannot be read")),
                None => return Err(unreached(&read_all(words).await)),
            }
        }
    }

    /// Carries frames both ways until the worker ends.
    ///
    /// The worker ends by itself when its input does: when the caller has
    /// gone, and when this agent has.
    pub async fn relay(
        self,
        begin: pb::FilesBegin,
        caller: Streaming<pb::FileFrame>,
        (answers, known): (Answers, Known),
    ) {
        let Self { mut child, input, output, words, _turn } = self;
        let refused = answers.clone();
        let inwards = carry_in(begin, caller, input);
        let outwards = carry_out(output, known, &answers);
        let said = read_all(words);
        tokio::pin!(inwards, outwards, said);
        let mut bad = None;
        let (mut open, mut text) = (true, None);
        let ended = loop {
            // All of them may be cancelled: the worker's end is what counts,
            // and whoever waits for a lost frame has gone.
            tokio::select! {
                ended = &mut outwards => break ended,
                result = &mut inwards, if open => {
                    open = false;
                    bad = result.err();
                }
                words = &mut said, if text.is_none() => text = Some(words),
            }
        };
        let text = match text {
            Some(text) => text,
            None => said.await,
        };
        let status = match (bad, ended) {
            (Some(status), _) | (None, Err(status)) => status,
            (None, Ok(true)) => {
                // All there was to say has been said.
                drop(child.wait().await);
                return;
            }
            (None, Ok(false)) => unreached(&text),
        };
        // A caller that has gone needs no answer.
        drop(refused.send(Err(status)).await);
    }
}

/// Says why a worker has said nothing, by what podman did.
fn unreached(text: &str) -> Status {
    let text = text.trim();
    let why = if text.is_empty() { "it ended without a word" } else { text };
    let why: String = why.chars().filter(|c| !c.is_control()).collect();
    Status::failed_precondition(format!(
        "the files cannot be reached in the user's namespaces: {why}"
    ))
}

/// Carries what the caller sends to the worker; its end is the worker's.
async fn carry_in(
    begin: pb::FilesBegin,
    mut caller: Streaming<pb::FileFrame>,
    mut input: ChildStdin,
) -> Result<(), Status> {
    let mut frame = pb::FileFrame { frame: Some(Wire::Begin(begin)) };
    loop {
        if input.write_all(&framed(&frame)).await.is_err() {
            // The worker says why it has ended.
            return Ok(());
        }
        // What breaks the connection is the caller's to know.
        let Ok(Some(next)) = caller.message().await else { return Ok(()) };
        let next = Frame::try_from(next);
        frame = next.map_err(|error| Status::invalid_argument(error.to_string()))?.into();
    }
}

/// Carries what the worker sends to the caller, or the caller's absence to
/// the worker; tells whether the worker said anything.
async fn carry_out(
    mut output: ChildStdout,
    known: Known,
    answers: &Answers,
) -> Result<bool, Status> {
    let mut known = Some(known);
    let mut said = false;
    loop {
        let Some(mut frame) = read_frame(&mut output).await? else { return Ok(said) };
        said = true;
        match &mut frame.frame {
            Some(Wire::Start(start)) => {
                if let Some(Known { path, components }) = known.take() {
                    (start.path, start.components) = (path, components);
                }
            }
            Some(Wire::Failed(failed)) => {
                return Err(Status::new(Code::from_i32(failed.code), failed.message.clone()));
            }
            Some(_) | None => {}
        }
        if answers.send(Ok(frame)).await.is_err() {
            return Ok(true);
        }
    }
}

async fn read_frame(output: &mut ChildStdout) -> Result<Option<pb::FileFrame>, Status> {
    let broken = || Status::internal("the worker's answer cannot be read");
    let mut length = [0; 4];
    if let Err(error) = output.read_exact(&mut length).await {
        let over = error.kind() == io::ErrorKind::UnexpectedEof;
        return if over { Ok(None) } else { Err(broken()) };
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| broken())?;
    if length > LONGEST {
        return Err(broken());
    }
    let mut bytes = vec![0; length];
    output.read_exact(&mut bytes).await.map_err(|_| broken())?;
    pb::FileFrame::decode(bytes.as_slice()).map(Some).map_err(|_| broken())
}

/// Reads what is said to its end, and keeps the beginning.
async fn read_all(mut words: ChildStderr) -> String {
    let mut text = Vec::new();
    // What was read before an error is what there is to tell.
    drop((&mut words).take(SAID).read_to_end(&mut text).await);
    drop(tokio::io::copy(&mut words, &mut tokio::io::sink()).await);
    String::from_utf8_lossy(&text).into_owned()
}
