//! What is lost comes back: registry, unit files, podman's storage, each alone
//! and each two of them.

use crate::boot_node::BOOT;
use crate::fixture::{Machine, lab_command, machine};
use crate::observed::when_free;
use crate::wait::{until, until_within};
use std::time::Duration;

/// Services whose images an image registry has: one that another waits for,
/// and one that is stopped.
const BASE: &str = r#"name = "base"

[[components]]
name = "base"
image = "registry.lab:5000/lab/web:v1"
volumes = ["data:/data"]
health = { http = "/health" }
[[components.routes]]
port = 8080
"#;
const SHOP: &str = r#"name = "shop"
depends_on = ["base"]

[[components]]
name = "api"
image = "registry.lab:5000/lab/web:v2"
network = "shop"
health = { cmd = ["/bin/health"] }
[[components.routes]]
port = 8080

[[components]]
name = "front"
image = "registry.lab:5000/lab/web:v1"
network = "shop"
depends_on = ["api"]
health = { http = "/health" }
[[components.routes]]
port = 8080
"#;
const IDLE: &str = r#"name = "idle"
active = false

[[components]]
name = "idle"
image = "registry.lab:5000/lab/web:v1"
"#;
const UNITS: [&str; 3] = ["base.service", "shop-api.service", "shop-front.service"];

const REGISTRY: &str = "registry";
const FILES: &str = "units";
const PODMAN: &str = "podman";
/// The same, without asking podman: its files go while everything runs.
const STORAGE: &str = "podman's files";

/// Loses something; the agent and containers are down afterwards as far as
/// that takes.
fn lose(node: &Machine, what: &str) {
    let script = match what {
        REGISTRY => "systemctl stop mcp-agent; rm /srv/mcp/mcp.db*",
        FILES => {
            "systemctl stop mcp-agent
            rm -r /srv/mcp/.config/containers/systemd/mcp /srv/mcp/.config/systemd/user"
        }
        STORAGE => "rm -rf /srv/mcp/.local/share/containers",
        PODMAN => {
            let reset = "systemctl --user stop mcp.target; podman system reset -f";
            node.as_mcp(reset, "").ok();
            return;
        }
        other => panic!("nobody knows how to lose {other}"),
    };
    node.as_root(script).ok();
}

/// Waits until all is the same again; the agent may be writing still.
#[track_caller]
fn is_the_same(node: &Machine, before: &str, lost: &[&str]) {
    let what = format!("all is as it was before {lost:?} were lost");
    until(&what, || (shape(node) == before).then_some(()));
}

/// What must be the same again: files but for their comments, links, ports.
fn shape(node: &Machine) -> String {
    let script = "cd ~/.config; for f in $(find containers systemd -type f ! -name '.*' | sort); do
            echo \"== $f\"; grep -v '^#' $f; done
        find . -type l -printf '%l  %p\n' | sort";
    let files = node.as_mcp(script, "").ok().out;
    let leases = node.sql("SELECT service, component, route, port FROM leases ORDER BY 1, 2, 3");
    let services = node.sql("SELECT name, active, generation FROM services ORDER BY 1");
    format!("{files}{leases}\n{services}")
}

fn all_run(node: &Machine) {
    until_within(BOOT, "everything runs again", || {
        let script = format!("systemctl --user is-active {} || true", UNITS.join(" "));
        let states = node.as_mcp(&script, "");
        (states.out.lines().filter(|line| *line == "active").count() == 3).then_some(())
    });
}

/// Waits until the agent has looked at everything and has nothing more to do.
pub fn nothing_is_missing(node: &Machine) {
    until("nothing is left to bring back", || {
        let plan = node.mcp(&["agent", "recover", "--dry-run", "--json"]);
        (plan.code == 0 && plan.json()["steps"].as_array().unwrap().is_empty()).then_some(())
    });
}

fn deployed() -> (Machine, String) {
    let node = machine();
    node.spoil();
    for definition in [BASE, SHOP, IDLE] {
        node.deploy(definition).ok();
    }
    // The second generation has files of both.
    node.deploy(&SHOP.replacen(
        "depends_on = [\"api\"]",
        "depends_on = [\"api\"]\nenv = { COLOUR = \"red\" }",
        1,
    ))
    .ok();
    until("podman holds every record", || {
        let names = node.as_mcp("podman secret ls --format '{{.Name}}' | sort", "").ok();
        (names.text().lines().count() == 3).then_some(())
    });
    nothing_is_missing(&node);
    let before = shape(&node);
    (node, before)
}

#[test]
fn whichever_one_is_left_the_node_comes_back_in_order_after_a_reboot() {
    let (node, before) = deployed();
    for lost in [
        &[PODMAN][..],
        &[STORAGE],
        &[REGISTRY],
        &[FILES],
        &[STORAGE, REGISTRY],
        &[PODMAN, FILES],
        &[REGISTRY, FILES],
    ] {
        for what in lost {
            lose(&node, what);
        }
        node.lab("reboot");
        all_run(&node);
        nothing_is_missing(&node);
        is_the_same(&node, &before, lost);
        assert_eq!(node.served("shop", "api"), "v2");
        assert_eq!(node.property("idle.service", "ActiveState"), "inactive", "{lost:?}");
        let us = |unit: &str, moment: &str| -> u64 {
            node.property(unit, &format!("{moment}TimestampMonotonic")).parse().unwrap()
        };
        for (first, second) in [("base", "shop-api"), ("shop-api", "shop-front")] {
            let ready = us(first, "ActiveEnter");
            let begun = us(second, "InactiveExit");
            assert!(ready <= begun, "{second} began at {begun}, {first} was ready at {ready}");
        }
        until(&format!("it is told that {lost:?} were lost"), || {
            let told = node.mcp(&["node", "list", "--json"]).ok().json();
            let told = told["nodes"][0]["agent"]["problems"].to_string();
            (told.contains("brought back") || told.contains("did not know")).then_some(())
        });
    }
}

#[test]
fn files_and_registry_come_back_under_running_containers() {
    let (node, before) = deployed();
    let running = node.invocations(&UNITS);
    for lost in [&[FILES][..], &[REGISTRY], &[FILES, REGISTRY]] {
        for what in lost {
            lose(&node, what);
        }
        node.as_root("systemctl start mcp-agent").ok();
        nothing_is_missing(&node);
        is_the_same(&node, &before, lost);
        assert_eq!(node.invocations(&UNITS), running, "{lost:?}: nothing was restarted");
    }
    // With the agent up, a person asks.
    node.as_mcp("rm -r ~/.config/containers/systemd/mcp/shop", "").ok();
    let plan = node.mcp(&["agent", "recover", "--dry-run"]).ok();
    plan.says("shop: write").says("shop-api.container").says("from the registry");
    assert_ne!(shape(&node), before, "a dry run writes nothing");
    node.mcp(&["agent", "recover"]).ok().says("ok: brought back: shop");
    is_the_same(&node, &before, &["files of shop"]);
    node.mcp(&["agent", "recover"]).ok().says("nothing to do");
    assert_eq!(node.invocations(&UNITS), running);
}

#[test]
fn what_was_removed_stays_removed() {
    let node = machine();
    node.spoil();
    node.deploy(BASE).ok();
    until("podman holds the record", || {
        (node.as_mcp("podman secret inspect mcp-record-base", "").code == 0).then_some(())
    });
    node.as_mcp(
        "podman secret inspect --showsecret --format '{{.SecretData}}' mcp-record-base >/tmp/kept",
        "",
    )
    .ok();
    node.mcp(&["undeploy", "base"]).ok();
    until("the record is gone", || {
        (node.as_mcp("podman secret inspect mcp-record-base", "").code != 0).then_some(())
    });
    // As if the agent had been killed just before it removed the record.
    node.as_mcp("podman secret create mcp-record-base /tmp/kept", "").ok();
    node.as_root("systemctl restart mcp-agent").ok();
    until("the record that was left is gone", || {
        (node.as_mcp("podman secret inspect mcp-record-base", "").code != 0).then_some(())
    });
    assert_eq!(node.sql("SELECT count(*) FROM services"), "0");
}

#[test]
fn an_image_that_only_this_node_had_is_named_and_what_depends_on_nothing_else_runs() {
    let node = machine();
    node.spoil();
    let local = BASE.replace("registry.lab:5000", "localhost").replace("\"base\"", "\"own\"");
    node.deploy(BASE).ok();
    node.deploy(&local).ok();
    node.as_mcp("podman save -q -o /srv/mcp/web.tar localhost/lab/web:v1", "").ok();
    lose(&node, PODMAN);
    node.lab("reboot");
    until_within(BOOT, "the other service runs", || {
        (node.states(&["base.service"]) == ["active"]).then_some(())
    });
    until("the lost image is named", || {
        let told = node.mcp(&["node", "list", "--json"]).ok().out;
        (told.contains("The image localhost/lab/web:v1 was only in this node")
            && told.contains("podman load -i FILE; mcp start own"))
        .then_some(())
    });
    node.as_mcp("podman load -q -i /srv/mcp/web.tar", "").ok();
    when_free(|| node.mcp(&["start", "own"])).ok();
    assert_eq!(node.states(&["own.service"]), ["active"]);
    node.mcp(&["agent", "recover"]).ok().says("nothing to do");
}

#[test]
fn a_registry_of_images_that_is_away_is_asked_again() {
    let node = machine();
    node.spoil();
    node.deploy(BASE).ok();
    lose(&node, PODMAN);
    lab_command(&["partition", node.name(), "registry"]).ok();
    node.lab("reboot");
    until_within(Duration::from_secs(240), "the failed pull is told", || {
        let told = node.mcp(&["node", "list", "--json"]).out;
        told.contains("it is tried again").then_some(())
    });
    lab_command(&["heal", node.name(), "registry"]).ok();
    until_within(Duration::from_secs(300), "the service runs", || {
        (node.states(&["base.service"]) == ["active"]).then_some(())
    });
}
