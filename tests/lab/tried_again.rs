//! Commands that come while systemd tries once more what has failed.

use crate::definitions::{LONE, with};
use crate::fixture::{Machine, machine};
use crate::wait::until;

const REGISTRY: &str = "registry.lab:5000";

/// Makes each attempt long, and has it know from its first moment whether it
/// may succeed.
const SLOW: &str =
    "[Service]\nExecStartPre=/bin/sh -c 'test -e /srv/mcp/may; may=$?; sleep 15; exit $may'\n";

/// Has the service started while something is missing, and waits for the first
/// moments of an attempt that is not the first.
#[track_caller]
fn is_tried_again_without(node: &Machine, take_away: &str) {
    let script = format!(
        "systemctl --user stop lone.service; systemctl --user reset-failed lone.service || true
        {take_away}; systemctl --user start --no-block lone.service"
    );
    node.as_mcp(&script, "").ok();
    let shown = "systemctl --user show -P NRestarts -P SubState lone.service";
    until("systemd tries once more", || {
        let now = node.as_mcp(shown, "").ok().out;
        let (restarts, state) = now.trim().split_once('\n')?;
        (restarts != "0" && state == "start-pre").then_some(())
    });
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
    node.write_as_mcp("/srv/mcp/.config/systemd/user/lone.service.d/slow.conf", SLOW);
    node.as_mcp("systemctl --user daemon-reload; touch /srv/mcp/may", "").ok();

    // What is missing is fetched, and the attempt is not cut off.
    is_tried_again_without(&node, &format!("podman untag {REGISTRY}/lab/web:v1"));
    node.mcp(&["deploy", "lone"]).ok().does_not_say("nothing to do").says("wait lone.service");
    is_ready(&node);

    // An attempt that began too early to succeed is not the last word.
    is_tried_again_without(&node, "rm /srv/mcp/may");
    node.as_mcp("touch /srv/mcp/may", "").ok();
    node.mcp(&["start", "lone"]).ok();
    is_ready(&node);
}
