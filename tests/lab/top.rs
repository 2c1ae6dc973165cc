//! What components use, looked at while somebody watches.

use serde_json::Value;

use crate::fixture::machine;
use crate::wait::until;

const SERVICE: &str = r#"name = "load"

[[components]]
name = "busy"
image = "localhost/lab/web:v1"
entrypoint = ["/bin/sh", "-c"]
cmd = ["while :; do :; done"]

[[components]]
name = "idle"
image = "localhost/lab/web:v1"
"#;

fn component(sample: &Value, name: &str) -> Value {
    let all = sample["components"].as_array().unwrap();
    all.iter().find(|c| c["component"] == name).unwrap().clone()
}

#[test]
fn who_works_uses_more_than_who_waits_and_what_cannot_be_told_is_named() {
    let node = machine();
    node.deploy(SERVICE).ok();
    node.event("load/busy", |e| e["event"] == "started");
    let once = node.mcp(&["top", "load", "--once", "--json"]).ok().json();
    let sample = &once["nodes"][0];
    let cpu = |name: &str| component(sample, name)["cpu"].as_f64();
    let (busy, idle) = (cpu("busy"), cpu("idle"));
    assert!(busy.unwrap() > idle.unwrap() + 0.01, "{once:#}");
    // The lab's nodes have no such controllers, and must say so.
    let controllers = node.as_root(
        "cat /sys/fs/cgroup/user.slice/user-850.slice/user@850.service/cgroup.controllers",
    );
    let has = controllers.ok().out.contains("memory");
    let missing = sample["missing_controllers"].to_string();
    assert_eq!(missing.contains("memory"), !has, "{once:#}");
    assert_eq!(component(sample, "busy")["memory_bytes"].is_null(), !has, "{once:#}");
    assert!(component(sample, "busy")["events"].as_u64().unwrap() > 0, "{once:#}");
    let table = node.mcp(&["top", "--sort", "name", "--filter", "load/"]).ok();
    table.clone().says("load/busy").says("running");
    if !has {
        table.says("no controller for memory");
    }
    node.mcp(&["top", "nothing"]).code(1).says("no node has a service called nothing");

    // As a stream, for as long as somebody reads.
    let three = node.as_mcp("mcp top load -d 0.2 --json | head -n 3", "").ok();
    let samples: Vec<Value> =
        three.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples.len(), 3, "{three:?}");
    assert!(component(&samples[0], "busy")["cpu"].is_null(), "{three:?}");
    assert!(component(&samples[2], "busy")["cpu"].as_f64() > Some(0.0), "{three:?}");
}

#[test]
fn a_node_that_goes_away_is_told_and_comes_back() {
    let node = machine();
    node.spoil();
    node.deploy(SERVICE).ok();
    let mut watching = node.in_background("exec mcp top load -d 0.2 --json 2>/tmp/top.err");
    let mut lines = watching.lines();
    assert!(lines.any(|line| line.contains("busy")));
    node.as_root("systemctl restart mcp-agent").ok();
    until("it is told", || {
        node.as_mcp("cat /tmp/top.err", "").out.contains("went away").then_some(())
    });
    // What was written before is passed over.
    let back = lines.take(2000).any(|line| {
        let sample: Value = serde_json::from_str(&line).unwrap();
        component(&sample, "busy")["cpu"].is_null()
    });
    assert!(back, "a first sample again");
}

/// A terminal, as a person has it.
#[test]
fn the_screen_follows_keys_and_size_and_gives_the_terminal_back() {
    let node = machine();
    node.deploy(SERVICE).ok();
    // Keys are typed when their turn comes: each is waited for on the screen.
    let typed = r#"
        mkfifo -m 600 /tmp/keys.$$; trap 'rm -f /tmp/keys.$$' EXIT
        script -qfec 'stty rows 20 cols 100; mcp top -d 0.2; stty -a; echo over' /tmp/screen \
            </tmp/keys.$$ >/dev/null &
        exec 3>/tmp/keys.$$
        seen() { n=0; until grep -qa "$1" /tmp/screen; do n=$((n+1)); [ $n -lt 1200 ]; sleep 0.05; done; }
        seen 'by cpu'; printf m >&3; seen 'by memory'; printf '/busy\r' >&3
        seen 'filter: busy'; printf q >&3; seen over
        exec 3>&-; wait; cat /tmp/screen"#;
    let told = node.as_mcp(typed, "").ok();
    told.clone().says("\u{1b}[?1049h").says("\u{1b}[?1049l").says("\u{1b}[?25h");
    let after = told.out.rsplit("\u{1b}[?1049l").next().unwrap().to_owned();
    assert!(after.contains(" icanon") && after.contains(" echo "), "{after}");
    assert!(after.contains("over"), "{after}");
}
