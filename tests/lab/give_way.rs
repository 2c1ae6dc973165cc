//! A stop does not wait for a start or deploy that is under way, and what that
//! waits for is told.

use crate::definitions::{LATE, LONE, with};
use crate::fixture::{Background, Machine, lab_command, machine};
use crate::images::{REGISTRY, forget, log_in};
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
    let event = node.event("late", |event| event["event"] == "given_up");
    assert_eq!(event["reason"], "somebody stopped the service before it was ready");
    // Nobody is told in the night of what was done on purpose.
    assert!(!node.kinds("late").contains(&"rolled_back".to_owned()));
    node.mcp(&["explain", "late"]).says("was given up: somebody stopped").does_not_say("being");
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
    node.mcp(&["status", "late"]).says("deploy").does_not_say("not deployed");

    node.mcp(&["stop", "late"]).ok().says("nothing of it is left on the node");
    node.mcp(&["status"]).ok().does_not_say("late");
    assert!(!node.podman_things().contains("late"));
    node.kill_agent();
    node.mcp(&["list"]).ok().does_not_say("late");
    node.mcp(&["stop", "late"]).code(1).says("not deployed");
    gate(&node, true);
    node.mcp(&["deploy", "late", "-f", "/tmp/late.toml"]).ok();
}

/// Waits until a pull waits for a registry that does not answer.
fn pulls(node: &Machine) {
    until("the pull has begun", || {
        (node.states(&["lone-image.service"]) == ["activating"]).then_some(())
    });
}

#[test]
fn a_pull_is_given_up_with_what_waits_for_it() {
    let node = machine();
    forget(&node);
    assert_eq!(log_in(&node, "reader", "reader"), 0);
    let remote = with(LONE, "localhost", REGISTRY);
    node.deploy(&remote).ok();
    let cut = |how: &str| lab_command(&[how, node.name(), "registry"]).ok();
    cut("partition");
    node.write_as_mcp("/tmp/v2.toml", &with(&remote, "web:v1", "web:v2"));
    let deploy = node.in_background("exec mcp -q deploy lone -f /tmp/v2.toml");
    pulls(&node);
    node.mcp(&["stop", "lone"]).ok().says("stays down after a reboot");
    assert_eq!(deploy.end(), 1);
    let units = ["lone.service", "lone-image.service"];
    until("both are down", || (node.states(&units) == ["inactive"; 2]).then_some(()));

    // A start gets what is gone, and is given up as well.
    node.as_mcp(&format!("podman rmi {REGISTRY}/lab/web:v1"), "").ok();
    let start = node.in_background("exec mcp -q start lone");
    pulls(&node);
    node.mcp(&["stop", "lone"]).ok();
    assert_eq!(start.end(), 1);
    until("nothing is pulled", || {
        node.states(&units).iter().all(|state| state != "activating").then_some(())
    });
    cut("heal");
    node.mcp(&["start", "lone"]).ok();
    assert_eq!(node.served("lone", "lone"), "v1");
    node.mcp(&["undeploy", "lone"]).ok();
    forget(&node);
}

#[test]
fn a_rollback_is_given_up() {
    let node = machine();
    gate(&node, true);
    node.deploy(LATE).ok();
    gate(&node, false);
    // The new one ends at once; the old one is not ready any more.
    let crashes = with(LATE, "web:v1", "crash:v1");
    node.write_as_mcp("/tmp/late.toml", &crashes);
    let deploy = node.in_background("exec mcp deploy late -f /tmp/late.toml 2>&1");
    until("the old one is waited for", || {
        let state = node.sql("SELECT state FROM operations WHERE outcome IS NULL");
        let image = node.as_mcp("podman inspect -f '{{.ImageName}}' late || true", "").out;
        (state.contains("rolling_back") && image.contains("web:v1")).then_some(())
    });
    node.mcp(&["stop", "late"]).ok().says("stays down after a reboot");
    let (told, code) = ended(deploy);
    assert!(told.contains("generation 1 is in force again, and is being stopped"), "{told}");
    assert_eq!((code, node.states(&UNIT)), (1, vec!["inactive".to_owned()]));
    gate(&node, true);
    node.mcp(&["start", "late"]).ok();
    assert_eq!(node.generation("late"), Some(1));
}

/// Has the agent unable, or able again, to take away what is tried.
fn keep_trials(node: &Machine, keep: bool) {
    let (owner, mode) = if keep { ("root", "755") } else { ("mcp", "700") };
    let trials = "/run/user/$(id -u mcp)/containers/systemd/mcp";
    node.as_root(&format!("chown {owner}: {trials}; chmod {mode} {trials}")).ok();
}

/// Stops the service until that says that its deploy cannot be undone.
fn not_undone(node: &Machine) {
    until("a stop says that the deploy is not undone", || {
        let stop = node.mcp(&["stop", "late"]);
        assert_eq!(stop.code, 1, "{stop:?}");
        // The agent may be trying at this moment.
        (!format!("{stop:?}").contains("a recovery of late is under way")).then(|| {
            stop.says("the deploy of late could be neither finished nor undone yet")
                .says("repeat mcp stop late");
        })
    });
}

/// Waits until nothing is left to be undone.
fn settled(node: &Machine) {
    until("all is settled", || {
        let open = node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL");
        (open == "0").then_some(())
    });
}

#[test]
fn a_stop_of_a_deploy_that_cannot_be_undone_says_so_and_is_kept_to() {
    let node = machine();
    gate(&node, false);
    node.write_as_mcp("/tmp/late.toml", LATE);
    let deploy = begun(&node, "deploy", "exec mcp deploy late -f /tmp/late.toml");
    keep_trials(&node, true);
    not_undone(&node);
    let (told, code) = ended(deploy);
    assert!(told.contains("it could not be undone") && code == 1, "{told}");
    not_undone(&node);
    // It is tried over and over, and told once; so is its end.
    until("it was tried a few times", || {
        let tries = node.as_root("journalctl -u mcp-agent | grep -c 'late.*an operation was cut off\\|an operation was cut off.*late'");
        (tries.text().parse::<u32>().unwrap_or(0) >= 3).then_some(())
    });
    let told = |node: &Machine| -> Vec<String> {
        let of_deploys = ["deploy_failed", "rolled_back", "given_up"];
        let events =
            node.events("late", &[]).into_iter().map(|e| e["event"].as_str().unwrap().to_owned());
        events.filter(|kind| of_deploys.contains(&kind.as_str())).collect()
    };
    assert_eq!(told(&node), ["deploy_failed"]);
    keep_trials(&node, false);
    settled(&node);
    until("its end is told", || (told(&node) == ["deploy_failed", "given_up"]).then_some(()));
    // That it is settled is written down a moment before it is free.
    until("nothing of it is known", || {
        let stop = node.mcp(&["stop", "late"]).code(1);
        format!("{stop:?}").contains("not deployed").then_some(())
    });
    assert!(!node.podman_things().contains("late"));

    // What was in force is not brought back only to run.
    gate(&node, true);
    node.deploy(LATE).ok();
    gate(&node, false);
    let changed = with(LATE, "[[components]]", "# other\n[[components]]\nenv = { NEW = \"yes\" }");
    node.write_as_mcp("/tmp/late.toml", &changed);
    let deploy = begun(&node, "deploy", "exec mcp deploy late -f /tmp/late.toml");
    keep_trials(&node, true);
    not_undone(&node);
    assert_eq!(ended(deploy).1, 1);
    // The agent that was asked is not the one that does it.
    node.as_root("systemctl kill -s KILL mcp-agent").ok();
    keep_trials(&node, false);
    until("it is stopped", || {
        let status = node.mcp(&["status", "late", "--json"]).json();
        (status["services"][0]["active"] == false).then_some(())
    });
    settled(&node);
    gate(&node, true);
    assert_eq!(node.states(&UNIT), ["inactive"]);
    node.mcp(&["stop", "late"]).ok();
    node.mcp(&["start", "late"]).ok();
    node.as_mcp("podman exec late env", "").ok().does_not_say("NEW");
}
