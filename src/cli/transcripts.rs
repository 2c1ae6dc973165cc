//! Commands from arguments to exit code, against a scripted agent on a Unix
//! socket and a hermetic home; what is shown is kept as a transcript.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};
use std::rc::Rc;

use crate::atomic_file;
use crate::cli::environment::Environment;
use crate::cli::scripted_agent::{DEFINITION, serve};
use crate::ui::{Streams, Terminals};

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
        self.run_with(Environment::default(), line)
    }

    fn run_with(&self, environment: Environment, line: &str) -> String {
        let environment = Environment { home: Some(self.0.path().into()), ..environment };
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
fn what_is_explained_says_what_to_type() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("explain mcq -n rift"), @r#"
    mcq/mcq: failed
      Its image localhost/mcq:1 is not on this node.
      "Error: localhost/mcq:1: image not known"
      -> podman load -i FILE
      -> mcp start mcq
    --
    -- 1
    "#);
    // A node that is down, and what can be done without an agent.
    insta::assert_snapshot!(home.run("explain other"), @r"
    other on rift: not deployed
      It may be on svc, which did not answer. It was never deployed here.
    --
    error: cannot talk to node svc: no agent answers at ~/svc.sock: No such file or directory (os error 2)
    hint: systemctl status mcp-agent
    hint: the agent only looks: what runs goes on without it
    hint: sudo journalctl -u mcp-agent -n 20
    hint: sudo systemctl --user -M mcp@ status 'other*'
    hint: sudo mcp-agent doctor
    -- 3
    ");
}

#[test]
fn what_is_used_is_shown_once_where_no_person_reads() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("top -n rift"), @r"
    mcp top  1 node  1 component  by cpu
    rift: its systemd has no controller for memory: not shown (mcp doctor -n rift)

    COMPONENT  STATE       HEALTH       CPU%    MEMORY    READ/s   WRITE/s  TASKS  RESTARTS  EVENTS   UPTIME  LAST EVENT
    mcq        running     ready        25.0         -         -         -      3         0       0        -  -
    --
    -- 0
    ");
    insta::assert_snapshot!(home.run("top other -n rift"), @r"
    --
    error: no node has a service called other
    hint: mcp list
    -- 1
    ");
    assert!(home.run("top -d 0.1").ends_with("-- 2"));
    assert!(home.run("top --once --json").contains("\"cpu\": 0.25"));
}

#[test]
fn the_order_of_a_boot_is_a_tree() {
    insta::assert_snapshot!(Home::new().run("boot plan -n rift"), @r"
    rift
    |- stage foundation  required, late after 2m0s, tcp checks  reached
    |  |- mcr  stopped, and not waited for
    |  `- mcns  not deployed
    `- after all stages
       `- mcq
          `- mcq  ready when it runs
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
}

#[test]
fn what_the_other_nodes_say_is_shown_all_the_same() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("list --json -n rift -n svc"), @r#"
    {
      "services": [
        {
          "service": "mcq",
          "node": "rift",
          "active": true,
          "generation": 4,
          "deployed_at": null,
          "deployed_by": "kyle",
          "comment": "",
          "components": [
            {
              "component": "mcq",
              "image": "localhost/mcq:1",
              "ports": []
            }
          ]
        }
      ],
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
fn what_is_hardly_meant_is_a_warning() {
    let home = Home::new();
    home.service(&format!("{DEFINITION}extra.Container.PublishPorts = \"1:1\"\n"));
    let file = home.path(".config/mcp/services/mcq.toml");
    insta::assert_snapshot!(home.run(&format!("lint {}", file.display())), @r"
    ~/.config/mcp/services/mcq.toml: ok
    --
    warning: ~/.config/mcp/services/mcq.toml:7:32: podman up to 5.8 knows no PublishPorts= in [Container], and refuses the file (did you mean PublishPort=?)
    -- 0
    ");
    let json = home.run(&format!("lint --json {}", file.display()));
    assert!(json.contains("\"warnings\": [\n        {"), "{json}");
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
    hint: mcp explain mcq
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
fn whole_services_are_stopped_and_started() {
    let home = Home::new();
    let stop = home.run("stop mcq/web");
    assert!(
        stop.contains("`systemctl --user stop mcq-web.service` stops this component"),
        "{stop}"
    );
    let start = home.run("start mcq/web");
    assert!(start.contains("`mcp restart mcq/web` has this component run"), "{start}");
    let neither = home.run("stop mcq/");
    assert!(neither.contains("component name is empty"), "{neither}");
}

#[test]
fn stopping_a_service_says_so_in_its_file() {
    let home = Home::new();
    home.service(DEFINITION);
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

#[test]
fn events_of_a_node_are_lines_and_one_that_is_down_is_told() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("events --node rift --kind failed --json"), @r#"
    {"id":7,"at":"2026-11-21T02:39:07.123Z","node":"rift","event":"failed","service":"mcq","component":"mcq","unit":"mcq.service","desired":"running","previous":"running","observed":"restarting","drift":"","subject":"","reason":"it ended with exit code 1; systemd starts it again","mend":"mcp logs mcq/mcq","count":0}
    --
    -- 0
    "#);
    let all = home.run("events");
    assert!(all.contains("drift           rift: the container stray (^G) belongs"), "{all}");
    assert!(all.ends_with("-- 3"), "{all}");
}

#[test]
fn a_reconcile_can_be_looked_at_first() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("reconcile mcq --dry-run -n rift"), @r"
    mcq on rift: back to generation 4

    SYSTEMD WILL  UNIT         BECAUSE
    start         mcq.service  it does not run
    --
    -- 0
    ");
    assert!(home.run("reconcile mcq -n rift").ends_with("-- 0"));
}

#[test]
fn alerts_that_fail_fail_the_command() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("alert-test -n rift"), @r"
    ok       alert /usr/bin/true: It was told.
    failed   alert http://hook/: It was told.
    --
    -- 1
    ");
}

#[test]
fn a_session_is_one_object_a_line_and_ends_with_the_status_of_the_command() {
    let home = Home::new();
    for command in ["exec", "run --rm"] {
        let shown = home.run(&format!("{command} -n rift --json mcq -- hello"));
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @r#"
            {"stream":"stdout","base64":"aGVsbG8="}
            {"stream":"stderr","base64":"/wo="}
            {"status":7,"unit":"mcp-exec-1.service","container":"mcq","message":null}
            --
            -- 7
            "#);
        }
    }
}

#[test]
fn what_could_not_be_run_is_told_apart_from_what_failed() {
    let home = Home::new();
    insta::assert_snapshot!(home.run("exec -n rift web/api -- true"), @r"
    --
    error: node rift: no service web
    hint: mcp list
    -- 125
    ");
    insta::assert_snapshot!(home.run("exec -n rift -it mcq -- sh"), @r"
    --
    error: -t needs a terminal on standard input and output, and there is none
    hint: leave out -t; -i alone hands input on as it is
    -- 2
    ");
}

#[test]
fn what_is_imported_is_written_once_and_told() {
    let home = Home::new();
    let file = home.path("blog/compose.yaml");
    std::fs::create_dir_all(home.path("blog")).unwrap();
    let text = "services:\n  app:\n    build: .\n    ports: ['80']\n    expose: [80]\n    x-a: 1\n";
    atomic_file::write(&file, text.as_bytes(), 0o644).unwrap();
    let line = format!("import compose {}", file.display());
    let printed = home.run(&format!("{line} --stdout"));
    assert!(printed.starts_with("# Made from ~/blog/compose.yaml by mcp import.\n"), "{printed}");
    assert!(printed.contains("warning: ~/blog/compose.yaml:"), "{printed}");
    assert!(printed.contains("lost: services.app.ports: 80 names no port"), "{printed}");
    let told = home.run(&line);
    assert!(
        told.starts_with("~/.config/mcp/services/blog.toml: written, with app\n--\n")
            && told.contains("hint: mcp deploy blog --dry-run\n")
            && told.ends_with("-- 0"),
        "{told}"
    );
    let again = home.run(&line);
    assert!(again.starts_with("~/.config/mcp/services/blog.toml: unchanged"), "{again}");
    let json = home.run(&format!("{line} --json --name blog"));
    assert!(json.contains("\"changed\": false") && !json.contains("warning"), "{json}");
    let written = home.path(".config/mcp/services/blog.toml");
    atomic_file::write(&written, b"mine", 0o644).unwrap();
    let refused = home.run(&line);
    assert!(refused.contains("--force") && refused.ends_with("-- 1"), "{refused}");
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "mine");
    let run =
        home.run("import run --quiet --stdout -- podman run -p 8080:80 docker.io/library/nginx");
    assert!(run.contains("ports = [\"8080:80\"]"), "{run}");
    // Quiet: what is lost is told, what is in the definition's comments not.
    let quadlet = home.path("blog/web.container");
    let text = "[Container]\nImage=localhost/x:1\nAutoUpdate=registry\nPull=never\n";
    atomic_file::write(&quadlet, text.as_bytes(), 0o644).unwrap();
    let kinds = |run: String| {
        [" lost: ", " changed: "].map(|kind| run.matches(kind).count()).map(|count| count > 0)
    };
    let line = format!("import quadlet --stdout {}", quadlet.display());
    assert_eq!(kinds(home.run(&line)), [true, true]);
    assert_eq!(kinds(home.run(&format!("-q {line}"))), [true, false]);
    let run = home.run("import quadlet /nonexistent.container");
    assert!(run.ends_with("-- 2") && run.contains("there is no such file"), "{run}");
}

#[test]
fn a_sync_shows_what_it_would_do_and_does_that() {
    let home = Home::new();
    let nothing = home.run("sync -n rift --dry-run --prune");
    assert!(nothing.contains("--prune would take every service away"), "{nothing}");
    assert!(nothing.ends_with("-- 2"), "{nothing}");
    home.service(&DEFINITION.replacen("name = \"mcq\"\n", "name = \"mcq\"\nnode = \"rift\"\n", 1));
    insta::assert_snapshot!(home.run("sync -n rift --dry-run --exit-code"), @r"
    SERVICE  NODE  STATE    ACTION  WHAT
    mcq      rift  changed  deploy  restart mcq.service
    old      rift  absent   -       no definition; --prune undeploys it, mcp service export old writes one
    1 changed, 1 absent
    --
    -- 5
    ");
    insta::assert_snapshot!(home.run("sync -n rift"), @r"
    SERVICE  NODE  STATE    OUTCOME  WHAT
    mcq      rift  changed  done     restart mcq.service
    old      rift  absent   -        no definition; --prune undeploys it, mcp service export old writes one
    1 changed, 1 absent; 1 done, 0 failed
    --
    warning: node rift, mcq: the image is not pinned
    rift: mcq: ok, generation 4, changed mcq (2.5s)
    -- 0
    ");
    let unasked = home.run("sync -n rift --prune");
    assert!(unasked.contains("undeployed, and there is no terminal to ask on: old (rift)"));
    assert!(unasked.ends_with("-- 2"), "{unasked}");
    insta::assert_snapshot!(home.run("sync -n rift --prune --yes"), @r"
    SERVICE  NODE  STATE    OUTCOME  WHAT
    mcq      rift  changed  done     restart mcq.service
    old      rift  absent   failed   node rift does not allow this: a viewer may not undeploy
    1 changed, 1 absent; 1 done, 1 failed
    --
    warning: node rift, mcq: the image is not pinned
    rift: mcq: ok, generation 4, changed mcq (2.5s)
    error: node rift does not allow this: a viewer may not undeploy
    hint: ask for a token with the role operator: `mcp-agent token create`
    -- 4
    ");
}

#[test]
fn a_broken_file_is_told_and_keeps_its_service() {
    let home = Home::new();
    home.service(&DEFINITION.replacen("name = \"mcq\"\n", "name = \"mcq\"\nnode = \"rift\"\n", 1));
    let broken = home.path(".config/mcp/services/old.toml");
    atomic_file::write(&broken, b"name = ", 0o644).unwrap();
    insta::assert_snapshot!(home.run("sync --prune --yes"), @r"
    SERVICE  NODE  STATE    OUTCOME  WHAT
    mcq      rift  changed  done     restart mcq.service
    1 changed, 1 broken; 1 done, 0 failed
    --
    error: string values must be quoted, expected literal string
     --> ~/.config/mcp/services/old.toml:1:8
      |
    1 | name = 
      |        ^
    warning: node rift, mcq: the image is not pinned
    rift: mcq: ok, generation 4, changed mcq (2.5s)
    error: cannot talk to node svc: no agent answers at ~/svc.sock: No such file or directory (os error 2)
    hint: systemctl status mcp-agent
    -- 3
    ");
    insta::assert_snapshot!(home.run("purge -n rift"), @r"
    SERVICE  COMPONENT  NODE  RESULT  REASON
    mcq      mcq        rift  stays   it is defined
    old      old        rift  stays   it is defined
    --
    warning: ~/.config/mcp/services/old.toml:1:8: string values must be quoted, expected literal string; what it defines stays
    -- 0
    ");
    atomic_file::write(&home.path(".config/mcp/services/Any One.toml"), b"\0", 0o644).unwrap();
    let unknown = home.run("sync -n rift --prune --yes");
    assert!(unknown.contains("nobody can tell whose definition"), "{unknown}");
    assert!(home.run("purge -n rift").ends_with("-- 2"));
}

#[test]
fn a_definition_of_no_clear_node_is_told_as_that() {
    let home = Home::new();
    home.service(DEFINITION);
    insta::assert_snapshot!(home.run("sync -n rift --dry-run"), @r"
    SERVICE  NODE  STATE   ACTION  WHAT
    mcq      rift  kept    -       it is not clear for which node its definition is: ~/.config/mcp/services/mcq.toml
    old      rift  absent  -       no definition; --prune undeploys it, mcp service export old writes one
    1 absent, 1 kept, 1 unclear
    --
    error: it is not clear which node is meant; the nodes are rift, svc
    hint: write `node = ...` in ~/.config/mcp/services/mcq.toml
    -- 2
    ");
    let json = home.run("sync -n rift --dry-run --json");
    assert!(json.contains("\"broken\": 0") && json.contains("\"unclear\": 1"), "{json}");
}

#[test]
fn what_is_left_out_of_units_is_in_the_document() {
    let home = Home::new();
    home.service(&format!("{DEFINITION}ports = [\"80:80\"]\nhealth = {{ http = \"/\" }}\n"));
    let file = home.path(".config/mcp/services/mcq.toml");
    let run = home.run(&format!("render --standalone --json {}", file.display()));
    let (document, told) = run.split_once("--\n").unwrap();
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(warning.contains("its http check is left out"), "{warning}");
    assert!(told.contains(warning), "{told}");
}

#[test]
fn waiting_ends_when_it_is_so() {
    let home = Home::new();
    let ready = home.run("wait mcq -n rift");
    assert!(ready.contains("mcq: ready") && ready.ends_with("-- 0"), "{ready}");
    let unknown = home.run("wait nope -n rift");
    assert!(unknown.contains("no service nope") && unknown.ends_with("-- 1"), "{unknown}");
    let long = home.run("wait mcq --stopped --timeout 1ms -n rift");
    assert!(long.ends_with("-- 5") || long.ends_with("-- 3"), "{long}");
    let both = home.run("wait mcq --stopped --ready -n rift");
    assert!(both.ends_with("-- 2"), "{both}");
}

#[test]
fn files_of_a_hostile_agent_land_nowhere() {
    let home = Home::new();
    let both = home.run("pull mcq a - --json -n rift");
    assert!(both.ends_with("-- 2") && both.contains("leave out one of them"), "{both}");
    let streamed = home.run("pull mcq a - -n rift");
    assert!(streamed.starts_with("--\n") && streamed.ends_with("-- 1"), "{streamed}");
    let to = home.path("deep/er");
    std::fs::create_dir_all(&to).unwrap();
    let refused = home.run(&format!("pull mcq a {} -n rift", to.display()));
    assert!(refused.contains("`..`") && refused.ends_with("-- 1"), "{refused}");
    assert!(!home.path("evil").exists() && !home.path("deep/evil").exists());
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0);
    let missing = home.run("push /nowhere/x mcq -n rift");
    assert!(missing.contains("no such file") && missing.ends_with("-- 1"), "{missing}");
    let refused = home.run(&format!("push {} mcq -n rift", to.display()));
    assert!(refused.contains("there is no /srv/mcq"), "{refused}");
    let outside = home.run("push /etc/hostname mcq ../x -n rift");
    assert!(outside.ends_with("-- 2"), "{outside}");
}

#[test]
fn an_upgrade_that_does_not_come_up_leaves_the_next_node_alone() {
    let home = Home::new();
    let program = std::env::current_exe().unwrap();
    std::os::unix::fs::symlink(&program, home.path("new")).unwrap();
    let file = format!("--file {}", home.path("new").display());
    insta::assert_snapshot!(home.run(&format!("agent upgrade rift --dry-run {file}")), @r"
    rift: would be upgraded from 0.3.0 to 0.3.1; the registry goes from schema 3 to 4
    --
    rift: sending ~/new
    warning: the agent of rift is 0.3.0 and this mcp is 0.1.0: they are made to work together when they are at most one minor version apart
    hint: install mcp 0.3.0 here
    -- 0
    ");
    insta::assert_snapshot!(home.run(&format!("agent upgrade rift svc {file}")), @r"
    rift: 0.3.1 did not come up, and the agent of before serves again: it ended before it answered
        boom ^[[31m
    svc: not tried
    --
    rift: sending ~/new
    rift: waiting for the new agent to answer
    warning: the agent of rift is 0.3.0 and this mcp is 0.1.0: they are made to work together when they are at most one minor version apart
    hint: install mcp 0.3.0 here
    -- 1
    ");
}

#[test]
fn a_file_that_is_no_program_for_the_node_is_not_sent() {
    let home = Home::new();
    let write = |name: &str, bytes: &[u8]| {
        atomic_file::write(&home.path(name), bytes, 0o700).unwrap();
        format!("--file {}", home.path(name).display())
    };
    let script = write("script", b"#!/bin/sh\nexec true # more than twenty octets\n");
    insta::assert_snapshot!(home.run(&format!("agent upgrade rift {script}")), @r"
    --
    error: ~/script cannot be sent: it is not a program of Linux (no ELF file)
    -- 2
    ");
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut other = own[..100].to_vec();
    other[18] = if std::env::consts::ARCH == "aarch64" { 62 } else { 183 };
    let other = write("other", &other);
    let shown = home.run(&format!("agent upgrade rift {other}"));
    let shown = shown.replace(std::env::consts::ARCH, "ARCH");
    insta::assert_snapshot!(shown, @r"
    rift: not upgraded: node rift is ARCH, and there is no program for that
    --
    error: node rift is ARCH, and there is no program for that
    hint: mcp agent upgrade rift --file FILE
    warning: the agent of rift is 0.3.0 and this mcp is 0.1.0: they are made to work together when they are at most one minor version apart
    hint: install mcp 0.3.0 here
    -- 2
    ");
    let zeros = "0".repeat(64);
    let shown = home.run(&format!("agent upgrade rift {other} --sha256 {zeros}"));
    assert!(shown.contains("which was not asked for") && shown.ends_with("-- 2"), "{shown}");
    insta::assert_snapshot!(home.run("agent upgrade rift"), @r"
    --
    error: there is no mcp-agent beside this mcp
    hint: mcp agent upgrade --file FILE
    -- 2
    ");
}

#[test]
fn what_was_typed_into_an_invalid_definition_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = Home::new();
    home.service(DEFINITION);
    let editor = |name: &str, script: &str| {
        let path = home.path(name);
        atomic_file::write(&path, script.as_bytes(), 0o755).unwrap();
        assert!(path.metadata().unwrap().permissions().mode() & 0o100 != 0);
        Environment { editor: Some(path.into()), ..Environment::default() }
    };
    let breaks = editor("breaks", "#!/bin/sh\necho 'hours = of work' >> \"$1\"\n");
    let shown = home.run_with(breaks, "service edit mcq");
    let kept = shown.split("what was typed is kept in ").nth(1).expect(&shown);
    let kept = std::path::PathBuf::from(kept.lines().next().unwrap());
    assert!(std::fs::read_to_string(&kept).unwrap().contains("hours = of work"), "{shown}");
    assert!(shown.contains(&format!("mcp lint {}", kept.display())), "{shown}");
    std::fs::remove_file(kept).unwrap();
    let file = std::fs::read_to_string(home.path(".config/mcp/services/mcq.toml")).unwrap();
    assert_eq!(file, DEFINITION);
    let nothing = editor("nothing", "#!/bin/sh\nexit 1\n");
    let shown = home.run_with(nothing, "service edit mcq");
    assert!(!shown.contains("kept"), "{shown}");
}

#[test]
fn a_definition_that_is_not_there_is_told_with_its_place() {
    let home = Home::new();
    let shown = home.run("render nope.toml");
    let here = std::env::current_dir().unwrap().join("nope.toml");
    assert!(shown.contains(&format!("there is no definition {}", here.display())), "{shown}");
    assert!(shown.contains("mcp service new"), "{shown}");
}
