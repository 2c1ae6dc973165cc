//! The agent of an ordinary user.

use crate::definitions::PAIR;
use crate::fixture::{Machine, machine};
use crate::wait::until;

/// What an administrator does for a user once.
fn prepare(node: &Machine) {
    node.spoil();
    node.as_root("loginctl enable-linger alice").ok();
    until("the user's manager is there", || {
        let state = "systemctl --user is-system-running";
        let state = node.as_alice(state, "");
        ["running", "degraded"].contains(&state.text()).then_some(())
    });
    node.as_alice("podman load -q -i /usr/share/lab/images.tar", "").ok();
}

#[test]
fn an_ordinary_user_has_an_agent_with_one_command_and_no_configuration() {
    let node = machine();
    prepare(&node);
    node.as_alice("mcp-agent install --user", "").ok().says("installed and started");
    node.as_alice("systemctl --user is-active mcp-agent", "").ok().says("active");
    node.as_alice("mcp node list", "").ok().says("/run/user/1000/mcp/agent.sock").says("admin");

    let deploy = "cat >pair.toml; mcp deploy pair -f pair.toml";
    node.as_alice(deploy, PAIR).ok().says("generation 1");
    node.as_alice("mcp ps", "").ok().says("pair").says("healthy");
    until("what it wrote is told", || {
        let logs = node.as_alice("mcp logs pair/api", "").ok();
        logs.out.contains("start: mode=web").then_some(())
    });
    // Neither sees the other's.
    node.mcp(&["ps"]).ok().does_not_say("pair");
    node.as_mcp("systemctl --user is-active pair-api.service", "").code(4);

    // Once more is harmless; gone, the containers run on.
    node.as_alice("mcp-agent install --user", "").ok();
    let running = "systemctl --user is-active pair-api.service pair-front.service";
    node.as_alice(running, "").ok();
    node.lab("reboot");
    until("it is all back", || {
        (node.as_alice(running, "").code == 0 && node.as_alice("mcp ps pair", "").code == 0)
            .then_some(())
    });
    node.as_alice("mcp-agent install --user --uninstall", "").ok();
    node.as_alice(running, "").ok();
    node.as_alice("mcp ps", "").code(4);
    node.as_alice("test -z \"$(find ~/.config/systemd/user -name 'mcp-agent*')\"", "").ok();
}
