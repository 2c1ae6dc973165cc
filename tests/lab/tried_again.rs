//! Commands that come while systemd tries once more what has failed, or waits
//! before it does.

use crate::definitions::{LONE, with};
use crate::fixture::{Machine, machine};
use crate::wait::until;

const REGISTRY: &str = "registry.lab:5000";

/// An attempt knows from its first moment whether it may succeed, and goes on
/// when it is told to. What has failed waits for longer than anybody else has
/// to.
const HELD: &str = "[Service]\nRestartSec=30\nRestartSteps=0\nExecStartPre=/bin/sh -c \
    'test -e /srv/mcp/may; may=$?; until rm /srv/mcp/go 2>/dev/null; do sleep 0.1; done; exit $may'\n";

/// Returns how often systemd has tried again by itself, the state, and the
/// number of the run.
fn shown(node: &Machine) -> [String; 3] {
    let show = "systemctl --user show lone.service -p NRestarts,SubState,InvocationID";
    let told = node.as_mcp(show, "").ok().out;
    ["NRestarts=", "SubState=", "InvocationID="].map(|key| {
        told.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned()
    })
}

/// Has the service started while something is missing, and waits until that
/// has failed.
#[track_caller]
fn fails_without(node: &Machine, take_away: &str) {
    let script = format!(
        "systemctl --user stop lone.service; systemctl --user reset-failed lone.service || true
        {take_away}; touch /srv/mcp/go; systemctl --user start --no-block lone.service"
    );
    node.as_mcp(&script, "").ok();
    until("it waits to be tried again", || (shown(node)[1] == "auto-restart").then_some(()));
}

/// Waits for an attempt of systemd's own, and returns the number of the run.
#[track_caller]
fn is_tried_again(node: &Machine) -> String {
    until("systemd tries once more", || {
        let [restarts, state, run] = shown(node);
        (restarts == "1" && state == "start-pre").then_some(run)
    })
}

#[track_caller]
fn is_ready(node: &Machine) {
    assert_eq!(node.states(&["lone.service"]), ["active"]);
    assert_eq!(node.served("lone", "lone"), "v1");
}

#[test]
fn in_the_middle_of_an_attempt_nothing_is_taken_for_running() {
    let node = machine();
    node.spoil();
    node.deploy(&with(LONE, "localhost", REGISTRY)).ok();
    node.write_as_mcp("/srv/mcp/.config/systemd/user/lone.service.d/held.conf", HELD);
    node.as_mcp("systemctl --user daemon-reload; touch /srv/mcp/may", "").ok();
    // What is missing is fetched, and the attempt is not cut off.
    fails_without(&node, &format!("podman untag {REGISTRY}/lab/web:v1"));
    let attempt = is_tried_again(&node);
    let deploying = node.in_background("exec mcp deploy lone");
    until("the image is there", || {
        let there = format!("podman image exists {REGISTRY}/lab/web:v1");
        (node.as_mcp(&there, "").code == 0).then_some(())
    });
    node.as_mcp("touch /srv/mcp/go", "").ok();
    assert_eq!(deploying.end(), 0);
    is_ready(&node);
    assert_eq!(shown(&node)[2], attempt);
    assert_eq!(node.generation("lone"), Some(1));

    // An attempt that began too early to succeed is not the last word.
    fails_without(&node, "rm /srv/mcp/may");
    is_tried_again(&node);
    let starting = node.in_background("exec mcp start lone");
    until("it is starting", || {
        let open = node.sql("SELECT kind FROM operations WHERE outcome IS NULL");
        (open == "start").then_some(())
    });
    node.as_mcp("touch /srv/mcp/may /srv/mcp/go", "").ok();
    until("it is started once more", || {
        let [restarts, state, _] = shown(&node);
        (restarts == "0" && state == "start-pre").then_some(())
    });
    node.as_mcp("touch /srv/mcp/go", "").ok();
    assert_eq!(starting.end(), 0);
    is_ready(&node);

    // Where systemd only waits, nobody waits with it.
    fails_without(&node, "rm /srv/mcp/may");
    node.as_mcp("touch /srv/mcp/may /srv/mcp/go", "").ok();
    node.mcp(&["start", "lone"]).ok();
    is_ready(&node);
    assert_eq!(shown(&node)[0], "0");
}
