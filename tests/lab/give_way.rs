//! A stop does not wait for a start or deploy that is under way, and what that
//! waits for is told.

use crate::definitions::{LATE, with};
use crate::fixture::{Background, Machine, machine};
use crate::wait::until;

const UNIT: [&str; 1] = ["late.service"];

/// Has the component ready, or never.
fn gate(node: &Machine, open: bool) {
    let verb = if open { "touch" } else { "rm -f" };
    node.as_root(&format!("{verb} /srv/mcq/open")).ok();
}

/// Begins an operation that will not end by itself for minutes.
fn begun(node: &Machine, operation: &str, script: &str) -> Background {
    let background = node.in_background(&format!("{script} 2>&1"));
    until(&format!("the {operation} waits"), || {
        let told = node.mcp(&["explain", "late", "--json"]).json();
        let component = &told["services"][0]["components"][0];
        let reason = component["reason"].as_str().unwrap_or_default();
        let waits = reason.starts_with(&format!("A {operation} of late is under way"))
            && reason.contains("mcp stop late gives it up")
            && reason.contains("the command test -e /gate/open, has not succeeded yet");
        (waits && component["cause"] == "on_its_way").then_some(())
    });
    background
}

/// Returns all that an operation told until its end, and its exit code.
fn ended(mut operation: Background) -> (String, i32) {
    let told: Vec<String> = operation.lines().collect();
    (told.join("\n"), operation.end())
}

#[test]
fn a_stop_has_a_start_or_deploy_given_up() {
    let node = machine();
    gate(&node, true);
    node.deploy(LATE).ok();
    gate(&node, false);
    for verb in ["restart", "start"] {
        let start = begun(&node, verb, &format!("exec mcp {verb} late"));
        node.mcp(&["restart", "late"]).code(1).says("stop the service: mcp stop late");
        node.mcp(&["stop", "late"]).ok().says("stays down after a reboot");
        let (told, code) = ended(start);
        assert!(told.contains("was given up: somebody stops the service"), "{told}");
        assert_eq!((code, node.states(&UNIT)), (1, vec!["inactive".to_owned()]));
    }

    // A deploy over what runs: the generation before stays, and is stopped.
    gate(&node, true);
    node.mcp(&["start", "late"]).ok();
    gate(&node, false);
    let changed = with(LATE, "[[components]]", "# other\n[[components]]\nenv = { NEW = \"yes\" }");
    node.write_as_mcp("/tmp/late.toml", &changed);
    let deploy = begun(&node, "deploy", "exec mcp deploy late -f /tmp/late.toml");
    node.mcp(&["stop", "late"]).ok().says("stays down after a reboot");
    let (told, code) = ended(deploy);
    assert!(told.contains("generation 1 is in force again, and is being stopped"), "{told}");
    assert_eq!((code, node.states(&UNIT)), (1, vec!["inactive".to_owned()]));
    gate(&node, true);
    node.mcp(&["start", "late"]).ok();
    node.as_mcp("podman exec late env", "").ok().does_not_say("NEW");
    node.mcp(&["explain", "late"]).ok();
}

#[test]
fn a_first_deploy_is_given_up_and_ctrl_c_leaves_it_to_the_agent() {
    let node = machine();
    gate(&node, false);
    node.write_as_mcp("/tmp/late.toml", LATE);
    let deploy = begun(&node, "deploy", "exec mcp deploy late -f /tmp/late.toml");
    node.as_mcp("pkill -INT -u mcp -x mcp", "").ok();
    let (told, code) = ended(deploy);
    assert!(told.contains("goes on with it") && told.contains("mcp explain late"), "{told}");
    assert_eq!(code, 130);
    // Once more it is told, and with that it is still there.
    node.mcp(&["explain", "late"]).ok().says("A deploy of late is under way");

    node.mcp(&["stop", "late"]).ok().says("nothing of it is left on the node");
    node.mcp(&["status"]).ok().does_not_say("late");
    assert!(!node.podman_things().contains("late"));
    node.kill_agent();
    node.mcp(&["list"]).ok().does_not_say("late");
    node.mcp(&["stop", "late"]).code(1).says("not deployed");
    gate(&node, true);
    node.mcp(&["deploy", "late", "-f", "/tmp/late.toml"]).ok();
}
