//! The agent as a whole: prepared, served, ended.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use super::gate::{Gate, now_ms, record_handshake};
use super::identity::{Members, Users};
use super::listen::{self, Sinks};
use super::problems::Problems;
use super::settings::{Settings, SocketRoles};
use crate::registry::{Registry, RegistryError};
use crate::rpc::agent_v1::agent_service_server::{self, AgentService, AgentServiceServer};
use crate::rpc::server::{self, ServeError};
use crate::rpc::{DESCRIPTORS, MAX_MESSAGE};
use crate::supervise::{SuperviseError, Supervisor};
use crate::telemetry::Chain;

/// How long the audit and events are kept, in milliseconds, and how much.
const KEEP_MS: i64 = 90 * 24 * 3600 * 1000;
const KEEP_ROWS: usize = 100_000;
/// How often what is older is removed.
const HOUSEKEEPING: Duration = Duration::from_secs(24 * 3600);
/// Refused handshakes that wait to be recorded.
const REFUSED: usize = 64;
/// How long records may take to be written at the end.
const RECORDS: Duration = Duration::from_secs(2);

/// Says why the agent does not run, or ran no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent uses the state directory.
    #[error("another mcp-agent uses {}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The socket cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Reflection's descriptors are broken.
    #[error("cannot describe the services")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// A task ended the agent.
    #[error(transparent)]
    Task(#[from] SuperviseError),
}

/// What an agent is made of before it serves; the service is built with it.
#[derive(Debug)]
pub struct Parts {
    /// What the configuration says.
    pub settings: Arc<Settings>,
    /// The agent's memory.
    pub registry: Registry,
    /// What keeps the agent from full service.
    pub problems: Problems,
    /// Owns the long-running tasks; the service adds its own.
    pub supervisor: Supervisor,
    /// Who may do what on the socket, as the last reload said.
    pub members: watch::Sender<Arc<Members>>,
    /// Held while the agent uses its state directory.
    lock: File,
}

impl Parts {
    /// Takes the state directory, opens the registry, resolves who may call.
    ///
    /// # Errors
    ///
    /// Another agent has the state directory, or a file cannot be used.
    pub fn prepare(settings: Settings, shutdown: CancellationToken) -> Result<Self, RunError> {
        let lock = take(&settings.state_dir)?;
        let registry = Registry::open(&settings.database)?;
        let problems = Problems::default();
        let members = members(&settings.roles, settings.uid, &problems);
        Ok(Self {
            settings: Arc::new(settings),
            registry,
            problems,
            supervisor: Supervisor::new(shutdown),
            members: watch::Sender::new(Arc::new(members)),
            lock,
        })
    }
}

/// Resolves the roles of the socket, and tells of users that are not there.
pub fn members(roles: &SocketRoles, uid: u32, problems: &Problems) -> Members {
    const CAUSE: &str = "socket_users";
    let (members, unknown) = Members::resolve(roles, Users::load_or_empty(), uid);
    if unknown.is_empty() {
        problems.clear(CAUSE);
    } else {
        let text = format!(
            "No user of this node is called {}; correct [socket] in the configuration.",
            unknown.join(" or ")
        );
        tracing::warn!("{text}");
        problems.set(CAUSE, text);
    }
    members
}

fn take(directory: &Path) -> Result<File, RunError> {
    let failed = |source| RunError::State { path: directory.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let path = directory.join("mcp-agent.lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(RunError::Locked { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the routes of an implementation of the agent's service.
pub fn routes<T: AgentService>(service: T) -> Routes {
    Routes::new(
        AgentServiceServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE),
    )
}

/// Serves `routes`, gRPC health and reflection until the shutdown token of
/// `parts` is cancelled; tells systemd when it is ready (`sd_notify(3)`).
///
/// # Errors
///
/// The socket cannot be served, or a task ended the agent.
pub async fn serve(parts: Parts, routes: Routes) -> Result<(), RunError> {
    let Parts { settings, registry, problems, mut supervisor, members, lock } = parts;
    let shutdown = supervisor.shutdown();
    let socket = settings.server.socket.clone();
    let listener = server::bind_unix(&socket)?;
    let records = TaskTracker::new();
    let gate = Gate::new(registry.clone(), members.subscribe(), records.clone());
    let service = gate.before(with_health_and_reflection(routes).await?);

    let (connections, incoming) = server::incoming();
    let (refused, mut refusals) = mpsc::channel(REFUSED);
    supervisor.spawn("gRPC", server::serve(service, incoming, shutdown.clone()));
    let accepting = server::accept_unix(listener, connections.clone(), shutdown.clone());
    supervisor.spawn("socket", async move { Ok::<(), ServeError>(accepting.await) });
    if let Some(addr) = settings.server.grpc_addr {
        let sinks = Sinks { connections, refused };
        let settings = Arc::clone(&settings);
        let accepting =
            listen::tls_listener(settings, addr, sinks, problems.clone(), shutdown.clone());
        supervisor.spawn("TCP", async move { Ok::<(), ServeError>(accepting.await) });
        let registry = registry.clone();
        supervisor.spawn("refused handshakes", async move {
            // Ends when the listener has, and with it its sender.
            while let Some(refusal) = refusals.recv().await {
                record_handshake(&registry, &refusal).await;
            }
            Ok::<(), ServeError>(())
        });
    }
    supervisor.spawn("registry", watch_registry(registry.clone(), shutdown.clone()));
    supervisor.spawn("watchdog", watchdog(registry.clone(), shutdown.clone()));
    supervisor.spawn("housekeeping", housekeeping(registry, shutdown));

    tracing::info!(socket = %socket.display(), node = %settings.node.name, "serving gRPC");
    let status = format!("Serving on {}", socket.display());
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    let ended = supervisor.run().await;
    notify(&[NotifyState::Stopping]);
    records.close();
    if tokio::time::timeout(RECORDS, records.wait()).await.is_err() {
        tracing::error!("the last calls could not be recorded in time");
    }
    if let Err(error) = fs::remove_file(&socket) {
        tracing::debug!(%error, "the socket was gone already");
    }
    drop(lock);
    Ok(ended?)
}

async fn with_health_and_reflection(routes: Routes) -> Result<Routes, RunError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let name = agent_service_server::SERVICE_NAME;
    reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
    let describe = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let current = describe().build_v1().map_err(RunError::Reflection)?;
    let older = describe().build_v1alpha().map_err(RunError::Reflection)?;
    Ok(routes.add_service(health).add_service(current).add_service(older))
}

/// Tells systemd something; outside systemd nobody listens.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// Ends the agent when the registry's thread is gone.
async fn watch_registry(
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<(), RegistryError> {
    // Both may be cancelled: they only wait.
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = registry.stopped() => Err(RegistryError::Stopped),
    }
}

/// Feeds systemd's watchdog, thrice in its time and only while the registry
/// answers: an agent that cannot remember is to be started anew.
async fn watchdog(registry: Registry, shutdown: CancellationToken) -> Result<(), RegistryError> {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        shutdown.cancelled().await;
        return Ok(());
    };
    let mut ticks = tokio::time::interval(limit / 3);
    loop {
        // Both may be cancelled: they only wait.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        match tokio::time::timeout(limit / 3, registry.ping()).await {
            Ok(Ok(())) => notify(&[NotifyState::Watchdog]),
            Ok(Err(error)) => tracing::error!(error = %Chain(&error), "the registry is not well"),
            Err(_elapsed) => tracing::error!("the registry does not answer"),
        }
    }
}

/// Removes old rows of the audit, the events and the journal, once a day.
async fn housekeeping(
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<(), RegistryError> {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    loop {
        // Both may be cancelled: they only wait.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if let Err(error) = prune(&registry, now_ms() - KEEP_MS).await {
            tracing::warn!(error = %Chain(&error), "cannot remove old records");
        }
    }
}

async fn prune(registry: &Registry, before_ms: i64) -> Result<(), RegistryError> {
    registry.prune_audit(before_ms, KEEP_ROWS).await?;
    registry.prune_events(before_ms, KEEP_ROWS).await?;
    registry.prune_operations(before_ms).await?;
    Ok(())
}
