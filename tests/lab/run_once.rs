//! A command in a container of its own, made like a component's.

use serde_json::{Value, json};

use crate::definitions::{LONE, PAIR, with, with_component};
use crate::fixture::machine;
use crate::wait::until;

const API: &str = "pair-api.service";

#[test]
fn a_one_off_has_the_spec_of_its_component_and_leaves_nothing() {
    let node = machine();
    let pair = with_component(
        PAIR,
        "api",
        &[
            ("user", "\"1:1\""),
            ("hostname", "\"apihost\""),
            ("read_only", "true"),
            ("tmpfs", "[\"/tmp\"]"),
        ],
    );
    node.deploy(&pair).ok();
    let before = node.invocations(&[API]);
    let script = r#"
        run() { mcp run --rm --entrypoint sh pair/api -- -c "$1"; }
        [ "$(run 'echo $COLOUR $(id -u) $(hostname)')" = "red 1 apihost" ]
        # It is on the network of its component, which has its name to itself.
        port=$(mcp exec pair/front -- sh -c 'echo $PORT')
        [ "$(run "wget -qO- http://pair-front:$port/version")" = v1 ]
        code=0; run 'echo no >&2; touch /x || exit 3' >/tmp/out 2>/tmp/err || code=$?
        [ $code = 3 ] && grep -q no /tmp/err && ! [ -s /tmp/out ]
        mcp run --rm -u 0 --entrypoint sh pair/api -- -c 'echo kept >/data/one-off'
        [ "$(mcp exec pair/api -- cat /data/one-off)" = kept ]
        mcp run --rm -e COLOUR=blue -e MORE='$x "y"' --entrypoint sh pair/api -- -c 'echo "$COLOUR|$MORE"' >/tmp/out
        [ "$(cat /tmp/out)" = 'blue|$x "y"' ]
        head -c 5000000 /dev/urandom >/tmp/big
        [ "$(mcp run --rm -i --entrypoint cat pair/api </tmp/big | sha256sum)" = "$(sha256sum </tmp/big)" ]
        code=0; run 'sh -c "kill -9 \$\$"; exit $?' || code=$?; echo "code $code"
    "#;
    node.as_mcp(script, "").ok().says("code 137");
    let terminal = r#"script -qec "mcp run --rm -it --entrypoint sh pair/api -- -c 'test -t 0 && tty && stty size'" /dev/null"#;
    // script(1) does not always tell what comes right before the end.
    until("it has a terminal", || {
        node.as_mcp(terminal, "").ok().out.contains("/dev/pts/0").then_some(())
    });
    node.mcp(&["run", "--rm", "--entrypoint", "nonsense", "pair/api"]).code(127);
    node.mcp(&["run", "--rm", "-u", "nosuch", "pair/api"]).code(125).says("user nosuch");
    let ends = |with| ["run", "--rm", "--entrypoint", "sh", "pair/api", "--", "-c", with];
    node.mcp(&ends("exit 126")).code(126);
    node.mcp(&ends("exit 255")).code(255);
    node.mcp(&["run", "--rm", "pair", "--", "x"]).code(2).says("pair/api, pair/front");
    assert_eq!(node.invocations(&[API]), before);
    until("none is left", || (!node.podman_things().contains("-run-")).then_some(()));
}

#[test]
fn jobs_are_listed_while_they_run() {
    let node = machine();
    let tick = "\n[[components.schedule]]\nname = \"slow\"\non_calendar = \"*:*:*\"\ncmd = [\"sleep\", \"6102\"]\n";
    node.deploy(&with(
        LONE,
        "[[components.routes]]\nport = 8080\n",
        &format!("{tick}[[components.routes]]\nport = 8080\n"),
    ))
    .ok();
    let client =
        node.in_background("exec mcp run --rm --entrypoint sh lone/lone -- -c 'sleep 6101; true'");
    let jobs = || node.mcp(&["ps", "--json"]).ok().json()["jobs"].as_array().unwrap().clone();
    let of = |kind: &str| jobs().into_iter().find(|job| job["kind"] == kind);
    let scheduled = until("the schedule's command is listed", || of("schedule"));
    let one_off = until("the one-off is listed", || of("run"));
    for job in [&scheduled, &one_off] {
        assert_eq!((&job["service"], &job["component"]), (&json!("lone"), &json!("lone")));
        assert!(job["uptime_s"].as_u64().unwrap() < 600, "{job}");
    }
    assert_eq!(scheduled["schedule"], "slow");
    assert_eq!(one_off["schedule"], Value::Null);
    let unit = one_off["unit"].as_str().unwrap();
    let shown = node.mcp(&["ps", "lone"]).ok();
    shown.says(unit).says("schedule slow").says("lone-slow-schedule.service");
    // It is no schedule, and of no other service.
    let status = node.mcp(&["status", "--json"]).ok().json();
    let told = status["services"][0]["components"][0]["schedules"].as_array().unwrap();
    assert_eq!(told.len(), 1, "{status}");
    node.deploy(PAIR).ok();
    assert_eq!(node.mcp(&["ps", "pair", "--json"]).ok().json()["jobs"], json!([]));

    // A person on call ends it by what was shown.
    node.as_mcp(&format!("systemctl --user stop {unit}"), "").ok();
    assert_ne!(client.end(), 0);
    until("it is listed no more", || of("run").is_none().then_some(()));
    node.mcp(&["ps"]).ok().does_not_say("-run-");
}

#[test]
fn a_one_off_is_no_stranger_and_ends_with_its_client_or_the_agent() {
    let node = machine();
    node.spoil();
    node.deploy(PAIR).ok();
    // What has never run is there for a one-off all the same.
    node.mcp(&["stop", "pair"]).ok();
    let begin = |number: u32| {
        // The first process of a container ignores what it does not handle.
        let script =
            format!("exec mcp run --rm --entrypoint sh pair/api -- -c 'sleep {number}; true'");
        let client = node.in_background(&script);
        until("the one-off runs", || {
            (node.as_root(&format!("pgrep -f '^sleep {number}'")).code == 0).then_some(())
        });
        client
    };
    let gone = || {
        until("the one-off is gone", || {
            let units = "systemctl --user list-units -a --no-legend '*-run-*'";
            let left = node.as_mcp(units, "").ok();
            (left.text().is_empty() && !node.podman_things().contains("-run-")).then_some(())
        });
    };
    let client = begin(6001);
    let status = node.mcp(&["status", "--json"]).ok().json();
    assert_eq!(status["drifts"], serde_json::json!([]), "{status}");
    node.as_root("kill -INT $(pgrep -f '^mcp run')").ok();
    assert!(client.end() > 128);
    gone();

    let client = begin(6002);
    node.as_root("kill -9 $(pgrep -f '^mcp run')").ok();
    gone();
    drop(client);

    let client = begin(6003);
    node.as_root("systemctl kill -s KILL mcp-agent").ok();
    assert_eq!(client.end(), 125);
    gone();
    until("the agent is back", || (node.mcp(&["ps"]).code == 0).then_some(()));

    // Podman itself is killed, then what holds it.
    for killed in ["podman run --name=pair-api-ru[n]", "mcp-agent sessio[n]"] {
        let client = begin(6004);
        node.as_root(&format!("kill -9 $(pgrep -f '{killed}')")).ok();
        assert_ne!(client.end(), 0);
        gone();
    }
    node.mcp(&["status", "pair"]).ok().says("stopped");

    let client = begin(6005);
    node.mcp(&["undeploy", "pair", "--purge-data", "--yes"]).ok();
    assert_ne!(client.end(), 0);
    gone();
    assert!(!node.podman_things().contains("pair"));
}
