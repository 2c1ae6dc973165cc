//! What can be said of the NixOS modules without NixOS: they parse, they
//! configure what they should, and the document of their options is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `nix-instantiate`, which needs no store to parse and evaluate.
fn nix(args: &[&str]) -> String {
    let mut command = Command::new("nix-instantiate");
    command.env("NIX_REMOTE", "dummy://").env_remove("NIX_PATH").current_dir(root()).args(args);
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("nix-instantiate: {e}; on Debian: apt-get install nix-bin"));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn evaluate(what: &str) -> Value {
    let args = ["--eval", "--strict", "--json", "tests/nix/eval.nix", "-A", what];
    serde_json::from_str(&nix(&args)).unwrap()
}

fn nix_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(nix_files(&path));
        } else if path.extension().is_some_and(|e| e == "nix") {
            found.push(path);
        }
    }
    found
}

/// What stands in a service's configuration where the file's path would be.
fn configuration(config: &Value) -> Value {
    let start = &config["systemd"]["services"]["mcp-agent"]["serviceConfig"]["ExecStart"];
    let (_, file) = start.as_str().unwrap().split_once(" server --config ").unwrap();
    serde_json::from_str(file).unwrap()
}

/// The paths of all keys of a table, without the numbers of lists.
fn keys(prefix: &str, value: &toml::Value, found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, inner) in table {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                keys(&path, inner, found);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            for item in items {
                keys(prefix, item, found);
            }
        }
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_) => drop(found.insert(prefix.to_owned())),
    }
}

#[test]
fn every_nix_file_parses() {
    let files: Vec<PathBuf> =
        ["deploy/nixos", "tests/nix"].iter().flat_map(|f| nix_files(&root().join(f))).collect();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        nix(&["--parse", file.to_str().unwrap()]);
    }
}

#[test]
fn the_configuration_that_a_module_writes_is_accepted_whole() {
    let environment = mcp::agent::environment::Environment {
        uid: 850,
        system: true,
        host_name: "node".to_owned(),
        ..Default::default()
    };
    let accepted = |config: &Value| {
        let table: toml::Value = serde_json::from_value(configuration(config)).unwrap();
        let text = toml::to_string(&table).unwrap();
        let file = Path::new("/etc/mcp-agent.toml");
        mcp::agent::config::parse(&text, file, &environment)
            .unwrap_or_else(|e| panic!("{e}{text}"));
        table
    };
    let full = accepted(&evaluate("full"));
    assert_eq!(accepted(&evaluate("plain")), toml::Value::Table(toml::Table::new()));

    // Every key that the agent has can be set, and the test sets it.
    let mut set = BTreeSet::new();
    keys("", &full, &mut set);
    let mut known = BTreeSet::new();
    let document = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let shown = document.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    keys("", &toml::from_str(shown).unwrap(), &mut known);
    known.extend(["backup.dir", "backup.keep"].map(str::to_owned));
    assert_eq!(set, known);
}

#[test]
fn the_agents_service_is_that_of_the_debian_package() {
    let full = evaluate("full");
    let services = &full["systemd"]["services"];
    for (unit, name) in [
        ("deploy/debian/mcp-agent.service", "mcp-agent"),
        ("deploy/debian/mcp-agent-snapshot.service", "mcp-agent-snapshot"),
    ] {
        let text = std::fs::read_to_string(root().join(unit)).unwrap();
        let section = text.split("[Service]\n").nth(1).unwrap().split("\n[").next().unwrap();
        let debian: BTreeMap<&str, String> = section
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .filter(|(key, _)| !key.starts_with("Exec") && *key != "Environment")
            .map(|(key, value)| (key, value.to_owned()))
            .collect();
        let nixos: BTreeMap<&str, String> = services[name]["serviceConfig"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| !key.starts_with("Exec"))
            .map(|(key, value)| {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
                    Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                        value.to_string()
                    }
                };
                (key.as_str(), text)
            })
            .collect();
        assert_eq!(nixos, debian, "{unit}");
    }
}

#[test]
fn what_a_node_does_not_allow_is_refused_by_name() {
    let complaints = evaluate("complaints");
    assert_eq!(complaints["plain"], Value::Array(Vec::new()));
    for (what, text) in [
        ("uid", "uid 850 belongs to kyle"),
        ("subids", "belong to kyle as well"),
        ("firewall", "settings.server.grpc_addr, which is not set"),
        ("tls", "set both or neither"),
    ] {
        let said = complaints[what].as_array().unwrap();
        assert_eq!(said.len(), 1, "{what}: {said:?}");
        assert!(said[0].as_str().unwrap().contains(text), "{what}: {said:?}");
    }
}

#[test]
fn a_rebuild_of_the_system_stops_no_container() {
    let full = evaluate("full");
    let manager = &full["systemd"]["services"]["user@850"];
    assert_eq!(manager["overrideStrategy"], "asDropin");
    assert_eq!(manager["restartIfChanged"], false);
    assert_eq!(manager["stopIfChanged"], false);
    let user = &full["users"]["users"]["mcp"];
    assert_eq!((&user["uid"], &user["linger"]), (&850.into(), &true.into()));
}

#[test]
fn modules_that_are_not_enabled_configure_nothing() {
    assert_eq!(evaluate("off"), Value::Null);
}

#[test]
fn the_document_of_the_options_is_made_from_them() {
    let document = std::fs::read_to_string(root().join("docs/nixos-options.md")).unwrap();
    let made = evaluate("options");
    assert_eq!(made.as_str().unwrap(), document, "run: make nixos-options");
}
