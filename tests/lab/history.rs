//! Earlier generations, and a memory that is lost.

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with};
use crate::fixture::machine;
use crate::recover::nothing_is_missing;
use crate::wait::until;

#[test]
fn an_earlier_generation_is_shown_compared_and_deployed_again() {
    let node = machine();
    node.deploy(PAIR).ok();
    node.deploy(&with(PAIR, "web:v1", "web:v2")).ok();
    let history = node.mcp(&["history", "pair", "--json"]).ok().json();
    assert_eq!(history["generations"].as_array().unwrap().len(), 2, "{history}");
    node.mcp(&["diff", "pair", "1", "2"]).ok().says("web:v1").says("web:v2");

    node.mcp(&["rollback", "pair"]).ok().says("generation 3");
    assert_eq!(node.served("pair", "api"), "v1");
    assert_eq!(node.mcp(&["service", "show", "pair"]).ok().out, PAIR);
    node.mcp(&["rollback", "pair", "--to", "2"]).ok();
    assert_eq!(node.served("pair", "front"), "v2");
    node.mcp(&["rollback", "pair", "--to", "99"]).code(1);
}

#[test]
fn a_lost_registry_is_made_again_and_nothing_is_restarted() {
    let node = machine();
    node.spoil();
    node.deploy(PAIR).ok();
    node.deploy(LONE).ok();
    node.mcp(&["stop", "lone"]).ok();
    let before =
        (node.invocations(&PAIR_UNITS), node.port("pair", "api"), node.port("pair", "front"));
    node.as_root("systemctl stop mcp-agent; rm /srv/mcp/mcp.db*; systemctl start mcp-agent").ok();

    until("the agent knows its services again", || {
        let list = node.mcp(&["list"]).out;
        (list.contains("pair") && list.contains("lone")).then_some(())
    });
    nothing_is_missing(&node);
    node.has_nothing_to_deploy("pair");
    let after =
        (node.invocations(&PAIR_UNITS), node.port("pair", "api"), node.port("pair", "front"));
    assert_eq!(after, before);
    assert_eq!(node.mcp(&["service", "show", "pair"]).ok().out, PAIR);
    node.mcp(&["status", "lone"]).ok().says("stopped");
    node.mcp(&["start", "lone"]).ok();
    assert_eq!(node.served("lone", "lone"), "v1");
    node.mcp(&["undeploy", "pair", "--purge-data", "--yes"]).ok();
    assert!(!node.podman_things().contains("pair"));
}
