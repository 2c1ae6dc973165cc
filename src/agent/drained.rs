//! Asking a forwarder when the last connection to a target has ended.
//!
//! The question is a port and a newline, on a Unix socket; the answer comes
//! when nobody is connected to that port any more. A forwarder that is gone
//! has no connections.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::deployment::SWITCHES;
use crate::names::ContainerName;
use crate::telemetry::Chain;

/// Longest question: a port and a newline.
const QUESTION: u64 = 8;

/// Returns the socket of a container's forwarder; `runtime` is
/// `$XDG_RUNTIME_DIR`.
pub fn path(runtime: &Path, container: &ContainerName) -> PathBuf {
    runtime.join(SWITCHES).join(container.socket_file())
}

/// Connections that are open or being made, by target.
#[derive(Debug, Clone)]
pub struct Open(Arc<watch::Sender<BTreeMap<u16, usize>>>);

impl Default for Open {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl Open {
    /// Counts a connection to a target, for as long as the result is kept.
    pub fn count(&self, port: u16) -> Counted {
        self.0.send_modify(|open| *open.entry(port).or_default() += 1);
        Counted { open: self.clone(), port }
    }

    /// Waits until nobody is connected to a target.
    pub async fn none(&self, port: u16) {
        let mut open = self.0.subscribe();
        // The sender is ours: it cannot be gone.
        drop(open.wait_for(|open| !open.contains_key(&port)).await);
    }

    fn uncount(&self, port: u16) {
        self.0.send_modify(|open| {
            let left = open.get(&port).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                open.remove(&port);
            } else {
                open.insert(port, left);
            }
        });
    }
}

/// A connection that counts.
#[derive(Debug)]
pub struct Counted {
    open: Open,
    port: u16,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.uncount(self.port);
    }
}

/// Listens for questions, in the place of a forwarder that is gone.
///
/// # Errors
///
/// Any error of the file system.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(path)
}

/// Answers questions for ever.
pub async fn answer(listener: UnixListener, open: Open) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let open = open.clone();
                // It ends with the one who asks, or with this program.
                tokio::spawn(async move {
                    if let Err(error) = answer_one(stream, open).await {
                        tracing::debug!(error = %Chain(&error), "a question was taken back");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a question cannot be taken");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer_one(stream: UnixStream, open: Open) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(QUESTION));
    let mut line = String::new();
    read.read_line(&mut line).await?;
    let port = line.trim().parse().map_err(io::Error::other)?;
    let mut more = [0];
    tokio::select! {
        // Either may be cut off: the other one ends it.
        () = open.none(port) => write.write_all(b"none\n").await,
        _ = read.read(&mut more) => Ok(()),
    }
}

/// Asks a forwarder, and waits until nobody is connected to a port.
///
/// # Errors
///
/// The forwarder is there, and cannot be asked.
pub async fn ask(path: &Path, port: u16) -> io::Result<()> {
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    stream.write_all(format!("{port}\n").as_bytes()).await?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer).await {
        // Without an answer too: with the forwarder its connections have ended.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_answer_comes_with_the_end_of_the_last_connection() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(63);
        let container = ContainerName::new(&name.parse().unwrap(), &"c".parse().unwrap());
        let path = path(dir.path(), &container);
        ask(&path, 1).await.unwrap();
        let open = Open::default();
        let answering = tokio::spawn(answer(listen(&path).unwrap(), open.clone()));
        let (first, second, other) = (open.count(1), open.count(1), open.count(2));
        ask(&path, 3).await.unwrap();
        let asked = ask(&path, 1);
        tokio::pin!(asked);
        for counted in [first, second] {
            let soon = tokio::time::timeout(std::time::Duration::from_millis(50), &mut asked);
            assert!(soon.await.is_err(), "somebody is connected");
            drop(counted);
        }
        asked.await.unwrap();
        // Its end is an answer as well.
        let asked = ask(&path, 2);
        tokio::pin!(asked);
        let soon = tokio::time::timeout(std::time::Duration::from_millis(50), &mut asked);
        assert!(soon.await.is_err());
        drop(listen(&path).unwrap());
        answering.abort();
        drop(other);
        asked.await.unwrap();
        ask(&path, 2).await.unwrap();
    }
}
