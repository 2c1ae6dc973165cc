//! Forgetting what nobody defines and what is not there any more.

use serde_json::Value;

use crate::definitions::LONE;
use crate::fixture::{Machine, machine};
use crate::wait::until;

/// A service of one container that is not checked.
fn service(name: &str, image: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\n{more}\n[[components]]\nname = \"{name}\"\nimage = \"localhost/lab/{image}\"\nvolumes = [\"data:/data\"]\nrestart = \"no\"\n"
    )
}

fn define(node: &Machine, name: &str, text: &str) {
    node.write_as_mcp(&format!("/srv/mcp/.config/mcp/services/{name}.toml"), text);
}

fn forget(node: &Machine, name: &str) {
    node.as_mcp(&format!("rm /srv/mcp/.config/mcp/services/{name}.toml"), "").ok();
}

fn state(node: &Machine, name: &str) -> String {
    let ps = node.mcp(&["ps", name, "--json"]).ok().json();
    ps["components"][0]["state"].as_str().unwrap().to_owned()
}

/// Deploys, and waits for a state.
fn deploy_until(node: &Machine, text: &str, name: &str, wanted: &str) {
    // One that fails at once has been deployed all the same.
    node.deploy(text);
    until(&format!("{name} is {wanted}"), || (state(node, name) == wanted).then_some(()));
}

/// What a purge says of each service: whether it goes, and why.
fn purge(node: &Machine, args: &[&str]) -> Vec<(String, bool, String)> {
    let all = [&["purge", "--json"][..], args].concat();
    let answer = node.mcp(&all).ok().json();
    assert_eq!(answer["problems"], Value::Array(Vec::new()));
    let entry = |e: &Value| {
        let text = |key: &str| e[key].as_str().unwrap().to_owned();
        (text("service"), e["purged"].as_bool().unwrap(), text("reason"))
    };
    answer["entries"].as_array().unwrap().iter().map(entry).collect()
}

fn listed(node: &Machine) -> Vec<String> {
    let list = node.mcp(&["list", "--json"]).ok().json();
    let all = list["services"].as_array().unwrap().iter();
    all.map(|s| s["service"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn only_what_is_neither_defined_nor_there_is_forgotten() {
    let node = machine();
    node.spoil();
    // Defined: it stays, whatever became of it.
    let defined = service("defined", "job:v1", "");
    define(&node, "defined", &defined);
    deploy_until(&node, &defined, "defined", "stopped");
    // Nobody defines the others. It runs; somebody stopped it; it ended;
    // it failed; its container is gone from the node.
    node.deploy(LONE).ok();
    node.deploy(&service("halted", "web:v1", "")).ok();
    node.mcp(&["stop", "halted"]).ok();
    deploy_until(&node, &service("ended", "job:v1", ""), "ended", "stopped");
    node.deploy(&service("broken", "web:v1", "")).ok();
    node.as_mcp("podman kill broken", "").ok();
    until("it failed", || (state(&node, "broken") == "failed").then_some(()));
    node.deploy(&service("gone", "web:v1", "")).ok();
    node.as_mcp(
        "systemctl --user stop gone.service; rm -r ~/.config/containers/systemd/mcp/gone
        systemctl --user daemon-reload",
        "",
    )
    .ok();
    until("it is missing", || (state(&node, "gone") == "missing").then_some(()));

    let before = (listed(&node), node.unit_files(), node.podman_things());
    let run = node.invocations(&["lone.service"]);
    let told = purge(&node, &["--dry-run"]);
    let went: Vec<_> = told.iter().filter(|t| t.1).map(|t| t.0.as_str()).collect();
    assert_eq!(went, ["broken", "ended", "gone"], "{told:?}");
    let why = |name: &str| told.iter().find(|t| t.0 == name).unwrap().2.clone();
    assert!(why("defined").contains("defined"), "{told:?}");
    assert!(why("lone").contains("running"), "{told:?}");
    assert!(why("halted").contains("stopped"), "{told:?}");
    assert_eq!((listed(&node), node.unit_files(), node.podman_things()), before);
    node.mcp(&["purge", "--dry-run"]).ok().says("would go").does_not_say("removed");

    // One of them alone, then the rest; what is told is what was told before.
    node.mcp(&["purge", "nothing"]).code(1).says("nothing");
    node.mcp(&["purge", "lone"]).ok().says("stays");
    node.mcp(&["purge", "ended/ended"]).ok().says("removed");
    assert!(!listed(&node).contains(&"ended".to_owned()));
    assert_eq!(purge(&node, &[]), told.into_iter().filter(|t| t.0 != "ended").collect::<Vec<_>>());
    assert_eq!(listed(&node), ["defined", "halted", "lone"]);
    assert_eq!(node.invocations(&["lone.service"]), run);
    // Nothing of them is left but their data.
    let files = node.unit_files();
    let things = node.podman_things();
    for name in ["ended", "broken", "gone"] {
        assert!(!files.contains(&format!("{name}.container")), "{files}");
        assert!(things.contains(&format!("{name}-data")), "{things}");
    }
    let status = node.mcp(&["status", "--json"]).ok().json();
    assert_eq!(status["drifts"], Value::Array(Vec::new()));
    // Again, there is nothing to do, and it can all be had back.
    assert!(purge(&node, &[]).iter().all(|told| !told.1));
    node.mcp(&["start", "halted"]).ok();
    deploy_until(&node, &service("gone", "web:v1", ""), "gone", "running");

    // A definition that goes takes its service with it: it had ended.
    forget(&node, "defined");
    node.mcp(&["purge"]).ok();
    assert!(!listed(&node).contains(&"defined".to_owned()));
}

#[test]
fn what_may_be_defined_needed_or_in_use_stays() {
    let node = machine();
    node.spoil();
    let ended = service("ended", "job:v1", "");
    deploy_until(&node, &ended, "ended", "stopped");
    node.deploy(&service("broken", "web:v1", "")).ok();
    node.as_mcp("podman kill broken", "").ok();
    until("it failed", || (state(&node, "broken") == "failed").then_some(()));

    // Without the directory nobody knows what is defined.
    node.mcp(&["purge"]).code(2).says("no services directory");
    // A file that cannot be read may be the definition.
    define(&node, "ended", "name = nonsense");
    define(&node, "broken", "name = \"broken\"\ncomponents = 3");
    node.mcp(&["purge"]).ok().says("it is defined").does_not_say("removed");
    define(&node, "Any One", "\0");
    node.mcp(&["purge"]).code(2).says("nobody can tell");
    for file in ["ended", "broken", "\"Any One\""] {
        node.as_mcp(&format!("rm /srv/mcp/.config/mcp/services/{file}.toml"), "").ok();
    }

    // What stays needs it.
    let needs = service("needs", "web:v1", "depends_on = [\"base\"]");
    define(&node, "needs", &needs);
    node.deploy(&service("base", "web:v1", "")).ok();
    node.deploy(&needs).ok();
    node.as_mcp("podman kill base", "").ok();
    until("it failed", || (state(&node, "base") == "failed").then_some(()));
    let told = purge(&node, &["base"]);
    assert!(!told[0].1 && told[0].2.contains("needs"), "{told:?}");
    // Both go together once nobody defines either.
    forget(&node, "needs");
    node.as_mcp("podman kill needs || true", "").ok();
    until("it is down", || {
        matches!(state(&node, "needs").as_str(), "failed" | "stopped").then_some(())
    });
    let told = purge(&node, &["--dry-run"]);
    assert!(told.iter().all(|t| t.1), "{told:?}");

    // Somebody works in a container of its own, with its data.
    let client = node
        .in_background("exec mcp run --rm --entrypoint sh broken/broken -- -c 'sleep 7001; true'");
    let runs = || node.as_root("pgrep -f '^sleep 7001'").code == 0;
    until("the one-off runs", || runs().then_some(()));
    let told = purge(&node, &[]);
    assert!(told.iter().any(|t| t.0 == "broken" && !t.1 && t.2.contains("mcp run")), "{told:?}");
    assert_eq!(listed(&node), ["broken"], "{told:?}");
    assert!(runs());
    node.as_root("pkill -f '^sleep 7001'").ok();
    client.end();
    until("it goes", || {
        node.mcp(&["purge"]).ok();
        listed(&node).is_empty().then_some(())
    });
}
