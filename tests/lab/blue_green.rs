//! A service that is deployed blue-green is exchanged with no request lost,
//! whatever happens in between.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::definitions::with;
use crate::fixture::{Machine, machine};
use crate::load::{Load, fetch, tell};
use crate::observed::when_free;
use crate::wait::until;

/// A page, and an echo whose connections last.
const PAGE: &str = r#"name = "page"

[deploy]
strategy = "blue-green"
drain = "20s"

[[components]]
name = "web"
image = "localhost/lab/web:v1"
ports = ["8080:8080"]
health = { http = "/health", start_period = "20s" }

[[components]]
name = "echo"
image = "localhost/lab/echo:v1"
ports = ["7007:7"]
env = { ROUND = "v1" }
health = { tcp = 7 }
"#;

/// The page alone.
fn page() -> String {
    let (page, _) = PAGE.split_once("[[components]]\nname = \"echo\"").unwrap();
    page.to_owned()
}

fn address(node: &Machine, port: u16) -> SocketAddr {
    SocketAddr::new(node.address().parse().unwrap(), port)
}

/// Demands that nothing of a hand-over is left.
#[track_caller]
fn settled(node: &Machine) {
    let left = "systemctl --user list-units --all --no-legend --plain 'page-*-next.service'
        find /run/user/850/mcp/forward /run/user/850/containers/systemd/mcp-next -type f";
    until("nothing stands in any more", || node.as_mcp(left, "").text().is_empty().then_some(()));
    assert!(!node.podman_things().contains("-next "), "{}", node.podman_things());
    node.mcp(&["status", "page"]).ok().does_not_say("stand");
}

/// Waits until the stand-in of the page starts; it may be ready when this is
/// seen.
#[track_caller]
fn stand_in_starts(node: &Machine) {
    until("the stand-in starts", || {
        let state = node.states(&["page-web-next.service"]);
        (state == ["activating"] || state == ["active"]).then_some(())
    });
}

/// Waits until new connections go to the stand-in.
#[track_caller]
fn switched(node: &Machine) {
    let switched = "test -s /run/user/850/mcp/forward/page-web";
    until("connections go to the stand-in", || (node.as_mcp(switched, "").code == 0).then_some(()));
}

#[test]
fn five_deploys_fail_no_request_and_recreate_is_measured_beside() {
    let node = machine();
    node.deploy(PAGE).ok();
    let (pages, echoes) = (address(&node, 8080), address(&node, 7007));
    until("the page is there", || fetch(pages).ok());
    let (pages, echoes) = (Load::of_pages(pages, 6), Load::of_echoes(echoes, 3));
    let mut took = Vec::new();
    let mut during = 0;
    // Five deploys, and more while it takes more for the requests that were
    // answered while one was under way to be 10,000.
    while took.len() < 5 || during < 10_000 {
        let round = took.len();
        assert!(round < 50, "only {during} requests were answered during {round} deploys");
        let version = if round % 2 == 0 { "v2" } else { "v1" };
        let next = with(PAGE, "web:v1", &format!("web:{version}"));
        let next = with(&next, "ROUND = \"v1\"", &format!("ROUND = \"{round}\""));
        node.deploy_with(&next, &["--dry-run"]).ok().says("switch");
        let (began, answered) = (Instant::now(), pages.answered() + echoes.answered());
        node.deploy(&next).ok().says("changed echo, web");
        took.push(began.elapsed());
        during += pages.answered() + echoes.answered() - answered;
        assert_eq!(fetch(address(&node, 8080)).unwrap(), version, "the new one serves");
        pages.goes_on(50);
        echoes.goes_on(50);
    }
    let (pages, echoes) = (pages.end(), echoes.end());
    tell(&format!(
        "blue-green: {} requests and {} exchanges on kept connections, {during} of both during {} deploys, {} failed; slowest page {:?}; deploys {took:?}",
        pages.good,
        echoes.good,
        took.len(),
        pages.failures.len() + echoes.failures.len(),
        pages.slowest,
    ));
    pages.all_good();
    echoes.all_good();
    assert!(pages.versions.iter().any(|v| v == "v1") && pages.versions.iter().any(|v| v == "v2"));
    settled(&node);

    let recreate = with(&page(), "strategy = \"blue-green\"\ndrain = \"20s\"\n", "");
    node.deploy(&recreate).ok();
    let pages = Load::of_pages(address(&node, 8080), 6);
    pages.goes_on(50);
    node.deploy(&with(&recreate, "web:v1", "web:v2")).ok();
    pages.goes_on(50);
    let tally = pages.end();
    tell(&format!("recreate: {} failed, over {:?}", tally.failures.len(), tally.gap()));
}

#[test]
fn a_release_that_is_never_ready_leaves_the_old_one_alone() {
    let node = machine();
    node.deploy(&page()).ok();
    // What is good has its time; only what is bad is given up soon.
    let page = with(&page(), "start_period = \"20s\"", "start_period = \"1s\", retries = 1");
    let before = node.invocations(&["page-web.service", "page-web-forward.service"]);
    let load = Load::of_pages(address(&node, 8080), 4);
    load.goes_on(50);
    let bad = with(&page, "web:v1", "web:bad");
    node.deploy(&bad).code(1).says("404").says("page-web-next.service").says("rolled back");
    let crash = with(&page, "web:v1", "crash:v1");
    node.deploy(&crash).code(1).says("rolled back");
    load.goes_on(50);
    let tally = load.end();
    tally.all_good();
    assert_eq!(tally.versions, vec!["v1"; 4]);
    assert_eq!(node.invocations(&["page-web.service", "page-web-forward.service"]), before);
    assert_eq!(node.generation("page"), Some(1));
    settled(&node);
}

#[test]
fn a_restart_loses_no_request_either() {
    let node = machine();
    node.deploy(&page()).ok();
    let before = node.invocations(&["page-web.service"]);
    let load = Load::of_pages(address(&node, 8080), 4);
    load.goes_on(50);
    node.mcp(&["restart", "page"]).ok();
    load.goes_on(50);
    load.end().all_good();
    assert_ne!(node.invocations(&["page-web.service"]), before);
    settled(&node);
}

/// Kills the agent for good, and brings it back when all is as it left it.
fn kill_and_revive(node: &Machine) {
    node.kill_agent();
    until("nothing is unfinished", || {
        let open = node.as_mcp(
            "exec sqlite3 -readonly /srv/mcp/mcp.db",
            "SELECT count(*) FROM operations WHERE outcome IS NULL",
        );
        (open.text() == "0").then_some(())
    });
}

#[test]
fn a_killed_agent_finishes_the_hand_over_when_it_is_back() {
    let node = machine();
    node.spoil();
    node.deploy(&page()).ok();
    let load = Load::of_pages(address(&node, 8080), 3);
    load.goes_on(50);
    for (round, moment) in ["beside", "away", "again", "back"].into_iter().enumerate() {
        let version = if round % 2 == 0 { "v2" } else { "v1" };
        let next = with(&page(), "web:v1", &format!("web:{version}"));
        node.write_as_mcp("/tmp/page.toml", &next);
        // Whoever is connected is waited for: that holds the moment.
        let held = TcpStream::connect(address(&node, 8080)).unwrap();
        let deploy = node.in_background("exec mcp -q deploy page -f /tmp/page.toml 2>/dev/null");
        match moment {
            "beside" => stand_in_starts(&node),
            "away" => switched(&node),
            "again" => {
                let old = node.invocations(&["page-web.service"]);
                switched(&node);
                drop(held);
                // Down, or up again already.
                until("the old one goes", || {
                    let gone = node.states(&["page-web.service"]) != ["active"];
                    (gone || node.invocations(&["page-web.service"]) != old).then_some(())
                });
            }
            _ => {
                switched(&node);
                let other = TcpStream::connect(address(&node, 8080)).unwrap();
                drop(held);
                let back = "test ! -e /run/user/850/mcp/forward/page-web";
                until("connections come back", || (node.as_mcp(back, "").code == 0).then_some(()));
                kill_and_revive(&node);
                drop(other);
            }
        }
        if moment != "back" {
            kill_and_revive(&node);
        }
        assert!([0, 1, 3].contains(&deploy.end()));
        settled(&node);
        let accepted = node.mcp(&["status", "page", "--json"]).ok().json();
        let accepted = accepted["services"][0]["components"][0]["version"].clone();
        assert_eq!(fetch(address(&node, 8080)).unwrap(), accepted, "{moment}");
        load.goes_on(50);
        when_free(|| node.deploy(&next)).ok();
        tell(&format!("killed in moment {moment:?}: {accepted} is in force"));
    }
    let tally = load.end();
    tell(&format!(
        "agent killed 4 times: {} requests, {} failed",
        tally.good,
        tally.failures.len()
    ));
    tally.all_good();
}

#[test]
fn a_power_loss_in_the_middle_boots_the_old_one_under_its_name() {
    let node = machine();
    node.spoil();
    node.deploy(&page()).ok();
    node.write_as_mcp("/tmp/page.toml", &with(&page(), "web:v1", "web:v2"));
    let held = TcpStream::connect(address(&node, 8080)).unwrap();
    let deploy = node.in_background("exec mcp -q deploy page -f /tmp/page.toml 2>/dev/null");
    switched(&node);
    node.as_root("systemctl disable -q mcp-agent").ok();
    node.lab("kill");
    drop((held, deploy));
    node.lab("start");
    let booted = until("it is back", || fetch(address(&node, 8080)).ok());
    assert_eq!(booted, "v1");
    until("its units are up", || {
        let states = node.states(&["page-web.service", "page.target"]);
        (states == ["active", "active"]).then_some(())
    });
    let units = "systemctl --user list-units --all --no-legend '*-next*'";
    assert_eq!(node.as_mcp(units, "").ok().text(), "");
    node.as_root("systemctl enable -q --now mcp-agent").ok();
    until("nothing is unfinished", || {
        let open = node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL");
        (open == "0").then_some(())
    });
    assert_eq!(node.generation("page"), Some(1));
    settled(&node);
    node.mcp(&["status", "page"]).ok().does_not_say("hand");
    assert_eq!(fetch(address(&node, 8080)).unwrap(), "v1");
}

#[test]
fn a_forwarder_that_crashes_loses_no_new_connection() {
    let node = machine();
    node.deploy(&page()).ok();
    for _ in 0..5 {
        let forwarder = node.invocations(&["page-web-forward.service"]);
        node.as_mcp("systemctl --user kill -s KILL page-web-forward.service", "").ok();
        assert_eq!(fetch(address(&node, 8080)).unwrap(), "v1");
        until("it is another one", || {
            (node.invocations(&["page-web-forward.service"]) != forwarder).then_some(())
        });
    }
    let load = Load::of_pages(address(&node, 8080), 4);
    load.goes_on(50);
    for _ in 0..5 {
        node.as_mcp("systemctl --user kill -s KILL page-web-forward.service", "").ok();
        load.goes_on(50);
    }
    // Only what it had in its hands can be lost: one request a client.
    let tally = load.end();
    tell(&format!(
        "forwarder killed 5 times: {} requests, {} cut",
        tally.good,
        tally.failures.len()
    ));
    assert!(tally.failures.len() <= 5 * 4, "{:?}", tally.failures);
}

#[test]
fn ports_and_strategies_change_and_a_stopped_service_lets_go_of_them() {
    let node = machine();
    let listening =
        |port: u16| node.as_root(&format!("ss -Hltn 'sport = {port}' | grep -q .")).code == 0;
    let blue = page();
    let plain = with(&blue, "strategy = \"blue-green\"\ndrain = \"20s\"\n", "");
    let moved = with(&blue, "8080:8080\"", "8081:8080\", \"8082:8080\"");
    let moved = with(&moved, "http = \"/health\"", "http = { port = 8080, path = \"/health\" }");
    for (definition, open, closed) in [
        (&plain, &[8080][..], &[8081, 8082][..]),
        (&blue, &[8080], &[8081, 8082]),
        (&moved, &[8081, 8082], &[8080]),
        (&plain, &[8080], &[8081, 8082]),
    ] {
        node.deploy(definition).ok();
        for port in open {
            assert_eq!(fetch(address(&node, *port)).unwrap(), "v1");
        }
        until(&format!("{closed:?} are let go of"), || {
            (!closed.iter().any(|port| listening(*port))).then_some(())
        });
    }
    // A generation whose port cannot be had gives way to the one before.
    let taken = node.in_background("exec busybox nc -ll -p 8083 -e cat");
    until("the port is taken", || listening(8083).then_some(()));
    let other = with(&blue, "8080:8080", "8083:8080");
    node.deploy(&other).code(1).says("8083");
    drop(taken);
    assert_eq!(fetch(address(&node, 8080)).unwrap(), "v1");

    node.deploy(&blue).ok();
    node.mcp(&["ps", "page"]).ok().says("*:8080->8080/tcp");
    node.as_mcp("systemctl --user stop page-web-8080.socket", "").ok();
    node.mcp(&["start", "page"]).ok();
    assert_eq!(fetch(address(&node, 8080)).unwrap(), "v1");
    node.mcp(&["stop", "page"]).ok();
    until("the port is let go of", || (!listening(8080)).then_some(()));
    node.mcp(&["start", "page"]).ok();
    assert_eq!(fetch(address(&node, 8080)).unwrap(), "v1");
    node.lab("reboot");
    let back = until("it is back", || fetch(address(&node, 8080)).ok());
    assert_eq!(back, "v1");
    when_free(|| node.mcp(&["undeploy", "page", "--yes"])).ok();
    until("the port is let go of", || (!listening(8080)).then_some(()));
    node.as_mcp("! ls ~/.config/systemd/user | grep page", "").ok();
}
