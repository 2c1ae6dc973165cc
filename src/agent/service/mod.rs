//! The agent's gRPC service: one file a call or group of calls; each
//! converts, calls the engine once, and converts back.

mod adopt;
mod boot;
mod boot_report;
mod boot_verify;
mod convert;
mod deploy;
mod doctor;
mod events;
mod explain;
mod files;
mod history;
mod info;
mod logs;
mod lookup;
mod operations;
mod recover;
mod session;
mod settle;
mod since;
mod status;
mod sync;
mod top;
mod upgrade;
mod watch_status;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::check::follow::Follower;
use super::doctor::Patient;
use super::engine::{Engine, EngineError, Toolchain, Tools};
use super::files::DataDirs;
use super::gate::{AuditNote, Caller};
use super::monitor::alerts::Alerts;
use super::monitor::{self, Events, Monitor, MonitorSettings, Notice};
use super::upgrade::Running;
use super::{Parts, Problems};
use crate::names::{ComponentName, NodeName, ServiceName};
use crate::rpc::agent_v1 as pb;
use crate::systemd::{BusAddress, Manager};
use crate::telemetry::Chain;
use crate::units::UnitStore;

/// How often a user manager that does not answer is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// The agent's service.
#[derive(Debug, Clone)]
pub struct Agent {
    engine: Engine,
    node: NodeName,
    problems: Problems,
    systemd: Arc<tokio::sync::OnceCell<String>>,
    events: Events,
    monitor: watch::Receiver<Arc<MonitorSettings>>,
    shutdown: CancellationToken,
    patient: Patient,
    sessions: Arc<Semaphore>,
    data_dirs: DataDirs,
    running: Arc<Running>,
}

/// A stream that a call answers with.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Agent {
    /// Builds the service out of the agent's parts, and finishes or undoes
    /// what an earlier agent was at when it ended.
    ///
    /// # Errors
    ///
    /// The registry does not answer. A node without podman or without its
    /// user manager is served all the same, and the problem reported.
    pub async fn new(parts: &mut Parts) -> Result<Self, EngineError> {
        let environment = super::environment::Environment::of_process();
        let config = environment.config_dir(&parts.settings.state_dir);
        let runtime = environment.runtime_dir();
        let patient = Patient::new(&parts.settings, &environment);
        let running = Running::new(&environment, &parts.settings.database);
        let toolchain = Toolchain::find(running.installed()).await;
        let toolchain = toolchain.map_err(|error| Chain(&error).to_string());
        if let Err(why) = &toolchain {
            parts.problems.set("podman", format!("this node cannot deploy: {why}"));
            tracing::error!("this node cannot deploy: {why}");
        }
        let (events, notices) =
            Events::new(parts.registry.clone(), parts.settings.node.name.clone());
        let engine = Engine::new(Tools {
            registry: parts.registry.clone(),
            manager: Manager::new(BusAddress::own()),
            store: UnitStore::new(&config),
            toolchain,
            node: parts.settings.node.clone(),
            runtime: runtime.clone(),
            events: events.clone(),
            state_dir: parts.settings.state_dir.clone(),
            boot: Arc::new(parts.settings.boot.clone()),
            problems: parts.problems.clone(),
        })
        .await?;
        let agent = Self {
            engine,
            node: parts.settings.node.name.clone(),
            problems: parts.problems.clone(),
            systemd: Arc::default(),
            events: events.clone(),
            monitor: parts.monitor.subscribe(),
            shutdown: parts.supervisor.shutdown(),
            patient,
            sessions: Arc::new(Semaphore::new(session::SESSIONS)),
            data_dirs: DataDirs::new(&parts.settings),
            running: Arc::new(running),
        };
        let cut_off = agent.engine.cut_off().await?;
        agent.take_from_unit_files().await?;
        parts.supervisor.spawn(
            "boot order",
            boot::follow(agent.clone(), parts.boot.subscribe(), parts.supervisor.shutdown()),
        );
        parts.supervisor.spawn("settle", agent.clone().settle_until_the_end(cut_off));
        agent.watch(parts, notices, (config, runtime));
        Ok(agent)
    }

    /// Begins to watch what runs, and to tell of it. The directories are the
    /// user's configuration and `$XDG_RUNTIME_DIR`.
    fn watch(
        &self,
        parts: &mut Parts,
        notices: mpsc::Receiver<Notice>,
        (config, runtime): (PathBuf, PathBuf),
    ) {
        let alerts = Alerts::new(parts.monitor.subscribe(), parts.problems.clone());
        parts.supervisor.spawn("alerts", alerts.run(notices, parts.supervisor.shutdown()));
        let follower = Follower {
            engine: self.engine.clone(),
            events: self.events.clone(),
            registry: parts.registry.clone(),
            runtime: runtime.clone(),
        };
        parts.supervisor.spawn("health", follower.run(parts.supervisor.shutdown()));
        let monitor = Monitor::new(monitor::watch::Tools {
            engine: self.engine.clone(),
            events: self.events.clone(),
            registry: parts.registry.clone(),
            settings: parts.monitor.subscribe(),
            config,
            runtime,
        });
        parts.supervisor.spawn("monitor", monitor.run(parts.supervisor.shutdown()));
    }
}

/// Returns who asks, for the registry.
fn caller<T>(request: &Request<T>) -> String {
    request.extensions().get::<Caller>().map_or_else(|| "unknown".to_owned(), |c| c.name.clone())
}

/// Tells the audit what a call is about.
fn subject<T>(request: &Request<T>, service: &str, component: &str) -> AuditNote {
    let note = request.extensions().get::<AuditNote>().cloned().unwrap_or_default();
    note.subject(if component.is_empty() {
        service.to_owned()
    } else {
        format!("{service}/{component}")
    });
    note
}

fn service_name(text: &str) -> Result<ServiceName, Status> {
    text.parse().map_err(|e: crate::names::NameError| Status::invalid_argument(e.to_string()))
}

fn component_name(text: &str) -> Result<Option<ComponentName>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|e: crate::names::NameError| Status::invalid_argument(e.to_string()))
}

#[tonic::async_trait]
impl pb::agent_service_server::AgentService for Agent {
    type DeployStream = Answers<pb::Progress>;
    type UndeployStream = Answers<pb::Progress>;
    type StopStream = Answers<pb::Progress>;
    type StartStream = Answers<pb::Progress>;
    type RestartStream = Answers<pb::Progress>;
    type WatchStatusStream = Answers<pb::StatusResponse>;
    type LogsStream = Answers<pb::LogEntry>;
    type PushStream = Answers<pb::FileFrame>;
    type PullStream = Answers<pb::FileFrame>;
    type RollbackStream = Answers<pb::Progress>;
    type ExecStream = Answers<pb::SessionResponse>;
    type RunOnceStream = Answers<pb::SessionResponse>;
    type EventsStream = Answers<pb::Event>;
    type ReconcileStream = Answers<pb::Progress>;
    type ReleaseStream = Answers<pb::Progress>;
    type AdoptStream = Answers<pb::Progress>;
    type PlanSyncStream = Answers<pb::SyncAnswer>;
    type RecoverStream = Answers<pb::RecoverEvent>;
    type TopStream = Answers<pb::TopSample>;

    async fn info(
        &self,
        request: Request<pb::InfoRequest>,
    ) -> Result<Response<pb::InfoResponse>, Status> {
        self.answer_info(request).await
    }

    async fn plan(
        &self,
        request: Request<pb::DeployRequest>,
    ) -> Result<Response<pb::PlanResponse>, Status> {
        self.answer_plan(request).await
    }

    async fn deploy(
        &self,
        request: Request<pb::DeployRequest>,
    ) -> Result<Response<Self::DeployStream>, Status> {
        self.answer_deploy(request).await
    }

    async fn undeploy(
        &self,
        request: Request<pb::UndeployRequest>,
    ) -> Result<Response<Self::UndeployStream>, Status> {
        self.answer_undeploy(&request)
    }

    async fn stop(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<Self::StopStream>, Status> {
        self.answer_stop(&request)
    }

    async fn start(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<Self::StartStream>, Status> {
        self.answer_start(&request)
    }

    async fn restart(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<Self::RestartStream>, Status> {
        self.answer_restart(&request)
    }

    async fn list(
        &self,
        _: Request<pb::ListRequest>,
    ) -> Result<Response<pb::ListResponse>, Status> {
        Ok(Response::new(self.answer_list()))
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        self.answer_status(request).await
    }

    async fn watch_status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        self.answer_watch_status(request.into_inner())
    }

    async fn definition(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<pb::DefinitionResponse>, Status> {
        self.answer_definition(&request)
    }

    async fn logs(
        &self,
        request: Request<pb::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        self.answer_logs(&request).await
    }

    async fn push(
        &self,
        request: Request<Streaming<pb::FileFrame>>,
    ) -> Result<Response<Self::PushStream>, Status> {
        self.answer_push(request).await
    }

    async fn pull(
        &self,
        request: Request<Streaming<pb::FileFrame>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        self.answer_pull(request).await
    }

    async fn list_files(
        &self,
        request: Request<pb::ListFilesRequest>,
    ) -> Result<Response<pb::ListFilesResponse>, Status> {
        self.answer_list_files(request).await
    }

    async fn history(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<pb::HistoryResponse>, Status> {
        self.answer_history(request).await
    }

    async fn diff(
        &self,
        request: Request<pb::DiffRequest>,
    ) -> Result<Response<pb::DiffResponse>, Status> {
        self.answer_diff(request).await
    }

    async fn rollback(
        &self,
        request: Request<pb::RollbackRequest>,
    ) -> Result<Response<Self::RollbackStream>, Status> {
        self.answer_rollback(request).await
    }

    async fn events(
        &self,
        request: Request<pb::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        self.answer_events(&request).await
    }

    async fn plan_reconcile(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<pb::PlanResponse>, Status> {
        self.answer_plan_reconcile(&request).await
    }

    async fn reconcile(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<Self::ReconcileStream>, Status> {
        self.answer_reconcile(&request)
    }

    async fn exec(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        self.answer_session(session::Kind::Exec, request).await
    }

    async fn run_once(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Self::RunOnceStream>, Status> {
        self.answer_session(session::Kind::RunOnce, request).await
    }

    async fn release(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<Self::ReleaseStream>, Status> {
        self.answer_release(&request)
    }

    async fn plan_adopt(
        &self,
        request: Request<pb::PlanAdoptRequest>,
    ) -> Result<Response<pb::PlanAdoptResponse>, Status> {
        self.answer_plan_adopt(request).await
    }

    async fn adopt(
        &self,
        request: Request<pb::AdoptRequest>,
    ) -> Result<Response<Self::AdoptStream>, Status> {
        self.answer_adopt(request).await
    }

    async fn plan_sync(
        &self,
        request: Request<pb::PlanSyncRequest>,
    ) -> Result<Response<Self::PlanSyncStream>, Status> {
        self.answer_plan_sync(request)
    }

    async fn purge(
        &self,
        request: Request<pb::PurgeRequest>,
    ) -> Result<Response<pb::PurgeResponse>, Status> {
        self.answer_purge(request).await
    }

    async fn test_alerts(
        &self,
        request: Request<pb::TestAlertsRequest>,
    ) -> Result<Response<pb::TestAlertsResponse>, Status> {
        self.answer_test_alerts(&request).await
    }

    async fn recover(
        &self,
        request: Request<pb::RecoverRequest>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        self.answer_recover(request)
    }

    async fn upgrade(
        &self,
        request: Request<Streaming<pb::UpgradeRequest>>,
    ) -> Result<Response<pb::UpgradeResponse>, Status> {
        self.answer_upgrade(request).await
    }

    async fn agent_status(
        &self,
        _: Request<pb::AgentStatusRequest>,
    ) -> Result<Response<pb::AgentStatusResponse>, Status> {
        Ok(Response::new(self.answer_agent_status().await))
    }

    async fn doctor(
        &self,
        _: Request<pb::DoctorRequest>,
    ) -> Result<Response<pb::DoctorResponse>, Status> {
        Ok(Response::new(self.answer_doctor().await))
    }

    async fn explain(
        &self,
        request: Request<pb::ServiceRequest>,
    ) -> Result<Response<pb::ExplainResponse>, Status> {
        self.answer_explain(&request).await
    }

    async fn top(
        &self,
        request: Request<pb::TopRequest>,
    ) -> Result<Response<Self::TopStream>, Status> {
        self.answer_top(request.into_inner()).await
    }

    async fn boot_report(
        &self,
        request: Request<pb::BootReportRequest>,
    ) -> Result<Response<pb::BootReportResponse>, Status> {
        self.answer_boot_report(request).await
    }

    async fn boot_verify(
        &self,
        _: Request<pb::BootVerifyRequest>,
    ) -> Result<Response<pb::BootVerifyResponse>, Status> {
        self.answer_boot_verify().await
    }

    async fn boot_plan(
        &self,
        _: Request<pb::BootPlanRequest>,
    ) -> Result<Response<pb::BootPlanResponse>, Status> {
        self.answer_boot_plan().await
    }
}
