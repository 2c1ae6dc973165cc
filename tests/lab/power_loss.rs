//! The power goes in the middle of a deploy: the node boots one generation,
//! whole, with or without an agent, and an agent makes the books agree.

use std::time::{Duration, Instant};

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with};
use crate::fixture::{Machine, machine};
use crate::observed::when_free;
use crate::wait::{pause, until};

/// How many moments are tried unless `MCP_LAB_MOMENTS` says otherwise.
const USUAL_MOMENTS: u32 = 6;

fn moments() -> u32 {
    let asked = std::env::var("MCP_LAB_MOMENTS").ok();
    asked.map_or(USUAL_MOMENTS, |text| text.parse().expect("MCP_LAB_MOMENTS is a number"))
}

/// Random moments that can be had again: `MCP_LAB_SEED` gives the seed, which
/// is told in any case.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let asked = std::env::var("MCP_LAB_SEED").ok();
        let random = || u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let seed = asked.map_or_else(random, |text| text.parse().expect("a number"));
        eprintln!("MCP_LAB_SEED={seed}");
        Self(seed | 1)
    }

    /// Returns a number below `limit` (xorshift, after Marsaglia).
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Begins a deploy, takes the power away after a while, and boots again.
fn lose_power(node: &Machine, definition: &str, after: Duration) {
    node.write_as_mcp("/tmp/cut.toml", definition);
    let deploy = node.in_background("exec mcp -q deploy pair -f /tmp/cut.toml 2>/dev/null");
    pause(after);
    node.lab("kill");
    drop(deploy);
    node.lab("start");
}

/// Waits until systemd has started what a boot starts.
fn has_booted(node: &Machine) {
    until("both components run", || {
        let states = node.states(&PAIR_UNITS);
        (states == ["active", "active"]).then_some(())
    });
    until("systemd has done what it was asked for", || {
        let jobs = node.as_mcp("systemctl --user list-jobs --no-legend", "").ok();
        jobs.text().is_empty().then_some(())
    });
}

/// Returns the version that both components serve at their ports, for which
/// no agent need be asked.
#[track_caller]
fn version(node: &Machine, ports: [u16; 2]) -> String {
    let [api, front] = ports.map(|p| until("it answers", || node.get(p, "/version")));
    assert_eq!(api, front, "the two are of one generation");
    api
}

/// Demands that registry, files and what runs are of one generation.
#[track_caller]
fn agrees(node: &Machine, ports: [u16; 2]) -> String {
    until("nothing is unfinished", || {
        let open = node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL");
        (open == "0").then_some(())
    });
    has_booted(node);
    let version = version(node, ports);
    node.has_accepted_pair(&version);
    let tried = "ls $XDG_RUNTIME_DIR/containers/systemd/mcp 2>/dev/null || true";
    assert_eq!(node.as_mcp(tried, "").ok().text(), "");
    let reload = "systemctl --user show -p NeedDaemonReload --value pair-api pair-front pair.target
        systemctl --user is-active pair.target";
    let reload = node.as_mcp(reload, "").ok();
    let words: Vec<&str> = reload.text().split_whitespace().collect();
    assert_eq!(words, ["no", "no", "no", "active"]);
    node.has_nothing_to_deploy("pair");
    version
}

/// Takes the power away at random moments of a deploy of both components;
/// with the agent disabled, the node must come up as well.
fn lose_power_at_moments(agent: bool) {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    node.deploy(PAIR).ok();
    let versions = [PAIR.to_owned(), with(PAIR, "web:v1", "web:v2")];
    let started = Instant::now();
    node.deploy(&versions[1]).ok();
    let whole_deploy = u64::try_from(started.elapsed().as_millis()).unwrap();
    let ports = ["api", "front"].map(|component| node.port("pair", component));
    let mut dice = Dice::new();
    let (mut forth, mut back) = (0, 0);
    let mut now = "v2".to_owned();
    for moment in 0..moments() / 2 {
        let wanted = if now == "v1" { "v2" } else { "v1" };
        let next = &versions[usize::from(wanted == "v2")];
        let after = Duration::from_millis(dice.below(whole_deploy));
        eprintln!("moment {moment}: {after:?} of {whole_deploy} ms, agent {agent}, from {now}");
        if !agent {
            // It runs now, and is not there in the next boot.
            node.as_root("systemctl disable mcp-agent").ok();
        }
        lose_power(&node, next, after);
        has_booted(&node);
        if agent {
            now = agrees(&node, ports);
        } else {
            assert_ne!(node.as_root("systemctl is-active mcp-agent").code, 0);
            let booted = version(&node, ports);
            let before = node.invocations(&PAIR_UNITS);
            node.as_root("systemctl enable --now mcp-agent").ok();
            let is = agrees(&node, ports);
            // What ran before any agent acted is what is in force.
            assert_eq!((&is, node.invocations(&PAIR_UNITS)), (&booted, before), "moment {moment}");
            now = is;
        }
        if now == wanted {
            forth += 1;
        } else {
            back += 1;
            undone_is_told(&node);
        }
        // Deploying goes on as if nothing had been.
        let next = &versions[usize::from(now == "v1")];
        when_free(|| node.deploy(next)).ok();
        now = agrees(&node, ports);
        assert_eq!(node.states(&["lone.service"]), ["active"]);
    }
    eprintln!("{forth} went forth, {back} back");
    assert_eq!(forth + back, moments() / 2);
}

/// Demands that a deploy which had begun, and was undone, is told.
#[track_caller]
fn undone_is_told(node: &Machine) {
    let last = node.sql("SELECT outcome FROM operations ORDER BY id DESC LIMIT 1");
    if last.starts_with("undone: ") {
        node.mcp(&["status", "pair"]).ok().says("undone: pair on");
    } else {
        // The power went before the registry knew of the deploy.
        assert_eq!(last, "committed");
    }
}

#[test]
fn a_power_loss_in_a_deploy_boots_one_generation_with_the_agent() {
    lose_power_at_moments(true);
}

#[test]
fn a_power_loss_in_a_deploy_boots_one_generation_without_the_agent() {
    lose_power_at_moments(false);
}

#[test]
fn a_first_deploy_that_a_power_loss_cuts_off_is_not_there() {
    let node = machine();
    node.spoil();
    let before = node.unit_files();
    // It is never ready, and so is being tried when the power goes.
    let slow = with(LONE, "web:v1", "sick:v1");
    node.write_as_mcp("/tmp/lone.toml", &slow);
    let deploy = node.in_background("exec mcp -q deploy lone -f /tmp/lone.toml 2>/dev/null");
    until("it is being tried", || (node.states(&["lone.service"]) == ["activating"]).then_some(()));
    let tried = "ls $XDG_RUNTIME_DIR/containers/systemd/mcp/lone";
    assert_eq!(node.as_mcp(tried, "").ok().text(), "lone.container");
    assert_eq!(node.unit_files(), before);
    node.lab("kill");
    drop(deploy);
    node.lab("start");
    until("nothing is unfinished", || {
        let open = node.as_mcp("mcp status --json", "");
        (open.code == 0 && node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL") == "0")
            .then_some(())
    });
    assert_eq!(node.generation("lone"), None);
    assert_eq!(node.sql("SELECT count(*) FROM leases"), "0");
    node.mcp(&["status"])
        .ok()
        .says("undone: lone on")
        .says("the node went down before it was ready");
    node.deploy(LONE).ok();
    node.mcp(&["status"]).ok().does_not_say("undone:");
}
