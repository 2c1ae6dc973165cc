//! Connecting to an agent: over its Unix socket, or over TLS with a token.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Request, Status};

use super::agent_v1::agent_service_client::AgentServiceClient;
use super::auth::REASON_HEADER;
use super::seen::Noting;
pub use super::seen::SeenVersion;
use super::tls::{self, PinMismatch, TlsError, Trust};
use crate::secret::Secret;
use crate::telemetry::Chain;

/// How long one address may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// When a silent server is asked whether it is there, and how long it has.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Where an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// On this machine; the kernel says who calls.
    Unix(PathBuf),
    /// Behind TLS.
    Tls {
        /// Its addresses, `host:port`, tried in this order.
        addresses: Vec<String>,
        /// What makes it believable.
        trust: Trust,
    },
}

/// A client of the agent's service that shows its token with each call.
pub type AgentClient = AgentServiceClient<InterceptedService<Noting, Bearer>>;

/// Adds the bearer token to each call (RFC 6750, section 2.1).
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer([secret])" } else { "Bearer(none)" })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Says why there is no connection to an agent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("no agent answers at {at}")]
    Unreachable {
        /// The socket or address, the last that was tried.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket may not be opened.
    #[error("the socket {at} may not be opened by this user")]
    NotAllowed {
        /// The socket.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody answers, but not who was expected.
    #[error("the agent at {at} is not the one that was added")]
    Mismatch {
        /// The address.
        at: String,
        /// Both fingerprints.
        #[source]
        source: PinMismatch,
    },
    /// Somebody answers, and TLS does not come about.
    #[error("no TLS connection with {at}")]
    Handshake {
        /// The address.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An address is not `host:port`.
    #[error("{at:?} is not host:port")]
    Address {
        /// The text.
        at: String,
    },
    /// There is no address to try.
    #[error("the node has no address")]
    NoAddress,
    /// What is trusted cannot be read.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// The token holds characters that no token has.
    #[error("the token is malformed")]
    Token,
    /// There is a connection, and no HTTP/2 on it.
    #[error("no gRPC at {at}")]
    Protocol {
        /// The socket or address.
        at: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

impl ConnectError {
    /// Tells whether the agent could not be reached at all.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Protocol { .. } => true,
            Self::NotAllowed { .. }
            | Self::Mismatch { .. }
            | Self::Handshake { .. }
            | Self::Address { .. }
            | Self::NoAddress
            | Self::Trust(_)
            | Self::Token => false,
        }
    }
}

/// Connects to an agent. The connection is made again when it is lost.
///
/// # Errors
///
/// Nobody answers, or somebody who is not trusted. A bad token shows only in
/// the first call: see [`refusal_reason`].
pub async fn connect(
    endpoint: &Endpoint,
    token: Option<&Secret<String>>,
) -> Result<AgentClient, ConnectError> {
    connect_and_note(endpoint, token, SeenVersion::default()).await
}

/// Connects to an agent, and notes in `seen` which version it says it is.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_and_note(
    endpoint: &Endpoint,
    token: Option<&Secret<String>>,
    seen: SeenVersion,
) -> Result<AgentClient, ConnectError> {
    let bearer = bearer(token)?;
    let channel = Noting::new(channel(endpoint).await?, seen);
    Ok(AgentServiceClient::with_interceptor(channel, bearer)
        .max_decoding_message_size(super::MAX_MESSAGE)
        .max_encoding_message_size(super::MAX_MESSAGE))
}

/// Connects without a client, for other services such as gRPC health.
///
/// # Errors
///
/// Nobody answers, or somebody who is not trusted.
pub async fn channel(endpoint: &Endpoint) -> Result<Channel, ConnectError> {
    let (at, dialer) = match endpoint {
        Endpoint::Unix(path) => (path.display().to_string(), Dialer::Unix(path.clone())),
        Endpoint::Tls { addresses, trust } => {
            let config = tls::client_config(trust)?;
            (addresses.join(", "), Dialer::Tls { addresses: addresses.clone(), config })
        }
    };
    let dialer = Arc::new(dialer);
    // tonic tells what the connector failed with only as text.
    let failure = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&failure);
    let connector = tower::service_fn(move |_: Uri| {
        let (dialer, noted) = (Arc::clone(&dialer), Arc::clone(&noted));
        async move {
            dialer.dial().await.map_err(|error| {
                let text = io::Error::other(Chain(&error).to_string());
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                text
            })
        }
    });
    let (interval, timeout) = KEEPALIVE;
    // The name only fills HTTP's :authority; where to connect the dialer knows.
    tonic::transport::Endpoint::from_static("http://mcp-agent")
        .http2_keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .connect_with_connector(connector)
        .await
        .map_err(|source| {
            let cause = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            cause.unwrap_or(ConnectError::Protocol { at, source })
        })
}

fn bearer(token: Option<&Secret<String>>) -> Result<Bearer, ConnectError> {
    let Some(token) = token else { return Ok(Bearer(None)) };
    let text = format!("Bearer {}", token.reveal().trim());
    let mut value: MetadataValue<Ascii> = text.parse().map_err(|_invalid| ConnectError::Token)?;
    value.set_sensitive(true);
    Ok(Bearer(Some(value)))
}

enum Dialer {
    Unix(PathBuf),
    Tls { addresses: Vec<String>, config: Arc<ClientConfig> },
}

trait Transport: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Transport for T {}

type Dialled = TokioIo<Box<dyn Transport>>;

impl Dialer {
    async fn dial(&self) -> Result<Dialled, ConnectError> {
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|source| {
                    let at = path.display().to_string();
                    if source.kind() == io::ErrorKind::PermissionDenied {
                        ConnectError::NotAllowed { at, source }
                    } else {
                        ConnectError::Unreachable { at, source }
                    }
                })?;
                Ok(TokioIo::new(Box::new(stream)))
            }
            Self::Tls { addresses, config } => {
                let mut last = ConnectError::NoAddress;
                for address in addresses {
                    match dial_tls(address, config).await {
                        Ok(stream) => return Ok(stream),
                        // What somebody unknown answered matters more than
                        // that nobody answers at another address.
                        Err(_) if matches!(last, ConnectError::Mismatch { .. }) => {}
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

async fn dial_tls(address: &str, config: &Arc<ClientConfig>) -> Result<Dialled, ConnectError> {
    let at = address.to_owned();
    let host = address.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']));
    let name = host.and_then(|host| ServerName::try_from(host.to_owned()).ok());
    let Some(name) = name else { return Err(ConnectError::Address { at }) };
    let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
        .await
        .map_err(timed_out)
        .flatten()
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| ConnectError::Unreachable { at: at.clone(), source })?;
    let connector = TlsConnector::from(Arc::clone(config));
    tokio::time::timeout(CONNECT, connector.connect(name, stream))
        .await
        .map_err(timed_out)
        .flatten()
        .map(|stream| TokioIo::new(Box::new(stream) as Box<dyn Transport>))
        .map_err(|source| match tls::pin_mismatch(&source) {
            Some(mismatch) => ConnectError::Mismatch { at, source: mismatch },
            None => ConnectError::Handshake { at, source },
        })
}

/// Returns the machine-readable reason of a refused call, such as
/// `token-expired`; `None` when the call was not refused by the agent's gate.
pub fn refusal_reason(status: &Status) -> Option<&str> {
    status.metadata().get(REASON_HEADER).and_then(|reason| reason.to_str().ok())
}

/// Tells whether a call was refused for want of a valid token or role.
pub fn is_refused(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}
