//! A transfer of files with an agent: frames between the call and the thread
//! that reads or writes them here.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::cli::error::{CliError, ErrorKind};
use crate::cli::status;
use crate::cli::views::transfer::{LeftOut, MOST_LEFT_OUT, Told};
use crate::names::NodeName;
use crate::rpc::agent_v1::{self as proto, file_frame::Frame as Wire};
use crate::rpc::client::AgentClient;
use crate::rpc::files::FrameError;
use crate::transfer::{Frame, TransferError, WireError};
use crate::ui::{Ui, visible};

/// Frames that wait for a slow end.
const QUEUE: usize = 4;

/// Which way files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the node.
    Push,
    /// From the node.
    Pull,
}

/// The agent's answer cannot be used.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    /// It ended before the end.
    #[error("node {0} ended its answer before the end")]
    Ended(NodeName),
    /// It is not what an agent says here.
    #[error("node {node} answers with something that is not taken")]
    Frame { node: NodeName, source: FrameError },
    /// It does not begin as it should.
    #[error("node {0} does not begin its answer as it should")]
    Begin(NodeName),
    /// The thread that worked on the files is gone.
    #[error("the work on the files was cut off")]
    Lost(#[source] tokio::task::JoinError),
}

/// This end of the wire, for the thread that works on the files.
#[derive(Debug)]
pub struct Link {
    to: mpsc::Sender<proto::FileFrame>,
    from: mpsc::Receiver<proto::FileFrame>,
    meter: ProgressBar,
    bad: Option<FrameError>,
    left_out: Vec<LeftOut>,
    left_out_count: u64,
}

impl Link {
    /// Notes what goes by, for the progress and the report.
    fn see(&mut self, frame: &Frame) {
        match frame {
            Frame::File { path, size, .. } => {
                self.meter.inc_length(*size);
                if !path.is_root() {
                    self.meter.set_message(visible(&path.to_string()).into_owned());
                }
            }
            Frame::Data(data) => self.meter.inc(data.len() as u64),
            Frame::From(at) => self.meter.inc(*at),
            Frame::LeftOut { name, why } => {
                self.left_out_count += 1;
                if self.left_out.len() < MOST_LEFT_OUT {
                    self.left_out.push(LeftOut { name: name.clone(), why: why.clone() });
                }
            }
            Frame::Directory { .. }
            | Frame::Held { .. }
            | Frame::Same
            | Frame::End(_)
            | Frame::Done
            | Frame::Received(_) => {}
        }
    }
}

impl crate::transfer::Wire for Link {
    fn send(&mut self, frame: Frame) -> Result<(), WireError> {
        self.see(&frame);
        self.to.blocking_send(frame.into()).map_err(|_| WireError)
    }

    fn receive(&mut self) -> Result<Frame, WireError> {
        let frame = self.from.blocking_recv().ok_or(WireError)?;
        match Frame::try_from(frame) {
            Ok(frame) => {
                self.see(&frame);
                Ok(frame)
            }
            Err(bad) => {
                self.bad = Some(bad);
                Err(WireError)
            }
        }
    }
}

/// Runs a transfer: `work` does this end of it, in a thread of its own, and
/// gets what the agent says at the start.
///
/// # Errors
///
/// Either end fails, or the connection does.
pub async fn run<T: Send + 'static>(
    ui: &Ui,
    (node, client): (&NodeName, &mut AgentClient),
    direction: Direction,
    begin: proto::FilesBegin,
    work: impl FnOnce(&mut Link) -> Result<T, TransferError> + Send + 'static,
) -> Result<(T, Told), CliError> {
    let refused = |status: Status| status::error(node, &status);
    let (to_agent, frames) = mpsc::channel(QUEUE);
    let begin = proto::FileFrame { frame: Some(Wire::Begin(begin)) };
    // There is room for the first.
    drop(to_agent.send(begin).await);
    let frames = ReceiverStream::new(frames);
    let answer = match direction {
        Direction::Push => client.push(frames).await,
        Direction::Pull => client.pull(frames).await,
    };
    let mut answer = answer.map_err(refused)?.into_inner();
    let first = answer.message().await.map_err(refused)?;
    let Some(Wire::Start(start)) = first.and_then(|first| first.frame) else {
        return Err(CliError::failed(AnswerError::Begin(node.clone())));
    };

    let meter = meter(ui);
    let (to, mut from_thread) = mpsc::channel(QUEUE);
    let (to_thread, from) = mpsc::channel(QUEUE);
    let shown = meter.clone();
    let (left_out, left_out_count) = (Vec::new(), 0);
    let mut link = Link { to, from, meter, bad: None, left_out, left_out_count };
    let thread = tokio::task::spawn_blocking(move || {
        let result = work(&mut link);
        let Link { bad, left_out, left_out_count, .. } = link;
        // The rest of the link goes: without this end the agent ends too,
        // which may be waiting for an answer to what was refused here.
        (result, bad, left_out, left_out_count)
    });
    // Of its own, so that a thread that waits for room is not waited for when
    // the agent has ended.
    let carry = tokio::spawn(async move {
        while let Some(frame) = from_thread.recv().await {
            if to_agent.send(frame).await.is_err() {
                break;
            }
        }
    });
    let ended = hand_over(&mut answer, to_thread).await;
    if ended.is_some() {
        carry.abort();
    }
    let (result, bad, left_out, left_out_count) =
        thread.await.map_err(|lost| CliError::failed(AnswerError::Lost(lost)))?;
    shown.finish_and_clear();
    let told = Told { start, left_out, left_out_count };
    match (result, bad, ended) {
        (Ok(done), _, _) => Ok((done, told)),
        (Err(_), Some(source), _) => {
            Err(CliError::failed(AnswerError::Frame { node: node.clone(), source }))
        }
        (Err(TransferError::Wire(_)), None, Some(status)) => Err(refused(status)),
        (Err(TransferError::Wire(_)), None, None) => {
            Err(CliError::new(ErrorKind::Unreachable, AnswerError::Ended(node.clone())))
        }
        (Err(error), None, _) => Err(failure(error)),
    }
}

/// Hands what the agent says to the thread, to the end of either; returns why
/// the agent ended, if it did not end well.
async fn hand_over(
    answer: &mut tonic::Streaming<proto::FileFrame>,
    to_thread: mpsc::Sender<proto::FileFrame>,
) -> Option<Status> {
    loop {
        match answer.message().await {
            Ok(Some(frame)) => {
                if to_thread.send(frame).await.is_err() {
                    return None;
                }
            }
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

/// Returns the error of work on files here.
pub fn failure(error: TransferError) -> CliError {
    if matches!(error, TransferError::Path(_) | TransferError::NotSent { .. }) {
        CliError::usage(error)
    } else {
        CliError::failed(error)
    }
}

/// Returns the last name of a path as it was written, or of what it leads to.
pub fn base_name(path: &Path) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        None => path.canonicalize().ok()?.file_name()?.to_owned(),
    };
    Some(name.as_bytes().to_vec())
}

fn meter(ui: &Ui) -> ProgressBar {
    if !ui.is_live() {
        return ProgressBar::hidden();
    }
    let template = "  {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
