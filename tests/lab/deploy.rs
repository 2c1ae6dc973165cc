//! What a deploy changes, and what it leaves alone.

use crate::definitions::{LONE, PAIR, PAIR_UNITS, with};
use crate::fixture::machine;

#[test]
fn a_deploy_with_nothing_to_do_touches_nothing() {
    let node = machine();
    node.deploy(PAIR).ok().says("generation 1");
    let before = (node.invocations(&PAIR_UNITS), node.unit_files());

    let again = node.deploy_with(PAIR, &["--json"]).ok().json();
    assert_eq!(again["outcome"], "unchanged");
    assert_eq!(again["generation"], 1);
    assert_eq!(again["changed"], serde_json::json!([]));
    assert_eq!((node.invocations(&PAIR_UNITS), node.unit_files()), before);

    // Without a file the definition that the node has is deployed.
    node.mcp(&["deploy", "pair"]).ok().says("nothing to do");
}

#[test]
fn a_change_restarts_only_the_component_that_it_touches() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = node.invocations(&PAIR_UNITS);
    let data = node.as_mcp("podman exec pair-api sh -c 'echo kept >/data/file'", "");
    data.ok();

    let changed = node.deploy_with(&with(PAIR, "red", "blue"), &["--json"]).ok().json();
    assert_eq!(changed["outcome"], "done");
    assert_eq!(changed["generation"], 2);
    assert_eq!(changed["changed"], serde_json::json!(["api"]));
    let after = node.invocations(&PAIR_UNITS);
    assert_ne!(after[0], before[0], "the api has a new environment");
    assert_eq!(after[1], before[1], "the front requires the api, and yet goes on");
    let env = node.get(node.port("pair", "api"), "/env").unwrap();
    assert!(env.contains("COLOUR=blue"), "{env}");
    let data = node.as_mcp("podman exec pair-api cat /data/file", "").ok();
    assert_eq!(data.text(), "kept");
}

#[test]
fn what_systemd_alone_must_know_restarts_nothing() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = node.invocations(&PAIR_UNITS);
    let patient = with(PAIR, "name = \"api\"", "name = \"api\"\nrestart = \"on-failure\"");

    node.deploy(&patient).ok().says("generation 2").says("nothing had to be restarted");
    assert_eq!(node.invocations(&PAIR_UNITS), before);
    assert_eq!(node.property("pair-api.service", "Restart"), "on-failure");
}

#[test]
fn a_component_deploy_leaves_its_siblings_alone() {
    let node = machine();
    let both = with(&with(PAIR, "red", "blue"), "round", "square");
    node.deploy_part("pair/api", PAIR, &[]).code(1).says("deploy all of it first");
    node.deploy(PAIR).ok();
    let before = (node.invocations(&PAIR_UNITS), node.unit_files());

    node.deploy_part("pair/front", &both, &[]).ok().says("changed front");
    let after = node.invocations(&PAIR_UNITS);
    assert_eq!(after[0], before.0[0]);
    assert_ne!(after[1], before.0[1]);
    let file = |files: &str| {
        files.lines().find(|line| line.ends_with("/pair-api.container")).unwrap().to_owned()
    };
    assert_eq!(file(&node.unit_files()), file(&before.1));

    // What is in force is the old api with the new front, and stays so.
    let shown = node.mcp(&["service", "show", "pair"]).ok();
    shown.says("red").says("square").does_not_say("blue");
    node.mcp(&["deploy", "pair"]).ok().says("nothing to do");
    node.deploy_part("pair/none", &both, &[]).code(2).says("it has api, front");
}

#[test]
fn a_dry_run_tells_everything_and_changes_nothing() {
    let node = machine();
    node.deploy(PAIR).ok();
    let before = (node.invocations(&PAIR_UNITS), node.unit_files(), node.sql(".dump services"));
    let next = with(&with(PAIR, "red", "blue"), "round", "square $X %n");

    node.deploy_with(&next, &["--dry-run"])
        .ok()
        .says("-Environment=COLOUR=red")
        .says("+Environment=COLOUR=blue")
        .says("+Environment=\"SHAPE=square $$X %%n\"")
        .says("--env=SHAPE=square $X %n")
        .says("restart       pair-api.service    changed: Environment")
        .says("restart       pair-front.service  changed: Environment");
    let plan = node.deploy_with(&next, &["--dry-run", "--json"]).ok().json();
    assert_eq!(plan["current_generation"], 1);
    assert_eq!(plan["generation"], 2);
    let units: Vec<&str> =
        plan["effects"].as_array().unwrap().iter().map(|e| e["unit"].as_str().unwrap()).collect();
    assert_eq!(units, PAIR_UNITS);

    assert_eq!(node.invocations(&PAIR_UNITS), before.0);
    assert_eq!(node.unit_files(), before.1);
    assert_eq!(node.sql(".dump services"), before.2);

    // Exactly what was announced happens.
    let done = node.deploy_with(&next, &["--json"]).ok().json();
    assert_eq!(done["changed"], serde_json::json!(["api", "front"]));
}

#[test]
fn a_component_that_is_taken_out_is_stopped_and_its_files_go() {
    let node = machine();
    node.deploy(PAIR).ok();
    let api = node.invocations(&PAIR_UNITS[..1]);
    let (alone, _) = PAIR.split_once("\n[[components]]\nname = \"front\"").unwrap();

    node.deploy(alone).ok().says("changed front");
    assert_eq!(node.states(&PAIR_UNITS), ["active", "inactive"]);
    assert_eq!(node.invocations(&PAIR_UNITS[..1]), api);
    assert!(!node.unit_files().contains("front"));
    assert!(!node.podman_things().contains("pair-front"));
    node.mcp(&["ps", "pair"]).ok().says("api").does_not_say("front");
}

#[test]
fn a_service_that_is_deployed_inactive_does_not_run() {
    let node = machine();
    let asleep = with(PAIR, "comment", "active = false\ncomment");
    node.deploy(&asleep).ok();
    assert_eq!(node.states(&PAIR_UNITS), ["inactive", "inactive"]);
    node.mcp(&["start", "pair"]).ok();
    assert_eq!(node.states(&PAIR_UNITS), ["active", "active"]);
    node.deploy(&asleep).ok();
    assert_eq!(node.states(&PAIR_UNITS), ["inactive", "inactive"]);
}

#[test]
fn the_agents_own_confinement_is_not_that_of_containers() {
    let node = machine();
    // Without podman's pause process the next podman makes one, and with it
    // the namespaces of every container to come.
    let data = "volumes = [\"/srv/mcq:/data\"]\nhealth = { cmd";
    let service = with(PAIR, "health = { cmd", data);
    for _ in 0..5 {
        node.as_mcp("pkill -KILL -u mcp -x catatonit || true", "").ok();
        node.deploy(&service).ok();
        node.as_mcp("podman exec pair-front sh -c 'echo x >/data/x'", "").ok();
        node.mcp(&["undeploy", "pair"]).ok();
    }
}

#[test]
fn a_service_called_like_the_beginning_of_a_containers_id_leaves_that_container_alone() {
    let node = machine();
    // Some other container whose ID begins with b: one of sixteen has.
    let script = "for i in $(seq 200); do
        id=$(podman create --network=none --name other$i localhost/lab/web:v1)
        case $id in b*) echo other$i; exit;; esac; done; exit 1";
    let other = node.as_mcp(script, "").ok();
    node.deploy(&with(LONE, "lone", "b")).ok();
    assert_eq!(node.states(&["b-b.service"]), ["active"]);
    node.as_mcp(&format!("podman container exists {}", other.text()), "").ok();
    node.as_mcp("podman rm -f $(podman ps -aq --filter name=^other) >/dev/null", "").ok();
}
