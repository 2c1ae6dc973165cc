//! A deploy that fails puts back what ran, and says why it failed.

use serde_json::Value;

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with, with_component};
use crate::fixture::{Machine, machine};
use crate::observed::Invocations;
use crate::wait::until;

/// Everything that a failed deploy has to bring back.
struct Before {
    generation: Option<u64>,
    files: String,
    invocations: Invocations,
    leases: String,
}

impl Before {
    fn of(node: &Machine) -> Self {
        Self {
            generation: node.generation("pair"),
            files: node.unit_files(),
            invocations: node.invocations(&PAIR_UNITS),
            leases: node.sql("SELECT * FROM leases ORDER BY port"),
        }
    }

    /// Demands that all is as it was; `same` are the units that must not even
    /// have been restarted.
    #[track_caller]
    fn is_back(&self, node: &Machine, same: &[&str]) {
        let now = Self::of(node);
        assert_eq!(now.generation, self.generation);
        assert_eq!(now.files, self.files);
        assert_eq!(now.leases, self.leases);
        for (was, is) in self.invocations.iter().zip(&now.invocations) {
            if same.contains(&was.0.as_str()) {
                assert_eq!(is, was);
            }
        }
        assert_eq!(node.states(&PAIR_UNITS), ["active", "active"]);
        assert_eq!(node.served("pair", "api"), "v1");
        assert_eq!(node.served("pair", "front"), "v1");
        assert_eq!(node.sql("SELECT count(*) FROM operations WHERE outcome IS NULL"), "0");
        node.mcp(&["deploy", "pair"]).ok().says("nothing to do");
    }
}

/// Deploys what must fail, and returns the one failure.
#[track_caller]
fn failure(node: &Machine, definition: &str) -> Value {
    let told = node.deploy_with(definition, &["--json"]).code(1).json();
    assert_eq!(told["outcome"], "rolled_back", "{told}");
    assert_eq!(told["generation"], 1, "{told}");
    let failures = told["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{told}");
    failures[0].clone()
}

#[track_caller]
fn says(failure: &Value, key: &str, text: &str) {
    assert!(failure[key].to_string().contains(text), "no {text:?} in {key}: {failure}");
}

#[test]
fn a_component_that_crashes_gives_way_to_the_generation_before() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = Before::of(&node);
    let crash = with_component(PAIR, "api", &[("image", "\"localhost/lab/crash:v1\"")]);

    let failure = failure(&node, &crash);
    says(&failure, "component", "api");
    says(&failure, "unit", "pair-api.service");
    says(&failure, "result", "exit-code");
    says(&failure, "explanation", "it ended with exit status 1");
    says(&failure, "journal", "exit with 1");
    before.is_back(&node, &PAIR_UNITS[1..]);
}

#[test]
fn a_component_that_never_gets_ready_gives_way_to_the_generation_before() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = Before::of(&node);
    // One is asked by the agent's probe, the other by podman.
    let keys = |check: &str| {
        format!(
            "{{ {check}, start_period = \"2s\", interval = \"2s\", timeout = \"1s\", retries = 1 }}"
        )
    };
    let sick = |component: &str, check: &str| {
        let health = keys(check);
        let keys = [("image", "\"localhost/lab/web:bad\""), ("health", health.as_str())];
        with_component(PAIR, component, &keys)
    };

    let told = failure(&node, &sick("api", "http = \"/health\""));
    says(&told, "explanation", "its health check did not succeed");
    says(&told, "journal", "404");
    before.is_back(&node, &PAIR_UNITS[1..]);

    let before = Before::of(&node);
    let told = failure(&node, &sick("front", "cmd = [\"/bin/health\"]"));
    says(&told, "component", "front");
    says(&told, "explanation", "its health check did not succeed");
    says(&told, "journal", "version=bad");
    before.is_back(&node, &PAIR_UNITS[..1]);
}

#[test]
fn a_service_is_never_left_between_two_generations() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = Before::of(&node);
    // The api comes up in its new version; then the front fails.
    let half = with_component(PAIR, "api", &[("image", "\"localhost/lab/web:v2\"")]);
    let half = with_component(&half, "front", &[("image", "\"localhost/lab/crash:v1\"")]);

    says(&failure(&node, &half), "component", "front");
    before.is_back(&node, &[]);
}

#[test]
fn a_missing_image_is_noticed_before_anything_is_touched() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = Before::of(&node);
    let missing = with_component(PAIR, "api", &[("image", "\"localhost/lab/web:v9\"")]);
    let missing = with(&missing, "round", "square");

    // The dry run says what then happens.
    for more in [&["--dry-run"][..], &[]] {
        let told = node.deploy_with(&missing, more).code(1);
        told.says("component api: the image localhost/lab/web:v9 is not in this node's store");
    }
    before.is_back(&node, &PAIR_UNITS);
}

#[test]
fn a_directory_that_is_missing_is_told_with_its_mend() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = Before::of(&node);
    let nowhere = with(PAIR, "data:/data", "/srv/nowhere:/data");
    node.deploy(&nowhere).code(1).says("sudo install -d -o mcp -g mcp /srv/nowhere");
    before.is_back(&node, &PAIR_UNITS);
}

#[test]
fn a_first_deploy_that_fails_leaves_nothing() {
    let node = machine();
    let all = |node: &Machine| {
        (node.unit_files(), node.podman_things(), node.sql("SELECT * FROM leases"))
    };
    let before = all(&node);
    let crash = with_component(LONE, "lone", &[("image", "\"localhost/lab/crash:v1\"")]);

    node.deploy(&crash)
        .code(1)
        .says("nothing of it is left on the node")
        .says("it ended with exit status 1")
        .says("| exit with 1");
    assert_eq!(all(&node), before);
    assert_eq!(node.generation("lone"), None);
    // As the hint of the failed deploy says.
    node.until_logged(&["logs", "lone/lone"], &["exit with 1"]);
    node.mcp(&["list"]).ok().does_not_say("lone");
    node.deploy(LONE).ok();
}

#[test]
fn what_is_tried_touches_no_file_that_a_boot_reads() {
    let node = machine();
    node.deploy(PAIR).ok();
    // A person's drop-in belongs to what is tried as well.
    let drop_in = "/srv/mcp/.config/containers/systemd/mcp/pair/pair-api.container.d/mine.conf";
    node.write_as_mcp(drop_in, "[Container]\nEnvironment=MINE=1\n");
    node.as_mcp("systemctl --user daemon-reload", "").ok();
    let before = Before::of(&node);
    let health = "{ http = \"/health\", start_period = \"40s\", interval = \"2s\", timeout = \"1s\", retries = 1 }";
    let keys = [("image", "\"localhost/lab/web:bad\""), ("health", health)];
    node.write_as_mcp("/tmp/cut.toml", &with_component(PAIR, "api", &keys));
    let started = std::time::Instant::now();
    let deploy = node.in_background("exec mcp -q deploy pair -f /tmp/cut.toml 2>/dev/null");
    until("it is being tried", || (node.states(&PAIR_UNITS[..1]) == ["activating"]).then_some(()));
    let source = node.property(PAIR_UNITS[0], "SourcePath");
    assert_eq!(source, "/run/user/850/containers/systemd/mcp/pair/pair-api.container");
    let text = node.as_mcp("systemctl --user cat pair-api", "").ok();
    text.says("--env MINE=1").says("localhost/lab/web:bad");
    assert_eq!(node.unit_files(), before.files);
    let status = node.mcp(&["status", "pair", "--json"]).ok().json();
    assert_eq!(status["services"][0]["operation"], "deploy");
    assert_eq!(deploy.end(), 1);
    // The start may take 30 s, and the check as long as the definition says;
    // the rest is stopping one and starting the other, on a slow machine.
    let told = started.elapsed();
    assert!(told < std::time::Duration::from_secs(300), "{told:?}");
    let source = node.property(PAIR_UNITS[0], "SourcePath");
    assert_eq!(source, "/srv/mcp/.config/containers/systemd/mcp/pair/pair-api.container");
    assert_eq!(node.property(PAIR_UNITS[0], "NeedDaemonReload"), "no");
    before.is_back(&node, &PAIR_UNITS[1..]);
    node.as_mcp(&format!("rm -r \"$(dirname {drop_in})\""), "").ok();
}
