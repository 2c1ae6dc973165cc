//! Each kind of cause, from the words that systemd 257 and podman 5.4 say.

use super::*;
use crate::agent::explain::journal::End;
use crate::agent::explain::{Holder, Journal, Link, Mount, Owner, Said, Speaker, Stop, UnitFacts};
use crate::agent::finding::Level;
use crate::agent::monitor::drift::{self, FileDrift};
use crate::agent::monitor::seen::ComponentState;
use crate::deployment::{Leases, NodeFacts, resolve};
use crate::names::Generation;

const UNIT: &str = "shop-api.service";

pub(in super::super) fn container(more: &str) -> crate::deployment::Container {
    let text = format!("name = \"shop\"\n[[components]]\nname = \"api\"\n{more}\n");
    let image = if more.contains("image =") { "" } else { "image = \"localhost/shop:1\"\n" };
    let service = crate::definition::load(&format!("{text}{image}")).unwrap();
    let facts = NodeFacts::default();
    let deployment = resolve(&service, &facts, &Leases::new(), None, Generation(1)).unwrap();
    deployment.containers.into_iter().next().unwrap()
}

/// A component that should run, is well, and has been up for an hour.
pub(in super::super) fn well(more: &str) -> Evidence {
    let owner = Owner { user: "mcp".to_owned(), uid: 850, home: "/srv/mcp".to_owned() };
    Evidence {
        service: "shop".parse().unwrap(),
        container: container(more),
        networks: Vec::new(),
        owner,
        now_ms: 10_000_000,
        desired: true,
        operation: None,
        pulling: false,
        state: ComponentState::Running,
        unit: UnitFacts {
            load: "loaded".to_owned(),
            sub: "running".to_owned(),
            result: "success".to_owned(),
            started_ms: Some(6_399_000),
            since_ms: Some(6_400_000),
            ..UnitFacts::default()
        },
        health: ("none", String::new(), String::new()),
        restarts: 0,
        drift: Vec::new(),
        journal: Journal::default(),
        pull: Vec::new(),
        image_there: None,
        generator: Vec::new(),
        mounts: Vec::new(),
        holders: Vec::new(),
        chain: Vec::new(),
        stage: None,
        stop: None,
        full: Vec::new(),
        pause: true,
    }
}

/// One that failed with a status, and waits to be tried again.
pub(in super::super) fn failing(status: i32, said: &[(Speaker, &str)]) -> Evidence {
    let mut evidence = well("");
    evidence.state = ComponentState::Restarting;
    evidence.restarts = 3;
    evidence.unit.sub = "auto-restart".to_owned();
    evidence.unit.result = "exit-code".to_owned();
    evidence.unit.end = Some(End::Exited(status));
    evidence.unit.next_try_ms = Some(10_007_000);
    evidence.journal = journal(said);
    evidence
}

pub(in super::super) fn journal(said: &[(Speaker, &str)]) -> Journal {
    let begin = (Speaker::Systemd, "Starting shop-api.service - shop...");
    let end = (Speaker::Systemd, "shop-api.service: Failed with result 'exit-code'.");
    let lines = std::iter::once(&begin).chain(said).chain(std::iter::once(&end));
    let lines = lines.map(|(speaker, text)| Said { speaker: *speaker, text: (*text).to_owned() });
    Journal::of(lines.collect())
}

/// The explanation as a person would see it.
pub(in super::super) fn told(evidence: &Evidence) -> String {
    let Explanation { cause, level, reason, evidence, mend } = explain(evidence);
    let said = if evidence.is_empty() { String::new() } else { format!("\n\"{evidence}\"") };
    let mend: String = mend.iter().map(|command| format!("\n-> {command}")).collect();
    format!("{} {}: {reason}{said}{mend}", level.as_str(), cause.as_str())
}

#[test]
fn what_runs_is_told_with_what_is_not_as_deployed() {
    let mut evidence = well("health = { tcp = 80 }\nports = [\"80:80\"]");
    evidence.health.0 = "healthy";
    insta::assert_snapshot!(told(&evidence), @"ok running: It runs, and its check succeeds.");
    evidence.drift = vec![
        drift::of_file("shop", "shop-api.container", FileDrift::Edited),
        drift::of_unread(UNIT),
    ];
    insta::assert_snapshot!(told(&evidence), @r"
    warning running: It runs, and its check succeeds. It is not all as it was deployed: shop-api.container was edited (and 1 more: mcp status shop).
    -> mcp reconcile shop
    ");
    evidence.health = ("unhealthy", "HTTP status 500".to_owned(), "it is left as it is".to_owned());
    insta::assert_snapshot!(told(&evidence), @r#"
    failed unhealthy: It runs, but its check, a connection to 127.0.0.1:80, fails; it is left as it is.
    "HTTP status 500"
    -> mcp logs shop/api
    -> nc -vz 127.0.0.1 80
    -> mcp restart shop/api
    "#);
}

#[test]
fn what_is_down_without_a_failure_is_told_apart() {
    let mut evidence = well("");
    evidence.desired = false;
    evidence.state = ComponentState::Stopped;
    evidence.unit.sub = "dead".to_owned();
    evidence.stop = Some(Stop { by: "kyle".to_owned(), ago_ms: 90_000 });
    insta::assert_snapshot!(told(&evidence), @r"
    ok stopped: It was stopped on purpose, by kyle, 1 min 30 s ago; it stays down after a reboot.
    -> mcp start shop
    ");
    evidence.state = ComponentState::Running;
    assert_eq!(explain(&evidence).cause, Cause::Unwanted);

    evidence.desired = true;
    evidence.state = ComponentState::Stopped;
    let down = drift::Drift { kind: drift::DriftKind::Down, ..drift::of_unread(UNIT) };
    evidence.drift = vec![down];
    assert_eq!(explain(&evidence).cause, Cause::Down);
    let by_hand = drift::Drift { kind: drift::DriftKind::StoppedByHand, ..drift::of_unread(UNIT) };
    evidence.drift = vec![by_hand.clone()];
    insta::assert_snapshot!(told(&evidence), @r"
    failed stopped_by_hand: Somebody stopped it with systemd, 1 h 0 min ago. It stays down until it is started, or the node boots.
    -> mcp start shop
    ");
    evidence.drift = vec![drift::of_stopped_with("shop", UNIT, "shop/db", "stopped")];
    insta::assert_snapshot!(told(&evidence), @r"
    failed dependency: Nobody stopped it for itself: it was stopped with shop/db, which it requires and which is stopped.
    -> mcp start shop
    ");
    let job = Evidence {
        container: container("restart = \"on-failure\""),
        drift: Vec::new(),
        ..evidence.clone()
    };
    assert_eq!(explain(&job).cause, Cause::Ended);
    evidence.drift = vec![drift::Drift { kind: drift::DriftKind::StoppedByCheck, ..by_hand }];
    assert_eq!(explain(&evidence).cause, Cause::StoppedByCheck);
}

#[test]
fn a_unit_that_cannot_be_used_is_told_with_its_reason() {
    let mut evidence = well("");
    evidence.state = ComponentState::Stopped;
    evidence.unit.load = "masked".to_owned();
    insta::assert_snapshot!(told(&evidence), @r#"
    failed masked: Somebody masked shop-api.service, so systemd does not start it.
    "systemd: Unit shop-api.service is masked."
    -> sudo systemctl --user -M mcp@ unmask shop-api.service
    -> sudo systemctl --user -M mcp@ unmask --runtime shop-api.service
    -> mcp start shop
    "#);
    evidence.state = ComponentState::Running;
    assert!(explain(&evidence).reason.starts_with("It runs, but could not be started again."));

    evidence.state = ComponentState::Missing;
    evidence.unit.load = "not-found".to_owned();
    assert_eq!(explain(&evidence).cause, Cause::UnitMissing);
    evidence.generator =
        vec!["error loading \"/srv/mcp/x y.container\", file contains line 1: \"[C\"".to_owned()];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed generator: Podman's generator cannot parse /srv/mcp/x y.container, and makes no unit at all until that is mended.
    "error loading "/srv/mcp/x y.container", file contains line 1: "[C""
    -> sudo mv '/srv/mcp/x y.container' '/srv/mcp/x y.container.broken'
    -> mcp reconcile shop
    "#);
    evidence.generator =
        vec!["converting \"shop-api.container\": unsupported key 'Imagee'".to_owned()];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed generator: Podman's generator makes no unit of shop-api.container: the file holds something that it does not take.
    "converting "shop-api.container": unsupported key 'Imagee'"
    -> mcp reconcile shop --dry-run
    -> mcp reconcile shop
    "#);

    evidence.state = ComponentState::Failed;
    evidence.unit.load = "bad-setting".to_owned();
    let refused = "shop-api.service: Service has more than one ExecStart= setting. Refusing.";
    evidence.journal = journal(&[(Speaker::Systemd, refused)]);
    assert!(told(&evidence).contains("mcp reconcile shop"));
    evidence.unit.drop_ins = vec!["/etc/x.conf".to_owned()];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed bad_setting: systemd refuses shop-api.service: a setting in it cannot be, and the drop-in /etc/x.conf changes it.
    "shop-api.service: Service has more than one ExecStart= setting. Refusing."
    -> sudo rm /etc/x.conf
    -> sudo systemctl --user -M mcp@ daemon-reload
    -> mcp start shop
    "#);
}

#[test]
fn what_waits_is_told_with_the_first_broken_link() {
    let mut evidence = well("");
    evidence.state = ComponentState::Starting;
    evidence.unit.sub = "dead".to_owned();
    let link = |name: &str, state: &str| Link {
        name: name.to_owned(),
        component: name.contains('/'),
        state: state.to_owned(),
        why: String::new(),
        mend: Vec::new(),
    };
    evidence.chain = vec![
        link("shop/web", "starting"),
        link("db-ready.target", "stopped"),
        Link {
            why: "It ended with exit code 1.".to_owned(),
            mend: vec!["mcp logs db/db".to_owned()],
            ..link("db/db", "restarting")
        },
    ];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed dependency: It waits to be started: it needs shop/web, and the first that is broken on the way is db/db, which is restarting (shop/web <- db-ready.target <- db/db).
    "db/db: It ended with exit code 1."
    -> mcp explain db/db
    -> mcp logs db/db
    "#);
    evidence.state = ComponentState::Stopped;
    evidence.chain.drain(..2);
    insta::assert_snapshot!(told(&evidence), @r#"
    failed dependency: It is not started: it needs db/db, which is restarting.
    "db/db: It ended with exit code 1."
    -> mcp explain db/db
    -> mcp logs db/db
    -> mcp start shop
    "#);
    evidence.chain[0].mend = vec!["mcp start shop".to_owned()];
    assert_eq!(explain(&evidence).mend, ["mcp explain db/db", "mcp start shop"]);
    evidence.stage = Some("core".to_owned());
    assert_eq!(explain(&evidence).cause, Cause::BootStage);
}

#[test]
fn images_and_pulls() {
    let gone = [(Speaker::Podman, "Error: localhost/shop:1: image not known")];
    let mut evidence = failing(125, &gone);
    evidence.image_there = Some(false);
    insta::assert_snapshot!(told(&evidence), @r#"
    failed image_missing: Its image localhost/shop:1 is not on this node, and no image registry has it (localhost/).
    "Error: localhost/shop:1: image not known"
    -> sudo runuser -u mcp -- env -C / HOME=/srv/mcp XDG_RUNTIME_DIR=/run/user/850 podman load -i FILE
    -> mcp start shop
    "#);
    evidence.container = container("image = \"r.example.net:5000/a/shop:1\"");
    assert_eq!(explain(&evidence).mend, ["mcp deploy shop"]);
    let pulls = [
        (
            "reading manifest v1 in r/a: authentication required",
            Cause::PullDenied,
            "podman login r.example.net:5000",
        ),
        ("reading manifest v1 in r/a: denied: requested access", Cause::PullDenied, "podman login"),
        (
            "reading manifest v9 in r/a: manifest unknown",
            Cause::PullUnknown,
            "list-tags docker://r.example.net:5000/a/shop",
        ),
        (
            "dial tcp: lookup r.example.net on 10.0.0.1:53: no such host",
            Cause::PullUnreachable,
            "curl -v https://r.example.net:5000/v2/",
        ),
        ("dial tcp 10.0.0.1:5000: connect: connection refused", Cause::PullUnreachable, "curl"),
        ("x509: certificate signed by unknown authority", Cause::PullUnreachable, "curl"),
        ("writing blob: no space left on device", Cause::DiskFull, "df -h"),
        ("something new", Cause::PullFailed, "podman pull r.example.net:5000/a/shop:1"),
    ];
    for (said, cause, command) in pulls {
        evidence.pull = vec!["Trying to pull r...".to_owned(), format!("Error: {said}")];
        let explained = explain(&evidence);
        assert_eq!(explained.cause, cause, "{said}");
        assert!(explained.mend.iter().any(|m| m.contains(command)), "{explained:?}");
        assert_eq!(explained.evidence, format!("Error: {said}"));
        assert_eq!(explained.mend.last().unwrap(), "mcp deploy shop");
    }
    evidence.container = container("image = \"docker.io/library/shop:1\"");
    evidence.pull = vec!["Error: dial tcp: lookup x: no such host".to_owned()];
    assert_eq!(explain(&evidence).mend[0], "curl -v https://registry-1.docker.io/v2/");
    // It is there by now: what was said is over.
    evidence.image_there = Some(true);
    assert_eq!(explain(&evidence).cause, Cause::Podman);
}

#[test]
fn ports() {
    let said = "Failed to bind port 9000 (Address already in use) for option '-t 9000-9000:80-80'";
    let mut evidence = failing(126, &[(Speaker::Podman, said)]);
    let published = container("ports = [\"9000:80\"]");
    evidence.holders = vec![Holder {
        port: published.publish[0].clone(),
        by: "nginx (process 7) of web.service".to_owned(),
        unit: Some("web.service".to_owned()),
        manager: false,
    }];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed port_taken: Port 9000 of this node is taken by nginx (process 7) of web.service.
    "Failed to bind port 9000 (Address already in use) for option '-t 9000-9000:80-80'"
    -> sudo systemctl --user -M mcp@ stop web.service
    -> mcp restart shop/api
    "#);
    // Whoever stops these stops more than what has the port.
    for unit in [None, Some("dbus.service"), Some("mcp-agent.service")] {
        evidence.holders[0].unit = unit.map(str::to_owned);
        assert!(told(&evidence).contains("-> sudo ss -Hlntup 'sport = 9000'"), "{unit:?}");
    }
    evidence.holders[0].unit = Some("init.scope".to_owned());
    let astray = told(&evidence);
    assert!(astray.contains("is taken by nginx (process 7)"), "{astray}");
    assert!(astray.contains("-> sudo ss -Hlntup 'sport = 9000'"), "{astray}");
    evidence.holders[0].manager = true;
    let manager = told(&evidence);
    assert!(manager.contains("is taken by a socket unit of the user's systemd."), "{manager}");
    assert!(manager.contains("-> sudo systemctl --user -M mcp@ list-sockets --all"), "{manager}");
    assert!(!manager.contains("init.scope"), "{manager}");
    evidence.holders.clear();
    assert!(told(&evidence).contains("it is free now"));
    let low = "Error: rootlessport cannot expose privileged port 80, you can add 'net.ipv4'";
    evidence.journal = journal(&[(Speaker::Podman, low)]);
    assert_eq!(explain(&evidence).cause, Cause::PortDenied);
}

#[test]
fn paths() {
    let mount = |problem: Option<&str>| Mount {
        path: "/srv/data".to_owned(),
        mounted: true,
        problem: problem.map(str::to_owned),
        uid: 0,
        mode: 0o700,
    };
    let said = "Error: statfs /srv/data: no such file or directory";
    let mut evidence = failing(125, &[(Speaker::Podman, said)]);
    evidence.mounts = vec![mount(Some("No such file or directory (os error 2)"))];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed path_missing: The path /srv/data that it mounts is not on this node; MCP makes none.
    "Error: statfs /srv/data: no such file or directory"
    -> sudo install -d -o mcp -g mcp /srv/data
    -> mcp restart shop/api
    "#);
    let said = "Error: crun: mount `/srv/data` to `data`: Permission denied: OCI permission denied";
    evidence = failing(126, &[(Speaker::Podman, said)]);
    evidence.mounts = vec![mount(None)];
    assert!(told(&evidence).contains("-> sudo chown mcp: /srv/data"), "{}", told(&evidence));
    let said = "open /data/db: Permission denied";
    evidence = failing(1, &[(Speaker::Container, said)]);
    evidence.container = container("volumes = [\"/srv/data:/data\"]\nuser = \"1000:1000\"");
    evidence.mounts = vec![mount(None)];
    insta::assert_snapshot!(told(&evidence), @r#"
    failed path_denied: The container may not use /data, the node's /srv/data (owner uid 0, mode 700): its users are subordinate ids of user mcp; with SELinux the mount needs the option Z.
    "open /data/db: Permission denied"
    -> ls -ldnZ /srv/data
    -> sudo runuser -u mcp -- env -C / HOME=/srv/mcp XDG_RUNTIME_DIR=/run/user/850 podman unshare chown -R 1000 /srv/data
    -> mcp restart shop/api
    "#);
}

#[test]
fn commands_drop_ins_and_the_surroundings() {
    let said = "Error: crun: executable file `/nope` not found: No such file or directory: OCI runtime attempted to invoke a command that was not found";
    let evidence = failing(127, &[(Speaker::Podman, said)]);
    let explained = explain(&evidence);
    assert_eq!(explained.cause, Cause::CommandNotFound);
    assert_eq!(
        explained.reason,
        "Its command /nope is not in the image (127): entrypoint or cmd is wrong."
    );
    let said = "Error: crun: the path `/etc/passwd` exists but it is not executable: Operation not permitted: OCI permission denied";
    let explained = explain(&failing(126, &[(Speaker::Podman, said)]));
    assert_eq!(explained.cause, Cause::CommandNotExecutable);
    assert!(explained.reason.starts_with("Its command /etc/passwd cannot be run"));
    // A shell in the container says the same of what it runs.
    let explained = explain(&failing(127, &[(Speaker::Container, "sh: foo: not found")]));
    assert!(explained.reason.starts_with("Its command started"), "{explained:?}");
    assert_eq!(explained.evidence, "sh: foo: not found");

    let mut evidence = failing(0, &[(Speaker::Systemd, "Control process exited")]);
    evidence.unit.drop_ins = vec!["/srv/x.conf".to_owned()];
    evidence.unit.failed_command = Some(("/bin/false".to_owned(), 1));
    insta::assert_snapshot!(told(&evidence), @r#"
    failed drop_in: A drop-in changes its unit, and breaks it: /bin/false fails with exit status 1.
    "/srv/x.conf"
    -> cat /srv/x.conf
    -> sudo rm /srv/x.conf
    -> sudo systemctl --user -M mcp@ daemon-reload
    -> mcp restart shop/api
    "#);

    let mut evidence = failing(1, &[(Speaker::Container, "write: No space left on device")]);
    assert_eq!(explain(&evidence).cause, Cause::DiskFull);
    evidence.full = vec!["/srv, which holds podman's storage, is full: 0 MiB are free.".to_owned()];
    assert!(explain(&evidence).reason.contains("0 MiB are free"));
    let stale = "Error: invalid internal status, try resetting the pause process";
    assert_eq!(explain(&failing(125, &[(Speaker::Podman, stale)])).mend[0], "mcp doctor");
}

#[test]
fn ends_are_told_with_their_meaning() {
    let loop_of = |status| told(&failing(status, &[(Speaker::Container, "cannot open a.conf")]));
    insta::assert_snapshot!(loop_of(1), @r#"
    failed exit_code: It ended with exit code 1, an error of its own; what it said last is the best hint.
    "cannot open a.conf"
    -> mcp logs shop/api
    "#);
    assert!(loop_of(139).contains("SIGSEGV ended it (139): it used memory that it does not have"));
    assert!(loop_of(143).contains("SIGTERM ended it (143): it was asked to end"));
    assert!(loop_of(137).contains("SIGKILL ended it (137): somebody killed it, or memory ran out"));
    let slow =
        "StopSignal SIGTERM failed to stop container shop-api in 10 seconds, resorting to SIGKILL";
    assert_eq!(explain(&failing(137, &[(Speaker::Podman, slow)])).cause, Cause::StopTimeout);
    let mut oom = failing(137, &[]);
    oom.unit.result = "oom-kill".to_owned();
    assert!(told(&oom).contains("Memory ran out on this node"));
    oom.container = container("resources = { memory = \"64m\" }");
    assert!(told(&oom).contains("within its limit"));
    let mut well_ended = failing(0, &[]);
    well_ended.unit.result = "success".to_owned();
    well_ended.journal = Journal::default();
    assert_eq!(explain(&well_ended).cause, Cause::Ended);

    let mut limit = failing(1, &[(Speaker::Systemd, "x: Start request repeated too quickly.")]);
    limit.state = ComponentState::Failed;
    insta::assert_snapshot!(told(&limit), @r#"
    failed start_limit: It was started too often in too short a time, so systemd has given it up; before that it ended with exit status 1.
    "x: Start request repeated too quickly."
    -> mcp logs shop/api
    -> sudo systemctl --user -M mcp@ reset-failed shop-api.service
    -> mcp start shop
    "#);
    let mut odd = failing(0, &[]);
    odd.unit.end = None;
    odd.unit.result = "resources".to_owned();
    assert_eq!(explain(&odd).cause, Cause::Unknown);
}

#[test]
fn what_runs_again_only_just_is_told_with_how_it_ended() {
    let end = (Speaker::Systemd, "x: Main process exited, code=exited, status=2/INVALIDARGUMENT");
    let mut flapping = failing(2, &[(Speaker::Container, "bad flag"), end]);
    flapping.state = ComponentState::Running;
    flapping.unit.result = "success".to_owned();
    flapping.unit.end = None;
    flapping.unit.since_ms = Some(flapping.now_ms - 2_000);
    insta::assert_snapshot!(told(&flapping), @r#"
    failed exit_code: It ended with exit code 2, most often a wrong argument or configuration. It was started again, and runs for now.
    "bad flag"
    -> mcp logs shop/api
    "#);
    // What has been up for long is well.
    flapping.unit.since_ms = Some(flapping.now_ms - 120_000);
    assert_eq!(explain(&flapping).level, Level::Fine);
}

#[test]
fn a_check_that_does_not_succeed_is_told_with_what_it_says() {
    let health = "health = { http = \"/health\" }\n[[components.routes]]\nport = 80";
    let waiting = "waiting for http://127.0.0.1:9/health: HTTP status 404 Not Found, not 200-399";
    let probe = (Speaker::Podman, waiting);
    let control = (Speaker::Systemd, "x: Control process exited, code=exited, status=1/FAILURE");
    let mut evidence = failing(0, &[probe, control]);
    let facts = NodeFacts::default();
    let text = format!(
        "name = \"shop\"\n[[components]]\nname = \"api\"\nimage = \"localhost/shop:1\"\n{health}\n"
    );
    let service = crate::definition::load(&text).unwrap();
    let leases =
        Leases::from([(("api".parse().unwrap(), service.components[0].routes[0].name.clone()), 9)]);
    let deployment = resolve(&service, &facts, &leases, None, Generation(1)).unwrap();
    evidence.container = deployment.containers[0].clone();
    let explained = explain(&evidence);
    assert_eq!(explained.cause, Cause::NotReady);
    assert_eq!(explained.evidence, waiting);
    assert_eq!(explained.mend.last().unwrap(), "curl -v http://127.0.0.1:9/health");
    // The first try is under way, and in time.
    evidence.journal =
        Journal { current: evidence.journal.failed[..2].to_vec(), ..Journal::default() };
    evidence.state = ComponentState::Starting;
    evidence.restarts = 0;
    let explained = explain(&evidence);
    assert_eq!((explained.cause, explained.level), (Cause::OnItsWay, Level::Warning));
    assert_eq!(explained.evidence, waiting);
}
