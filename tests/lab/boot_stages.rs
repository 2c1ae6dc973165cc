//! What one stage does to those after it.

use crate::boot_node::{BOOT, Boot, stage, web};
use crate::definitions::with_component;
use crate::fixture::{Machine, machine};
use crate::wait::{until, until_within};

/// Has a unit fail at each start until the machine has a file of that name.
fn fails_without(node: &Machine, unit: &str, file: &str) {
    let text = format!("[Service]\nExecStartPre=/usr/bin/test -e /srv/mcp/{file}\n");
    node.write_as_mcp(&format!("/srv/mcp/.config/systemd/user/{unit}.d/fail.conf"), &text);
}

fn mend(node: &Machine, file: &str) {
    node.as_mcp(&format!("touch /srv/mcp/{file}"), "").ok();
}

/// Returns how often systemd has tried a unit again.
fn restarts(node: &Machine, unit: &str) -> u32 {
    node.property(unit, "NRestarts").parse().unwrap()
}

#[test]
fn a_required_stage_that_fails_holds_the_boot_until_it_is_mended_and_then_lets_go_by_itself() {
    let node = machine();
    for name in ["first", "mid", "last"] {
        node.deploy(&web(name, &[])).ok();
    }
    let second = with_component(&web("second", &[]), "second", &[("volumes", "[\"data:/data\"]")]);
    node.deploy(&second).ok();
    node.reload_with(&format!(
        "{}{}",
        stage("foundation", &["first", "second"], "timeout = \"5s\""),
        stage("core", &["mid"], "")
    ));
    until("the stages are in force", || {
        node.mcp(&["boot", "plan"]).out.contains("stage core").then_some(())
    });
    // One crashes, the other never gets its volume: its result is
    // `dependency`, which systemd by itself does not try again.
    fails_without(&node, "first.service", "one");
    fails_without(&node, "second-data-volume.service", "two");
    node.boot_without_agent(Boot::Reboot);
    until_within(BOOT, "both are tried again and again", || {
        let check = restarts(&node, "mcp-foundation-check.service");
        (restarts(&node, "first.service") >= 3 || check >= 3).then_some(())
    });
    let later = ["mid.service", "last.service", "mcp-core.target"];
    assert_eq!(node.states(&later), ["inactive"; 3]);

    // The agent starts into this and changes nothing, but says it.
    node.as_root("systemctl enable --quiet --now mcp-agent").ok();
    until("the stage is told to be late", || {
        let plan = node.mcp(&["boot", "plan", "--json"]);
        (plan.code == 0 && plan.json()["nodes"][0]["stages"][0]["state"] == "late").then_some(())
    });
    until("the problem is told", || {
        let told = "The boot stage foundation is not ready after 5 s and what comes after it waits";
        let list = node.mcp(&["node", "list"]).ok();
        (list.out.contains(told) || list.err.contains(told)).then_some(())
    });
    node.mcp(&["status", "last"]).ok().says("starting").does_not_say("should run");
    let changed = with_component(&web("last", &[]), "last", &[("env", "{ A = \"b\" }")]);
    node.deploy(&changed)
        .code(1)
        .says("the boot stage foundation comes before last and is not ready");
    node.as_root("systemctl stop mcp-agent").ok();

    mend(&node, "one");
    node.until_active(&["first.service"]);
    node.as_mcp("systemctl --user daemon-reload", "").ok();
    let tried = restarts(&node, "mcp-foundation-check.service");
    until_within(BOOT, "the other is still tried", || {
        (restarts(&node, "mcp-foundation-check.service") > tried).then_some(())
    });
    assert_eq!(node.states(&later), ["inactive"; 3]);
    mend(&node, "two");
    node.until_active(&["second.service", "mid.service", "last.service", "mcp-core.target"]);
    let all =
        ["first.service", "second.service", "mcp-foundation.target", "mid.service", "last.service"];
    let seen = node.moments(&all.map(str::to_owned));
    assert!(seen["mid.service"].begun >= seen["mcp-foundation.target"].ready, "{seen:?}");
    assert!(seen["mcp-foundation.target"].ready >= seen["second.service"].ready, "{seen:?}");
    node.as_root("systemctl start mcp-agent").ok();
    node.mcp(&["node", "list"]).ok().does_not_say("is not ready after");
}

#[test]
fn a_stage_that_is_not_required_holds_the_boot_for_its_timeout_and_is_reached_late() {
    let node = machine();
    for name in ["base", "looping", "last"] {
        node.deploy(&web(name, &[])).ok();
    }
    let never = with_component(&web("never", &[]), "never", &[("volumes", "[\"data:/data\"]")]);
    node.deploy(&never).ok();
    node.reload_with(&format!(
        "{}{}",
        stage("foundation", &["base"], ""),
        stage("extras", &["looping", "never"], "timeout = \"8s\"")
    ));
    until("the stages are in force", || {
        node.mcp(&["boot", "plan"]).out.contains("stage extras").then_some(())
    });
    fails_without(&node, "looping.service", "one");
    fails_without(&node, "never-data-volume.service", "two");
    node.boot_without_agent(Boot::PowerLoss);
    node.until_active(&["last.service"]);
    let units = ["last.service", "mcp-foundation.target", "mcp-extras.target"].map(str::to_owned);
    let seen = node.moments(&units);
    let waited = seen["last.service"].begun - seen["mcp-foundation.target"].ready;
    // Its own timeout, and not the two minutes of a stage that has none.
    assert!((8_000_000..100_000_000).contains(&waited), "it waited {waited} us");
    assert_eq!(seen["mcp-extras.target"].active, "inactive");
    // It is tried for ever, and the stage is reached in the end.
    mend(&node, "one");
    mend(&node, "two");
    node.until_active(&["looping.service", "never.service", "mcp-extras.target"]);
}

#[test]
fn stopping_or_restarting_a_service_or_a_stage_leaves_later_stages_alone() {
    let node = machine();
    let names = ["base", "mid", "last"];
    for name in names {
        node.deploy(&web(name, &[])).ok();
    }
    node.reload_with(&format!(
        "{}{}",
        stage("one", &["base"], ""),
        stage("two", &["mid"], "required = true")
    ));
    until("the stages are in force", || {
        node.mcp(&["boot", "plan"]).out.contains("stage two").then_some(())
    });
    node.boot_without_agent(Boot::Reboot);
    let units = ["base.service", "mid.service", "last.service"];
    node.until_active(&units);
    node.as_root("systemctl start mcp-agent").ok();
    let later = node.invocations(&units[1..]);
    let by_hand = |script: &str| {
        node.as_mcp(script, "").ok();
        node.until_active(&units);
        assert_eq!(node.invocations(&units[1..]), later, "{script}");
    };
    by_hand("systemctl --user restart base.target");
    by_hand("systemctl --user restart base.service");
    by_hand("systemctl --user stop base.target; systemctl --user start base.target");
    let killed = node.invocations(&units[..1]);
    by_hand("podman kill base >/dev/null");
    until("systemd has started it again", || {
        let is_another = node.invocations(&units[..1]) != killed;
        (is_another && node.states(&units[..1]) == ["active"]).then_some(())
    });
    by_hand("mcp -q restart base");
    by_hand("mcp -q stop base; mcp -q start base");
    by_hand("systemctl --user stop mcp-one.target mcp-one-check.service mid-gate.target");
    by_hand("systemctl --user restart mcp-one.target mcp-two-check.service last-gate.target");
    // All of it together comes up in its order again.
    node.as_mcp("systemctl --user restart mcp.target", "").ok();
    node.until_active(&["base.service", "mid.service", "last.service", "mcp-two.target"]);
    let all = ["base.service", "mid.service", "last.service"].map(str::to_owned);
    let seen = node.moments(&all);
    assert!(seen["base.service"].ready <= seen["mid.service"].begun, "{seen:?}");
    assert!(seen["mid.service"].ready <= seen["last.service"].begun, "{seen:?}");
}

#[test]
fn new_stages_rewrite_gates_and_touch_neither_what_runs_nor_generations() {
    let node = machine();
    let units = ["base.service", "last.service"];
    for name in ["base", "last"] {
        node.deploy(&web(name, &[])).ok();
    }
    let gate = |service: &str| {
        let file = format!("cat /srv/mcp/.config/systemd/user/{service}-gate.target");
        node.as_mcp(&file, "").ok().out
    };
    assert!(!gate("last").contains("After="), "{}", gate("last"));
    let runs = node.invocations(&units);
    node.reload_with(&stage("one", &["base"], "health = \"tcp\""));
    until("the gate stands behind the stage", || {
        gate("last").contains("After=mcp-one.target").then_some(())
    });
    assert!(!gate("base").contains("After="), "{}", gate("base"));
    until("systemd has read it", || {
        node.property("last.service", "After").contains("last-gate.target").then_some(())?;
        node.property("last-gate.target", "After").contains("mcp-one.target").then_some(())
    });
    node.property("mcp.target", "Wants").contains("mcp-one.target").then_some(()).unwrap();
    assert_eq!(node.invocations(&units), runs);
    assert_eq!((node.generation("base"), node.generation("last")), (Some(1), Some(1)));
    node.mcp(&["deploy", "last"]).ok().says("nothing to do");

    // A deploy between boots does not wait for a stage, and starts nobody.
    node.as_mcp("systemctl --user stop base.service", "").ok();
    node.deploy(&web("new", &[])).ok();
    assert_eq!(node.states(&["base.service"]), ["inactive"]);
    assert!(gate("new").contains("After=mcp-one.target"));
    node.mcp(&["undeploy", "new"]).ok();
    node.as_mcp("systemctl --user start base.service", "").ok();
    let left = node.as_mcp("ls -a /srv/mcp/.config/systemd/user", "").ok();
    assert!(!left.out.contains("new-gate"), "{left:?}");

    // A restart of the agent changes nothing; without stages all is empty.
    let before = node.unit_files();
    node.as_root("systemctl restart mcp-agent").ok();
    until("the agent is back", || (node.mcp(&["node", "list"]).code == 0).then_some(()));
    assert_eq!(node.unit_files(), before);
    node.reload_with("");
    until("the gate is empty", || (!gate("last").contains("After=")).then_some(()));
    until("nothing of the stage is left", || {
        let left = node.as_mcp("ls -a /srv/mcp/.config/systemd/user", "").ok();
        (!left.out.contains("mcp-one")).then_some(())
    });
    assert_eq!(node.invocations(&units[1..]), runs[1..]);
}
