//! What a person does with systemctl, with and without the agent.

use crate::definitions::{PAIR, PAIR_UNITS, with};
use crate::fixture::{Machine, machine};

#[track_caller]
fn systemctl(node: &Machine, command: &str) -> crate::run::Answer {
    node.as_mcp(&format!("systemctl --user --no-pager {command}"), "").ok()
}

#[test]
fn units_and_targets_do_what_a_person_expects_without_the_agent() {
    let node = machine();
    node.deploy(PAIR).ok();
    node.as_root("systemctl stop mcp-agent").ok();
    let all = ["pair-api.service", "pair-front.service", "pair.target"];
    assert_eq!(node.states(&all), ["active"; 3]);

    for unit in all {
        systemctl(&node, &format!("status {unit}")).says("active").says("pair");
    }
    systemctl(&node, "cat pair-api.service")
        .says("# Made by MCP from /tmp/pair.toml, generation 1.")
        .says("Description=pair-api, component api of service pair")
        .says("ExecStart=/usr/bin/podman run");
    systemctl(&node, "cat pair.target").says("Description=Service pair: an API and its front");

    let start = node.invocations(&PAIR_UNITS);
    systemctl(&node, "restart pair-front.service");
    let front = node.invocations(&PAIR_UNITS);
    assert_eq!(front[0], start[0]);
    assert_ne!(front[1], start[1]);

    // The front requires the api, so systemd takes it along.
    systemctl(&node, "restart pair-api.service");
    let api = node.invocations(&PAIR_UNITS);
    assert!(api[0] != front[0] && api[1] != front[1]);

    systemctl(&node, "restart pair.target");
    let target = node.invocations(&PAIR_UNITS);
    assert!(target[0] != api[0] && target[1] != api[1]);
    systemctl(&node, "is-active --wait pair.target");

    systemctl(&node, "stop pair.target");
    crate::wait::until("both are down", || {
        (node.states(&PAIR_UNITS) == ["inactive"; 2]).then_some(())
    });
    assert!(!node.podman_things().contains("pair-api"));
    systemctl(&node, "start pair.target");
    crate::wait::until("both are up", || (node.states(&PAIR_UNITS) == ["active"; 2]).then_some(()));

    // The agent takes things as they are.
    let hand = node.invocations(&PAIR_UNITS);
    node.as_root("systemctl start mcp-agent").ok();
    node.has_nothing_to_deploy("pair");
    assert_eq!(node.invocations(&PAIR_UNITS), hand);
}

#[test]
fn a_drop_in_is_respected_and_survives_a_redeploy() {
    let node = machine();
    node.spoil();
    node.deploy(PAIR).ok();
    // As `systemctl --user edit` writes it, and as podman reads it.
    let service = "/srv/mcp/.config/systemd/user/pair-front.service.d/override.conf";
    let container = "/srv/mcp/.config/containers/systemd/mcp/pair/pair-api.container.d/more.conf";
    node.write_as_mcp(service, "[Service]\nOOMScoreAdjust=500\n");
    node.write_as_mcp(container, "[Container]\nEnvironment=BY=hand\n");
    systemctl(&node, "daemon-reload");
    systemctl(&node, "restart pair.target");
    let in_force = || {
        crate::wait::until("both are up", || {
            (node.states(&PAIR_UNITS) == ["active"; 2]).then_some(())
        });
        let env = node.as_mcp("podman exec pair-api env", "").ok();
        env.says("BY=hand\n");
        assert_eq!(node.property("pair-front.service", "OOMScoreAdjust"), "500");
    };
    in_force();

    let changed = with(&with(PAIR, "red", "blue"), "round", "square");
    node.deploy(&changed).ok();
    in_force();
    node.as_mcp("podman exec pair-api env", "").ok().says("COLOUR=blue\n");
    node.as_mcp(&format!("cat {service} {container}"), "").ok().says("hand");
}

#[test]
fn an_edited_unit_is_told_as_drift_and_set_right_by_the_next_deploy() {
    let node = machine();
    node.deploy(PAIR).ok();
    let file = "~/.config/containers/systemd/mcp/pair/pair-api.container";
    node.as_mcp(&format!("echo '# mine' >>{file}; sed -i s/red/green/ {file}"), "").ok();

    let status = node.mcp(&["status", "pair", "--json"]).ok().json();
    let drift = status["services"][0]["components"][0]["drift"].to_string();
    assert!(drift.contains("pair-api.container"), "{status}");
    node.mcp(&["deploy", "pair"]).ok();
    node.as_mcp(&format!("! grep -e mine -e green {file}"), "").ok();
    let status = node.mcp(&["status", "pair", "--json"]).ok().json();
    assert_eq!(status["services"][0]["components"][0]["drift"], serde_json::json!([]));
}
