//! `mcp boot report` tells what a boot did, also one without the agent.

use serde_json::Value;

use crate::boot_node::{Boot, stage, web};
use crate::definitions::{LONE, PAIR};
use crate::fixture::{Machine, machine};
use crate::wait::until;

impl Machine {
    /// Starts the agent, which the boot did without, and has it report.
    #[track_caller]
    pub fn report(&self, boot: &str) -> Value {
        self.as_root("systemctl start mcp-agent").ok();
        self.mcp(&["boot", "report", "--boot", boot, "--json"]).ok().json()["boots"][0].clone()
    }
}

/// What a report says of a unit.
pub fn unit<'a>(report: &'a Value, name: &str) -> &'a Value {
    let units = report["units"].as_array().unwrap();
    units.iter().find(|unit| unit["unit"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"))
}

/// A time of a report, in milliseconds.
pub fn ms(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A service that waits for the pair.
fn waiting() -> String {
    LONE.replacen("name = \"lone\"", "name = \"lone\"\ndepends_on = [\"pair\"]", 1)
}

#[test]
fn a_boot_without_the_agent_is_told_afterwards() {
    let node = machine();
    node.deploy(PAIR).ok();
    node.deploy(&waiting()).ok();
    node.boot_without_agent(Boot::Reboot);
    node.until_active(&["pair-api.service", "pair-front.service", "lone.service"]);
    let all = ["pair-api.service", "pair-front.service", "lone.service", "mcp-podman.service"];
    // The journal may be late.
    let report = until("all are told to be ready", || {
        let report = node.report("0");
        let units = report["units"].as_array().unwrap();
        let ready =
            |name: &&str| units.iter().any(|u| u["unit"] == *name && u["outcome"] == "ready");
        all.iter().all(ready).then_some(report.clone())
    });
    // The order is that of the dependencies, by ready and not by started.
    let (api, front, lone) = (
        unit(&report, "pair-api.service"),
        unit(&report, "pair-front.service"),
        unit(&report, "lone.service"),
    );
    assert!(ms(&front["attempts"][0]["from_ms"]) >= ms(&api["ready_ms"]), "{report:#}");
    assert!(ms(&lone["attempts"][0]["from_ms"]) >= ms(&front["ready_ms"]), "{report:#}");
    assert_eq!((&api["service"], &api["component"]), (&"pair".into(), &"api".into()));
    assert_eq!(report["broken"], Value::Null);
    let chain = report["chain"].as_array().unwrap();
    let names: Vec<&str> = chain.iter().filter_map(|link| link["unit"].as_str()).collect();
    let at = |name: &str| names.iter().position(|unit| *unit == name);
    assert_eq!(names.last(), Some(&"lone.service"), "{names:?}");
    assert!(at("pair-api.service") < at("pair-front.service"), "{names:?}");
    assert!(at("pair-api.service").is_some(), "{names:?}");
    // Against the boot before, in which they were deployed.
    assert_ne!(report["difference"], Value::Null);

    node.mcp(&["boot", "report", "--boot", "-99"]).code(1).says("the journal holds no boot -99");
    let text = node.as_mcp("LC_ALL=C mcp boot report", "").ok().out;
    for said in ["Critical chain: why lone.service", "pair-front.service", "####"] {
        assert!(text.contains(said), "{text}");
    }
    let first = report["boot_id"].clone();

    // The next boot has a unit that fails: the name of its image means one
    // that crashes.
    node.as_mcp("podman tag localhost/lab/crash:v1 localhost/lab/web:v1", "").ok();
    node.boot_without_agent(Boot::PowerLoss);
    let report = until("it has failed twice", || {
        let report = node.report("0");
        let tries = unit(&report, "pair-api.service")["attempts"].as_array().unwrap().len();
        (tries >= 2).then_some(report)
    });
    let api = unit(&report, "pair-api.service");
    assert!(["retrying", "starting"].contains(&api["outcome"].as_str().unwrap()), "{report:#}");
    assert_eq!(api["attempts"][0]["ended"], "failed");
    assert_eq!(api["attempts"][0]["result"], "exit-code");
    assert_eq!(report["finished_ms"], Value::Null);
    let broken = &report["broken"];
    assert_eq!(broken["unit"], "pair-api.service", "{report:#}");
    let waited = broken["waited"].to_string();
    for name in ["pair-front.service", "lone.service"] {
        assert!(waited.contains(name), "{waited}");
        assert_eq!(unit(&report, name)["outcome"], "waiting", "{report:#}");
    }
    let failed = report["difference"]["failed"].to_string();
    assert!(failed.contains("pair-api.service") && failed.contains("lone.service"), "{failed}");
    assert_eq!(report["difference"]["boot_id"], first);
    let text = node.mcp(&["boot", "report"]).ok().out;
    assert!(text.contains("First broken link: pair-api.service failed first at"), "{text}");

    // The boot before is still told, and either can be drawn.
    assert_eq!(node.report("-1")["boot_id"], first);
    let drawn =
        node.as_mcp("cd /tmp && mcp boot report --svg boot.svg >/dev/null && cat boot.svg", "");
    let svg = drawn.ok().out;
    assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert!(svg.contains("pair-api.service") && svg.contains("#c62828"), "{svg}");
}

#[test]
fn a_journal_that_cannot_be_read_is_said_and_systemd_is_asked() {
    let node = machine();
    node.deploy(LONE).ok();
    node.spoil();
    node.as_root(
        "rm -rf /var/log/journal/* /run/log/journal/*; systemctl restart systemd-journald",
    )
    .ok();
    let report = node.report("0");
    assert_eq!(unit(&report, "lone.service")["outcome"], "ready", "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("The journal tells nothing"), "{notes}");
    assert!(notes.contains("no boot before this one"), "{notes}");
}

#[test]
fn a_stage_that_is_not_reached_is_told_with_what_waits_behind_it() {
    let node = machine();
    node.deploy(&web("first", &[])).ok();
    node.deploy(&web("second", &[])).ok();
    node.reload_with(&stage("foundation", &["first"], ""));
    until("the gate stands behind the stage", || {
        let gate = node.as_mcp("cat ~/.config/systemd/user/second-gate.target", "").ok().out;
        gate.contains("After=mcp-foundation.target").then_some(())
    });
    node.boot_without_agent(Boot::Reboot);
    node.until_active(&["second.service"]);
    let report = node.report("0");
    assert_eq!(unit(&report, "first.service")["stage"], "foundation");
    let chain = report["chain"].as_array().unwrap();
    let names: Vec<&str> = chain.iter().filter_map(|link| link["unit"].as_str()).collect();
    let at = |name: &str| names.iter().position(|unit| *unit == name).unwrap_or(usize::MAX);
    assert!(at("first.service") < at("mcp-foundation-check.service"), "{names:?}");
    assert_eq!(names.last(), Some(&"second.service"), "{names:?}");

    node.as_mcp("d=~/.config/systemd/user/first.service.d; mkdir -p $d; printf '[Service]\\nExecStartPost=false\\n' >$d/x.conf", "").ok();
    node.boot_without_agent(Boot::Reboot);
    let report = until("it has failed", || {
        let report = node.report("0");
        (report["broken"]["at_ms"] != Value::Null).then_some(report)
    });
    assert_eq!(report["broken"]["unit"], "first.service", "{report:#}");
    let waited = report["broken"]["waited"].to_string();
    assert!(waited.contains("second.service"), "{waited}");
}
