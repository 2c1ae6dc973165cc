//! Stopping, starting and restarting, over reboots and without the agent.

use crate::boot_node::BOOT;
use crate::definitions::{LONE, PAIR, PAIR_UNITS, with};
use crate::fixture::{Machine, machine};
use crate::wait::{until, until_within};

/// Reboots a machine on which no agent will start.
fn reboot_without_agent(node: &Machine) {
    node.spoil();
    node.as_root("systemctl disable --quiet mcp-agent").ok();
    node.lab("reboot");
    assert_ne!(node.as_root("systemctl is-active mcp-agent").code, 0);
}

#[test]
fn after_a_reboot_without_the_agent_what_ran_is_back_in_order_and_what_was_stopped_is_not() {
    let node = machine();
    let stopped = with(PAIR, "pair", "still");
    let needing = with(LONE, "name = \"lone\"\n\n", "name = \"lone\"\ndepends_on = [\"pair\"]\n\n");
    for definition in [PAIR, &needing, &stopped] {
        node.deploy(definition).ok();
    }
    node.mcp(&["stop", "still"]).ok().says("stays down after a reboot");
    let running = ["pair-api.service", "pair-front.service", "lone.service", "lone.target"];

    reboot_without_agent(&node);
    until("what ran is back", || (node.states(&running) == ["active"; 4]).then_some(()));
    // In the order of the dependencies: of components, then of services.
    let stamp = |unit: &str, what: &str| -> u64 {
        node.property(unit, &format!("{what}TimestampMonotonic")).parse().unwrap()
    };
    let ready = |unit| stamp(unit, "ActiveEnter");
    let begun = |unit| stamp(unit, "ExecMainStart");
    assert!(ready("pair-api.service") <= begun("pair-front.service"));
    assert!(ready("pair-front.service") <= begun("lone.service"));
    let stopped = ["still-api.service", "still-front.service", "still.target"];
    assert_eq!(node.states(&stopped), ["inactive"; 3]);
    assert!(!node.podman_things().contains("still-api"));

    node.as_root("systemctl enable --quiet --now mcp-agent").ok();
    for (service, component) in [("pair", "api"), ("pair", "front"), ("lone", "lone")] {
        assert_eq!(node.served(service, component), "v1");
    }
    let invocations = node.invocations(&running);
    node.mcp(&["status", "still"]).ok().says("stopped");
    node.mcp(&["start", "still"]).ok();
    assert_eq!(node.served("still", "front"), "v1");
    assert_eq!(node.invocations(&running), invocations);
}

#[test]
fn a_started_service_stays_up_over_a_reboot_again() {
    let node = machine();
    node.deploy(LONE).ok();
    node.mcp(&["stop", "lone"]).ok();
    node.mcp(&["stop", "lone"]).ok().says("nothing to do");
    node.mcp(&["start", "lone"]).ok();
    reboot_without_agent(&node);
    until("it is back", || (node.states(&["lone.service"]) == ["active"]).then_some(()));
}

#[test]
fn a_redeploy_does_not_wake_what_was_stopped() {
    let node = machine();
    node.deploy(PAIR).ok();
    node.mcp(&["stop", "pair"]).ok();
    assert_eq!(node.states(&PAIR_UNITS), ["inactive", "inactive"]);
    // The definition that the node has says so now.
    node.mcp(&["service", "show", "pair"]).ok().says("active = false");
    node.mcp(&["deploy", "pair"]).ok().says("nothing to do");
    node.mcp(&["restart", "pair"]).code(2).says("start it instead");
    assert_eq!(node.states(&PAIR_UNITS), ["inactive", "inactive"]);
}

#[test]
fn stop_and_start_are_written_into_the_local_file_beside_its_comments() {
    let node = machine();
    let file = "/srv/mcp/.config/mcp/services/lone.toml";
    node.write_as_mcp(file, &format!("# mine\n{LONE}"));
    node.mcp(&["deploy", "lone"]).ok();
    let text = || node.as_mcp(&format!("cat {file}"), "").ok();
    node.mcp(&["stop", "lone"]).ok();
    text().says("# mine\n").says("active = false\n");
    node.mcp(&["start", "lone"]).ok();
    text().says("# mine\n").says("active = true\n");
    node.as_mcp(&format!("rm {file}"), "").ok();
}

#[test]
fn a_restart_of_a_component_touches_no_other() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = node.invocations(&PAIR_UNITS);
    node.mcp(&["restart", "pair/api"]).ok();
    let one = node.invocations(&PAIR_UNITS);
    assert_ne!(one[0], before[0]);
    assert_eq!(one[1], before[1]);
    node.mcp(&["restart", "pair"]).ok();
    let both = node.invocations(&PAIR_UNITS);
    assert!(both[0] != one[0] && both[1] != one[1]);
    assert_eq!(node.states(&PAIR_UNITS), ["active", "active"]);
    node.mcp(&["restart", "nothing"]).code(1).says("nothing");
}

#[test]
fn a_container_that_dies_is_started_again_by_systemd_alone() {
    let node = machine();
    node.deploy(LONE).ok();
    node.as_root("systemctl stop mcp-agent").ok();
    let before = node.invocations(&["lone.service"]);
    node.as_mcp("podman kill lone", "").ok();
    until("it runs anew", || {
        let same = node.invocations(&["lone.service"]) == before;
        (!same && node.states(&["lone.service"]) == ["active"]).then_some(())
    });
    node.as_root("systemctl start mcp-agent").ok();
    assert_eq!(node.served("lone", "lone"), "v1");
}

#[test]
fn a_power_loss_brings_everything_back_without_any_network() {
    let node = machine();
    node.spoil();
    // Their images are of an image registry, which the boot cannot reach; nor
    // anything else, and nobody resolves a name.
    node.deploy(&with(PAIR, "localhost/lab", "registry.lab:5000/lab")).ok();
    node.as_root("systemctl disable --quiet mcp-agent").ok();
    node.lab("kill");
    node.lab("partition");
    node.lab("start");
    let reach = "curl -sS -m 3 https://registry.lab:5000/v2/ 2>&1";
    let reached = node.as_mcp(reach, "");
    until_within(BOOT, "both are back", || {
        (node.states(&PAIR_UNITS) == ["active"; 2]).then_some(())
    });
    node.lab("heal");
    assert_ne!(reached.code, 0, "{reached:?}");
    node.as_root("systemctl enable --quiet --now mcp-agent").ok();
    assert_eq!(node.served("pair", "front"), "v1");
}
