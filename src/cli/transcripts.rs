//! Commands from arguments to exit code, against a scripted agent on a Unix
//! socket and a hermetic home; what is shown is kept as a transcript.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;

use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, iter};
use tonic::{Request, Response, Status};

use crate::atomic_file;
use crate::cli::environment::Environment;
use crate::rpc::agent_v1::agent_service_server::{AgentService, AgentServiceServer};
use crate::rpc::agent_v1::{self as proto, progress::Event};
use crate::ui::{Streams, Terminals};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

/// An agent that knows one service, mcq, and answers by a script.
struct Scripted;

fn answers<T: Send + 'static>(all: Vec<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(iter(all.into_iter().map(Ok))))
}

fn known(service: &str) -> Result<(), Status> {
    if service == "mcq" { Ok(()) } else { Err(Status::not_found(format!("no service {service}"))) }
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

#[tonic::async_trait]
impl AgentService for Scripted {
    type DeployStream = Answers<proto::Progress>;
    type UndeployStream = Answers<proto::Progress>;
    type StopStream = Answers<proto::Progress>;
    type StartStream = Answers<proto::Progress>;
    type RestartStream = Answers<proto::Progress>;
    type LogsStream = Answers<proto::LogEntry>;

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

    async fn list(&self, _: Request<proto::ListRequest>) -> Answer<proto::ListResponse> {
        Ok(Response::new(proto::ListResponse::default()))
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
        };
        Ok(Response::new(proto::StatusResponse { services: vec![service] }))
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
}

const DEFINITION: &str = "name = \"mcq\"\nactive = true # for now\n\n[[components]]\nname = \"mcq\"\nimage = \"localhost/mcq:1\"\n";

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

/// A home with a config of the scripted agent `rift` and of `svc`, which is
/// down.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let config = home.path(".config/mcp/mcp.toml");
        std::fs::create_dir_all(home.path(".config/mcp/services")).unwrap();
        let text = "[[nodes]]\nname = \"rift\"\nsocket = \"~/rift.sock\"\n\
                    [[nodes]]\nname = \"svc\"\nsocket = \"~/svc.sock\"\n";
        atomic_file::write(&config, text.as_bytes(), 0o600).unwrap();
        home
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.0.path().join(below)
    }

    fn service(&self, text: &str) {
        atomic_file::write(&self.path(".config/mcp/services/mcq.toml"), text.as_bytes(), 0o644)
            .unwrap();
    }

    /// Runs `mcp` and returns what a person would see.
    fn run(&self, line: &str) -> String {
        let environment =
            Environment { home: Some(self.0.path().into()), ..Environment::default() };
        let (out, err) = (Shared::default(), Shared::default());
        let streams = Streams {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            terminals: Terminals::default(),
        };
        let arguments = ["mcp"].into_iter().chain(line.split(' ')).map(OsString::from);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let code = runtime.block_on(async {
            serve(&self.path("rift.sock"));
            crate::cli::run(arguments, &environment, streams).await
        });
        let home = self.0.path().display().to_string();
        let (out, err) = (out.text().replace(&home, "~"), err.text().replace(&home, "~"));
        format!("{out}--\n{err}-- {code}")
    }
}

fn serve(socket: &Path) {
    drop(std::fs::remove_file(socket));
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let server = tonic::transport::Server::builder().add_service(AgentServiceServer::new(Scripted));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
}

#[test]
fn a_node_that_is_down_does_not_hide_the_others() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("ps"), @r"
    SERVICE  COMPONENT  NODE  STATE    HEALTH  VERSION  UPTIME  RESTARTS  PORTS
    mcq      mcq        rift  running  ready   v0.4.0   -       0         -
    --
    error: cannot talk to node svc: no agent answers at ~/svc.sock: No such file or directory (os error 2)
    hint: systemctl status mcp-agent
    -- 3
    ");
    insta::assert_snapshot!(home.run("ps -n rift"), @r"
    SERVICE  COMPONENT  NODE  STATE    HEALTH  VERSION  UPTIME  RESTARTS  PORTS
    mcq      mcq        rift  running  ready   v0.4.0   -       0         -
    --
    -- 0
    ");
}

#[test]
fn a_node_that_is_down_is_part_of_the_document() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("node list --quiet --json"), @r#"
    {
      "nodes": [
        {
          "name": "rift",
          "address": "unix:~/rift.sock",
          "agent": {
            "node": "rift",
            "version": "0.1.0",
            "caller": "",
            "role": "admin",
            "podman_version": "",
            "systemd_version": "",
            "arch": "",
            "problems": []
          },
          "problem": null
        },
        {
          "name": "svc",
          "address": "unix:~/svc.sock",
          "agent": null,
          "problem": {
            "node": "svc",
            "address": "unix:~/svc.sock",
            "kind": "unreachable",
            "message": "cannot talk to node svc: no agent answers at ~/svc.sock: No such file or directory (os error 2)"
          }
        }
      ]
    }
    --
    error: cannot talk to node svc: no agent answers at ~/svc.sock: No such file or directory (os error 2)
    -- 3
    "#);
    insta::assert_snapshot!(home.run("list --json -n rift -n svc"), @r#"
    {
      "services": [],
      "problems": [
        {
          "node": "svc",
          "address": "unix:~/svc.sock",
          "kind": "unreachable",
          "message": "cannot talk to node svc: no agent answers at ~/svc.sock: No such file or directory (os error 2)"
        }
      ]
    }
    --
    error: cannot talk to node svc: no agent answers at ~/svc.sock: No such file or directory (os error 2)
    hint: systemctl status mcp-agent
    -- 3
    "#);
}

#[test]
fn a_service_that_no_node_has_is_an_error() {
    insta::assert_snapshot!(Home::new().run("-n rift ps nope"), @r"
    --
    error: no node has a service called nope
    hint: mcp list
    -- 1
    ");
}

#[test]
fn deploying_shows_steps_and_the_outcome() {
    let home = Home::new();
    home.service(&format!("node = \"rift\"\n{DEFINITION}"));
    insta::assert_snapshot!(home.run("deploy mcq"), @r"
    mcq: ok, generation 4, changed mcq (2.5s)
    --
    warning: the image is not pinned
      start mcq: done (1.2s)
    -- 0
    ");
    insta::assert_snapshot!(home.run("deploy mcq --dry-run"), @r"
    mcq: nothing to do
    --
    -- 0
    ");
    insta::assert_snapshot!(home.run("-q deploy mcq --json"), @r#"
    {
      "service": "mcq",
      "node": "rift",
      "outcome": "done",
      "generation": 4,
      "message": "",
      "changed": [
        "mcq"
      ],
      "failures": [],
      "warnings": [
        "the image is not pinned"
      ],
      "steps": [
        {
          "name": "start",
          "subject": "mcq",
          "state": "done",
          "detail": "",
          "elapsed_ms": 1234
        }
      ],
      "elapsed_ms": 2500
    }
    --
    warning: the image is not pinned
    -- 0
    "#);
}

#[test]
fn what_is_wrong_is_told_before_a_node_is_asked() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("deploy mcq"), @r"
    --
    error: it is not clear which node is meant; the nodes are rift, svc
    hint: choose one, as in `-n rift`
    -- 2
    ");
    insta::assert_snapshot!(home.run("deploy nope -n rift"), @r"
    --
    error: there is no definition of nope: neither ~/.config/mcp/services/nope.toml nor an accepted one on node rift
    hint: write ~/.config/mcp/services/nope.toml
    -- 2
    ");
    home.service(&DEFINITION.replace("image", "imaeg"));
    insta::assert_snapshot!(home.run("deploy mcq"), @r#"
    --
    error: unknown key `imaeg`
     --> ~/.config/mcp/services/mcq.toml:6:1
      |
    6 | imaeg = "localhost/mcq:1"
      | ^^^^^
      |
      = help: did you mean `image`?
    -- 2
    "#);
    insta::assert_snapshot!(home.run("undeploy mcq --purge-data -n rift"), @r"
    --
    error: the data of mcq would be lost, and there is no terminal to ask on
    hint: mcp undeploy mcq --purge-data --yes
    -- 2
    ");
}

#[test]
fn refusals_and_failures_have_their_exit_codes() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("undeploy mcq -n rift"), @r"
    --
    error: node rift does not allow this: a viewer may not undeploy
    hint: ask for a token with the role operator: `mcp-agent token create`
    -- 4
    ");
    insta::assert_snapshot!(home.run("restart mcq -n rift"), @r"
    mcq: failed, generation 4, changed mcq (2.5s)
    --
    warning: the image is not pinned
      start mcq: failed (1.2s)
    failed: mcq (mcq.service: timeout)
      It did not become ready.
      its last lines:
      | boom ^[[31m
    hint: mcp logs mcq/mcq
    -- 1
    ");
    insta::assert_snapshot!(home.run("start mcq -n rift"), @r"
    --
    error: node rift ended its answer before the outcome; the operation may still go on there
    hint: mcp status
    -- 3
    ");
    insta::assert_snapshot!(home.run("login"), @r"
    --
    error: no node takes tokens: an agent on this machine knows you by the socket
    hint: mcp node add NAME HOST:PORT
    -- 2
    ");
}

#[test]
fn stopping_a_service_says_so_in_its_file() {
    let home = Home::new();
    home.service(DEFINITION);
    insta::assert_snapshot!(home.run("stop mcq/mcq -n rift"), @r"
    mcq: ok, generation 4, changed mcq (2.5s)
    --
    warning: the image is not pinned
      start mcq: done (1.2s)
    -- 0
    ");
    insta::assert_snapshot!(home.run("stop mcq -n rift"), @r"
    mcq: ok, generation 4, changed mcq (2.5s)
    --
    warning: the image is not pinned
      start mcq: done (1.2s)
    set active = false in ~/.config/mcp/services/mcq.toml
    -- 0
    ");
    let text = std::fs::read_to_string(home.path(".config/mcp/services/mcq.toml")).unwrap();
    assert_eq!(text, DEFINITION.replace("true", "false"));
}

#[test]
fn logs_are_lines_or_objects() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("logs mcq --node rift"), @r"
    100 lines
    web: a^G
    web: b
    --
    -- 0
    ");
    insta::assert_snapshot!(home.run("logs mcq --node rift -n 5 --json"), @r#"
    {"time":"1970-01-01T00:00:00.000000Z","component":"mcq","message":"5 lines","priority":6,"source":"container"}
    {"time":"1970-01-01T00:00:00.000000Z","component":"web","message":"a\u0007\nb","priority":6,"source":"container"}
    --
    -- 0
    "#);
}

#[test]
fn exporting_refuses_to_overwrite_what_differs() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("-n rift service show mcq"), @r#"
    name = "mcq"
    active = true # for now

    [[components]]
    name = "mcq"
    image = "localhost/mcq:1"
    --
    -- 0
    "#);
    insta::assert_snapshot!(home.run("service export mcq -n rift"), @r"
    ~/.config/mcp/services/mcq.toml: written
    --
    -- 0
    ");
    insta::assert_snapshot!(home.run("service export mcq -n rift"), @r"
    ~/.config/mcp/services/mcq.toml: unchanged
    --
    -- 0
    ");
    home.service("node = \"rift\"\n");
    insta::assert_snapshot!(home.run("service export mcq"), @r"
    --
    error: ~/.config/mcp/services/mcq.toml differs from the definition on the node
    hint: mcp service export mcq --force
    -- 1
    ");
    insta::assert_snapshot!(home.run("service export mcq --force --json"), @r#"
    {
      "service": "mcq",
      "path": "~/.config/mcp/services/mcq.toml",
      "changed": true
    }
    --
    -- 0
    "#);
}

#[test]
fn the_config_is_edited_through_the_commands() {
    let home = Home::new();
    let fingerprint = format!("SHA256:{}", "ab".repeat(32));
    insta::assert_snapshot!(home.run("node add rift r:1"), @r"
    --
    error: there is a node called rift already
    hint: mcp node remove rift
    -- 2
    ");
    insta::assert_snapshot!(home.run(&format!("node add b b:9444 --fingerprint {fingerprint}")), @r"
    b: written to ~/.config/mcp/mcp.toml
    --
    hint: mcp login -n b
    -- 0
    ");
    insta::assert_snapshot!(home.run("node add c c"), @r"
    --
    error: invalid value 'c' for '<ADDRESS>': `c` is not host:port

    For more information, try '--help'.
    -- 2
    ");
    insta::assert_snapshot!(home.run("node remove svc"), @r"
    svc: written to ~/.config/mcp/mcp.toml
    --
    -- 0
    ");
    let text = std::fs::read_to_string(home.path(".config/mcp/mcp.toml")).unwrap();
    insta::assert_snapshot!(text, @r#"
    [[nodes]]
    name = "rift"
    socket = "~/rift.sock"

    [[nodes]]
    name = "b"
    address = "b:9444"
    fingerprint = "SHA256:abababababababababababababababababababababababababababababababab"
    "#);
}
