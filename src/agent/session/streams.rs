//! The streams of podman's process, as messages.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pty::{self, Pty};
use super::task::{CHUNK, Size};
use crate::rpc::agent_v1::session_response::Message;

/// How long output may still come after its process has ended, from one that
/// has inherited the stream.
const LATE: Duration = Duration::from_secs(1);

/// Where input goes.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;
/// Where output comes from, and what it is.
pub type Output = (Box<dyn AsyncRead + Send + Unpin>, fn(Vec<u8>) -> Message);

/// A process with its streams.
pub struct Attached {
    /// The process.
    pub child: Child,
    /// Its terminal, if it has one.
    pub pty: Option<Pty>,
    /// Its input, if it gets any.
    pub input: Option<Input>,
    /// Its outputs.
    pub outputs: Vec<Output>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").field("child", &self.child).finish_non_exhaustive()
    }
}

/// Starts a process on a terminal of its own, or with a pipe for each stream.
///
/// # Errors
///
/// There is no such program, or nothing to connect it with.
pub fn start(mut command: Command, input: bool, terminal: Option<Size>) -> io::Result<Attached> {
    if let Some(size) = terminal {
        let (pty, theirs) = Pty::open(size)?;
        command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
        let (from, to) = pty.ends()?;
        let child = command.spawn()?;
        return Ok(Attached {
            child,
            input: input.then(|| Box::new(to) as Input),
            outputs: vec![(Box::new(from), Message::Output)],
            pty: Some(pty),
        });
    }
    command.stdin(if input { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut outputs: Vec<Output> = Vec::new();
    if let Some(stream) = child.stdout.take() {
        outputs.push((Box::new(stream), Message::Output));
    }
    if let Some(stream) = child.stderr.take() {
        outputs.push((Box::new(stream), Message::Errors));
    }
    let input = child.stdin.take().map(|stream| Box::new(stream) as Input);
    Ok(Attached { child, pty: None, input, outputs })
}

/// Writes input as it comes, and gives leave for more. Closes the stream when
/// there is no more to come; drops what comes when nobody reads it any more.
pub async fn feed(
    to: Option<Input>,
    mut chunks: mpsc::Receiver<Vec<u8>>,
    out: mpsc::Sender<Message>,
) {
    let mut to = to;
    while let Some(chunk) = chunks.recv().await {
        if let Some(stream) = &mut to
            && let Err(error) = stream.write_all(&chunk).await
        {
            tracing::debug!(%error, "nobody reads the input any more");
            to = None;
        }
        if out.send(Message::Granted(1)).await.is_err() {
            return;
        }
    }
}

/// Sends on what a process writes, until its end; `ended` says that the
/// process has ended.
pub async fn pump(
    (mut from, message): Output,
    out: mpsc::Sender<Message>,
    ended: CancellationToken,
) {
    let mut octets = vec![0; CHUNK];
    loop {
        let late = async {
            ended.cancelled().await;
            tokio::time::sleep(LATE).await;
        };
        // A read that is cancelled has taken nothing. It comes first: what is there
        // by then is not late, however long this process had to wait.
        let read = tokio::select! {
            biased;
            read = from.read(&mut octets) => read,
            () = late => return,
        };
        let chunk = match read {
            Ok(0) => return,
            Ok(count) => octets.split_at(count).0.to_vec(),
            Err(error) if pty::is_end(&error) => return,
            Err(error) => {
                tracing::warn!(%error, "output cannot be read");
                return;
            }
        };
        if out.send(message(chunk)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn two_streams_stay_apart_and_input_ends() {
        let mut attached = start(shell("cat; echo no >&2"), true, None).unwrap();
        let (out, mut messages) = mpsc::channel(4);
        let (input, chunks) = mpsc::channel(4);
        let ended = CancellationToken::new();
        for output in attached.outputs {
            tokio::spawn(pump(output, out.clone(), ended.clone()));
        }
        tokio::spawn(feed(attached.input, chunks, out));
        input.send(b"a\0\xff".to_vec()).await.unwrap();
        drop(input);
        let mut all = Vec::new();
        while let Some(message) = messages.recv().await {
            all.push(message);
        }
        assert!(attached.child.wait().await.unwrap().success());
        for expected in [
            Message::Granted(1),
            Message::Output(b"a\0\xff".to_vec()),
            Message::Errors(b"no\n".to_vec()),
        ] {
            assert!(all.contains(&expected), "{all:?}");
        }
    }

    #[tokio::test]
    async fn who_inherited_a_stream_does_not_hold_up_the_end() {
        let mut attached = start(shell("sleep 1000 & echo $!"), false, None).unwrap();
        let (out, mut messages) = mpsc::channel(4);
        let ended = CancellationToken::new();
        for output in attached.outputs {
            tokio::spawn(pump(output, out.clone(), ended.clone()));
        }
        drop(out);
        attached.child.wait().await.unwrap();
        ended.cancel();
        let Some(Message::Output(pid)) = messages.recv().await else { panic!("no number") };
        assert!(messages.recv().await.is_none());
        let pid = String::from_utf8(pid).unwrap().trim().parse().unwrap();
        super::super::processes::signal(&[pid], rustix::process::Signal::KILL);
    }
}
