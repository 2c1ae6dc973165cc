//! What undeploying leaves.

use crate::definitions::{LONE, PAIR, with};
use crate::fixture::{Machine, machine};
use crate::wait::until;

fn everything(node: &Machine) -> String {
    let units = "systemctl --user list-units --all --plain --no-legend 'pair*' 'lone*'
        systemctl --user list-unit-files --plain --no-legend 'pair*' 'lone*' || true";
    let leases = node.sql("SELECT * FROM leases");
    node.unit_files() + &node.podman_things() + &node.as_mcp(units, "").ok().out + &leases
}

#[test]
fn undeploy_leaves_nothing_but_data() {
    let node = machine();
    let before = everything(&node);
    node.deploy(PAIR).ok();
    node.as_mcp("podman exec pair-api sh -c 'echo kept >/data/file'", "").ok();

    node.mcp(&["undeploy", "pair"]).ok().says("its data is kept");
    // systemd forgets a unit a moment after it is down.
    let left = before + "volume pair-data\n";
    until("only the data are left", || (everything(&node) == left).then_some(()));
    node.mcp(&["undeploy", "pair"]).code(1).says("not deployed");

    // The data are there for the service when it comes again.
    node.deploy(PAIR).ok();
    assert_eq!(node.as_mcp("podman exec pair-api cat /data/file", "").ok().text(), "kept");
}

#[test]
fn data_are_purged_only_when_somebody_says_so() {
    let node = machine();
    let before = everything(&node);
    node.deploy(PAIR).ok();
    node.mcp(&["undeploy", "pair", "--purge-data"]).code(2).says("--purge-data --yes");
    node.mcp(&["ps", "pair"]).ok().says("running");

    node.mcp(&["undeploy", "pair", "--purge-data", "--yes"]).ok();
    until("nothing is left", || (everything(&node) == before).then_some(()));
}

#[test]
fn a_network_goes_with_the_last_service_that_names_it() {
    let node = machine();
    let lone = with(LONE, "image", "network = \"pair\"\nimage");
    node.deploy(PAIR).ok();
    node.deploy(&lone).ok();
    node.mcp(&["undeploy", "pair"]).ok();
    assert!(node.podman_things().contains("network pair\n"));
    assert_eq!(node.served("lone", "lone"), "v1");
    // The unit of the network is still there for the next boot.
    assert_eq!(node.property("pair-network.service", "LoadState"), "loaded");
    node.mcp(&["undeploy", "lone"]).ok();
    assert!(!node.podman_things().contains("network pair\n"));
}

#[test]
fn a_service_that_others_depend_on_stays() {
    let node = machine();
    let needing = with(LONE, "name = \"lone\"\n\n", "name = \"lone\"\ndepends_on = [\"pair\"]\n\n");
    node.deploy(&needing).code(1).says("deploy it first");
    node.deploy(PAIR).ok();
    node.deploy(&needing).ok();
    node.mcp(&["undeploy", "pair"]).code(1).says("lone depends on pair");
    node.mcp(&["undeploy", "lone"]).ok();
    node.mcp(&["undeploy", "pair"]).ok();
}
