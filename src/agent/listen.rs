//! The agent's listeners: the socket at once, TCP as soon as it can be had.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::problems::Problems;
use super::settings::Settings;
use crate::rpc::server::{self, Connections, RefusedHandshake, ServeError};
use crate::rpc::tls::{self, Identity, TlsError};
use crate::telemetry::Chain;

/// How long to wait before TCP is tried again: nothing tells when an address
/// of an overlay network appears.
const RETRY: Duration = Duration::from_secs(10);
/// The cause under which the problem is told.
const CAUSE: &str = "grpc_addr";

/// Says why TCP cannot be served now.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be had.
    #[error(transparent)]
    Bind(#[from] ServeError),
}

/// Where accepted connections and refused handshakes go.
#[derive(Debug, Clone)]
pub struct Sinks {
    /// For the server.
    pub connections: Connections,
    /// For the audit.
    pub refused: mpsc::Sender<RefusedHandshake>,
}

/// Reads the certificate of the settings, or the self-made one.
///
/// # Errors
///
/// It cannot be read or made.
pub fn identity(settings: &Settings) -> Result<Identity, TlsError> {
    match &settings.server.tls {
        Some(files) => Identity::load(&files.certificate, &files.key),
        None => {
            let address = settings.server.grpc_addr.map(|address| address.ip());
            let addresses: Vec<_> = address.into_iter().chain([[127, 0, 0, 1].into()]).collect();
            let path = settings.state_dir.join("mcp-agent.tls.pem");
            Identity::self_made(&path, settings.node.name.as_str(), &addresses)
        }
    }
}

/// Serves TLS on `addr` until `shutdown`. What prevents it is a problem that
/// is told and tried again; the agent lives on by its socket meanwhile.
pub async fn tls_listener(
    settings: Arc<Settings>,
    addr: SocketAddr,
    sinks: Sinks,
    problems: Problems,
    shutdown: CancellationToken,
) {
    loop {
        match open(&settings, addr).await {
            Ok((listener, config)) => {
                problems.clear(CAUSE);
                let Sinks { connections, refused } = sinks;
                return server::accept_tls(listener, config, connections, refused, shutdown).await;
            }
            Err(error) => {
                let text = format!(
                    "The agent is not reachable over TCP and tries again every {} seconds: {}",
                    RETRY.as_secs(),
                    Chain(&error)
                );
                if problems.set(CAUSE, text.clone()) {
                    tracing::error!("{text}");
                }
            }
        }
        // Cancelled at shutdown: waiting loses nothing.
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

async fn open(
    settings: &Settings,
    addr: SocketAddr,
) -> Result<(TcpListener, Arc<ServerConfig>), ListenError> {
    let identity = identity(settings)?;
    let fingerprint = identity.fingerprint();
    let config = tls::server_config(identity)?;
    let listener = server::bind_tcp(addr).await?;
    tracing::info!(%addr, %fingerprint, "serving gRPC over TLS");
    Ok((listener, config))
}
