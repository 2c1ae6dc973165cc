//! An agent that answers by a script, for the transcripts.

use std::path::Path;
use std::pin::Pin;

use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, iter};
use tonic::{Request, Response, Status, Streaming};

use crate::rpc::agent_v1::agent_service_server::{AgentService, AgentServiceServer};
use crate::rpc::agent_v1::{self as proto, file_frame, progress::Event};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

/// An agent that knows one service, mcq, and answers by a script. No program
/// that is sent to it comes up.
#[derive(Default)]
struct Scripted {
    /// The SHA-256 of what was sent.
    sent: std::sync::Mutex<Option<String>>,
}

fn answers<T: Send + 'static>(all: Vec<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(iter(all.into_iter().map(Ok))))
}

fn known(service: &str) -> Result<(), Status> {
    if service == "mcq" { Ok(()) } else { Err(Status::not_found(format!("no service {service}"))) }
}

fn image_lost() -> proto::Finding {
    proto::Finding {
        check: "recover".into(),
        subject: "mcq/mcq".into(),
        level: proto::FindingLevel::Failed.into(),
        message: "The image localhost/mcq:1 is gone.".into(),
        mend: "podman load -i FILE".into(),
    }
}

fn step(name: &str, state: proto::StepState) -> Event {
    Event::Step(proto::Step {
        name: name.into(),
        subject: "mcq".into(),
        state: state.into(),
        detail: String::new(),
        elapsed_ms: 1_234,
    })
}

fn operation(
    kind: proto::OutcomeKind,
    failures: Vec<proto::Failure>,
) -> Response<Answers<proto::Progress>> {
    let outcome = proto::Outcome {
        service: "mcq".into(),
        kind: kind.into(),
        generation: 4,
        message: String::new(),
        failures,
        changed: vec!["mcq".into()],
        elapsed_ms: 2_500,
    };
    let ended = if kind == proto::OutcomeKind::Done {
        proto::StepState::Done
    } else {
        proto::StepState::Failed
    };
    let events = [
        step("start", proto::StepState::Started),
        Event::Warning("the image is not pinned".into()),
        step("start", ended),
        Event::Outcome(outcome),
    ];
    answers(events.into_iter().map(|event| proto::Progress { event: Some(event) }).collect())
}

/// A session that writes the words of its command, and ends with 7.
async fn session(
    request: Request<Streaming<proto::SessionRequest>>,
) -> Answer<Answers<proto::SessionResponse>> {
    use proto::session_response::Message as Sent;
    let start = request.into_inner().message().await?.and_then(|request| request.message);
    let Some(proto::session_request::Message::Start(start)) = start else {
        return Err(Status::invalid_argument("a session begins with `start`"));
    };
    known(&start.service)?;
    let begun = proto::SessionBegun { unit: "mcp-exec-1.service".into(), container: "mcq".into() };
    let mut all = vec![Sent::Begun(begun), Sent::Granted(16)];
    all.extend(start.command.into_iter().map(|word| Sent::Output(word.into_bytes())));
    all.push(Sent::Errors(b"\xff\n".to_vec()));
    all.push(Sent::End(proto::SessionEnd { status: 7, message: String::new() }));
    let response = |message| proto::SessionResponse { message: Some(message) };
    Ok(answers(all.into_iter().map(response).collect()))
}

#[tonic::async_trait]
impl AgentService for Scripted {
    type DeployStream = Answers<proto::Progress>;
    type UndeployStream = Answers<proto::Progress>;
    type StopStream = Answers<proto::Progress>;
    type StartStream = Answers<proto::Progress>;
    type RestartStream = Answers<proto::Progress>;
    type LogsStream = Answers<proto::LogEntry>;
    type RollbackStream = Answers<proto::Progress>;
    type ExecStream = Answers<proto::SessionResponse>;
    type RunOnceStream = Answers<proto::SessionResponse>;
    type EventsStream = Answers<proto::Event>;
    type ReconcileStream = Answers<proto::Progress>;
    type ReleaseStream = Answers<proto::Progress>;
    type AdoptStream = Answers<proto::Progress>;
    type PlanSyncStream = Answers<proto::SyncAnswer>;
    type RecoverStream = Answers<proto::RecoverEvent>;
    type PushStream = Answers<proto::FileFrame>;
    type PullStream = Answers<proto::FileFrame>;
    type WatchStatusStream = Answers<proto::StatusResponse>;

    async fn push(&self, _: Request<Streaming<proto::FileFrame>>) -> Answer<Self::PushStream> {
        Err(Status::failed_precondition("there is no /srv/mcq"))
    }

    /// A file that is to land elsewhere.
    async fn pull(&self, _: Request<Streaming<proto::FileFrame>>) -> Answer<Self::PullStream> {
        let entry =
            proto::FileEntry { path: b"../../evil".to_vec(), size: 1, ..Default::default() };
        let frames = [
            file_frame::Frame::Start(proto::FilesStart::default()),
            file_frame::Frame::Entry(entry),
            file_frame::Frame::Data(vec![1]),
        ];
        let frame = |frame| proto::FileFrame { frame: Some(frame) };
        Ok(answers(frames.into_iter().map(frame).collect()))
    }

    async fn list_files(
        &self,
        request: Request<proto::ListFilesRequest>,
    ) -> Answer<proto::ListFilesResponse> {
        let request = request.into_inner();
        known(&request.service)?;
        let entry = |name: &str, directory| proto::FileEntry {
            path: name.into(),
            directory,
            ..Default::default()
        };
        let mut names = match request.path.as_slice() {
            b"" => vec![entry("certs", true), entry("conf.toml", false)],
            b"certs" => {
                ["a b.pem", "b.pem", "x$(touch${IFS}PWNED);y", "*", "..", "sub/b", "b\u{1b}[31m"]
                    .map(|name| entry(name, false))
                    .to_vec()
            }
            _ => return Err(Status::failed_precondition("there is no such directory")),
        };
        names.retain(|entry| entry.path.starts_with(&request.prefix));
        Ok(Response::new(proto::ListFilesResponse { names }))
    }

    /// A service that is up after a while.
    async fn watch_status(
        &self,
        request: Request<proto::StatusRequest>,
    ) -> Answer<Self::WatchStatusStream> {
        if known(&request.get_ref().service).is_err() {
            return Ok(answers(vec![proto::StatusResponse::default()]));
        }
        let component = |state: &str| proto::ComponentStatus {
            name: "mcq".into(),
            state: state.into(),
            health: "ready".into(),
            desired: "running".into(),
            ..Default::default()
        };
        let service = |state: &str| proto::ServiceStatus {
            name: "mcq".into(),
            components: vec![component(state)],
            ..Default::default()
        };
        let status = |state: &str| proto::StatusResponse {
            services: vec![service(state)],
            ..Default::default()
        };
        Ok(answers(vec![status("starting"), status("running")]))
    }

    async fn release(
        &self,
        request: Request<proto::ServiceRequest>,
    ) -> Answer<Self::ReleaseStream> {
        known(&request.into_inner().service)?;
        Ok(operation(proto::OutcomeKind::Done, Vec::new()))
    }

    async fn plan_adopt(
        &self,
        request: Request<proto::PlanAdoptRequest>,
    ) -> Answer<proto::PlanAdoptResponse> {
        known(&request.into_inner().service)?;
        Ok(Response::new(proto::PlanAdoptResponse {
            definition:
                "name = \"mcq\"\n\n[[components]]\nname = \"mcq\"\nimage = \"localhost/mcq:1\"\n"
                    .into(),
            containers: vec![proto::AdoptedContainer {
                container: "mcq".into(),
                component: "mcq".into(),
                restarts: vec!["podman runs it".into()],
                gone: vec!["--volume=0a:/d".into()],
                added: vec!["--volume=mcq-d:/d".into()],
                ..proto::AdoptedContainer::default()
            }],
            plan: Some(proto::PlanResponse::default()),
            fingerprint: "f".into(),
            ..proto::PlanAdoptResponse::default()
        }))
    }

    async fn adopt(&self, request: Request<proto::AdoptRequest>) -> Answer<Self::AdoptStream> {
        known(&request.into_inner().service)?;
        Ok(operation(proto::OutcomeKind::Done, Vec::new()))
    }

    async fn plan_sync(
        &self,
        request: Request<proto::PlanSyncRequest>,
    ) -> Answer<Self::PlanSyncStream> {
        let request = request.into_inner();
        let state = |defined: bool| {
            if defined { proto::SyncState::Changed } else { proto::SyncState::Absent }
        };
        let plan = proto::PlanResponse {
            effects: vec![proto::UnitEffect {
                unit: "mcq.service".into(),
                action: proto::UnitAction::Restart.into(),
                reason: "its image changed".into(),
            }],
            ..proto::PlanResponse::default()
        };
        let defined = request.deploys.iter().any(|d| d.definition.contains("mcq"));
        let mut all = vec![proto::SyncAnswer {
            service: "mcq".into(),
            state: state(defined).into(),
            plan: defined.then_some(plan),
            ..proto::SyncAnswer::default()
        }];
        if !request.defined.iter().any(|name| name == "old") {
            all.push(proto::SyncAnswer {
                service: "old".into(),
                state: state(false).into(),
                ..proto::SyncAnswer::default()
            });
        }
        Ok(answers(all))
    }

    async fn purge(&self, request: Request<proto::PurgeRequest>) -> Answer<proto::PurgeResponse> {
        let request = request.into_inner();
        let result = |service: &str| {
            let entry = format!("{service}/{service}");
            let is_defined = request.defined.iter().any(|d| *d == entry || d == service);
            let reason = if is_defined { "it is defined" } else { "nobody defines it" };
            proto::PurgeResult {
                service: service.into(),
                component: service.into(),
                purged: !is_defined,
                reason: reason.into(),
            }
        };
        let results = vec![result("mcq"), result("old")];
        Ok(Response::new(proto::PurgeResponse { results }))
    }
    type TopStream = Answers<proto::TopSample>;

    async fn info(&self, _: Request<proto::InfoRequest>) -> Answer<proto::InfoResponse> {
        Ok(Response::new(proto::InfoResponse {
            node: "rift".into(),
            version: "0.1.0".into(),
            role: "admin".into(),
            ..proto::InfoResponse::default()
        }))
    }

    async fn plan(&self, _: Request<proto::DeployRequest>) -> Answer<proto::PlanResponse> {
        let plan = proto::PlanResponse {
            service: "mcq".into(),
            generation: 4,
            current: 4,
            ..Default::default()
        };
        Ok(Response::new(plan))
    }

    async fn deploy(&self, _: Request<proto::DeployRequest>) -> Answer<Self::DeployStream> {
        Ok(operation(proto::OutcomeKind::Done, Vec::new()))
    }

    async fn undeploy(&self, _: Request<proto::UndeployRequest>) -> Answer<Self::UndeployStream> {
        Err(Status::permission_denied("a viewer may not undeploy"))
    }

    async fn exec(
        &self,
        request: Request<Streaming<proto::SessionRequest>>,
    ) -> Answer<Self::ExecStream> {
        session(request).await
    }

    async fn run_once(
        &self,
        request: Request<Streaming<proto::SessionRequest>>,
    ) -> Answer<Self::RunOnceStream> {
        session(request).await
    }

    async fn stop(&self, _: Request<proto::ServiceRequest>) -> Answer<Self::StopStream> {
        Ok(operation(proto::OutcomeKind::Done, Vec::new()))
    }

    async fn start(&self, _: Request<proto::ServiceRequest>) -> Answer<Self::StartStream> {
        Ok(answers(Vec::new()))
    }

    async fn restart(&self, _: Request<proto::ServiceRequest>) -> Answer<Self::RestartStream> {
        let failure = proto::Failure {
            component: "mcq".into(),
            unit: "mcq.service".into(),
            result: "timeout".into(),
            explanation: "It did not become ready.".into(),
            journal: vec!["boom \u{1b}[31m".into()],
        };
        Ok(operation(proto::OutcomeKind::Failed, vec![failure]))
    }

    async fn history(&self, _: Request<proto::ServiceRequest>) -> Answer<proto::HistoryResponse> {
        let generation = |number, in_force| proto::GenerationInfo {
            number,
            in_force,
            ..proto::GenerationInfo::default()
        };
        let generations = vec![generation(2, false), generation(3, false), generation(4, true)];
        Ok(Response::new(proto::HistoryResponse { generations }))
    }

    async fn diff(&self, _: Request<proto::DiffRequest>) -> Answer<proto::DiffResponse> {
        Ok(Response::new(proto::DiffResponse { from: 1, to: 2, ..Default::default() }))
    }

    async fn rollback(&self, _: Request<proto::RollbackRequest>) -> Answer<Self::RollbackStream> {
        Ok(operation(proto::OutcomeKind::Done, Vec::new()))
    }

    async fn list(&self, _: Request<proto::ListRequest>) -> Answer<proto::ListResponse> {
        let component = proto::RegisteredComponent {
            name: "mcq".into(),
            image: "localhost/mcq:1".into(),
            ..Default::default()
        };
        let service = proto::RegisteredService {
            name: "mcq".into(),
            active: true,
            generation: 4,
            deployed_by: "kyle".into(),
            components: vec![component],
            ..Default::default()
        };
        Ok(Response::new(proto::ListResponse { services: vec![service] }))
    }

    async fn status(
        &self,
        request: Request<proto::StatusRequest>,
    ) -> Answer<proto::StatusResponse> {
        let service = request.into_inner().service;
        known(if service.is_empty() { "mcq" } else { &service })?;
        let component = proto::ComponentStatus {
            name: "mcq".into(),
            desired: "running".into(),
            state: "running".into(),
            health: "ready".into(),
            version: "v0.4.0".into(),
            ..proto::ComponentStatus::default()
        };
        let service = proto::ServiceStatus {
            name: "mcq".into(),
            active: true,
            generation: 4,
            components: vec![component],
            operation: String::new(),
            drifts: Vec::new(),
        };
        let drift = proto::Drift {
            kind: "unknown_container".into(),
            subject: "stray".into(),
            reason: "the container stray (busybox) belongs to no service".into(),
            mend: "mcp adopt stray".into(),
        };
        Ok(Response::new(proto::StatusResponse {
            services: vec![service],
            undone: Vec::new(),
            drifts: vec![drift],
        }))
    }

    async fn definition(
        &self,
        request: Request<proto::ServiceRequest>,
    ) -> Answer<proto::DefinitionResponse> {
        known(&request.into_inner().service)?;
        Ok(Response::new(proto::DefinitionResponse {
            definition: DEFINITION.into(),
            generation: 4,
        }))
    }

    async fn events(&self, request: Request<proto::EventsRequest>) -> Answer<Self::EventsStream> {
        let request = request.into_inner();
        if !request.service.is_empty() {
            known(&request.service)?;
        }
        let wanted = |e: &proto::Event| request.kinds.is_empty() || request.kinds.contains(&e.kind);
        Ok(answers(events().into_iter().filter(wanted).collect()))
    }

    async fn plan_reconcile(
        &self,
        request: Request<proto::ServiceRequest>,
    ) -> Answer<proto::PlanResponse> {
        known(&request.into_inner().service)?;
        let effect = proto::UnitEffect {
            unit: "mcq.service".into(),
            action: proto::UnitAction::Start.into(),
            reason: "it does not run".into(),
        };
        let plan = proto::PlanResponse {
            service: "mcq".into(),
            generation: 4,
            current: 4,
            effects: vec![effect],
            ..Default::default()
        };
        Ok(Response::new(plan))
    }

    async fn reconcile(&self, _: Request<proto::ServiceRequest>) -> Answer<Self::ReconcileStream> {
        Ok(operation(proto::OutcomeKind::Done, Vec::new()))
    }

    async fn test_alerts(
        &self,
        _: Request<proto::TestAlertsRequest>,
    ) -> Answer<proto::TestAlertsResponse> {
        let finding = |level: proto::FindingLevel, subject: &str| proto::Finding {
            check: "alert".into(),
            subject: subject.into(),
            level: level.into(),
            message: "It was told.".into(),
            mend: String::new(),
        };
        let findings = vec![
            finding(proto::FindingLevel::Fine, "/usr/bin/true"),
            finding(proto::FindingLevel::Failed, "http://hook/"),
        ];
        Ok(Response::new(proto::TestAlertsResponse { findings }))
    }

    async fn boot_verify(
        &self,
        _: Request<proto::BootVerifyRequest>,
    ) -> Answer<proto::BootVerifyResponse> {
        let finding = |check: &str, level: proto::FindingLevel, message: &str| proto::Finding {
            check: check.into(),
            level: level.into(),
            message: message.into(),
            ..proto::Finding::default()
        };
        let failed = proto::Finding {
            subject: "mcp".into(),
            mend: "sudo loginctl enable-linger mcp".into(),
            ..finding("linger", proto::FindingLevel::Failed, "User mcp does not linger.")
        };
        let findings =
            vec![finding("order", proto::FindingLevel::Fine, "There is no circle."), failed];
        Ok(Response::new(proto::BootVerifyResponse { findings }))
    }

    async fn boot_report(
        &self,
        request: Request<proto::BootReportRequest>,
    ) -> Answer<proto::BootReportResponse> {
        if request.into_inner().boot < -1 {
            return Err(Status::not_found("the journal holds no boot -2"));
        }
        let attempt = proto::BootAttempt {
            from_us: 100_000,
            to_us: Some(900_000),
            ended: "ready".into(),
            result: String::new(),
        };
        let unit = proto::BootUnit {
            unit: "mcq.service".into(),
            service: "mcq".into(),
            component: "mcq".into(),
            ours: true,
            outcome: "ready".into(),
            ready_us: Some(900_000),
            attempts: vec![attempt],
            ..proto::BootUnit::default()
        };
        Ok(Response::new(proto::BootReportResponse {
            boot_id: "b0".into(),
            began_at_us: 1_795_239_219_839_963,
            machine_us: 1_900_000,
            finished_us: Some(900_000),
            span_us: 900_000,
            units: vec![unit],
            ..proto::BootReportResponse::default()
        }))
    }

    async fn logs(&self, request: Request<proto::LogsRequest>) -> Answer<Self::LogsStream> {
        let lines = request.into_inner().lines;
        let entry = |component: &str, message: String| proto::LogEntry {
            component: component.into(),
            message,
            priority: 6,
            ..proto::LogEntry::default()
        };
        Ok(answers(vec![entry("mcq", format!("{lines} lines")), entry("web", "a\u{7}\nb".into())]))
    }

    async fn recover(
        &self,
        request: Request<proto::RecoverRequest>,
    ) -> Answer<Self::RecoverStream> {
        use proto::recover_event::Event as Recovery;
        let planned = proto::RecoveryStep {
            kind: "pull".into(),
            service: "mcq".into(),
            message: "pull registry.lab/mcq:1".into(),
        };
        let plan = proto::RecoveryPlan { steps: vec![planned], left: vec![image_lost()] };
        let mut events = vec![Recovery::Plan(plan)];
        if !request.into_inner().dry_run {
            if let Event::Step(step) = step("pull", proto::StepState::Done) {
                events.push(Recovery::Step(step));
            }
            events.push(Recovery::End(proto::RecoveryEnd {
                kind: proto::OutcomeKind::Done.into(),
                message: "brought back: mcq".into(),
                failures: Vec::new(),
                elapsed_ms: 2_500,
            }));
        }
        let event = |event| proto::RecoverEvent { event: Some(event) };
        Ok(answers(events.into_iter().map(event).collect()))
    }

    async fn upgrade(
        &self,
        request: Request<Streaming<proto::UpgradeRequest>>,
    ) -> Answer<proto::UpgradeResponse> {
        use proto::upgrade_request::Part;
        let (mut parts, mut head, mut size) = (request.into_inner(), None, 0);
        while let Some(message) = parts.message().await? {
            match message.part {
                Some(Part::Head(first)) => head = Some(first),
                Some(Part::Data(data)) => size += data.len() as u64,
                None => {}
            }
        }
        let head = head.filter(|head| head.size == size).ok_or_else(|| Status::data_loss("cut"))?;
        if !head.dry_run {
            *self.sent.lock().unwrap() = Some(head.sha256);
        }
        let (from, to) = ("0.3.0".into(), "0.3.1".into());
        Ok(Response::new(proto::UpgradeResponse { from, to, schema_from: 3, schema_to: 4 }))
    }

    async fn agent_status(
        &self,
        _: Request<proto::AgentStatusRequest>,
    ) -> Answer<proto::AgentStatusResponse> {
        let sent = self.sent.lock().unwrap().clone();
        let returned = |sha256| proto::UpgradeEnd {
            program: Some(proto::UpgradedProgram {
                version: "0.3.1".into(),
                sha256,
                ..Default::default()
            }),
            outcome: "returned".into(),
            reason: "it ended before it answered".into(),
            journal: vec!["boom \u{1b}[31m".into()],
            ..Default::default()
        };
        let mut response = Response::new(proto::AgentStatusResponse {
            version: "0.3.0".into(),
            started_at_ms: if sent.is_some() { 2 } else { 1 },
            program: "/usr/bin/mcp-agent".into(),
            installed: "/usr/bin/mcp-agent".into(),
            arch: std::env::consts::ARCH.into(),
            schema: 3,
            last: sent.map(returned),
            ..Default::default()
        });
        response.metadata_mut().insert("mcp-version", "0.3.0".parse().unwrap());
        Ok(response)
    }

    async fn explain(
        &self,
        request: Request<proto::ServiceRequest>,
    ) -> Answer<proto::ExplainResponse> {
        let service = request.into_inner().service;
        let failed = proto::Explanation {
            component: "mcq".into(),
            unit: "mcq.service".into(),
            state: "failed".into(),
            cause: "image_missing".into(),
            level: proto::FindingLevel::Failed.into(),
            reason: "Its image localhost/mcq:1 is not on this node.".into(),
            evidence: "Error: localhost/mcq:1: image not known".into(),
            mend: vec!["podman load -i FILE".into(), "mcp start mcq".into()],
            ..proto::Explanation::default()
        };
        let mut found = proto::ExplainedService { service, ..Default::default() };
        if found.service == "mcq" {
            (found.generation, found.components) = (4, vec![failed]);
        } else {
            found.notes = vec![proto::Explanation {
                cause: "not_deployed".into(),
                level: proto::FindingLevel::Failed.into(),
                reason: "It was never deployed here.".into(),
                ..proto::Explanation::default()
            }];
        }
        Ok(Response::new(proto::ExplainResponse { services: vec![found], node: None }))
    }

    async fn top(&self, request: Request<proto::TopRequest>) -> Answer<Self::TopStream> {
        let service = request.into_inner().service;
        if !service.is_empty() {
            known(&service)?;
        }
        let component = |cpu| proto::TopComponent {
            service: "mcq".into(),
            component: "mcq".into(),
            state: "running".into(),
            health: "ready".into(),
            cpu,
            tasks: Some(3),
            ..proto::TopComponent::default()
        };
        let sample = |cpu| proto::TopSample {
            cpus: 2,
            missing: vec!["memory".into()],
            components: vec![component(cpu)],
            ..proto::TopSample::default()
        };
        Ok(answers(vec![sample(None), sample(Some(0.25))]))
    }

    async fn doctor(&self, _: Request<proto::DoctorRequest>) -> Answer<proto::DoctorResponse> {
        let fine = proto::Finding {
            check: "podman".into(),
            level: proto::FindingLevel::Fine.into(),
            message: "podman 5.4.2.".into(),
            ..proto::Finding::default()
        };
        Ok(Response::new(proto::DoctorResponse { findings: vec![fine, image_lost()] }))
    }

    async fn boot_plan(
        &self,
        _: Request<proto::BootPlanRequest>,
    ) -> Answer<proto::BootPlanResponse> {
        let service = |name: &str, active: bool| proto::BootService {
            name: name.into(),
            active,
            depends_on: Vec::new(),
            components: vec![proto::BootComponent {
                name: name.into(),
                unit: format!("{name}.service"),
                ready: "it runs".into(),
                waits_for: Vec::new(),
            }],
            unordered: false,
        };
        let stage = proto::BootStage {
            name: "foundation".into(),
            unit: "mcp-foundation.target".into(),
            required: true,
            timeout_s: 120,
            health: "tcp".into(),
            state: "reached".into(),
            services: vec![service("mcr", false)],
            unknown: vec!["mcns".into()],
        };
        let plan =
            proto::BootPlanResponse { stages: vec![stage], services: vec![service("mcq", true)] };
        Ok(Response::new(plan))
    }
}

/// Two events: a failure, and a drift of the node.
fn events() -> [proto::Event; 2] {
    let failed = proto::Event {
        id: 7,
        at_ms: 1_795_228_747_123,
        kind: "failed".into(),
        service: "mcq".into(),
        component: "mcq".into(),
        unit: "mcq.service".into(),
        desired: "running".into(),
        previous: "running".into(),
        observed: "restarting".into(),
        reason: "it ended with exit code 1; systemd starts it again".into(),
        mend: "mcp logs mcq/mcq".into(),
        ..proto::Event::default()
    };
    let drift = proto::Event {
        id: 8,
        at_ms: 1_795_228_748_000,
        kind: "drift".into(),
        drift: "unknown_container".into(),
        subject: "stray".into(),
        reason: "the container stray (\u{7}) belongs to no service".into(),
        ..proto::Event::default()
    };
    [failed, drift]
}

/// The definition that the agent holds.
pub(super) const DEFINITION: &str = "name = \"mcq\"\nactive = true # for now\n\n[[components]]\nname = \"mcq\"\nimage = \"localhost/mcq:1\"\n";

/// Serves the agent on a socket until the runtime ends.
pub(super) fn serve(socket: &Path) {
    drop(std::fs::remove_file(socket));
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(AgentServiceServer::new(Scripted::default()));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
}
