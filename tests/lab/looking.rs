//! What people and programs are shown.

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with, with_component};
use crate::fixture::machine;
use crate::wait::until;

#[test]
fn logs_are_those_of_the_containers() {
    let node = machine();
    node.deploy(PAIR).ok();
    let both = ["api: start: mode=web version=v1", "front: start: mode=web"];
    node.until_logged(&["logs", "pair"], &both);
    let one = node.mcp(&["logs", "pair/api"]).ok();
    one.says("start: mode=web").does_not_say("front");

    // What the container writes comes as it is, terminal sequences harmless.
    let line = "printf 'one\\ntwo \\033[31mred\\n' >/proc/1/fd/1";
    node.as_mcp(&format!("podman exec pair-api sh -c \"{line}\""), "").ok();
    until("both lines are there", || {
        let lines = node.mcp(&["logs", "pair/api", "-n", "2", "--json"]).ok();
        let mut entries =
            lines.out.lines().map(|l| -> serde_json::Value { serde_json::from_str(l).unwrap() });
        let (first, second) = (entries.next()?, entries.next()?);
        let there = first["message"] == "one"
            && second["message"].as_str()?.starts_with("two ")
            && second["source"] == "container"
            && entries.next().is_none();
        there.then_some(())
    });
    assert_eq!(node.mcp(&["logs", "pair/api", "-n", "1"]).ok().out.lines().count(), 1);
    node.mcp(&["logs", "pair", "--since", "1h"]).ok().says("start:");
    let now = node.as_root("date -u +%Y-%m-%dT%H:%M:%SZ -d '+1 hour'").ok();
    assert_eq!(node.mcp(&["logs", "pair", "--since", now.text()]).ok().out, "");
    node.mcp(&["logs", "pair", "--since", "whenever"]).code(2).says("is not a time");
    node.mcp(&["logs", "nothing"]).code(1);
    node.mcp(&["logs", "pair/none"]).code(2).says("it has api, front");
}

#[test]
fn logs_follow_as_lines_come() {
    let node = machine();
    node.deploy(LONE).ok();
    let mut following = node.in_background("exec mcp logs -f lone");
    let mut lines = following.lines();
    assert!(lines.any(|line| line.contains("start: mode=web")));
    node.as_mcp("podman exec lone sh -c 'echo and on >/proc/1/fd/1'", "").ok();
    assert!(lines.any(|line| line.contains("and on")));
    // Over a restart, too.
    node.mcp(&["restart", "lone"]).ok();
    assert!(lines.any(|line| line.contains("start: mode=web")));
}

#[test]
fn tables_for_people_and_json_for_programs_say_the_same() {
    let node = machine();
    node.deploy(PAIR).ok();
    let port = node.port("pair", "api");
    node.mcp(&["ps"]).ok().says("api").says("healthy").says(&port.to_string());
    let ps = node.mcp(&["ps", "pair", "--json"]).ok().json();
    let components = ps["components"].as_array().unwrap();
    assert_eq!(components.len(), 2);
    for component in components {
        assert_eq!(component["state"], "running");
        assert_eq!(component["version"], "v1");
        assert_eq!(component["restarts"], 0);
    }
    let list = node.mcp(&["list", "--json"]).ok().json();
    assert_eq!(list["services"][0]["generation"], 1);
    assert_eq!(list["services"][0]["comment"], "an API and its front");
    let status = node.mcp(&["status", "--json"]).ok().json();
    assert_eq!(status["services"][0]["components"][1]["unit"], PAIR_UNITS[1]);
    node.mcp(&["status"]).ok().says("pair").does_not_say("\u{1b}[");
    node.mcp(&["--color", "always", "ps"]).ok().says("\u{1b}[");

    // As it was accepted, byte for byte.
    assert_eq!(node.mcp(&["service", "show", "pair"]).ok().out, PAIR);
    assert_eq!(node.mcp(&["service", "export", "pair", "--stdout"]).ok().out, PAIR);
    let file = "~/.config/mcp/services/pair.toml";
    node.mcp(&["service", "export", "pair"]).ok().says("written");
    node.mcp(&["service", "export", "pair"]).ok().says("unchanged");
    node.as_mcp(&format!("echo '# mine' >>{file}"), "").ok();
    node.mcp(&["service", "export", "pair"]).code(1).says("--force");
    node.mcp(&["service", "export", "pair", "--force"]).ok();
    node.as_mcp(&format!("rm {file}"), "").ok();
}

#[test]
fn crashes_and_sickness_show() {
    let node = machine();
    let health =
        "{ cmd = [\"/bin/health\"], interval = \"2s\", retries = 1, start_period = \"15s\" }";
    let watched = with_component(LONE, "lone", &[("health", health)]);
    let crash = with(LONE, "lone", "crash").replace("health = { http = \"/health\" }\n", "");
    node.deploy(&watched).ok();
    let crash = with(&crash, "web:v1\"", "crash:v1\"\nenv = { EXIT_AFTER = \"5\" }");
    node.deploy(&crash).ok();
    node.as_mcp("podman exec lone rm /tmp/www/health", "").ok();
    until("both are told", || {
        let ps = node.mcp(&["ps", "--json"]).ok().json();
        let of = |name: &str| {
            let all = ps["components"].as_array().unwrap();
            all.iter().find(|c| c["service"] == name).unwrap().clone()
        };
        let told = of("lone")["health"] == "unhealthy" && of("crash")["restarts"].as_u64()? > 0;
        told.then_some(())
    });
}

#[test]
fn exit_codes_are_those_of_the_documents() {
    let node = machine();
    node.mcp(&["ps"]).ok();
    node.mcp(&["ps", "nothing"]).code(1).says("nothing");
    node.mcp(&["status", "nothing"]).code(1);
    node.mcp(&["service", "show", "nothing"]).code(1);
    node.mcp(&["deploy", "nothing"]).code(2);
    node.mcp(&["frobnicate"]).code(2);
    node.mcp(&["ps", "Not_A_Name"]).code(2);
    node.mcp(&["-n", "elsewhere", "ps"]).code(2).says("there is no node called elsewhere");
    node.as_mcp("mcp --config /nowhere/mcp.toml ps", "").code(2);
    node.as_root("systemctl stop mcp-agent").ok();
    node.mcp(&["ps"]).code(3).says("systemctl status mcp-agent");
    node.deploy(LONE).code(3);
    node.as_root("systemctl start mcp-agent").ok();
    node.as_alice("mcp ps", "").code(4);
}
