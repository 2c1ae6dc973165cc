//! The agent is killed in the middle of things: what runs goes on, and what
//! was begun is finished or undone, never half.

use std::time::{Duration, Instant};

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with, with_component};
use crate::fixture::{Machine, machine};
use crate::wait::{pause, until};

/// Deploys in the background and kills the agent after a while. Tells what
/// ran at that moment and did not any more when the agent was dead, although
/// systemd had been asked for nothing.
fn deploy_and_kill(node: &Machine, definition: &str, after: Duration) {
    node.write_as_mcp("/tmp/cut.toml", definition);
    // RestartSec= would bring it back by itself; here it stays dead until all
    // that systemd was asked for has been done.
    node.as_root(
        "mkdir -p /run/systemd/system/mcp-agent.service.d
        printf '[Service]\\nRestart=no\\n' >/run/systemd/system/mcp-agent.service.d/dead.conf
        systemctl daemon-reload",
    )
    .ok();
    let deploy = node.in_background("exec mcp -q deploy pair -f /tmp/cut.toml 2>/dev/null");
    pause(after);
    node.as_root(
        "systemctl kill -s KILL --kill-whom=main mcp-agent
        systemctl stop mcp-agent",
    )
    .ok();
    let code = deploy.end();
    assert!([0, 1, 3].contains(&code), "the client of a dead agent ends with {code}");
    until("systemd has done what it was asked for", || {
        let jobs = node.as_mcp("systemctl --user list-jobs --no-legend", "").ok();
        jobs.text().is_empty().then_some(())
    });
}

/// Starts the agent again, and waits until it has put things in order.
fn revive(node: &Machine) {
    node.as_root(
        "rm -r /run/systemd/system/mcp-agent.service.d
        systemctl daemon-reload
        systemctl start mcp-agent",
    )
    .ok();
    until("nothing is unfinished", || {
        let open = node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL");
        (open == "0").then_some(())
    });
}

/// Demands that a service is of one generation, the one that the registry
/// names, and returns the version that it serves.
#[track_caller]
pub fn whole(node: &Machine) -> String {
    assert_eq!(node.states(&PAIR_UNITS), ["active", "active"]);
    let (api, front) = (node.served("pair", "api"), node.served("pair", "front"));
    assert_eq!(api, front, "the two are of one generation");
    node.has_accepted_pair(&api);
    until("nothing is under way", || {
        let status = node.mcp(&["status", "pair", "--json"]).ok().json();
        status["services"][0]["operation"].is_null().then_some(())
    });
    node.has_nothing_to_deploy("pair");
    api
}

/// Kills the agent at every second of twenty moments of a deploy of both
/// components, beginning with the given one.
fn kill_at_moments(first: u32) {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    node.deploy(PAIR).ok();
    let versions = [PAIR.to_owned(), with(PAIR, "web:v1", "web:v2")];
    let started = Instant::now();
    node.deploy(&versions[1]).ok();
    let whole_deploy = started.elapsed();
    let unrelated = node.invocations(&["lone.service"]);

    let (mut forth, mut back) = (0, 0);
    let mut now = "v2".to_owned();
    for moment in (first..20).step_by(2) {
        let wanted = if now == "v1" { "v2" } else { "v1" };
        let next = &versions[usize::from(wanted == "v2")];
        deploy_and_kill(&node, next, whole_deploy * moment / 20);
        // Dead, and everything that was up is up: systemd has finished what
        // it was asked for, and nothing else happened.
        assert_eq!(node.states(&PAIR_UNITS), ["active", "active"], "moment {moment}");
        assert_eq!(node.invocations(&["lone.service"]), unrelated);
        revive(&node);
        let is = whole(&node);
        if is == wanted {
            forth += 1;
        } else {
            back += 1;
        }
        now = is;
        assert_eq!(node.invocations(&["lone.service"]), unrelated);
    }
    assert_eq!(forth + back, 10);
    assert!(forth > 0, "no deploy was finished: the moments are not spread over it");
}

#[test]
fn a_deploy_cut_off_at_any_moment_is_finished_or_undone_in_even_moments() {
    kill_at_moments(0);
}

#[test]
fn a_deploy_cut_off_at_any_moment_is_finished_or_undone_in_odd_moments() {
    kill_at_moments(1);
}

#[test]
fn a_rollback_cut_off_is_finished() {
    let node = machine();
    node.spoil();
    node.deploy(PAIR).ok();
    let half = with_component(PAIR, "api", &[("image", "\"localhost/lab/web:v2\"")]);
    let half = with_component(&half, "front", &[("image", "\"localhost/lab/crash:v1\"")]);
    node.write_as_mcp("/tmp/cut.toml", &half);
    let deploy = node.in_background("exec mcp -q deploy pair -f /tmp/cut.toml 2>/dev/null");
    until("the rollback has begun", || {
        let state = node.sql("SELECT state FROM operations WHERE outcome IS NULL");
        state.contains("rolling_back").then_some(())
    });
    node.kill_agent();
    deploy.end();
    revive_by_itself(&node);
    assert_eq!(whole(&node), "v1");
}

fn revive_by_itself(node: &Machine) {
    until("nothing is unfinished", || {
        let open = node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL");
        (open == "0").then_some(())
    });
}

#[test]
fn containers_do_not_notice_that_the_agent_dies() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = node.invocations(&PAIR_UNITS);
    node.kill_agent();
    assert_eq!(node.invocations(&PAIR_UNITS), before);
    assert_eq!(node.served("pair", "front"), "v1");
    node.as_root("systemctl stop mcp-agent").ok();
    assert_eq!(node.states(&PAIR_UNITS), ["active", "active"]);
    node.as_root("systemctl start mcp-agent").ok();
    assert_eq!(node.invocations(&PAIR_UNITS), before);
}
