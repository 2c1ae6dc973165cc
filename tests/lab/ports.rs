//! Ports: leased, kept, given to the container, and never taken twice.

use crate::definitions::{LONE, PAIR, with, with_component};
use crate::fixture::machine;

const ROUTES: &str = r#"
[[components.routes]]
name = "rest"
port = 8443
[[components.routes]]
name = "grpc-web"
port = 9443
"#;

#[test]
fn a_leased_port_is_the_same_in_and_outside_and_is_kept() {
    let node = machine();
    node.deploy(LONE).ok();
    let port = node.port("lone", "lone");
    assert!((10_000..=60_000).contains(&port));
    let env = node.get(port, "/env").unwrap();
    for line in [format!("PORT={port}"), format!("PORT_DEFAULT={port}")] {
        assert!(env.lines().any(|l| l == line), "{line}: {env}");
    }
    let published = node.as_mcp("podman port lone", "").ok();
    assert_eq!(published.text(), format!("{port}/tcp -> 127.0.0.1:{port}"));
    let answer = node.as_mcp(&format!("curl -fsS -m 3 http://{}:{port}/", node.address()), "");
    assert_ne!(answer.code, 0, "only the configured address is published");

    node.deploy(&with(LONE, "web:v1", "web:v2")).ok();
    assert_eq!(node.port("lone", "lone"), port);
    assert_eq!(node.served("lone", "lone"), "v2");
}

#[test]
fn every_route_has_its_variable() {
    let node = machine();
    let more = with(LONE, "[[components.routes]]\nport = 8080\n", ROUTES);
    let more = with(&more, "health = { http = \"/health\" }", "env = { PORT = \"8080\" }");
    node.deploy(&more).code(2).says("PORT");
    node.deploy(&with(&more, "env = { PORT = \"8080\" }", "")).ok();

    let ports = node.ports("lone", "lone");
    let env = node.as_mcp("podman exec lone env", "").ok();
    assert_eq!(ports.len(), 2);
    for (route, port) in ports {
        let variable = route.to_uppercase().replace('-', "_");
        env.clone().says(&format!("PORT_{variable}={port}\n"));
    }
}

#[test]
fn a_port_is_published_on_the_address_of_the_node() {
    let node = machine();
    let address = node.address();
    node.configure(&format!("[agent]\naddress = \"{address}\"\nport_range = \"20000-20009\"\n"));
    node.deploy(LONE).ok();
    let port = node.port("lone", "lone");
    assert!((20_000..20_010).contains(&port));
    let page = node.as_mcp(&format!("curl -fsS -m 20 http://{address}:{port}/version"), "");
    assert_eq!(page.ok().text(), "v1");
}

#[test]
fn a_port_that_something_listens_on_is_not_leased() {
    let node = machine();
    node.deploy(LONE).ok();
    let port = node.port("lone", "lone");
    node.mcp(&["undeploy", "lone"]).ok();
    let unit = format!("systemd-run -q --user -u squatter busybox nc -ll -p {port} -e cat");
    node.as_mcp(&unit, "").ok();
    crate::wait::until("it listens", || {
        (node.as_root(&format!("ss -Hltn 'sport = {port}' | grep -q .")).code == 0).then_some(())
    });

    node.deploy(LONE).ok();
    assert_ne!(node.port("lone", "lone"), port);
    assert_eq!(node.served("lone", "lone"), "v1");
    node.as_mcp("systemctl --user stop squatter", "").ok();
}

#[test]
fn a_port_that_is_taken_is_refused_with_its_mend() {
    let node = machine();
    let at = |port: &str| {
        let health = "{ http = { path = \"/health\", port = \"default\" } }";
        with_component(LONE, "lone", &[("ports", port), ("health", health)])
    };
    let fixed = at("[\"127.0.0.1:15432:8080\"]");
    let other = with(PAIR, "env = { SHAPE", "ports = [\"15432:8080\"]\nenv = { SHAPE");
    node.as_mcp("systemd-run -q --user -u squatter busybox nc -ll -p 15432 -e cat", "").ok();
    crate::wait::until("it listens", || {
        (node.as_root("ss -Hltn 'sport = 15432' | grep -q .").code == 0).then_some(())
    });

    let files = node.unit_files();
    node.deploy(&fixed)
        .code(1)
        .says("port 127.0.0.1:15432:8080 cannot be published")
        .says("something else listens there: ss -lntup 'sport = 15432'");
    assert_eq!(node.unit_files(), files);
    node.as_mcp("systemctl --user stop squatter", "").ok();
    node.deploy(&fixed).ok();
    node.deploy(&other).code(1).says("publishes 15432:8080, which lone publishes already");

    node.deploy(&at("[\"192.0.2.1:15432:8080\"]"))
        .code(1)
        .says("the node does not have that address: ip address");
}
