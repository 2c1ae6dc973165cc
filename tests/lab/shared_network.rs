//! A component that lives in the network namespace of another one.

use crate::definitions::with;
use crate::fixture::{Machine, machine};
use crate::wait::until;

const SHARED: &str = r#"name = "tunnel"

[[components]]
name = "tunnel"
image = "localhost/lab/web:v1"
ports = ["8099:8081"]
env = { PORT = "8080" }

[[components]]
name = "inside"
image = "localhost/lab/web:v1"
depends_on = ["tunnel"]
restart = "on-failure"
env = { PORT = "8081" }
extra.Container.Network = "tunnel.container"
"#;

const UNITS: [&str; 2] = ["tunnel.service", "tunnel-inside.service"];

#[track_caller]
fn is_served(node: &Machine) {
    until("what lives in it is served", || {
        let answer = node.as_mcp("curl -sf -m 2 http://127.0.0.1:8099/version", "");
        (answer.text() == "v1" && node.states(&UNITS) == ["active", "active"]).then_some(())
    });
}

#[test]
fn who_lives_in_the_network_of_another_comes_back_with_it() {
    let node = machine();
    node.deploy(SHARED).ok().does_not_say("beside the definition");
    is_served(&node);
    let runs = || node.invocations(&UNITS);
    let both_are_new = |before| {
        is_served(&node);
        assert!(runs().iter().zip(&before).all(|(now, was)| now != was));
    };

    let before = runs();
    node.mcp(&["restart", "tunnel/tunnel"]).ok().says("tunnel-inside");
    both_are_new(before);
    let before = runs();
    node.mcp(&["restart", "tunnel"]).ok();
    both_are_new(before);

    // Of another, nobody is made anew.
    let before = runs();
    node.mcp(&["restart", "tunnel/inside"]).ok();
    is_served(&node);
    assert_eq!(runs()[0], before[0]);

    let changed = with(SHARED, "\"8080\"", "\"8079\"");
    let before = runs();
    node.deploy_with(&changed, &["--dry-run"]).ok().says("it lives in the network of tunnel");
    node.deploy(&changed).ok();
    both_are_new(before);

    // systemd does it alone, too.
    node.as_root("systemctl stop mcp-agent").ok();
    let before = runs();
    node.as_mcp("podman kill tunnel", "").ok();
    until("both are made anew", || {
        runs().iter().zip(&before).all(|(now, was)| now != was).then_some(())
    });
    is_served(&node);
    node.as_root("systemctl start mcp-agent").ok();

    until("the agent is back", || (node.mcp(&["list"]).code == 0).then_some(()));
    node.mcp(&["undeploy", "tunnel", "--yes"]).ok();
    assert!(!node.podman_things().contains("tunnel"), "{}", node.podman_things());
}
