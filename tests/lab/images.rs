//! Images from a registry that hands out tokens.

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with, with_component};
use crate::fixture::{Machine, lab_command, machine};
use crate::wait::until;

/// An image registry that hands out tokens.
pub const REGISTRY: &str = "registry.lab:5002";

/// Logs the user of the agent in there.
pub fn log_in(node: &Machine, name: &str, password: &str) -> i32 {
    let command = format!("podman login -u {name} --password-stdin {REGISTRY}");
    node.as_mcp(&command, password).code
}

/// Forgets what was pulled or logged into.
pub fn forget(node: &Machine) {
    node.as_mcp(
        "podman logout --all >/dev/null
        for i in $(podman images -q --filter 'reference=registry.lab:5002/lab/*' | sort -u); do
            podman images --format '{{.Repository}}:{{.Tag}}' --filter id=$i; done |
            grep ^registry | xargs -r podman rmi >/dev/null",
        "",
    )
    .ok();
}

#[test]
fn an_image_is_pulled_with_the_credentials_of_podman_login() {
    let node = machine();
    forget(&node);
    assert_ne!(log_in(&node, "reader", "wrong"), 0);
    assert_eq!(log_in(&node, "reader", "reader"), 0);
    let remote = with(LONE, "localhost", REGISTRY);
    let done = node.deploy_with(&remote, &["--json"]).ok().json();
    let steps: Vec<&str> =
        done["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    let place = |name| steps.iter().position(|s| *s == name).unwrap();
    assert!(place("pull") < place("start"), "{steps:?}");
    assert_eq!(node.served("lone", "lone"), "v1");

    // By digest, too.
    let digest = node
        .as_mcp(&format!("podman image inspect -f '{{{{.Digest}}}}' {REGISTRY}/lab/web:v1"), "");
    let by_digest = with(&remote, "web:v1", &format!("web@{}", digest.ok().text()));
    node.deploy(&by_digest).ok();
    assert_eq!(node.served("lone", "lone"), "v1");
    // Whatever is pulled is not pulled again.
    node.deploy(&by_digest).ok().says("nothing to do");
    node.mcp(&["undeploy", "lone"]).ok();
    forget(&node);
}

#[test]
fn a_pull_that_fails_leaves_everything_running() {
    let node = machine();
    forget(&node);
    node.deploy(PAIR).ok();
    let before = (node.invocations(&PAIR_UNITS), node.unit_files());
    let image = |image: &str| {
        let changed = with(PAIR, "red", "blue");
        with_component(&changed, "front", &[("image", &format!("\"{REGISTRY}/lab/{image}\""))])
    };
    let untouched = |node: &Machine| {
        assert_eq!((node.invocations(&PAIR_UNITS), node.unit_files()), before);
        assert_eq!(node.generation("pair"), Some(1));
    };

    node.deploy(&image("web:v2"))
        .code(1)
        .says(&format!("the image {REGISTRY}/lab/web:v2 cannot be pulled"))
        .says("denied");
    untouched(&node);
    assert_eq!(log_in(&node, "reader", "reader"), 0);
    // What the pull before said is none of this one's words.
    node.deploy(&image("web:v9"))
        .code(1)
        .says("cannot be pulled")
        .says("manifest unknown")
        .does_not_say("denied");
    untouched(&node);

    node.deploy(&image("web:v2")).ok();
    assert_eq!(node.served("pair", "front"), "v2");
    node.mcp(&["undeploy", "pair"]).ok();
    forget(&node);
}

#[test]
fn what_a_pull_said_is_told_though_journald_reads_it_when_podman_is_gone() {
    let node = machine();
    forget(&node);
    let freeze = |signal: &str| node.as_root(&format!("pkill -{signal} -x systemd-journal")).ok();
    node.write_as_mcp("/tmp/late.toml", &with(LONE, "localhost", REGISTRY));
    freeze("STOP");
    let deploy = node.in_background("mcp deploy lone -f /tmp/late.toml >/tmp/late.out 2>&1");
    until("the pull has failed", || {
        let state = "systemctl --user is-failed lone-image.service || true";
        (node.as_mcp(state, "").text() == "failed").then_some(())
    });
    freeze("CONT");
    assert_eq!(deploy.end(), 1);
    let told = node.as_mcp("cat /tmp/late.out", "").ok().out;
    let place = |text: &str| told.rfind(text).unwrap_or_else(|| panic!("no {text:?} in {told}"));
    assert!(place("Starting lone-image.service") < place("is denied"), "{told}");
    node.mcp(&["explain", "lone"]).code(1).says("is denied");
    forget(&node);
}

#[test]
fn an_image_is_there_before_anything_is_stopped() {
    let node = machine();
    forget(&node);
    assert_eq!(log_in(&node, "reader", "reader"), 0);
    node.deploy(LONE).ok();
    let before = node.invocations(&["lone.service"]);
    let remote = with(&with(LONE, "localhost", REGISTRY), "web:v1", "web:v2");
    node.write_as_mcp("/tmp/remote.toml", &remote);

    // The registry does not answer for a while.
    lab_command(&["partition", node.name(), "registry"]).ok();
    let deploy = node.in_background("exec mcp -q deploy lone -f /tmp/remote.toml");
    until("the pull has begun", || {
        let state = "systemctl --user is-active lone-image.service || true";
        (node.as_mcp(state, "").text() == "activating").then_some(())
    });
    let status = node.mcp(&["status", "lone", "--json"]).ok().json();
    assert_eq!(status["services"][0]["operation"], "deploy");
    node.deploy(LONE).code(1).says("a deploy of lone is under way");
    assert_eq!(node.invocations(&["lone.service"]), before);
    assert_eq!(node.served("lone", "lone"), "v1");
    lab_command(&["heal", node.name(), "registry"]).ok();

    assert_eq!(deploy.end(), 0);
    assert_ne!(node.invocations(&["lone.service"]), before);
    assert_eq!(node.served("lone", "lone"), "v2");
    node.mcp(&["undeploy", "lone"]).ok();
    forget(&node);
}
