//! Mistakes in the agent's configuration.

use crate::definitions::LONE;
use crate::fixture::machine;
use crate::wait::until;

const FILE: &str = "/srv/mcp/mcp-agent.toml";

#[test]
fn a_mistake_in_the_configuration_names_the_key_and_takes_nothing_down() {
    let node = machine();
    node.configure("[agent]\nnode_name = \"first\"\n");
    node.deploy(LONE).ok();
    let containers = node.invocations(&["lone.service"]);
    let pid = node.as_root("systemctl show -P MainPID mcp-agent").ok().text().to_owned();
    node.write_as_mcp(FILE, "[agent]\nnode_name = \"second\"\nport_rang = \"1-2\"\n");
    let mistake = "/srv/mcp/mcp-agent.toml:3:1: agent.port_rang: there is no such key; did you mean \"port_range\"?";
    node.as_mcp("mcp-agent check-config", "").code(2).says(mistake);

    // A reload keeps what the agent runs with.
    node.as_root("systemctl reload mcp-agent").ok();
    until("the problem is told", || {
        node.mcp(&["node", "list"]).err.contains(mistake).then_some(())
    });
    assert_eq!(node.as_root("systemctl show -P MainPID mcp-agent").text(), pid);
    node.mcp(&["deploy", "lone"]).ok().says("nothing to do");

    // A restart falls back to what was good.
    node.as_root("systemctl restart mcp-agent").ok();
    let list = node.mcp(&["node", "list", "--json"]).ok().json();
    assert_eq!(list["nodes"][0]["agent"]["node"], "first");
    let problems = list["nodes"][0]["agent"]["problems"].to_string();
    assert!(problems.contains("port_rang:"), "{problems}");
    node.has_nothing_to_deploy("lone");
    assert_eq!(node.invocations(&["lone.service"]), containers);

    // Corrected, it is taken.
    node.write_as_mcp(FILE, "[agent]\nnode_name = \"second\"\n");
    node.as_root("systemctl restart mcp-agent").ok();
    let list = node.mcp(&["node", "list", "--json"]).ok().json();
    assert_eq!(list["nodes"][0]["agent"]["node"], "second");
    assert_eq!(list["nodes"][0]["agent"]["problems"], serde_json::json!([]));
}

#[test]
fn without_a_configuration_that_was_ever_good_the_agent_ends_with_its_mistake() {
    let node = machine();
    node.spoil();
    node.as_root("systemctl stop mcp-agent; rm -f /srv/mcp/mcp-agent.last-good.toml").ok();
    node.write_as_mcp(FILE, "[server]\ngrpc_addr = 9444\n\n[agnet]\n");
    assert_ne!(node.as_root("systemctl start mcp-agent").code, 0);
    node.until_agent_said("did you mean \"agent\"?");
    let state = node.as_root("systemctl show -P NRestarts -P ExecMainStatus mcp-agent").ok();
    assert_eq!(state.text(), "0\n78");
    node.as_root(&format!("rm {FILE}; systemctl start mcp-agent")).ok();
    node.mcp(&["node", "list"]).ok().says("ready");
}
