//! A node whose podman is too old.

use crate::definitions::LONE;
use crate::fixture::Machine;
use crate::packages;

#[test]
fn a_node_with_an_old_podman_says_so_and_refuses() {
    let node = Machine::old();
    node.deploy(LONE)
        .code(1)
        .says("this node cannot deploy")
        .says("podman 4.3.1 is too old: MCP needs 5.0");
    node.mcp(&["node", "list"]).ok().says("podman 4.3.1 is too old: MCP needs 5.0");
    let problems = node.mcp(&["node", "list", "--json"]).ok().json();
    let problems = problems["nodes"][0]["agent"]["problems"].to_string();
    assert!(problems.contains("4.3.1"), "{problems}");
    node.mcp(&["ps"]).ok();
    let left = node.as_mcp("find ~/.config/containers -type f 2>/dev/null || true", "").ok();
    assert_eq!(left.text(), "");

    // The lab installs with force; apt does not.
    node.as_root("dpkg -P mcp-agent").ok();
    packages::bring(&node);
    let apt = "DEBIAN_FRONTEND=noninteractive apt-get install -y /var/tmp/ours/mcp-agent_*.deb";
    node.as_root(apt).code(100).says("podman (>= 5.0)").says("4.3.1");
    node.as_root("! test -e /usr/bin/mcp-agent").ok();
}
