//! The definitions of the platform, as they are but for their images.

use crate::definitions::with_component;
use crate::fixture::Machine;
use crate::fixture::machine;
use crate::wait::until;

/// The definitions, and the service that each describes.
const DEFINITIONS: [(&str, &str); 5] = [
    ("mcq", include_str!("../../examples/mcq.toml")),
    ("metacrypt", include_str!("../../examples/metacrypt.toml")),
    ("mcns", include_str!("../../examples/mcns.toml")),
    ("mcr", include_str!("../../examples/mcr.toml")),
    ("mc-proxy", include_str!("../../examples/mc-proxy.toml")),
];

/// Makes the machine the node of the definitions: its name and addresses.
fn become_rift(machine: &Machine) {
    machine.as_root(
        "ip address replace 192.168.88.181/32 dev lo
        ip address replace 100.95.252.120/32 dev lo",
    );
    machine.configure("[agent]\nnode_name = \"rift\"\n");
}

/// Replaces each image by the test image of a web server, which listens where
/// the platform's program would.
fn with_test_images(service: &str, definition: &str) -> String {
    let listening = |port: &str| format!("[\"/bin/env\", \"PORT={port}\", \"/bin/app\"]");
    let mut text = definition.to_owned();
    let parsed: toml_edit::DocumentMut = text.parse().unwrap();
    for component in parsed["components"].as_array_of_tables().unwrap() {
        let name = component["name"].as_str().unwrap();
        text = with_component(&text, name, &[("image", "\"localhost/lab/web:v1\"")]);
        let port = match (service, name) {
            ("metacrypt", "api") | ("mcns", _) => "8443",
            ("mc-proxy", _) => "7443",
            _ => continue,
        };
        text = with_component(&text, name, &[("entrypoint", &listening(port))]);
    }
    text
}

#[test]
fn every_definition_of_the_platform_deploys_serves_and_shows_in_systemctl() {
    let node = machine();
    become_rift(&node);
    for (service, definition) in DEFINITIONS {
        node.deploy(&with_test_images(service, definition)).ok();
    }

    assert_eq!(node.served("mcq", "mcq"), "v1");
    assert_eq!(node.served("metacrypt", "web"), "v1");
    assert_eq!(node.served("mcr", "web"), "v1");
    for (address, port) in [("127.0.0.1", 18443), ("127.0.0.1", 38443), ("127.0.0.1", 7443)] {
        let url = format!("curl -fsS -m 20 http://{address}:{port}/version");
        // Not all of them have a check: they may not listen yet.
        until(&url, || (node.as_mcp(&url, "").text() == "v1").then_some(()));
    }
    let listening = node.as_root("ss -Hlntu | awk '{print $1, $5}'").ok();
    for address in ["192.168.88.181:53", "100.95.252.120:53"] {
        listening.clone().says(&format!("tcp {address}\n")).says(&format!("udp {address}\n"));
    }

    // Gates and checks are beside these, and no part of who waits for whom.
    let graph =
        "systemctl --user list-dependencies mcp.target | grep -v -e '-gate.target' -e '-check[.]'";
    let graph = node.as_mcp(graph, "").ok();
    let expected = "\
mcp.target
● ├─mc-proxy.target
● │ └─mc-proxy.service
● ├─mcns.target
● │ └─mcns.service
● ├─mcq.target
● │ └─mcq.service
● ├─mcr.target
● │ ├─mcr-api.service
● │ └─mcr-web.service
● └─metacrypt.target
●   ├─metacrypt-api.service
●   └─metacrypt-web.service
";
    assert_eq!(graph.out, expected);
    let needs = node.property("metacrypt-web.service", "Requires");
    assert!(needs.split(' ').any(|unit| unit == "metacrypt-api.service"), "{needs}");
    let after = node.property("metacrypt-web.service", "After");
    assert!(after.split(' ').any(|unit| unit == "metacrypt-api.service"), "{after}");

    // What systemd calls ready came up in that order.
    let entered =
        |unit| -> u64 { node.property(unit, "ActiveEnterTimestampMonotonic").parse().unwrap() };
    let began =
        |unit| -> u64 { node.property(unit, "InactiveExitTimestampMonotonic").parse().unwrap() };
    assert!(entered("metacrypt-api.service") <= began("metacrypt-web.service"));

    let running = node.mcp(&["ps", "--json"]).ok().json();
    let components = running["components"].as_array().unwrap();
    assert_eq!(components.len(), 7);
    assert!(components.iter().all(|c| c["state"] == "running"), "{running}");
}

#[test]
fn a_definition_for_another_node_is_refused() {
    let node = machine();
    let refused = node.deploy(&with_test_images("mcq", DEFINITIONS[0].1)).code(1);
    refused.says("the definition is for node rift").says(node.name());
    assert_eq!(node.unit_files().matches("mcq").count(), 0);
}
