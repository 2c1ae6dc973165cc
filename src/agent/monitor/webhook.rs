//! Sending a notice to a webhook: one HTTP POST, as JSON.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::event::Notice;
use super::settings::Webhook;
use crate::rpc::tls::{self, TlsError, Trust};

/// How long one attempt may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Where systems keep the certificates that they trust.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Says why a webhook did not take a notice.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The token cannot be read.
    #[error("cannot read the token {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What the file holds is no token.
    #[error("{} holds no token", path.display())]
    BadToken {
        /// The file.
        path: PathBuf,
    },
    /// Nobody answers there.
    #[error("cannot connect to {at}")]
    Connect {
        /// Host and port.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host is no name that a certificate can have.
    #[error("the host cannot have a certificate")]
    Host(#[from] InvalidDnsNameError),
    /// What is trusted cannot be used.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// The notice is no JSON.
    #[error("the notice cannot be written")]
    Notice(#[source] serde_json::Error),
    /// The request cannot be made.
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    /// There is no HTTP.
    #[error("no HTTP answer")]
    Http(#[source] hyper::Error),
    /// It takes too long.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Deadline,
    /// It refuses.
    #[error("it answers {0}")]
    Status(StatusCode),
}

impl WebhookError {
    /// Tells whether another attempt may go better.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            // A file may be written by somebody who is at it just now.
            Self::Token { .. }
            | Self::BadToken { .. }
            | Self::Trust(_)
            | Self::Connect { .. }
            | Self::Http(_)
            | Self::Deadline => true,
            Self::Host(_) | Self::Notice(_) | Self::Request(_) => false,
        }
    }
}

/// Sends a notice once.
///
/// # Errors
///
/// [`WebhookError`]
pub async fn send(webhook: &Webhook, notice: &Notice) -> Result<(), WebhookError> {
    tokio::time::timeout(DEADLINE, attempt(webhook, notice))
        .await
        .map_err(|_| WebhookError::Deadline)?
}

async fn attempt(webhook: &Webhook, notice: &Notice) -> Result<(), WebhookError> {
    let request = request(webhook, notice).await?;
    let stream = connect(webhook).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(WebhookError::Http)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    // The connection moves the bytes. It may end, as asked, in the moment in
    // which the answer is there; without one the answer is then an error.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    let status = answer.map_err(WebhookError::Http)?.status();
    if status.is_success() { Ok(()) } else { Err(WebhookError::Status(status)) }
}

async fn request(
    webhook: &Webhook,
    notice: &Notice,
) -> Result<http::Request<String>, WebhookError> {
    let uri = webhook.url.uri();
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let host = uri.authority().map_or("", http::uri::Authority::as_str);
    let mut request = http::Request::post(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("mcp-agent/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(serde_json::to_string(notice).map_err(WebhookError::Notice)?)
        .map_err(WebhookError::Request)?;
    if let Some(path) = &webhook.token_file {
        request.headers_mut().insert(header::AUTHORIZATION, bearer(path).await?);
    }
    Ok(request)
}

async fn bearer(path: &Path) -> Result<HeaderValue, WebhookError> {
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|source| WebhookError::Token { path: path.to_owned(), source })?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .map_err(|_| WebhookError::BadToken { path: path.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

async fn connect(webhook: &Webhook) -> Result<Box<dyn Transport>, WebhookError> {
    let uri = webhook.url.uri();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let tls = webhook.url.is_tls();
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let failed = |source| WebhookError::Connect { at: format!("{host}:{port}"), source };
    let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
    if !tls {
        return Ok(Box::new(stream));
    }
    let roots = webhook.ca_cert.clone().unwrap_or_else(system_roots);
    let mut config = tls::client_config(&Trust::CaFile(roots))?.as_ref().clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    Ok(Box::new(stream))
}

fn system_roots() -> PathBuf {
    let first = SYSTEM.iter().map(Path::new).find(|path| path.exists());
    first.unwrap_or(Path::new(SYSTEM[0])).to_owned()
}
