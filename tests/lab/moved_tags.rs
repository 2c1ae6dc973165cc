//! A name of an image that comes to mean another image: told, and taken back
//! by a rollback.

use serde_json::Value;

use crate::definitions::{LONE, with};
use crate::fixture::{Machine, machine};

/// An image registry without login.
const REGISTRY: &str = "registry.lab:5000";

/// Has a name mean an image that the node has.
#[track_caller]
fn tag(node: &Machine, image: &str, name: &str) {
    node.as_mcp(&format!("podman tag localhost/lab/{image} {name}"), "").ok();
}

/// Has a name in the registry mean an image that the node has.
#[track_caller]
fn push(node: &Machine, image: &str, name: &str) {
    node.as_mcp(&format!("podman push -q localhost/lab/{image} {REGISTRY}/{name}"), "").ok();
}

/// Podman's number of what a name means, or of what a container runs.
#[track_caller]
fn id(node: &Machine, what: &str) -> String {
    let inspect = format!("podman inspect -f '{{{{or .Image .Id}}}}' {what}");
    let image = format!("podman image inspect -f '{{{{.Id}}}}' {what} 2>/dev/null || {inspect}");
    node.as_mcp(&image, "").ok().text().to_owned()
}

fn generations(node: &Machine) -> Vec<Value> {
    let history = node.mcp(&["history", "lone", "--json"]).ok().json();
    history["generations"].as_array().unwrap().clone()
}

#[test]
fn a_name_that_means_another_image_is_seen_and_taken_back() {
    let node = machine();
    node.spoil();
    let name = "localhost/moving:1";
    let moving = with(LONE, "localhost/lab/web:v1", name);
    tag(&node, "web:v1", name);
    node.deploy(&moving).ok();
    let (first, second) = (id(&node, "localhost/lab/web:v1"), id(&node, "localhost/lab/web:v2"));
    assert_eq!(generations(&node)[0]["components"][0]["image_id"], first);
    node.deploy(&moving).ok().says("nothing to do");

    // The unit's text is the same, and yet something is to be done.
    tag(&node, "web:v2", name);
    let plan = node.deploy_with(&moving, &["--dry-run", "--json"]).ok().json();
    assert_eq!(plan["files"], Value::Array(Vec::new()));
    assert_eq!(plan["images"][0]["after"], second, "{plan}");
    assert_eq!(plan["effects"][0]["action"], "restart");
    node.deploy(&moving).ok();
    assert_eq!(node.served("lone", "lone"), "v2");
    let status = node.mcp(&["status", "lone", "--json"]).ok().json();
    assert_eq!(status["services"][0]["components"][0]["image_id"], second);

    // A rollback gives the image, and the name means it again.
    node.mcp(&["rollback", "lone"]).ok();
    assert_eq!(node.served("lone", "lone"), "v1");
    assert_eq!((id(&node, name), generations(&node).len()), (first.clone(), 3));

    // So does the one that a failed deploy ends in.
    tag(&node, "crash:v1", name);
    node.deploy(&moving).code(1).says("generation 3 is in force again");
    assert_eq!(node.served("lone", "lone"), "v1");
    assert_eq!((id(&node, name), id(&node, "lone")), (first.clone(), first));

    // Restarted by hand with another image: it is put on record as it is.
    tag(&node, "web:v2", name);
    node.as_mcp("systemctl --user restart lone", "").ok();
    let before = node.invocations(&["lone.service"]);
    node.deploy(&moving).ok().says("nothing had to be restarted");
    assert_eq!(node.invocations(&["lone.service"]), before);
    assert_eq!(generations(&node)[0]["components"][0]["image_id"], second);
}

#[test]
fn an_image_that_is_nowhere_any_more_refuses_the_way_back() {
    let node = machine();
    node.spoil();
    let name = "localhost/moving:1";
    let moving = with(LONE, "localhost/lab/web:v1", name);
    let make = "printf 'FROM localhost/lab/web:v1\\nENV A=1\\n' | podman build -q -t \"$1\" -";
    node.as_mcp(&make.replace("$1", name), "").ok();
    node.deploy(&moving).ok();
    tag(&node, "web:v2", name);
    node.deploy(&moving).ok();
    node.as_mcp("podman image prune -f", "").ok();
    let before = node.invocations(&["lone.service"]);
    node.mcp(&["rollback", "lone"])
        .code(1)
        .says("it is no longer on this node, and no image registry has it")
        .says("podman load");
    assert_eq!(node.invocations(&["lone.service"]), before);
    assert_eq!(generations(&node).len(), 2);
}

#[test]
fn a_pull_takes_what_has_moved_and_the_way_back_pulls_by_digest() {
    let node = machine();
    node.spoil();
    let name = format!("{REGISTRY}/moved/web:1");
    let remote = with(LONE, "localhost/lab/web:v1", &name);
    push(&node, "web:v1", "moved/web:1");
    node.deploy(&remote).ok();
    let first = generations(&node)[0]["components"][0].clone();
    node.deploy_with(&remote, &["--pull"]).ok().says("nothing to do");
    assert_eq!(generations(&node).len(), 1);

    push(&node, "web:v2", "moved/web:1");
    node.deploy(&remote).ok().says("nothing to do");
    node.deploy_with(&remote, &["--pull", "--dry-run"])
        .ok()
        .says("is pulled; if it has become another image, the component is restarted");
    node.deploy_with(&remote, &["--pull"]).ok().says("generation 2");
    assert_eq!(node.served("lone", "lone"), "v2");

    // Neither the name nor the store leads to the first image any more.
    let forget = format!(
        "podman rmi -f localhost/lab/web:v1 >/dev/null; podman image prune -f >/dev/null
        ! podman image exists {}",
        first["image_id"].as_str().unwrap()
    );
    node.as_mcp(&forget, "").ok();
    node.mcp(&["rollback", "lone"]).ok().says("generation 3");
    assert_eq!(node.served("lone", "lone"), "v1");
    assert_eq!(id(&node, &name), first["image_id"].as_str().unwrap());
    assert_eq!(generations(&node)[0]["components"][0]["image_id"], first["image_id"]);

    // A version that crashes is pulled, and the one before comes back.
    push(&node, "crash:v1", "moved/web:1");
    node.deploy_with(&remote, &["--pull"]).code(1).says("generation 3 is in force again");
    assert_eq!(node.served("lone", "lone"), "v1");
    assert_eq!(id(&node, &name), first["image_id"].as_str().unwrap());
    node.mcp(&["deploy", "lone"]).ok().says("nothing to do");
}
