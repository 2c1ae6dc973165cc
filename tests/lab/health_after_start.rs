//! What becomes of a component that was ready and is healthy no more. All of
//! it is systemd's work: the agent is dead meanwhile.

use serde_json::Value;

use crate::definitions::{LONE, with};
use crate::fixture::{Machine, machine};
use crate::wait::until;

/// Every check with everything that can follow from its failure.
const CHECKS: [&str; 3] = ["tcp", "http", "cmd"];
const FOLLOWS: [&str; 3] = ["none", "restart", "stop"];

/// A web server that can be killed while its container goes on.
fn component(name: &str, health: &str) -> String {
    format!(
        r#"
[[components]]
name = "{name}"
image = "localhost/lab/web:v1"
entrypoint = ["/bin/sh", "-c", "mkdir -p /tmp/www; echo ok >/tmp/www/health; httpd -p $PORT -h /tmp/www; exec sleep 1000000"]
stop_timeout = "1s"
health = {{ {health}, interval = "2s", timeout = "20s", retries = 3 }}
[[components.routes]]
port = 8080
"#
    )
}

/// One component for each check and what follows, and one that needs all.
fn all() -> String {
    let mut text = "name = \"sick\"\n".to_owned();
    let mut names = Vec::new();
    for check in CHECKS {
        for follows in FOLLOWS {
            let what = match check {
                "tcp" => "tcp = \"default\"",
                "http" => "http = \"/health\"",
                _ => "cmd = [\"/bin/health\"]",
            };
            let name = format!("{check}-{follows}");
            text += &component(&name, &format!("{what}, on_failure = \"{follows}\""));
            names.push(name);
        }
    }
    text += &format!(
        "\n[[components]]\nname = \"after\"\nimage = \"localhost/lab/web:v1\"\ndepends_on = {names:?}\n"
    );
    text
}

fn each(follows: &str) -> Vec<String> {
    CHECKS.iter().map(|check| format!("sick-{check}-{follows}")).collect()
}

fn units(containers: &[String]) -> Vec<String> {
    containers.iter().map(|c| format!("{c}.service")).collect()
}

/// Makes the check of a container fail, which runs on.
fn break_health(node: &Machine, container: &str) {
    let how =
        if container.contains("tcp") { "kill -9 $(pidof httpd)" } else { "rm /tmp/www/health" };
    node.as_mcp(&format!("podman exec {container} sh -c '{how}'"), "").ok();
}

fn mend_health(node: &Machine, container: &str) {
    let how = if container.contains("tcp") {
        "httpd -p $PORT -h /tmp/www"
    } else {
        "echo ok >/tmp/www/health"
    };
    node.as_mcp(&format!("podman exec {container} sh -c '{how}'"), "").ok();
}

/// What `mcp status --json` says of a component.
fn status(node: &Machine, service: &str, component: &str) -> Value {
    let status = node.mcp(&["status", service, "--json"]).ok().json();
    let components = status["services"][0]["components"].as_array().unwrap();
    components.iter().find(|c| c["component"] == component).unwrap().clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn become_healthy(node: &Machine, service: &str, component: &str) {
    until("it is healthy", || {
        (text(&status(node, service, component), "health") == "healthy").then_some(())
    });
}

/// Waits for the one event of a kind that tells of a component.
fn is_told(node: &Machine, component: &str, kind: &str) {
    let query =
        format!("SELECT count(*) FROM events WHERE kind = '{kind}' AND component = '{component}'");
    until("it is told", || (node.sql(&query) == "1").then_some(()));
}

fn ids(node: &Machine, units: &[String]) -> Vec<(String, String)> {
    node.invocations(&units.iter().map(String::as_str).collect::<Vec<_>>())
}

fn states(node: &Machine, units: &[String]) -> Vec<String> {
    node.states(&units.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_component_that_falls_sick_is_left_restarted_or_stopped_and_nothing_else_is_touched() {
    let node = machine();
    node.spoil();
    node.deploy(LONE).ok();
    node.deploy(&all()).ok();
    let untouched: Vec<String> = ["lone.service".to_owned(), "sick-after.service".to_owned()]
        .into_iter()
        .chain(units(&each("none")))
        .collect();
    let (calm, restarting) = (ids(&node, &untouched), units(&each("restart")));
    let before = ids(&node, &restarting);
    node.as_root("systemctl stop mcp-agent").ok();
    for container in FOLLOWS.iter().flat_map(|follows| each(follows)) {
        break_health(&node, &container);
    }
    until("the sick are restarted", || {
        let now = ids(&node, &restarting);
        let all = before.iter().zip(&now).all(|(b, n)| b.1 != n.1 && !n.1.is_empty());
        (all && states(&node, &restarting) == ["active"; 3]).then_some(())
    });
    let stopped = units(&each("stop"));
    until("the sick are stopped", || (states(&node, &stopped) == ["inactive"; 3]).then_some(()));
    // To systemd that was a stop, no crash.
    for unit in &stopped {
        assert_eq!(node.property(unit, "Result"), "success");
        assert_eq!(node.property(unit, "NRestarts"), "0");
    }
    assert_eq!(ids(&node, &untouched), calm);
    assert_eq!(states(&node, &untouched), ["active"; 5]);

    node.as_root("systemctl start mcp-agent").ok();
    for check in CHECKS {
        let name = format!("{check}-none");
        let sick = until("it is shown as unhealthy", || {
            let seen = status(&node, "sick", &name);
            (text(&seen, "health") == "unhealthy").then_some(seen)
        });
        assert_eq!(text(&sick, "state"), "running");
        assert!(!text(&sick, "health_reason").is_empty(), "{sick}");
        assert!(text(&sick, "health_action").contains("it is left as it is"), "{sick}");
        let restarted = status(&node, "sick", &format!("{check}-restart"));
        assert_eq!(restarted["restarts"], 1, "{restarted}");
        let down = status(&node, "sick", &format!("{check}-stop"));
        assert_eq!(text(&down, "state"), "stopped");
        assert!(text(&down, "health_action").contains("its check stopped it"), "{down}");
    }
    let shown = node.mcp(&["status", "sick"]).ok();
    shown.says("unhealthy: sick/http-none").says("HTTP status 404").says("mcp start sick");
    node.mcp(&["ps", "sick"]).ok().says("unhealthy");
    // An agent that was away tells what it finds, once.
    for check in CHECKS {
        is_told(&node, &format!("{check}-none"), "unhealthy");
    }

    // They recover, and are started.
    for container in each("none") {
        mend_health(&node, &container);
    }
    node.mcp(&["start", "sick"]).ok();
    for name in CHECKS.iter().flat_map(|check| FOLLOWS.map(|follows| format!("{check}-{follows}")))
    {
        become_healthy(&node, "sick", &name);
    }
    for check in CHECKS {
        is_told(&node, &format!("{check}-none"), "healthy");
    }
    assert_eq!(ids(&node, &untouched), calm);
    let failed = node.as_mcp("systemctl --user --failed --no-legend --plain", "").ok();
    assert_eq!(failed.text(), "");
}

#[test]
fn what_its_check_stopped_is_up_again_after_a_reboot_and_checked_without_an_agent() {
    let node = machine();
    node.spoil();
    let definition = format!(
        "name = \"sick\"\n{}",
        component("web", "http = \"/health\", on_failure = \"stop\"")
    );
    node.deploy(&definition).ok();
    node.as_root("systemctl disable --now mcp-agent").ok();
    let stops = || {
        break_health(&node, "sick-web");
        until("it is stopped", || {
            (node.states(&["sick-web.service"]) == ["inactive"]).then_some(())
        });
        until("its timer is stopped", || {
            (node.states(&["sick-web-check.timer"]) == ["inactive"]).then_some(())
        });
    };
    stops();
    node.lab("reboot");
    until("it is up and watched", || {
        (node.states(&["sick-web.service", "sick-web-check.timer"]) == ["active", "active"])
            .then_some(())
    });
    stops();
}

#[test]
fn a_sick_component_is_not_restarted_over_and_over() {
    let node = machine();
    let definition = format!(
        "name = \"sick\"\n{}",
        component("web", "http = \"/health\", on_failure = \"restart\"")
    );
    node.deploy(&definition).ok();
    let unit = ["sick-web.service".to_owned()];
    let first = ids(&node, &unit);
    break_health(&node, "sick-web");
    until("it is restarted", || (ids(&node, &unit) != first).then_some(()));
    become_healthy(&node, "sick", "web");
    break_health(&node, "sick-web");
    let waits = until("the second restart is put off", || {
        let seen = status(&node, "sick", "web");
        text(&seen, "health_action").contains("the next restart is due in").then_some(seen)
    });
    assert_eq!(waits["restarts"], 1, "{waits}");
    assert_eq!(text(&waits, "health"), "unhealthy");
    // Whoever restarts it counts anew.
    node.mcp(&["restart", "sick"]).ok();
    assert_eq!(status(&node, "sick", "web")["restarts"], 0);
}

#[test]
fn a_new_check_is_made_of_the_running_container() {
    let node = machine();
    let http = format!("name = \"sick\"\n{}", component("web", "http = \"/health\""));
    node.deploy(&http).ok();
    let unit = ["sick-web.service".to_owned()];
    let run = ids(&node, &unit);
    let timer_is = |wanted: &str| {
        until(&format!("the timer is {wanted}"), || {
            (node.states(&["sick-web-check.timer"]) == [wanted]).then_some(())
        });
    };
    timer_is("active");
    let tcp = with(&http, "http = \"/health\"", "tcp = \"default\"");
    for (definition, watched) in [
        (with(&http, "interval = \"2s\"", "interval = \"9s\""), "active"),
        (tcp.clone(), "active"),
        (
            http.lines().filter(|l| !l.starts_with("health")).collect::<Vec<_>>().join("\n"),
            "inactive",
        ),
        (tcp, "active"),
    ] {
        node.deploy(&definition).ok().says("nothing had to be restarted");
        timer_is(watched);
    }
    assert_eq!(ids(&node, &unit), run);
    let failed = node.as_mcp("systemctl --user --failed --no-legend --plain", "").ok();
    assert_eq!(failed.text(), "");
    break_health(&node, "sick-web"); // Of no effect: that file is not asked for.
    node.as_mcp("podman exec sick-web sh -c 'kill -9 $(pidof httpd)'", "").ok();
    until("the new check sees it", || {
        (text(&status(&node, "sick", "web"), "health") == "unhealthy").then_some(())
    });
    node.mcp(&["undeploy", "sick", "--yes"]).ok();
    let left = "ls ~/.config/systemd/user | grep -c check || true
        systemctl --user list-units --all --no-legend --plain '*-check.*'";
    until("nothing is left", || (node.as_mcp(left, "").ok().text() == "0").then_some(()));
}

#[test]
fn grpc_over_tls_is_checked_while_it_runs() {
    let node = machine();
    // The agent is what answers, and its death what makes it unhealthy.
    node.configure("[server]\ngrpc_addr = \"127.0.0.1:9444\"\n");
    let definition = r#"name = "sick"
[[components]]
name = "rpc"
image = "localhost/lab/web:v1"
network = "host"
env = { MODE = "idle" }
health = { grpc = { port = 9444, tls = true }, interval = "2s", retries = 1 }
"#;
    until("it is deployed", || (node.deploy(definition).code == 0).then_some(()));
    become_healthy(&node, "sick", "rpc");
    node.as_root("systemctl stop mcp-agent").ok();
    until("the check has failed", || {
        (node.states(&["sick-rpc-check.service"]) == ["failed"]).then_some(())
    });
    node.as_root("systemctl start mcp-agent").ok();
    until("the agent answers", || (node.mcp(&["ps"]).code == 0).then_some(()));
    become_healthy(&node, "sick", "rpc");
}

#[test]
fn a_tcp_check_costs_a_start_next_to_nothing() {
    let node = machine();
    let web = component("web", "tcp = \"default\"");
    // The same without a check, for how fast this machine is.
    let plain = with(&web, "name = \"web\"", "name = \"plain\"");
    let plain: Vec<&str> = plain.lines().filter(|line| !line.starts_with("health")).collect();
    let definition = format!("name = \"quick\"\n{web}{}\n", plain.join("\n"));
    for definition in
        [definition.clone(), with(&definition, "stop_timeout", "network = \"quick\"\nstop_timeout")]
    {
        node.deploy(&definition).ok();
        // To see that a connection stays open takes a whole second.
        until("one start costs less than a connection is patient", || {
            node.mcp(&["restart", "quick"]).ok();
            let took = |component: &str| -> u64 {
                let at = |what: &str| -> u64 {
                    let property = format!("{what}TimestampMonotonic");
                    let unit = format!("quick-{component}.service");
                    node.property(&unit, &property).parse().unwrap()
                };
                at("ActiveEnter") - at("ExecMainStart")
            };
            (took("web") < took("plain") + 900_000).then_some(())
        });
    }
}
