//! Serving gRPC on a Unix socket and on TCP with TLS, side by side.
//!
//! ```text
//!  accept_unix --+                                  +--> connection 1
//!                +--> bounded queue --> serve (tonic) --> connection 2
//!  accept_tls ---+                                  +--> ...
//!      |  a task a handshake, with a deadline
//!      +--> RefusedHandshake
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::{Body as HttpBody, Bytes, Service, StdError, http};
use tonic::transport::Server;
use tonic::transport::server::Connected;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at the same time; more wait in the kernel's queue.
const HANDSHAKES: usize = 64;
/// Accepted connections that tonic has not taken yet.
const QUEUE: usize = 16;
/// How long calls may go on after the server was asked to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait after `accept(2)` failed, say for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Calls at the same time on one connection.
const STREAMS: u32 = 128;
/// When a silent client is asked whether it is there, and how long it has.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// The other end of a connection; every request carries it as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine, as the kernel knows it (`SO_PEERCRED`,
    /// `unix(7)`).
    Unix {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its process; `None` when it is in another pid namespace.
        pid: Option<i32>,
    },
    /// Someone behind TLS.
    Tcp {
        /// The address.
        addr: SocketAddr,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid, gid: _, pid: Some(pid) } => write!(f, "uid {uid} pid {pid}"),
            Self::Unix { uid, gid: _, pid: None } => write!(f, "uid {uid}"),
            Self::Tcp { addr } => write!(f, "{addr}"),
        }
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Says why the server cannot listen or serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process serves this socket.
    #[error("another process serves {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket has the socket's name.
    #[error("{} is there and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The Unix socket could not be made.
    #[error("cannot listen on {}", path.display())]
    Unix {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The TCP socket could not be made.
    #[error("cannot listen on {addr}")]
    Tcp {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// gRPC failed as a whole.
    #[error("cannot serve gRPC")]
    Serve(#[source] tonic::transport::Error),
}

/// Listens on a Unix socket that everybody may open (mode 0666, its directory
/// 0755 when it is made here): who may call is decided by uid, so that a
/// refusal is seen and recorded. A socket that nobody serves is replaced.
///
/// # Errors
///
/// Somebody serves it, or the file system refuses.
pub fn bind_unix(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Unix { path: path.to_owned(), source };
    if let Some(directory) = path.parent()
        && !directory.exists()
    {
        fs::create_dir_all(directory).map_err(failed)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ServeError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(ServeError::InUse { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(listener)
}

/// Listens on a TCP address.
///
/// # Errors
///
/// The address is not of this machine, or is taken.
pub async fn bind_tcp(addr: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(addr).await.map_err(|source| ServeError::Tcp { addr, source })
}

/// Where listeners put accepted connections, for [`serve`] to take.
pub type Connections = mpsc::Sender<io::Result<Connection>>;

/// The connections that [`serve`] takes.
pub type Incoming = ReceiverStream<io::Result<Connection>>;

/// Makes the queue between listeners and [`serve`].
pub fn incoming() -> (Connections, Incoming) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (sender, ReceiverStream::new(receiver))
}

/// A TCP peer with which no TLS connection came about: it spoke no TLS, only
/// an old version, or did not accept the certificate.
#[derive(Debug)]
pub struct RefusedHandshake {
    /// The peer.
    pub addr: SocketAddr,
    /// What went wrong.
    pub error: io::Error,
}

/// Accepts on a Unix socket until `shutdown`.
pub async fn accept_unix(listener: UnixListener, to: Connections, shutdown: CancellationToken) {
    loop {
        // Cancelled at shutdown: a connection not yet accepted is not lost,
        // the kernel refuses it when the listener is dropped.
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let connection = accepted.and_then(|(stream, _)| {
            let peer = stream.peer_cred()?;
            let peer = Peer::Unix { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() };
            Ok(Connection { peer, stream: Stream::Unix(stream) })
        });
        match connection {
            // An error here means that `serve` has ended.
            Ok(connection) => {
                if to.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => accept_failed(&error).await,
        }
    }
}

/// Accepts TLS on a TCP socket until `shutdown`. Each handshake is a task of
/// its own with a deadline, so that a slow peer holds up nobody; those that
/// fail are told to `refused` as far as its queue has room.
pub async fn accept_tls(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    to: Connections,
    refused: mpsc::Sender<RefusedHandshake>,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(config);
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    // Dropped, and with it the handshakes, when this function returns.
    let mut handshakes = tokio::task::JoinSet::new();
    loop {
        // Cancelled at shutdown: as in `accept_unix`. Reaping loses nothing.
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_) = handshakes.join_next() => continue,
            accepted = accept_with_room(&listener, &room) => accepted,
        };
        let (permit, stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                accept_failed(&error).await;
                continue;
            }
        };
        let (acceptor, to, refused) = (acceptor.clone(), to.clone(), refused.clone());
        handshakes.spawn(async move {
            let result = handshake(&acceptor, stream, addr).await;
            drop(permit);
            match result {
                // An error here means that `serve` has ended.
                Ok(connection) => drop(to.send(Ok(connection)).await),
                // A port scan or a health check that only connects.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tracing::debug!(%addr, "a peer left before the TLS handshake");
                }
                // A full queue means a flood, whose first part is recorded.
                Err(error) => drop(refused.try_send(RefusedHandshake { addr, error })),
            }
        });
    }
}

async fn accept_with_room(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(tokio::sync::OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, addr) = listener.accept().await?;
    Ok((permit, stream, addr))
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    addr: SocketAddr,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream))
        .await
        .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Connection { peer: Peer::Tcp { addr }, stream: Stream::Tls(Box::new(stream)) })
}

async fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Serves gRPC on what the listeners accept, until `shutdown`; calls under way
/// then have five seconds.
///
/// # Errors
///
/// gRPC fails as a whole; a failed connection is not that.
pub async fn serve<S, B>(
    service: S,
    incoming: Incoming,
    shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    S: Service<http::Request<tonic::body::Body>, Response = http::Response<B>>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    S::Error: Into<StdError> + Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    let (interval, timeout) = KEEPALIVE;
    let serving = Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(interval))
        .http2_keepalive_timeout(Some(timeout))
        .serve_with_incoming_shutdown(service, incoming, shutdown.clone().cancelled_owned());
    let deadline = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = serving => result.map_err(ServeError::Serve),
        // Whoever still follows logs is cut off here.
        () = deadline => Ok(()),
    }
}
