//! The services directory against a node, and forgotten entries.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::fixture::{Machine, machine};
use crate::wait::until;

const DIR: &str = "/srv/mcp/.config/mcp/services";

/// A service that costs little: every third one runs, the others are stopped.
fn definition(number: usize, more: &str) -> (String, String) {
    let name = format!("s{number:02}");
    let active = number.is_multiple_of(3);
    let text = format!(
        "name = \"{name}\"\nactive = {active}\n{more}\n[[components]]\nname = \"{name}\"\n\
         image = \"localhost/lab/web:v1\"\nnetwork = \"none\"\nstop_timeout = \"1s\"\n"
    );
    (name, text)
}

/// Writes definitions as the user of the agent, at once.
fn write(node: &Machine, files: &BTreeMap<String, String>) {
    let mut script = format!("mkdir -p {DIR}\n");
    for (name, text) in files {
        script.push_str(&format!("cat >{DIR}/{name}.toml <<'END'\n{text}END\n"));
    }
    node.as_mcp(&script, "").ok();
}

/// Returns the services of a sync's document in a state.
fn in_state(document: &Value, state: &str) -> BTreeSet<String> {
    let services = document["services"].as_array().unwrap().iter();
    let found = services.filter(|s| s["state"] == state);
    found.map(|s| s["service"].as_str().unwrap().to_owned()).collect()
}

fn generations(node: &Machine) -> BTreeMap<String, u64> {
    let listed = node.mcp(&["list", "--json"]).ok().json();
    let services = listed["services"].as_array().unwrap().iter();
    services
        .map(|s| (s["service"].as_str().unwrap().to_owned(), s["generation"].as_u64().unwrap()))
        .collect()
}

#[test]
fn fifty_services_become_what_the_directory_says_and_an_interrupted_sync_ends_right() {
    let node = machine();
    node.spoil();
    let mut files: BTreeMap<String, String> = (1..=50)
        .map(|n| match n {
            // 50 needs 49 until it is changed; 48 goes with 47, which needs it.
            50 => definition(n, "depends_on = [\"s49\"]"),
            47 => definition(n, "depends_on = [\"s48\"]"),
            _ => definition(n, ""),
        })
        .collect();
    write(&node, &files);
    node.mcp(&["sync"]).ok().says("50 new; 50 done, 0 failed");
    let quiet = node.mcp(&["sync", "--dry-run", "--exit-code", "--prune"]).ok();
    assert_eq!(quiet.text(), "50 unchanged");
    let running: Vec<String> =
        (1..=50).filter(|n| n % 3 == 0).map(|n| format!("s{n:02}.service")).collect();
    let running: Vec<&str> = running.iter().map(String::as_str).collect();
    let before = node.invocations(&running);

    // 10 changes, 5 new, 5 gone; one file cannot be read, one says the same
    // in other words.
    let changed: BTreeSet<String> = (1..10).chain([50]).map(|n| definition(n, "").0).collect();
    for n in 1..10 {
        let (name, text) = definition(n, "");
        files.insert(name, format!("{text}env = {{ CHANGED = \"yes\" }}\n"));
    }
    files.insert("s50".into(), format!("{}env = {{ A = \"b\" }}\n", definition(50, "").1));
    let gone: BTreeSet<String> = (45..50).map(|n| definition(n, "").0).collect();
    let new: BTreeSet<String> = (51..56).map(|n| definition(n, "").0).collect();
    for n in 51..56 {
        // Each needs the next one.
        let more = if n < 55 { format!("depends_on = [\"s{}\"]", n + 1) } else { String::new() };
        let (name, text) = definition(n, &more);
        files.insert(name, text);
    }
    files.insert("s20".into(), "name = \n".into());
    files.insert("s21".into(), format!("# words\n{}", definition(21, "").1));
    write(&node, &files);
    for name in &gone {
        node.as_mcp(&format!("rm {DIR}/{name}.toml"), "").ok();
    }
    let planned = node.mcp(&["sync", "--prune", "--dry-run", "--json"]).code(2).json();
    assert_eq!(in_state(&planned, "changed"), changed);
    assert_eq!(in_state(&planned, "new"), new);
    assert_eq!(in_state(&planned, "absent"), gone);
    assert_eq!(in_state(&planned, "kept"), ["s20".to_owned()].into());
    assert_eq!(in_state(&planned, "refused"), BTreeSet::new(), "{planned}");
    assert_eq!(in_state(&planned, "reworded"), ["s21".to_owned()].into(), "{planned}");
    assert_eq!(planned["summary"]["unchanged"], 33, "{}", planned["summary"]);
    assert_eq!(generations(&node).len(), 50);
    assert_eq!(node.invocations(&running), before);
    node.mcp(&["sync", "--prune"]).code(2).says("there is no terminal to ask on");

    // The terminal goes in the middle.
    let interrupted = node.in_background("exec mcp sync --prune --yes");
    let made = |count: usize| {
        let done = generations(&node)
            .into_iter()
            .filter(|(name, generation)| changed.contains(name) && *generation == 2);
        (done.count() >= count).then_some(())
    };
    until("some of it is done", || made(2));
    drop(interrupted);
    node.as_mcp("pkill -KILL -x mcp || true", "").ok();
    // What the agent had begun goes on, and has its service.
    until("nothing is under way", || {
        let status = node.mcp(&["status", "--json"]).ok().json();
        let services = status["services"].as_array().unwrap();
        services.iter().all(|service| service["operation"].is_null()).then_some(())
    });
    let rest = node.mcp(&["sync", "--prune", "--yes", "--json"]).code(2).json();
    assert_eq!(rest["summary"]["failed"], 0, "{rest}");
    for state in ["changed", "new", "absent"] {
        assert!(in_state(&rest, state).is_subset(&in_state(&planned, state)), "{state}: {rest}");
    }

    // What happened is what the dry run had said, and nothing twice.
    let now = generations(&node);
    let names: BTreeSet<String> = now.keys().cloned().collect();
    let wanted: BTreeSet<String> = files.keys().filter(|n| !gone.contains(*n)).cloned().collect();
    assert_eq!(names, wanted);
    for (name, generation) in &now {
        assert_eq!(*generation, if changed.contains(name) { 2 } else { 1 }, "{name}");
    }
    let planned_restarts: BTreeSet<String> = planned["services"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|s| s["effects"].as_array().unwrap())
        .filter(|e| e["action"] == "restart")
        .map(|e| e["unit"].as_str().unwrap().to_owned())
        .collect();
    let after = node.invocations(&running);
    let restarted: BTreeSet<String> = before
        .iter()
        .zip(after)
        .filter(|((unit, old), (_, new))| {
            !gone.contains(unit.trim_end_matches(".service")) && old != new
        })
        .map(|((unit, _), _)| unit.clone())
        .collect();
    assert_eq!(restarted, planned_restarts);
    node.mcp(&["service", "show", "s21"]).ok().says("# words");
    files.remove("s20");
    node.as_mcp(&format!("rm {DIR}/s20.toml"), "").ok();
    node.mcp(&["sync", "--dry-run", "--exit-code"]).ok().says("1 absent");
    node.mcp(&["sync", "--dry-run", "--exit-code", "--prune"]).code(5).says("undeploy");
}

#[test]
fn only_what_nobody_defines_and_what_is_gone_is_purged() {
    let node = machine();
    node.spoil();
    let service = |name: &str, more: &str| {
        format!(
            "name = \"{name}\"\n{more}\n[[components]]\nname = \"{name}\"\n\
             image = \"localhost/lab/web:v1\"\nnetwork = \"none\"\nstop_timeout = \"1s\"\n"
        )
    };
    for name in ["runs", "stopped", "ended", "defined", "needed", "base"] {
        node.deploy(&service(name, "")).ok();
    }
    node.deploy(&service("needing", "depends_on = [\"needed\"]")).ok();
    // Stopping the first would stop the second as well.
    node.deploy(&service("based", "depends_on = [\"base\"]")).ok();
    write(&node, &[("defined".to_owned(), service("defined", ""))].into());
    node.mcp(&["stop", "stopped"]).ok();
    for unit in ["ended", "defined", "needed", "base"] {
        node.as_mcp(&format!("systemctl --user stop {unit}.service"), "").ok();
    }
    let kept = |document: &Value| -> BTreeMap<String, bool> {
        let entries = document["entries"].as_array().unwrap().iter();
        entries
            .map(|e| (e["service"].as_str().unwrap().to_owned(), e["purged"] == Value::Bool(true)))
            .collect()
    };
    let planned = node.mcp(&["purge", "--dry-run", "--json"]).ok().json();
    let purged: Vec<String> =
        kept(&planned).into_iter().filter(|(_, gone)| *gone).map(|(name, _)| name).collect();
    assert_eq!(purged, ["base", "based", "ended", "needed", "needing"], "{planned}");
    assert_eq!(generations(&node).len(), 8);
    // What something defined needs stays.
    write(&node, &[("needing".to_owned(), service("needing", "depends_on = [\"needed\"]"))].into());
    node.mcp(&["purge"])
        .ok()
        .says("it is running")
        .says("it was stopped")
        .says("it is defined")
        .says("needing depends on needed");
    let left: Vec<String> = generations(&node).into_keys().collect();
    assert_eq!(left, ["defined", "needed", "needing", "runs", "stopped"]);
    node.as_mcp("test ! -e ~/.config/containers/systemd/mcp/ended", "").ok();
    node.mcp(&["purge", "nosuch"]).code(1).says("no node has a service called nosuch");
}

#[test]
fn what_the_dry_run_refuses_the_sync_refuses() {
    let node = machine();
    let (name, text) = definition(3, "");
    write(&node, &BTreeMap::from([(name, text.replace("web:v1", "nowhere:v1"))]));
    for more in [&["sync", "--dry-run"][..], &["sync"], &["deploy", "s03", "--dry-run"]] {
        let told = node.mcp(more).code(1);
        told.says("the image localhost/lab/nowhere:v1 is not in this node's store");
    }
    assert_eq!(generations(&node), BTreeMap::new());
    node.as_mcp(&format!("rm {DIR}/s03.toml"), "").ok();
}

#[test]
fn a_stop_a_start_and_an_export_leave_nothing_to_sync() {
    let node = machine();
    let (name, text) = definition(3, "");
    write(&node, &BTreeMap::from([(name, text.replace("active = true\n", ""))]));
    node.mcp(&["sync"]).ok().says("1 new");
    let unchanged = |after: &str| {
        let told = node.mcp(&["sync", "--dry-run", "--exit-code"]);
        assert_eq!((told.code, told.text()), (0, "1 unchanged"), "after {after}: {told:?}");
    };
    node.mcp(&["stop", "s03"]).ok();
    unchanged("a stop");
    node.mcp(&["service", "export", "s03", "--force"]).ok();
    unchanged("an export of what is stopped");
    node.mcp(&["start", "s03"]).ok();
    unchanged("a start");
    node.as_mcp(&format!("rm {DIR}/s03.toml"), "").ok();
}
