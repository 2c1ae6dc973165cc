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

use super::backup::BackupError;
use super::gate::{Gate, now_ms, record_handshake};
use super::identity::{Members, Users};
use super::listen::{self, Sinks};
use super::memory::{self, Memory};
use super::monitor::MonitorSettings;
use super::problems::Problems;
use super::settings::{Settings, SocketRoles};
use super::upgrade::confirm::ConfirmError;
use crate::deployment::Sequence;
use crate::registry::snapshot::SnapshotError;
use crate::registry::{Registry, RegistryError};
use crate::rpc::agent_v1::agent_service_server::{self, AgentService, AgentServiceServer};
use crate::rpc::server::{self, ServeError};
use crate::rpc::{DESCRIPTORS, MAX_MESSAGE};
use crate::supervise::{SuperviseError, Supervisor};
use crate::telemetry::Chain;

/// How long the audit is kept, in milliseconds, and how much of it and of the
/// events.
const KEEP_MS: i64 = 90 * 24 * 3600 * 1000;
const KEEP_ROWS: usize = 100_000;
/// Events that are kept however old they seem: a clock may jump.
const KEEP_EVENTS: usize = 1_000;
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
    #[error("another mcp-agent uses {}; stop it first: systemctl stop mcp-agent", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry's file is not this user's.
    #[error(
        "uid {uid} may not use the registry {}; chown it and its directory to that user, then start the agent again",
        path.display()
    )]
    Denied {
        /// The file.
        path: PathBuf,
        /// The user that the agent runs as.
        uid: u32,
        /// What was refused.
        #[source]
        source: RegistryError,
    },
    /// A damaged registry could not be moved aside.
    #[error("the registry is damaged and cannot be moved aside")]
    Aside(#[from] SnapshotError),
    /// The socket cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Reflection's descriptors are broken.
    #[error("cannot describe the services")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// A task ended the agent.
    #[error(transparent)]
    Task(#[from] SuperviseError),
    /// This program is on trial and does not work.
    #[error("this program is on trial")]
    Trial(#[source] Box<ConfirmError>),
    /// There is no copy of the registry of before its schema changes.
    #[error(
        "the registry has schema {found} and is to get {known}, and cannot be copied first; it is as it was"
    )]
    NoCopy {
        /// Its schema.
        found: i64,
        /// The schema of this program.
        known: i64,
        /// Why.
        #[source]
        source: BackupError,
    },
}

impl RunError {
    /// Tells whether another start cannot help before somebody has mended
    /// what the error names.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Denied { .. }
            | Self::Registry(RegistryError::Newer { .. } | RegistryError::Foreign { .. }) => true,
            Self::State { .. }
            | Self::Locked { .. }
            | Self::Registry(_)
            | Self::Aside(_)
            | Self::Serve(_)
            | Self::Reflection(_)
            | Self::Task(_)
            | Self::Trial(_)
            | Self::NoCopy { .. } => false,
        }
    }
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
    /// How the agent watches, as the last reload said.
    pub monitor: watch::Sender<Arc<MonitorSettings>>,
    /// The boot sequence, as the last reload said.
    pub boot: watch::Sender<Arc<Sequence>>,
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
        let Memory { registry, problem } = memory::open(&settings, now_ms())?;
        let problems = Problems::default();
        if let Some(problem) = problem {
            problems.set("registry", problem);
        }
        let members = members(&settings.roles, settings.uid, &problems);
        Ok(Self {
            monitor: watch::Sender::new(Arc::new(settings.monitor.clone())),
            boot: watch::Sender::new(Arc::new(settings.boot.clone())),
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

/// Takes a state directory for this process alone, as long as the file lives.
///
/// # Errors
///
/// Another agent has it, or it cannot be used.
pub fn take(directory: &Path) -> Result<File, RunError> {
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
/// `parts` is cancelled; calls `started` when it answers, and tells systemd
/// then that it is ready (`sd_notify(3)`).
///
/// # Errors
///
/// The socket cannot be served, `started` failed, or a task ended the agent.
pub async fn serve<F, R>(parts: Parts, routes: Routes, started: F) -> Result<(), RunError>
where
    F: FnOnce() -> R + Send,
    R: Future<Output = Result<(), RunError>> + Send,
{
    let Parts { settings, registry, problems, mut supervisor, members, monitor, boot, lock } =
        parts;
    // Whoever heeds it has a receiver.
    drop(boot);
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
    supervisor.spawn("socket", async move {
        accepting.await;
        Ok::<(), ServeError>(())
    });
    if let Some(addr) = settings.server.grpc_addr {
        let sinks = Sinks { connections, refused };
        let settings = Arc::clone(&settings);
        let accepting =
            listen::tls_listener(settings, addr, sinks, problems.clone(), shutdown.clone());
        supervisor.spawn("TCP", async move {
            accepting.await;
            Ok::<(), ServeError>(())
        });
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
    let writing = registry.clone();
    supervisor.spawn("housekeeping", housekeeping(writing, monitor.subscribe(), shutdown));

    tracing::info!(socket = %socket.display(), node = %settings.node.name, "serving gRPC");
    let status = format!("Serving on {}", socket.display());
    let ended = until_the_end(supervisor, started().await, &status).await;
    notify(&[NotifyState::Stopping]);
    records.close();
    if tokio::time::timeout(RECORDS, records.wait()).await.is_err() {
        tracing::error!("the last calls could not be recorded in time");
    }
    // A registry that was damaged has ended already.
    match tokio::time::timeout(RECORDS, registry.close()).await {
        Ok(Ok(()) | Err(RegistryError::Stopped)) => {}
        Ok(Err(error)) => tracing::warn!(error = %Chain(&error), "the registry is not closed"),
        Err(_elapsed) => tracing::warn!("the registry could not be closed in time"),
    }
    if let Err(error) = fs::remove_file(&socket) {
        tracing::debug!(%error, "the socket was gone already");
    }
    drop(lock);
    ended
}

/// Tells systemd that the agent is ready, if it is, and waits for its end.
async fn until_the_end(
    supervisor: Supervisor,
    started: Result<(), RunError>,
    status: &str,
) -> Result<(), RunError> {
    if let Err(error) = started {
        supervisor.shutdown().cancel();
        if let Err(ended) = supervisor.run().await {
            tracing::warn!(error = %Chain(&ended), "the tasks did not end in peace");
        }
        return Err(error);
    }
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    Ok(supervisor.run().await?)
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

/// Feeds systemd's watchdog, twice in its time (`sd_watchdog_enabled(3)`) and
/// only while the registry answers: an agent that cannot remember is to be
/// started anew.
async fn watchdog(registry: Registry, shutdown: CancellationToken) -> Result<(), RegistryError> {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        shutdown.cancelled().await;
        return Ok(());
    };
    let mut ticks = tokio::time::interval(limit / 2);
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
    monitor: watch::Receiver<Arc<MonitorSettings>>,
    shutdown: CancellationToken,
) -> Result<(), RegistryError> {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    loop {
        // Both may be cancelled: they only wait.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let retention = monitor.borrow().retention.get().as_millis();
        let events_before =
            now_ms().saturating_sub_unsigned(u64::try_from(retention).unwrap_or(u64::MAX));
        if let Err(error) = prune(&registry, now_ms() - KEEP_MS, events_before).await {
            tracing::warn!(error = %Chain(&error), "cannot remove old records");
        }
    }
}

async fn prune(
    registry: &Registry,
    before_ms: i64,
    events_before_ms: i64,
) -> Result<(), RegistryError> {
    registry.prune_audit(before_ms, KEEP_ROWS).await?;
    registry.prune_events(events_before_ms, KEEP_EVENTS, KEEP_ROWS).await?;
    registry.prune_operations(before_ms).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::{Code, Request, Response, Status};

    use super::*;
    use crate::agent::config;
    use crate::agent::environment::Environment;
    use crate::agent::gate::{AuditNote, Caller};
    use crate::registry::{AuditRow, TokenRow};
    use crate::rpc::agent_v1 as pb;
    use crate::rpc::auth::{Role, Token};
    use crate::rpc::client::{ConnectError, Endpoint, connect, refusal_reason};
    use crate::rpc::tls::{Fingerprint, Identity, Trust};

    /// A service that knows two calls.
    struct Echo;

    type Progress = ReceiverStream<Result<pb::Progress, Status>>;

    #[tonic::async_trait]
    impl AgentService for Echo {
        type DeployStream = Progress;
        type UndeployStream = Progress;
        type StopStream = Progress;
        type StartStream = Progress;
        type RestartStream = Progress;
        type LogsStream = ReceiverStream<Result<pb::LogEntry, Status>>;
        type RollbackStream = Progress;
        type ExecStream = ReceiverStream<Result<pb::SessionResponse, Status>>;
        type RunOnceStream = ReceiverStream<Result<pb::SessionResponse, Status>>;
        type EventsStream = ReceiverStream<Result<pb::Event, Status>>;
        type ReconcileStream = Progress;
        type ReleaseStream = Progress;
        type AdoptStream = Progress;
        type PlanSyncStream = ReceiverStream<Result<pb::SyncAnswer, Status>>;
        type RecoverStream = ReceiverStream<Result<pb::RecoverEvent, Status>>;
        type PushStream = ReceiverStream<Result<pb::FileFrame, Status>>;
        type PullStream = ReceiverStream<Result<pb::FileFrame, Status>>;
        type WatchStatusStream = ReceiverStream<Result<pb::StatusResponse, Status>>;

        async fn push(
            &self,
            _: Request<tonic::Streaming<pb::FileFrame>>,
        ) -> Result<Response<Self::PushStream>, Status> {
            Err(Status::unimplemented("push"))
        }

        async fn pull(
            &self,
            _: Request<tonic::Streaming<pb::FileFrame>>,
        ) -> Result<Response<Self::PullStream>, Status> {
            Err(Status::unimplemented("pull"))
        }

        async fn list_files(
            &self,
            _: Request<pb::ListFilesRequest>,
        ) -> Result<Response<pb::ListFilesResponse>, Status> {
            Err(Status::unimplemented("list_files"))
        }

        async fn watch_status(
            &self,
            _: Request<pb::StatusRequest>,
        ) -> Result<Response<Self::WatchStatusStream>, Status> {
            Err(Status::unimplemented("watch_status"))
        }
        type TopStream = ReceiverStream<Result<pb::TopSample, Status>>;

        async fn info(
            &self,
            request: Request<pb::InfoRequest>,
        ) -> Result<Response<pb::InfoResponse>, Status> {
            let caller = request.extensions().get::<Caller>().unwrap();
            Ok(Response::new(pb::InfoResponse {
                caller: caller.name.clone(),
                role: caller.role.to_string(),
                ..Default::default()
            }))
        }

        async fn deploy(
            &self,
            request: Request<pb::DeployRequest>,
        ) -> Result<Response<Progress>, Status> {
            let note = request.extensions().get::<AuditNote>().unwrap().clone();
            note.subject("web");
            let what = request.into_inner().definition;
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                match what.as_str() {
                    "hang" => sender.closed().await,
                    "fail" => drop(sender.send(Err(Status::internal("no"))).await),
                    "undo" => note.outcome("rolled_back", "web was not ready"),
                    _ => drop(sender.send(Ok(pb::Progress::default())).await),
                }
            });
            Ok(Response::new(ReceiverStream::new(receiver)))
        }

        async fn plan(
            &self,
            _: Request<pb::DeployRequest>,
        ) -> Result<Response<pb::PlanResponse>, Status> {
            Err(Status::unimplemented("plan"))
        }
        async fn events(
            &self,
            _: Request<pb::EventsRequest>,
        ) -> Result<Response<Self::EventsStream>, Status> {
            Err(Status::unimplemented("events"))
        }
        async fn plan_reconcile(
            &self,
            _: Request<pb::ServiceRequest>,
        ) -> Result<Response<pb::PlanResponse>, Status> {
            Err(Status::unimplemented("plan_reconcile"))
        }
        async fn reconcile(
            &self,
            _: Request<pb::ServiceRequest>,
        ) -> Result<Response<Progress>, Status> {
            Err(Status::unimplemented("reconcile"))
        }
        async fn exec(
            &self,
            _: Request<tonic::Streaming<pb::SessionRequest>>,
        ) -> Result<Response<Self::ExecStream>, Status> {
            Err(Status::unimplemented("exec"))
        }
        async fn run_once(
            &self,
            _: Request<tonic::Streaming<pb::SessionRequest>>,
        ) -> Result<Response<Self::RunOnceStream>, Status> {
            Err(Status::unimplemented("run_once"))
        }
        async fn release(
            &self,
            _: Request<pb::ServiceRequest>,
        ) -> Result<Response<Progress>, Status> {
            Err(Status::unimplemented("release"))
        }
        async fn plan_adopt(
            &self,
            _: Request<pb::PlanAdoptRequest>,
        ) -> Result<Response<pb::PlanAdoptResponse>, Status> {
            Err(Status::unimplemented("plan_adopt"))
        }
        async fn adopt(&self, _: Request<pb::AdoptRequest>) -> Result<Response<Progress>, Status> {
            Err(Status::unimplemented("adopt"))
        }
        async fn plan_sync(
            &self,
            _: Request<pb::PlanSyncRequest>,
        ) -> Result<Response<Self::PlanSyncStream>, Status> {
            Err(Status::unimplemented("plan_sync"))
        }
        async fn purge(
            &self,
            _: Request<pb::PurgeRequest>,
        ) -> Result<Response<pb::PurgeResponse>, Status> {
            Err(Status::unimplemented("purge"))
        }
        async fn test_alerts(
            &self,
            _: Request<pb::TestAlertsRequest>,
        ) -> Result<Response<pb::TestAlertsResponse>, Status> {
            Err(Status::unimplemented("test_alerts"))
        }
        async fn undeploy(
            &self,
            _: Request<pb::UndeployRequest>,
        ) -> Result<Response<Progress>, Status> {
            Err(Status::unimplemented("undeploy"))
        }
        async fn stop(&self, _: Request<pb::ServiceRequest>) -> Result<Response<Progress>, Status> {
            Err(Status::not_found("there is no service web"))
        }
        async fn start(
            &self,
            _: Request<pb::ServiceRequest>,
        ) -> Result<Response<Progress>, Status> {
            Err(Status::unimplemented("start"))
        }
        async fn restart(
            &self,
            _: Request<pb::ServiceRequest>,
        ) -> Result<Response<Progress>, Status> {
            Err(Status::unimplemented("restart"))
        }
        async fn list(
            &self,
            _: Request<pb::ListRequest>,
        ) -> Result<Response<pb::ListResponse>, Status> {
            Err(Status::unimplemented("list"))
        }
        async fn status(
            &self,
            _: Request<pb::StatusRequest>,
        ) -> Result<Response<pb::StatusResponse>, Status> {
            Err(Status::unimplemented("status"))
        }
        async fn definition(
            &self,
            _: Request<pb::ServiceRequest>,
        ) -> Result<Response<pb::DefinitionResponse>, Status> {
            Err(Status::unimplemented("definition"))
        }
        async fn logs(
            &self,
            _: Request<pb::LogsRequest>,
        ) -> Result<Response<Self::LogsStream>, Status> {
            Err(Status::unimplemented("logs"))
        }
        async fn history(
            &self,
            _: Request<pb::ServiceRequest>,
        ) -> Result<Response<pb::HistoryResponse>, Status> {
            Err(Status::unimplemented("history"))
        }
        async fn diff(
            &self,
            _: Request<pb::DiffRequest>,
        ) -> Result<Response<pb::DiffResponse>, Status> {
            Err(Status::unimplemented("diff"))
        }
        async fn rollback(
            &self,
            _: Request<pb::RollbackRequest>,
        ) -> Result<Response<Progress>, Status> {
            Err(Status::unimplemented("rollback"))
        }
        async fn recover(
            &self,
            _: Request<pb::RecoverRequest>,
        ) -> Result<Response<Self::RecoverStream>, Status> {
            Err(Status::unimplemented("recover"))
        }
        async fn upgrade(
            &self,
            _: Request<tonic::Streaming<pb::UpgradeRequest>>,
        ) -> Result<Response<pb::UpgradeResponse>, Status> {
            Err(Status::unimplemented("upgrade"))
        }
        async fn agent_status(
            &self,
            _: Request<pb::AgentStatusRequest>,
        ) -> Result<Response<pb::AgentStatusResponse>, Status> {
            Err(Status::unimplemented("agent_status"))
        }
        async fn explain(
            &self,
            _: Request<pb::ServiceRequest>,
        ) -> Result<Response<pb::ExplainResponse>, Status> {
            Err(Status::unimplemented("explain"))
        }
        async fn top(
            &self,
            _: Request<pb::TopRequest>,
        ) -> Result<Response<Self::TopStream>, Status> {
            Err(Status::unimplemented("top"))
        }
        async fn doctor(
            &self,
            _: Request<pb::DoctorRequest>,
        ) -> Result<Response<pb::DoctorResponse>, Status> {
            Err(Status::unimplemented("doctor"))
        }

        async fn boot_report(
            &self,
            _: Request<pb::BootReportRequest>,
        ) -> Result<Response<pb::BootReportResponse>, Status> {
            Err(Status::unimplemented("boot_report"))
        }
        async fn boot_verify(
            &self,
            _: Request<pb::BootVerifyRequest>,
        ) -> Result<Response<pb::BootVerifyResponse>, Status> {
            Err(Status::unimplemented("boot_verify"))
        }

        async fn boot_plan(
            &self,
            _: Request<pb::BootPlanRequest>,
        ) -> Result<Response<pb::BootPlanResponse>, Status> {
            Err(Status::unimplemented("boot_plan"))
        }
    }

    struct Agent {
        dir: tempfile::TempDir,
        addr: SocketAddr,
        registry: Registry,
        members: watch::Sender<Arc<Members>>,
        shutdown: CancellationToken,
        served: tokio::task::JoinHandle<Result<(), RunError>>,
    }

    impl Agent {
        /// Starts an agent on a socket and on a TCP port that was free.
        async fn start() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = free.local_addr().unwrap();
            drop(free);
            let environment = Environment {
                uid: rustix::process::geteuid().as_raw(),
                host_name: "rift".to_owned(),
                state_directory: Some(dir.path().to_owned()),
                runtime_directory: Some(dir.path().join("run")),
                ..Environment::default()
            };
            let text = format!("[server]\ngrpc_addr = \"{addr}\"\n");
            let settings = config::parse(&text, Path::new("a.toml"), &environment).unwrap();
            let shutdown = CancellationToken::new();
            let parts = Parts::prepare(settings, shutdown.clone()).unwrap();
            let (registry, members) = (parts.registry.clone(), parts.members.clone());
            let served = tokio::spawn(serve(parts, routes(Echo), async || Ok(())));
            let agent = Self { dir, addr, registry, members, shutdown, served };
            eventually(async || {
                agent.unix().await.is_ok() && tokio::net::TcpStream::connect(addr).await.is_ok()
            })
            .await;
            agent
        }

        async fn unix(&self) -> Result<crate::rpc::client::AgentClient, ConnectError> {
            connect(&Endpoint::Unix(self.dir.path().join("run/agent.sock")), None).await
        }

        fn fingerprint(&self) -> Fingerprint {
            let path = self.dir.path().join("mcp-agent.tls.pem");
            Identity::load(&path, &path).unwrap().fingerprint()
        }

        async fn tls(
            &self,
            token: Option<&Token>,
        ) -> Result<crate::rpc::client::AgentClient, ConnectError> {
            let trust = Trust::Pin(self.fingerprint());
            let endpoint = Endpoint::Tls { addresses: vec![self.addr.to_string()], trust };
            connect(&endpoint, token.map(Token::text).as_ref()).await
        }

        async fn token(&self, role: Role, expires_at_ms: Option<i64>) -> Token {
            let token = Token::generate().unwrap();
            let row = TokenRow {
                id: token.id().to_owned(),
                name: format!("{role} token"),
                role: role.to_string(),
                hash: token.hash(),
                created_at_ms: 0,
                expires_at_ms,
                revoked_at_ms: None,
                last_used_ms: None,
            };
            self.registry.insert_token(row).await.unwrap();
            token
        }

        /// Waits for the last record to be one that satisfies `wanted`.
        async fn audited(&self, wanted: impl Fn(&AuditRow) -> bool) {
            eventually(async || self.registry.recent_audit(1).await.unwrap().iter().any(&wanted))
                .await;
        }

        async fn stop(self) {
            self.shutdown.cancel();
            self.served.await.unwrap().unwrap();
            assert!(!self.dir.path().join("run/agent.sock").exists());
        }
    }

    async fn eventually(condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    }

    fn definition(text: &str) -> pb::DeployRequest {
        pb::DeployRequest { definition: text.to_owned(), ..Default::default() }
    }

    async fn drain(mut stream: tonic::Streaming<pb::Progress>) -> Result<usize, Status> {
        let mut count = 0;
        while stream.message().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[tokio::test]
    async fn a_changing_call_is_recorded_with_its_end() {
        let agent = Agent::start().await;
        let mut client = agent.unix().await.unwrap();
        assert_eq!(client.info(pb::InfoRequest {}).await.unwrap().into_inner().role, "admin");
        assert!(agent.registry.recent_audit(9).await.unwrap().is_empty());

        drain(client.deploy(definition("good")).await.unwrap().into_inner()).await.unwrap();
        agent
            .audited(|row| row.method == "Deploy" && row.subject == "web" && row.code == "ok")
            .await;
        drain(client.deploy(definition("fail")).await.unwrap().into_inner()).await.unwrap_err();
        agent.audited(|row| row.code == "internal" && row.message == "no").await;
        drain(client.deploy(definition("undo")).await.unwrap().into_inner()).await.unwrap();
        agent.audited(|row| row.code == "rolled_back").await;
        client.stop(pb::ServiceRequest::default()).await.unwrap_err();
        agent.audited(|row| row.method == "Stop" && row.code == "not_found").await;
        drop(client.deploy(definition("hang")).await.unwrap());
        agent.audited(|row| row.code == "cancelled").await;
        agent.stop().await;
    }

    #[tokio::test]
    async fn a_uid_without_a_role_is_refused_and_recorded() {
        let agent = Agent::start().await;
        agent.members.send_replace(Arc::new(Members::default()));
        let mut client = agent.unix().await.unwrap();
        let status = client.list(pb::ListRequest {}).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(refusal_reason(&status), Some("no-role"));
        agent.audited(|row| row.method == "List" && row.code == "permission_denied").await;
        agent.stop().await;
    }

    #[tokio::test]
    async fn bad_tokens_and_low_roles_are_refused_and_recorded() {
        let agent = Agent::start().await;
        let viewer = agent.token(Role::Viewer, None).await;
        let expired = agent.token(Role::Admin, Some(1)).await;
        let revoked = agent.token(Role::Admin, None).await;
        agent.registry.revoke_token(revoked.id(), 1).await.unwrap();
        let unknown = Token::generate().unwrap();
        for (token, reason) in [
            (None, "no-token"),
            (Some(&unknown), "bad-token"),
            (Some(&expired), "token-expired"),
            (Some(&revoked), "token-revoked"),
        ] {
            let mut client = agent.tls(token).await.unwrap();
            let status = client.info(pb::InfoRequest {}).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{reason}");
            assert_eq!(refusal_reason(&status), Some(reason));
            agent.audited(|row| row.method == "Info" && row.code == "unauthenticated").await;
        }
        let mut client = agent.tls(Some(&viewer)).await.unwrap();
        let info = client.info(pb::InfoRequest {}).await.unwrap().into_inner();
        assert_eq!((info.caller.as_str(), info.role.as_str()), ("viewer token", "viewer"));
        let status = client.deploy(definition("good")).await.unwrap_err();
        assert_eq!(refusal_reason(&status), Some("role-too-low"));
        agent
            .audited(|row| {
                row.method == "Deploy"
                    && row.caller == "viewer token"
                    && row.code == "permission_denied"
            })
            .await;
        eventually(async || {
            agent.registry.token(viewer.id()).await.unwrap().unwrap().last_used_ms.is_some()
        })
        .await;
        agent.stop().await;
    }

    #[tokio::test]
    async fn health_needs_no_token() {
        let agent = Agent::start().await;
        let trust = Trust::Pin(agent.fingerprint());
        let endpoint = Endpoint::Tls { addresses: vec![agent.addr.to_string()], trust };
        let channel = crate::rpc::client::channel(&endpoint).await.unwrap();
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        let service = agent_service_server::SERVICE_NAME.to_owned();
        let request = tonic_health::pb::HealthCheckRequest { service };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
        agent.stop().await;
    }

    #[tokio::test]
    async fn another_certificate_is_told_with_both_fingerprints() {
        let agent = Agent::start().await;
        let expected: Fingerprint = "ab".repeat(32).parse().unwrap();
        let endpoint =
            Endpoint::Tls { addresses: vec![agent.addr.to_string()], trust: Trust::Pin(expected) };
        let error = connect(&endpoint, None).await.unwrap_err();
        let told = Chain(&error).to_string();
        assert!(matches!(error, ConnectError::Mismatch { .. }), "{told}");
        assert!(told.contains(&expected.to_string()), "{told}");
        assert!(told.contains(&agent.fingerprint().to_string()), "{told}");
        agent.stop().await;
    }

    #[tokio::test]
    async fn tls_1_2_and_plaintext_are_refused_and_recorded() {
        let agent = Agent::start().await;
        // A ClientHello of TLS 1.2 (RFC 5246, section 7.4.1.2), made by hand:
        // our own client cannot speak it.
        let mut hello = vec![3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
        hello.extend([0, 20, 0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1]);
        let mut record = vec![22, 3, 1, 0, u8::try_from(hello.len() + 4).unwrap(), 1, 0, 0];
        record.push(u8::try_from(hello.len()).unwrap());
        record.extend(hello);
        let mut stream = tokio::net::TcpStream::connect(agent.addr).await.unwrap();
        stream.write_all(&record).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // A fatal alert: protocol_version (70).
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
        agent.audited(|row| row.method == "TLS handshake").await;

        let mut stream = tokio::net::TcpStream::connect(agent.addr).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        drop(stream.read_to_end(&mut answer).await);
        eventually(async || {
            let recent = agent.registry.recent_audit(9).await.unwrap();
            recent.iter().filter(|row| row.method == "TLS handshake").count() == 2
        })
        .await;
        agent.stop().await;
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let dir = tempfile::tempdir().unwrap();
        let error = connect(&Endpoint::Unix(dir.path().join("x")), None).await.unwrap_err();
        assert!(error.is_unreachable(), "{error:?}");
        let trust = Trust::Pin("ab".repeat(32).parse().unwrap());
        let addresses = vec!["127.0.0.1:1".to_owned()];
        let error = connect(&Endpoint::Tls { addresses, trust }, None).await.unwrap_err();
        assert!(error.is_unreachable(), "{error:?}");
    }

    #[tokio::test]
    async fn a_second_agent_does_not_take_the_state_of_the_first() {
        let agent = Agent::start().await;
        let environment = Environment {
            host_name: "rift".to_owned(),
            state_directory: Some(agent.dir.path().to_owned()),
            ..Environment::default()
        };
        let settings = config::parse("", Path::new("a.toml"), &environment).unwrap();
        let second = Parts::prepare(settings, CancellationToken::new());
        assert!(matches!(second, Err(RunError::Locked { .. })), "{second:?}");
        agent.stop().await;
    }

    #[tokio::test]
    async fn a_follower_does_not_hold_up_the_end_for_long() {
        let agent = Agent::start().await;
        let mut client = agent.unix().await.unwrap();
        let stream = client.deploy(definition("hang")).await.unwrap();
        let begun = std::time::Instant::now();
        agent.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(9));
        drop(stream);
    }
}
