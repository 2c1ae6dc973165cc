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
