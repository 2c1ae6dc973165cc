//! Networks and volumes: what a definition says of them, and what podman has.

use crate::definitions::with;
use crate::fixture::machine;

/// A component in a network, with a volume.
const DOT: &str = r#"name = "dot"

[[components]]
name = "dot"
image = "localhost/lab/web:v1"
network = "dotnet"
volumes = ["data:/data"]
"#;

#[test]
fn what_podman_has_already_is_neither_mistaken_nor_taken_away() {
    let node = machine();
    node.as_mcp("podman network create dotnet", "").ok();
    let inside = format!("{DOT}[networks.dotnet]\ninternal = true\n");
    node.deploy(&inside).code(1).says("podman has a network dotnet already");
    // By its name alone it is the one that there is, and stays.
    node.deploy(DOT).ok();
    node.mcp(&["undeploy", "dot", "--yes"]).ok();
    node.as_mcp("podman network exists dotnet && podman network rm dotnet", "").ok();
    // One of ours goes.
    node.deploy(&inside).ok();
    let internal = "podman network inspect -f '{{.Internal}}' dotnet";
    assert_eq!(node.as_mcp(internal, "").ok().text(), "true");
    // What somebody removes meanwhile is made again.
    node.mcp(&["stop", "dot"]).ok();
    node.as_mcp("podman network prune -f && ! podman network exists dotnet", "").ok();
    node.mcp(&["start", "dot"]).ok();
    assert_eq!(node.as_mcp(internal, "").ok().text(), "true");
    node.mcp(&["undeploy", "dot", "--yes"]).ok();
    node.as_mcp("! podman network exists dotnet", "").ok();
}

#[test]
fn a_volume_is_made_as_it_is_described_and_stays_with_whoever_uses_it() {
    let node = machine();
    node.deploy(DOT).ok();
    node.deploy(&with(DOT, "volumes = [\"data:/data\"]\n", "")).ok();
    // Another volume under the name of an earlier one.
    let named = "[volumes.data]\nname = \"both\"\nextra.Volume.Label = \"kind=kept\"\n";
    node.deploy(&format!("{DOT}{named}")).ok();
    let label = "podman volume inspect -f '{{.Labels.kind}}' both";
    assert_eq!(node.as_mcp(label, "").ok().text(), "kept");
    node.as_mcp("podman exec dot sh -c 'echo precious >/data/file'", "").ok();
    // One component alone cannot bring it into another service's definition.
    let plain = DOT.replace("dot", "pen");
    node.deploy(&plain).ok();
    node.write_as_mcp("/tmp/pen.toml", &format!("{plain}{named}"));
    node.mcp(&["deploy", "pen/pen", "-f", "/tmp/pen.toml"])
        .code(2)
        .says("deploy the whole service");
    node.mcp(&["undeploy", "pen", "--yes"]).ok();
    let told = "the volume both is there already";
    node.deploy(&format!("{plain}{named}")).ok().does_not_say(told);
    node.mcp(&["undeploy", "pen", "--yes"]).ok();
    node.deploy(&format!("{plain}{}", with(named, "kept", "other"))).ok().says(told);
    // Who made it does not take it from the other.
    node.mcp(&["stop", "pen"]).ok();
    node.mcp(&["undeploy", "dot", "--purge-data", "--yes"])
        .ok()
        .says("the volume both stays: another service uses it");
    node.mcp(&["start", "pen"]).ok();
    node.as_mcp("podman exec pen cat /data/file", "").ok().says("precious");
}
