//! Commands that run by the calendar, in the hands of systemd.

use serde_json::Value;

use crate::definitions::with;
use crate::fixture::{Machine, machine};
use crate::wait::until;

/// A component in which three commands run every second, one of them badly
/// and one too long.
const BUSY: &str = r#"name = "busy"

[[components]]
name = "busy"
image = "localhost/lab/web:v1"
stop_timeout = "1s"

[[components.schedule]]
name = "tick"
on_calendar = "*:*:*"
cmd = ["/bin/sh", "-c", "echo \"tick 100% $0 by $(id -u)\"; echo x >>/tmp/ticks", "a b"]
user = "33"

[[components.schedule]]
name = "fail"
on_calendar = "*:*:*"
cmd = "echo 'this went wrong'; exit 3"

[[components.schedule]]
name = "long"
on_calendar = "*:*:*"
cmd = ["sleep", "1000"]
timeout = "3s"
"#;

fn schedule(node: &Machine, name: &str) -> Value {
    let status = node.mcp(&["status", "busy", "--json"]).ok().json();
    let all = status["services"][0]["components"][0]["schedules"].as_array().unwrap().clone();
    all.into_iter().find(|s| s["schedule"] == name).unwrap_or(Value::Null)
}

fn timers(node: &Machine) -> String {
    let list = "systemctl --user list-units --no-legend --plain '*-schedule.*' --state=active,activating | awk '{print $1}'";
    node.as_mcp(list, "").ok().text().to_owned()
}

#[test]
fn schedules_run_in_the_container_and_come_and_go_with_it() {
    let node = machine();
    node.deploy(BUSY).ok();
    until("all have run", || {
        let (tick, fail, long) =
            (schedule(&node, "tick"), schedule(&node, "fail"), schedule(&node, "long"));
        (tick["result"] == "success"
            && fail["result"] == "exit-code"
            && fail["status"] == 3
            && long["result"] == "timeout")
            .then_some(())
    });
    // A command that was ended is gone from the container as well: one at
    // most, that of a run under way.
    until("no more than one is left", || {
        let count = "podman exec busy sh -c 'ps | grep -c \"[s]leep 1000\"' || true";
        matches!(node.as_mcp(count, "").text(), "0" | "1").then_some(())
    });
    node.until_logged(&["logs", "busy"], &["tick 100% a b by 33", "this went wrong"]);
    until("the failure is told", || {
        let status = node.mcp(&["status", "busy"]).ok();
        assert!(!status.out.contains("drift:"), "{status:?}");
        status.out.contains("fail: failed (exit-code, exit status 3)").then_some(())
    });

    // Without the agent.
    node.as_root("systemctl stop mcp-agent").ok();
    let ticks = || node.as_mcp("podman exec busy wc -l /tmp/ticks", "").ok().out;
    let before = ticks();
    until("it ticks on", || (ticks() != before).then_some(()));
    node.as_mcp("systemctl --user stop busy.service", "").ok();
    until("nothing is scheduled", || timers(&node).is_empty().then_some(()));
    node.as_mcp("systemctl --user start busy.service", "").ok();
    until("they are back", || timers(&node).contains("busy-tick-schedule.timer").then_some(()));
    node.as_root("systemctl start mcp-agent").ok();
    until("the agent is back", || (node.mcp(&["list"]).code == 0).then_some(()));

    // A change restarts nothing; what left the definition is gone.
    let run = node.invocations(&["busy.service"]);
    let fewer = with(BUSY, "name = \"fail\"", "name = \"other\"");
    node.deploy(&with(&fewer, "exit 3", "exit 0")).ok();
    assert_eq!(node.invocations(&["busy.service"]), run);
    until("the new one runs", || (schedule(&node, "other")["result"] == "success").then_some(()));
    assert!(!timers(&node).contains("busy-fail-schedule"), "{}", timers(&node));
    node.as_mcp("! systemctl --user cat busy-fail-schedule.timer", "").ok();

    node.mcp(&["stop", "busy"]).ok();
    // systemd stops what is bound to the container once that is down.
    until("nothing is scheduled", || timers(&node).is_empty().then_some(()));
    node.mcp(&["start", "busy"]).ok();
    until("they run again", || timers(&node).contains("busy-tick-schedule.timer").then_some(()));
    // A change by hand is drift.
    let unit = "/srv/mcp/.config/systemd/user/busy-tick-schedule.timer";
    node.as_mcp(&format!("sed -i 's/^OnCalendar=.*/OnCalendar=daily/' {unit}"), "").ok();
    until("it is told", || {
        let status = node.mcp(&["status", "busy"]);
        status.out.contains("busy-tick-schedule.timer").then_some(())
    });
    node.mcp(&["reconcile", "busy"]).ok();
    node.mcp(&["undeploy", "busy", "--yes"]).ok();
    until("nothing is scheduled", || timers(&node).is_empty().then_some(()));
    node.as_mcp("test -z \"$(ls /srv/mcp/.config/systemd/user | grep schedule)\"", "").ok();
}

#[test]
fn a_calendar_is_checked_before_anything_changes() {
    let node = machine();
    let bad = with(
        BUSY,
        "on_calendar = \"*:*:*\"\ncmd = [\"sleep\"",
        "on_calendar = \"dayly\"\ncmd = [\"sleep\"",
    );
    node.deploy(&bad).code(2).says("no day of the week");
    // What only this systemd can know.
    let zone = bad.replace("dayly", "daily Mars/Olympus");
    node.deploy(&zone).code(1).says("daily Mars/Olympus");
    assert_eq!(node.mcp(&["list", "--json"]).ok().json()["services"], serde_json::json!([]));
}

/// A component in which commands fail, each in its way, when they are begun.
const FAILING: &str = r#"name = "busy"

[[components]]
name = "busy"
image = "localhost/lab/web:v1"
stop_timeout = "1s"

[[components.schedule]]
name = "fail"
on_calendar = "2100-01-01"
cmd = "test -e /tmp/mended && exit 0; echo 'this went wrong'; sleep 2; exit 3"

[[components.schedule]]
name = "long"
on_calendar = "2100-01-01"
cmd = "echo begun; sleep 1000"
timeout = "5s"

[[components.schedule]]
name = "none"
on_calendar = "2100-01-01"
cmd = ["/nope"]
"#;

#[test]
fn a_schedule_that_fails_is_explained_until_it_succeeds() {
    let node = machine();
    node.deploy(FAILING).ok();
    node.mcp(&["explain", "busy"]).ok();
    let explained = |name: &str| {
        let told = node.mcp(&["explain", "busy", "--json"]).json();
        let all = told["services"][0]["schedules"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|s| s["schedule"] == name)
    };
    for (name, cause, reason, evidence) in [
        ("fail", "exit_code", "ended with exit status 3", "this went wrong"),
        ("long", "run_timeout", "longer than its timeout of 5 s", "begun"),
        ("none", "command_not_found", "not in the image", "/nope"),
    ] {
        until(&format!("{name} is explained"), || {
            // journald loses last words whose writer is gone when it looks.
            node.as_mcp(&format!("! systemctl --user start busy-{name}-schedule"), "").ok();
            let told = explained(name)?;
            let says = |key: &str, text: &str| told[key].as_str().is_some_and(|s| s.contains(text));
            let all = told["cause"] == cause && told["level"] == "failed";
            (all && says("reason", reason) && says("evidence", evidence)).then_some(())
        });
    }
    let whole = node.mcp(&["explain"]).code(1);
    whole.clone().says("busy/busy, schedule fail: failed since");
    whole.says("1 of 1 components are well, 3 schedules are not");
    node.mcp(&["status", "busy"]).ok().says("fail: failed (exit-code, exit status 3)");
    until("the event says what a timeout is", || {
        let events = node.mcp(&["events", "busy"]).ok().out;
        events.contains("schedule long: it took longer than its timeout of 5 s").then_some(())
    });

    node.as_mcp("podman exec busy touch /tmp/mended", "").ok();
    let told = explained("fail").unwrap();
    let again = told["mend"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    node.as_root(&format!("sudo() {{ \"$@\"; }}\n{again}")).ok();
    until("it is well", || explained("fail").is_none().then_some(()));
    // What is not to run has no schedules.
    node.mcp(&["stop", "busy"]).ok();
    node.mcp(&["explain", "busy"]).ok();
}
