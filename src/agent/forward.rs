//! `mcp-agent forward`: takes the connections of a component, and hands each
//! to the container that serves at that moment.
//!
//! ```text
//!  client --> socket, held by systemd --> forward --> 127.0.0.1, port behind it
//!                                            ^
//!                                            +-- switch file: another port for now
//! ```
//!
//! It is a unit of its own, so it goes on when the agent does not. While it is
//! down itself, systemd goes on listening, and connections wait.
//! `systemd-socket-proxyd(8)` would do but for one thing: where it connects to
//! cannot be changed without ending it, and with it every connection.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::drained::{self, Counted, Open};
use super::switch_file;
use crate::telemetry::{self, Chain, Format, Level};

/// How long a client waits for a target that takes no connection, as between
/// a crash and the next start.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// Forward the connections of sockets that systemd holds
#[derive(Debug, Clone, clap::Args)]
pub struct ForwardArgs {
    /// File that says where connections go for now, in place of the usual
    /// ports; there need not be one
    #[arg(long, value_name = "FILE")]
    pub switch: PathBuf,
    /// Socket at which this tells when nobody is connected to a target
    #[arg(long, value_name = "SOCKET")]
    pub control: PathBuf,
    /// How long connections may go on when this ends
    #[arg(long, default_value = "10s", value_parser = super::probe::duration)]
    pub drain: Duration,
    /// Most connections at a time; more of them wait
    #[arg(long, default_value_t = 4096)]
    pub max_connections: u32,
    /// Port of the node, and the port at 127.0.0.1 behind it
    #[arg(required = true, value_name = "PORT=PORT")]
    pub ports: Vec<Pair>,
}

/// A port of the node, and the port behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The port that clients connect to.
    pub port: u16,
    /// The port at the loopback address.
    pub behind: u16,
}

impl FromStr for Pair {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, PairError> {
        let (port, behind) = text.split_once('=').ok_or(PairError::Form)?;
        let number = |digits: &str| digits.parse().map_err(PairError::Number);
        Ok(Self { port: number(port)?, behind: number(behind)? })
    }
}

/// Says why a pair of ports was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// There is no `=`.
    #[error("write the port of the node and the port behind it, as 80=40080")]
    Form,
    /// No port.
    #[error("not a port: {0}")]
    Number(ParseIntError),
}

/// Says why nothing can be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// systemd handed over no socket.
    #[error("there is no socket; systemd starts this program and hands them over")]
    NoSockets,
    /// Nobody could ask for connections that are open.
    #[error("cannot listen at {}", path.display())]
    Control {
        /// The Unix socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A socket is not what it should be.
    #[error("a socket cannot be used")]
    Socket(#[source] io::Error),
    /// A socket listens on a port that nothing was said about.
    #[error("nothing is said about port {port}")]
    Port {
        /// The port.
        port: u16,
    },
    /// Signals cannot be waited for.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// Forwards until a signal asks to end.
///
/// # Errors
///
/// There is no socket that can be used.
pub async fn run(args: ForwardArgs) -> Result<(), ForwardError> {
    if let Err(error) = telemetry::init(Level::Info, Format::Text) {
        // Whoever runs this has a log already.
        tracing::debug!(%error, "no log of its own");
    }
    let listeners = inherited()?;
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(ForwardError::Signals)?;
    let ended = shutdown.clone();
    let forwarding = async {
        let served = serve(listeners, args, ended).await;
        shutdown.cancel();
        served
    };
    let asked = async {
        tokio::select! {
            // Either may be cut off: the other has happened.
            _ = terminate.recv() => shutdown.cancel(),
            () = shutdown.cancelled() => {}
        }
    };
    let (served, ()) = tokio::join!(forwarding, asked);
    served
}

/// Takes the sockets that systemd handed over (`sd_listen_fds(3)`).
fn inherited() -> Result<Vec<std::net::TcpListener>, ForwardError> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed.len() {
        let taken = handed.take_tcp_listener(index).map_err(ForwardError::Socket)?;
        listeners.extend(taken);
    }
    if listeners.is_empty() { Err(ForwardError::NoSockets) } else { Ok(listeners) }
}

/// Forwards what some listeners take, until the shutdown; connections may go
/// on for a while then.
async fn serve(
    listeners: Vec<std::net::TcpListener>,
    args: ForwardArgs,
    shutdown: CancellationToken,
) -> Result<(), ForwardError> {
    let drain = args.drain;
    let open = Open::default();
    let control = drained::listen(&args.control)
        .map_err(|source| ForwardError::Control { path: args.control.clone(), source })?;
    let most = usize::try_from(args.max_connections).unwrap_or(Semaphore::MAX_PERMITS);
    let free = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let listening = TaskTracker::new();
    for listener in listeners {
        listener.set_nonblocking(true).map_err(ForwardError::Socket)?;
        let port = listener.local_addr().map_err(ForwardError::Socket)?.port();
        let pair =
            *args.ports.iter().find(|pair| pair.port == port).ok_or(ForwardError::Port { port })?;
        let listener = TcpListener::from_std(listener).map_err(ForwardError::Socket)?;
        let way = Way { pair, switch: args.switch.clone(), open: open.clone() };
        let (free, connections) = (Arc::clone(&free), connections.clone());
        let accepting = accept(listener, way, free, connections);
        let shutdown = shutdown.clone();
        listening.spawn(async move {
            tokio::select! {
                // A connection that was taken has its own task by then, or is
                // still systemd's.
                () = accepting => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
    listening.close();
    let answering = AbortOnDrop(tokio::spawn(drained::answer(control, open)).abort_handle());
    tell(&[NotifyState::Ready]);
    listening.wait().await;
    tell(&[NotifyState::Stopping]);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are cut off");
    }
    drop(answering);
    Ok(())
}

/// A task that ends with its owner.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::error!(%error, "systemd cannot be told");
    }
}

/// Takes connections for ever, as many at a time as are `free`.
async fn accept(listener: TcpListener, way: Way, free: Arc<Semaphore>, connections: TaskTracker) {
    let way = Arc::new(way);
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, peer)) => {
                connections.spawn(carry(client, peer, Arc::clone(&way), permit));
            }
            Err(error) => {
                // Out of descriptors, or a client that is gone already.
                tracing::warn!(%error, port = way.pair.port, "a connection cannot be taken");
                drop(permit);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Carries the bytes of one connection both ways until both ends have ended
/// theirs.
async fn carry(
    mut client: TcpStream,
    peer: SocketAddr,
    way: Arc<Way>,
    _permit: OwnedSemaphorePermit,
) {
    let (mut server, _counted) = match way.connect().await {
        Ok(server) => server,
        Err(error) => {
            tracing::warn!(%peer, error = %Chain(&error), "a connection is closed unserved");
            return;
        }
    };
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        // Either side hung up in the middle: the other one learns it now.
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

/// Where connections to a port go.
#[derive(Debug)]
struct Way {
    pair: Pair,
    switch: PathBuf,
    open: Open,
}

/// Says why nobody serves a connection.
#[derive(Debug, thiserror::Error)]
#[error("{way}: nobody took it within {PATIENCE:?}")]
struct Unserved {
    way: String,
    #[source]
    source: io::Error,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} to {}", self.pair.port, self.pair.behind)
    }
}

impl Way {
    /// Connects to the target of this moment. Should it take no connection,
    /// the usual one is tried too, and both again: what was switched to may
    /// have ended, what is usual may be about to start.
    async fn connect(&self) -> Result<(TcpStream, Counted), Unserved> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut refused = None;
            for port in self.targets() {
                // Before anybody else has its turn: whoever switches and then
                // asks finds it counted.
                let counted = self.open.count(port);
                match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                    Ok(stream) => {
                        if let Err(error) = stream.set_nodelay(true) {
                            tracing::debug!(%error, "small packets may wait");
                        }
                        return Ok((stream, counted));
                    }
                    Err(error) => refused = Some(error),
                }
            }
            if let Some(source) = refused.filter(|_| Instant::now() >= deadline) {
                return Err(Unserved { way: self.to_string(), source });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns the ports to try, in order.
    fn targets(&self) -> impl Iterator<Item = u16> + use<> {
        // A file of a few bytes in memory: quicker read than handed to a
        // thread that may block.
        let switched = switch_file::read(&self.switch).unwrap_or_else(|error| {
            tracing::warn!(%error, file = %self.switch.display(), "the switch cannot be read");
            switch_file::Targets::new()
        });
        let usual = self.pair.behind;
        switched
            .get(&self.pair.port)
            .copied()
            .filter(|port| *port != usual)
            .into_iter()
            .chain([usual])
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
