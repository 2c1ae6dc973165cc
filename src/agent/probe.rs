//! `mcp-agent probe`: waits until a service answers.
//!
//! It runs as `ExecStartPost=` of a unit, on the host and without the daemon,
//! so that a unit is active only when its component is ready, whatever its
//! image contains.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::probe_tls::trusting;
pub use super::probe_values::{ArgumentError, StatusRange, duration};
use super::{listening, main_process};
use crate::podman::PodmanError;
use crate::podman::health::{self, Health};
use crate::telemetry::Chain;

/// Pause after the first attempt; it doubles up to the interval.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// From when on a reason for not being ready is told as it comes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the file with podman's results is waited for.
const RESULT_BY: Duration = Duration::from_secs(2);

/// How long podman itself may take.
const PODMAN: Duration = Duration::from_secs(30);

/// How long a connection must stay open to count. Measured: where nobody
/// listens, pasta closes it at once, and rootlessport, which tries a few
/// times itself, after 190 ms on an idle machine.
const SETTLE: Duration = Duration::from_secs(1);

/// The same where somebody is known to listen, and only has to keep the
/// connection.
const SETTLE_KNOWN: Duration = Duration::from_millis(50);

/// Wait until a service answers, and fail at the deadline
#[derive(Debug, Clone, clap::Args)]
pub struct ProbeArgs {
    /// What to ask
    #[command(subcommand)]
    pub target: ProbeTarget,
    /// Longest time between two attempts; the first ones come faster
    #[arg(long, global = true, default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// Longest time for one attempt
    #[arg(long, global = true, default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
    /// Give up after this time
    #[arg(long, global = true, default_value = "60s", value_parser = duration)]
    pub deadline: Duration,
    /// Give up when this process has ended
    #[arg(long, global = true, env = "MAINPID", hide = true)]
    pub main_pid: Option<i32>,
}

/// What to ask, and whom.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum ProbeTarget {
    /// Healthy when podman's own check of the unit's container has succeeded
    Podman,
    /// Healthy when the port takes a connection
    Tcp {
        /// Address and port
        addr: SocketAddr,
        /// Port in the container: is done sooner when that one is seen to
        /// listen
        #[arg(long)]
        listens: Option<u16>,
    },
    /// Healthy when a GET is answered with a good status; redirects are not
    /// followed
    Http {
        /// Address and port
        addr: SocketAddr,
        /// Path and query
        #[arg(default_value = "/")]
        path: http::uri::PathAndQuery,
        /// Speak TLS, and trust any certificate
        #[arg(long)]
        tls: bool,
        /// Host to ask for; the address when not given
        #[arg(long)]
        host: Option<String>,
        /// Statuses that are healthy
        #[arg(long, default_value = "200-399")]
        status: StatusRange,
    },
    /// Healthy when grpc.health.v1.Health/Check says SERVING
    Grpc {
        /// Address and port
        addr: SocketAddr,
        /// Speak TLS, and trust any certificate
        #[arg(long)]
        tls: bool,
        /// Service to ask for; the whole server when not given
        #[arg(long, default_value = "")]
        service: String,
    },
}

impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |tls: &bool| if *tls { "s" } else { "" };
        match self {
            Self::Podman => f.write_str("podman's check"),
            Self::Tcp { addr, listens: _ } => write!(f, "tcp://{addr}"),
            Self::Http { addr, path, tls, host: _, status: _ } => {
                write!(f, "http{}://{addr}{path}", s(tls))
            }
            Self::Grpc { addr, tls, service } => write!(f, "grpc{}://{addr}/{service}", s(tls)),
        }
    }
}

/// Says why a service is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It was not in time.
    #[error("{target} was not ready within {deadline:?} ({attempts} attempts){}", Lines(failures))]
    Deadline {
        /// Whom we asked.
        target: ProbeTarget,
        /// How long.
        deadline: Duration,
        /// How often.
        attempts: u32,
        /// Why not, each reason once, in the order in which they came.
        failures: Vec<Failure>,
    },
    /// What should answer has ended.
    #[error("{target} cannot become ready: the main process has ended")]
    Ended {
        /// Whom we asked.
        target: ProbeTarget,
    },
}

struct Lines<'a>(&'a [Failure]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|failure| write!(f, "\n  {}", Chain(failure)))
    }
}

/// Says why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Podman's check has not succeeded yet.
    #[error("{verdict}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Unhealthy {
        /// Podman's word for it.
        verdict: &'static str,
        /// Why the last attempt failed, if it did.
        reason: String,
    },
    /// Podman does not say how the container is.
    #[error("podman does not say how the container is")]
    Podman(#[from] PodmanError),
    /// Only a unit has a container.
    #[error("there is no main process; it is asked of by the container's unit alone")]
    NoUnit,
    /// Nobody takes the connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection was taken and dropped at once: by what forwards the
    /// port, when nobody listens in the container.
    #[error("the connection is closed at once")]
    Closed,
    /// No answer in time.
    #[error("no answer within {timeout:?}")]
    Timeout {
        /// How long we waited.
        timeout: Duration,
    },
    /// TLS could not be set up on our side.
    #[error("cannot set up TLS")]
    TlsSetup(#[source] rustls::Error),
    /// The host asked for is no host name.
    #[error("{host:?} is no host name")]
    Host {
        /// The host.
        host: String,
        /// What is wrong with it.
        #[source]
        source: InvalidDnsNameError,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The request could not be made.
    #[error("cannot make the request")]
    Request(#[source] http::Error),
    /// HTTP went wrong.
    #[error("no HTTP answer")]
    Http(#[source] hyper::Error),
    /// An answer with a status outside the range.
    #[error("HTTP status {status}, not {wanted}")]
    Status {
        /// What came.
        status: http::StatusCode,
        /// What is healthy.
        wanted: StatusRange,
    },
    /// gRPC could not connect.
    #[error("no gRPC connection")]
    Channel(#[source] tonic::transport::Error),
    /// The health service refused the call.
    #[error("gRPC health check refused: {code}")]
    Grpc {
        /// The status.
        code: tonic::Code,
        /// The whole answer.
        #[source]
        source: Box<tonic::Status>,
    },
    /// The health service says something else than SERVING.
    #[error("gRPC health status {}", status.as_str_name())]
    NotServing {
        /// What it says.
        status: ServingStatus,
    },
}

/// Asks again and again until the service is healthy.
///
/// Silent when the service is quick. Each reason why it is not ready is told
/// once, as soon as that takes a second; the error has them all. (journald
/// finds out whose a line is while it reads it: what a process says just
/// before it ends can be lost to the unit.)
///
/// # Errors
///
/// [`ProbeError`] at the deadline, or when the main process has ended.
pub async fn run(args: ProbeArgs, words: &mut dyn Write) -> Result<(), ProbeError> {
    let target = args.target.clone();
    tokio::select! {
        // Attempts hold nothing that outlives them.
        result = ask(args.clone(), words) => result,
        () = main_process::ended(args.main_pid) => Err(ProbeError::Ended { target }),
    }
}

async fn ask(args: ProbeArgs, words: &mut dyn Write) -> Result<(), ProbeError> {
    let ProbeArgs { target, mut interval, mut timeout, deadline, main_pid } = args;
    if target == ProbeTarget::Podman {
        // The check has a time of its own, and to look into a file is cheap.
        interval = interval.min(FIRST_PAUSE);
        timeout = timeout.max(PODMAN);
    }
    let mut pause = FIRST_PAUSE.min(interval);
    let start = Instant::now();
    let end = start + deadline;
    let mut failures: Vec<Failure> = Vec::new();
    let mut told = 0;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let now = Instant::now();
        let until = end.min(now + timeout);
        let failure =
            match tokio::time::timeout_at(until, attempt(&target, main_pid, (until - now) / 2))
                .await
            {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failure)) => Some(failure),
                // The deadline cut it short; what failed before says more.
                Err(_) if until < now + timeout && !failures.is_empty() => None,
                Err(_) => Some(Failure::Timeout { timeout: until - now }),
            };
        if let Some(failure) = failure {
            let text = Chain(&failure).to_string();
            if !failures.iter().any(|known| Chain(known).to_string() == text) {
                failures.push(failure);
            }
        }
        if start.elapsed() >= PATIENCE {
            for failure in failures.iter().skip(told) {
                // Nobody may be reading; the exit status is what counts.
                writeln!(words, "waiting for {target}: {}", Chain(failure)).unwrap_or_default();
            }
            told = failures.len();
        }
        let next = now + pause;
        pause = (pause * 2).min(interval);
        if next >= end {
            return Err(ProbeError::Deadline { target, deadline, attempts, failures });
        }
        tokio::time::sleep_until(next).await;
    }
}

/// Asks once.
///
/// # Errors
///
/// [`Failure`] says why it is not healthy.
pub async fn once(target: &ProbeTarget, timeout: Duration) -> Result<(), Failure> {
    match tokio::time::timeout(timeout, attempt(target, None, timeout / 2)).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::Timeout { timeout }),
    }
}

/// Asks once; `half` is half of the time there is.
async fn attempt(
    target: &ProbeTarget,
    main_pid: Option<i32>,
    half: Duration,
) -> Result<(), Failure> {
    match target {
        ProbeTarget::Podman => podmans(main_pid).await,
        ProbeTarget::Tcp { addr, listens } => {
            // Seen before connecting, so that the connection finds it.
            let known =
                main_pid.zip(*listens).is_some_and(|(pid, port)| listening::listens(pid, port));
            let settle = if known { SETTLE_KNOWN } else { SETTLE };
            stays_open(connect(*addr).await?, settle.min(half)).await
        }
        ProbeTarget::Http { addr, path, tls, host, status } => {
            let stream = open(*addr, tls.then_some("http/1.1"), host.as_deref()).await?;
            let host = host.clone().unwrap_or_else(|| addr.to_string());
            let answer = get(stream, path, &host).await?;
            if status.contains(answer) {
                return Ok(());
            }
            Err(Failure::Status { status: answer, wanted: *status })
        }
        ProbeTarget::Grpc { addr, tls, service } => check(*addr, *tls, service).await,
    }
}

/// Takes the verdict of podman's check of the container with this main
/// process.
async fn podmans(main_pid: Option<i32>) -> Result<(), Failure> {
    let pid = main_pid.and_then(|pid| u32::try_from(pid).ok()).ok_or(Failure::NoUnit)?;
    let end = Instant::now() + RESULT_BY;
    let mut found = health::read(pid);
    while found.health == Health::Unknown && Instant::now() < end {
        tokio::time::sleep(FIRST_PAUSE).await;
        found = health::read(pid);
    }
    if found.health == Health::Unknown {
        found = health::ask(pid).await?;
    }
    match found.health {
        Health::Healthy => Ok(()),
        verdict @ (Health::Starting | Health::Unhealthy | Health::Unknown) => {
            Err(Failure::Unhealthy { verdict: verdict.as_str(), reason: found.reason })
        }
    }
}

async fn connect(addr: SocketAddr) -> Result<TcpStream, Failure> {
    TcpStream::connect(addr).await.map_err(Failure::Connect)
}

/// Tells a server from a forwarder that finds nobody behind it: the latter
/// takes the connection too, and closes it.
async fn stays_open(mut stream: TcpStream, settle: Duration) -> Result<(), Failure> {
    let mut byte = [0];
    match tokio::time::timeout(settle, stream.read(&mut byte)).await {
        Ok(Ok(0) | Err(_)) => Err(Failure::Closed),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Opens a connection, with TLS if a protocol to announce in it is given
/// (ALPN, RFC 7301).
async fn open(
    addr: SocketAddr,
    alpn: Option<&str>,
    host: Option<&str>,
) -> Result<Box<dyn Transport>, Failure> {
    let stream = connect(addr).await?;
    let Some(alpn) = alpn else { return Ok(Box::new(stream)) };
    let name = match host {
        // A host may come with a port, as in the header.
        Some(host) => {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
            ServerName::try_from(name)
                .map_err(|source| Failure::Host { host: host.to_owned(), source })?
        }
        None => ServerName::IpAddress(addr.ip().into()),
    };
    let connector =
        tokio_rustls::TlsConnector::from(Arc::new(trusting(alpn).map_err(Failure::TlsSetup)?));
    let stream = connector.connect(name, stream).await.map_err(Failure::Handshake)?;
    Ok(Box::new(stream))
}

/// Sends one GET and returns the status of the answer.
async fn get(
    stream: Box<dyn Transport>,
    path: &http::uri::PathAndQuery,
    host: &str,
) -> Result<http::StatusCode, Failure> {
    let request = http::Request::get(path.as_str())
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, concat!("mcp-agent-probe/", env!("CARGO_PKG_VERSION")))
        .header(http::header::CONNECTION, "close")
        .body(String::new())
        .map_err(Failure::Request)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Failure::Http)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    // The connection moves the bytes. It may end, as asked, in the moment in
    // which the answer is there; without one the answer is then an error.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    answer.map(|answer| answer.status()).map_err(Failure::Http)
}

/// Calls `grpc.health.v1.Health/Check`
/// (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
async fn check(addr: SocketAddr, tls: bool, service: &str) -> Result<(), Failure> {
    let stream = open(addr, tls.then_some("h2"), None).await?;
    // tonic asks for a connection by URI; it gets the one that is open.
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(stream)
    });
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{addr}"))
        .map_err(Failure::Channel)?
        .connect_with_connector(connector)
        .await
        .map_err(Failure::Channel)?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|status| Failure::Grpc { code: status.code(), source: Box::new(status) })?;
    match answer.get_ref().status() {
        ServingStatus::Serving => Ok(()),
        status @ (ServingStatus::Unknown
        | ServingStatus::NotServing
        | ServingStatus::ServiceUnknown) => Err(Failure::NotServing { status }),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
