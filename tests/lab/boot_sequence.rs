//! A whole node boots in its stages, again and again, without the agent.

use std::collections::BTreeMap;

use crate::boot_node::{BOOT, Boot, Moment, service, stage, web};
use crate::boot_report::{ms, unit};
use crate::fixture::{Machine, machine};
use crate::wait::until_within;

/// Reboots, and as many power losses, when `MCP_LAB_BOOTS` does not say.
const BOOTS: u32 = 2;

/// Services of no stage.
const OTHERS: usize = 15;

/// What each service waits for itself.
type Needs = BTreeMap<String, Vec<String>>;

fn other(number: usize) -> String {
    format!("other{number:02}")
}

/// Deploys the node: 2 foundation, 2 core, 1 management, 15 others, and one
/// that is stopped. Returns who depends on whom.
fn deploy_everything(node: &Machine) -> Needs {
    let mut needs = Needs::new();
    let mut deploy = |name: &str, definition: String, on: &[&str]| {
        node.deploy(&definition).ok();
        needs.insert(name.to_owned(), on.iter().map(ToString::to_string).collect());
    };
    deploy("registry", web("registry", &[]), &[]);
    // No check of its own: its stage asks its port, 2 s after its start.
    let slow = "env = { DELAY = \"2\" }";
    deploy("names", service("names", "slow:v1", &[], slow), &[]);
    let command = "env = { DELAY = \"1\" }\nhealth = { cmd = [\"/bin/health\"] }";
    deploy("certs", service("certs", "slow:v1", &["registry"], command), &["registry"]);
    let tcp = "env = { DELAY = \"1\" }\nhealth = { tcp = \"default\" }";
    deploy("proxy", service("proxy", "slow:v1", &["names", "certs"], tcp), &["names", "certs"]);
    deploy(
        "control",
        service("control", "web:v1", &[], "health = { cmd = [\"/bin/health\"] }"),
        &[],
    );
    for number in 0..OTHERS {
        let name = other(number);
        let before = number.checked_sub(5).map(other);
        let on: Vec<&str> = match &before {
            Some(before) if number % 5 < 2 => vec![before.as_str()],
            _ => Vec::new(),
        };
        let definition = match number % 5 {
            0 => web(&name, &on),
            1 => service(&name, "web:v1", &on, "health = { cmd = [\"/bin/health\"] }"),
            2 => service(&name, "slow:v1", &on, tcp),
            3 => service(&name, "static:v1", &on, &without_a_shell(number)),
            _ => service(&name, "web:v1", &on, ""),
        };
        deploy(&name, definition, &on);
    }
    node.deploy(&web("asleep", &["registry"])).ok();
    node.mcp(&["stop", "asleep"]).ok();
    needs
}

/// The one service that is ready only by what its stage asks of it.
const BY_ITS_STAGE: &str = "names";

/// A port and a check of an image that has no shell, and listens on its own
/// port whatever is leased.
fn without_a_shell(number: usize) -> String {
    let port = 18_000 + number;
    format!(
        "ports = [\"{port}:8080\"]\nhealth = {{ http = {{ path = \"/health\", port = 8080 }} }}"
    )
}

fn unit_of(service: &str) -> String {
    format!("{service}.service")
}

/// Demands that the boot that comes is proved, which takes an agent.
fn is_proved(node: &Machine) {
    node.as_root("systemctl start mcp-agent").ok();
    node.mcp(&["boot", "verify"]).ok().says("will come back");
}

/// Demands that the journal tells the same order of the boot that was: each
/// service began when what it needs was ready.
fn is_told(node: &Machine, needs: &Needs) {
    let report = node.report("0");
    for (service, on) in needs {
        let begun = ms(&unit(&report, &unit_of(service))["attempts"][0]["from_ms"]);
        for on in on {
            let ready = ms(&unit(&report, &unit_of(on))["ready_ms"]);
            assert!(begun >= ready, "{service} began at {begun}, {on} was ready at {ready}");
        }
    }
    assert_eq!(report["broken"], serde_json::Value::Null, "{report:#}");
}

/// Checks one boot: everything is up, in order, and what was stopped is not.
fn check(node: &Machine, needs: &Needs) {
    let stages = ["mcp-foundation.target", "mcp-core.target", "mcp-management.target"];
    let mut units: Vec<String> = needs.keys().map(|service| unit_of(service)).collect();
    units.extend(stages.map(str::to_owned));
    let up = until_within(BOOT, "everything is up", || {
        let seen = node.moments(&units);
        seen.values().all(|moment| moment.active == "active").then_some(seen)
    });
    assert_eq!(up.len(), units.len());
    let at = |name: &str| -> &Moment { &up[name] };
    let after = |service: &str, what: &str| {
        let (begun, ready) = (at(&unit_of(service)).begun, at(what).ready);
        assert!(
            begun >= ready && ready > 0,
            "{service} began at {begun}, {what} was ready at {ready}"
        );
    };
    for (service, on) in needs {
        for on in on {
            after(service, &unit_of(on));
        }
        let before: &[&str] = match service.as_str() {
            "registry" | "names" => &[],
            "certs" | "proxy" => &["registry", "names"],
            "control" => &["registry", "names", "certs", "proxy"],
            _ => &["registry", "names", "certs", "proxy", "control"],
        };
        for before in before {
            after(service, &unit_of(before));
        }
        let place = match before.len() {
            0 => 0,
            2 => 1,
            4 => 2,
            _ => 3,
        };
        stages.iter().take(place).for_each(|stage| after(service, stage));
    }
    // It listens two seconds after its start, and nobody goes before that.
    let listens = at(&unit_of(BY_ITS_STAGE)).begun + 2_000_000;
    assert!(at(stages[0]).ready >= listens, "{up:?}");
    assert_eq!(node.states(&["asleep.service", "asleep.target"]), ["inactive"; 2]);
    assert!(!node.podman_things().contains("asleep"));
    let failed = node.as_mcp("systemctl --user --failed --no-legend --plain", "").ok();
    assert_eq!(failed.text(), "");
}

#[test]
fn a_node_boots_in_its_stages_by_reboot_and_after_a_power_loss_without_the_agent() {
    let node = machine();
    let needs = deploy_everything(&node);
    node.reload_with(&format!(
        "{}{}{}",
        stage("foundation", &["registry", "names"], "health = \"tcp\""),
        stage("core", &["certs", "proxy"], "required = true"),
        stage("management", &["control"], "")
    ));
    until_within(BOOT, "the stages are in force", || {
        node.mcp(&["boot", "plan"]).out.contains("stage management").then_some(())
    });
    let boots = std::env::var("MCP_LAB_BOOTS").map_or(BOOTS, |text| text.parse().unwrap());
    for number in 1..=boots {
        for how in [Boot::Reboot, Boot::PowerLoss] {
            is_proved(&node);
            node.boot_without_agent(how);
            let from = std::time::Instant::now();
            check(&node, &needs);
            is_told(&node, &needs);
            println!(
                "{how:?} {number} of {boots}: all {} up and in order, seen {:?} after the machine",
                needs.len(),
                from.elapsed()
            );
        }
    }
}
