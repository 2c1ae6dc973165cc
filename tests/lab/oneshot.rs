//! Components that run to their end: what depends on them waits for that.

use crate::fixture::{Machine, machine};
use crate::wait::until;

/// Ends well only while a file is there on the node, and takes its time.
const TRIP: &str = r#"name = "trip"

[[components]]
name = "migrate"
image = "localhost/lab/job:v1"
entrypoint = ["/bin/sh", "-c", "echo at work; sleep 2; test -e /gate/open"]
volumes = ["/srv/mcq:/gate"]
oneshot = true

[[components]]
name = "serve"
image = "localhost/lab/web:v1"
depends_on = ["migrate"]
"#;

const FILE: &str = "/srv/mcp/.config/mcp/services/trip.toml";
const UNITS: [&str; 2] = ["trip-migrate.service", "trip-serve.service"];

/// Asserts that the dependant was started after the end of the oneshot.
fn comes_after(node: &Machine) {
    let stamp = |unit: &str, key: &str| -> u64 {
        let script = format!("systemctl --user show -P {key} {unit}");
        node.as_mcp(&script, "").ok().out.trim().parse().unwrap()
    };
    let ended = stamp(UNITS[0], "ExecMainExitTimestampMonotonic");
    let started = stamp(UNITS[1], "ExecMainStartTimestampMonotonic");
    assert!(ended > 0 && ended <= started, "{ended} {started}");
}

fn state(node: &Machine, component: usize) -> String {
    let status = node.mcp(&["status", "trip", "--json"]).ok().json();
    status["services"][0]["components"][component]["state"].as_str().unwrap().to_owned()
}

#[test]
fn what_depends_on_a_oneshot_waits_for_its_end_also_at_boot() {
    let node = machine();
    node.spoil();
    node.as_mcp("touch /srv/mcq/open", "").ok();
    node.write_as_mcp(FILE, TRIP);
    node.mcp(&["deploy", "trip"]).ok();
    comes_after(&node);

    // What is done is well, for everybody who asks.
    assert_eq!((state(&node, 0), state(&node, 1)), ("done".to_owned(), "running".to_owned()));
    node.mcp(&["wait", "trip", "--ready"]).ok();
    node.mcp(&["explain", "trip/migrate"]).ok().says("It has done its work");
    let status = node.mcp(&["status", "trip", "--json"]).ok().json();
    assert_eq!(status["services"][0]["components"][0]["drifts"], serde_json::json!([]));
    node.mcp(&["boot", "verify"]).ok();
    let said = node.until_logged(&["logs", "trip/migrate"], &["at work"]).out;
    assert_eq!(said.matches("at work").count(), 1, "{said}");

    // It is not done again for what does not change it.
    let before = node.invocations(&UNITS);
    node.mcp(&["deploy", "trip"]).ok().says("nothing to do");
    node.mcp(&["sync", "--dry-run", "--exit-code"]).ok();
    node.mcp(&["start", "trip"]).ok();
    assert_eq!(node.invocations(&UNITS), before);
    node.write_as_mcp(FILE, &TRIP.replace("web:v1", "web:v2"));
    let done = node.invocations(&UNITS[..1]);
    node.mcp(&["deploy", "trip"]).ok();
    assert_eq!(node.invocations(&UNITS[..1]), done);
    assert_eq!(state(&node, 0), "done");

    node.lab("reboot");
    node.mcp(&["wait", "trip", "--ready"]).ok();
    comes_after(&node);
    let report = node.mcp(&["boot", "report"]).out;
    assert!(report.contains("trip"), "{report}");

    // One that fails at boot is what is told of the one that waits for it.
    node.as_mcp("rm /srv/mcq/open", "").ok();
    node.lab("reboot");
    until("it has failed, and what waits for it is not started", || {
        (state(&node, 0) == "failed" && state(&node, 1) == "stopped").then_some(())
    });
    node.mcp(&["explain", "trip/serve"]).says("it needs trip/migrate, which is failed");
    node.mcp(&["wait", "trip", "--ready", "--timeout", "1s"]).code(5);
    node.as_mcp("touch /srv/mcq/open", "").ok();
    node.mcp(&["start", "trip"]).ok();
    comes_after(&node);
    assert_eq!((state(&node, 0), state(&node, 1)), ("done".to_owned(), "running".to_owned()));
}

#[test]
fn a_oneshot_that_fails_or_takes_too_long_undoes_the_deploy_and_is_named() {
    let node = machine();
    node.spoil();
    node.as_mcp("rm -f /srv/mcq/open", "").ok();
    let failed = node.deploy(TRIP).code(1);
    failed.says("migrate").says("it ended with exit status 1");
    assert!(node.states(&UNITS).iter().all(|state| state != "active"), "{:?}", node.states(&UNITS));

    // The old generation is left as it was where only the new one fails.
    node.as_mcp("touch /srv/mcq/open", "").ok();
    node.deploy(TRIP).ok();
    let serving = node.invocations(&UNITS[1..]);
    node.deploy(&TRIP.replace("test -e /gate/open", "exit 3")).code(1).says("exit status 3");
    assert_eq!(node.invocations(&UNITS[1..]), serving);
    assert_eq!(state(&node, 0), "done");

    // One that is at work is stopped when somebody asks for it.
    let endless = TRIP.replace("sleep 2", "sleep 600");
    let deploy = node.in_background(&format!(
        "cat >/tmp/trip.toml <<'END'\n{endless}END\nexec mcp deploy trip -f /tmp/trip.toml"
    ));
    until("it is at work", || (node.states(&UNITS[..1]) == ["activating"]).then_some(()));
    node.as_mcp("systemctl --user stop trip-migrate.service", "").ok();
    assert_ne!(deploy.end(), 0);
    node.mcp(&["wait", "trip", "--ready"]).ok();
    assert_eq!(state(&node, 0), "done");
    node.mcp(&["stop", "trip"]).ok();
    assert_eq!(node.states(&UNITS), ["inactive", "inactive"]);
    node.mcp(&["undeploy", "trip", "--yes"]).ok();
}
