//! Every table, read together.

use std::path::{Path, PathBuf};

use super::parse;
use super::tables::{KEYS, LISTS};
use crate::agent::backup::BackupSettings;
use crate::agent::environment::Environment;
use crate::agent::monitor::EventKind;
use crate::agent::settings::{LogSettings, PortRange};
use crate::deployment::StageHealth;
use crate::telemetry::{Format, Level};

fn environment() -> Environment {
    Environment {
        uid: 1000,
        host_name: "Rift.example.net".to_owned(),
        home: Some("/home/k".into()),
        xdg_runtime_dir: Some("/run/user/1000".into()),
        ..Environment::default()
    }
}

fn errors(text: &str) -> String {
    parse(text, Path::new("a.toml"), &environment()).unwrap_err().to_string()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let settings = parse("", Path::new("a.toml"), &environment()).unwrap();
    assert_eq!(settings.node.name.as_str(), "rift");
    assert_eq!(settings.node.address.to_string(), "127.0.0.1");
    assert_eq!(settings.node.ports, PortRange::DEFAULT);
    assert_eq!(settings.server.grpc_addr, None);
    assert_eq!(settings.database, PathBuf::from("/home/k/.local/state/mcp/mcp.db"));
    assert_eq!(settings.server.socket, PathBuf::from("/run/user/1000/mcp/agent.sock"));
}

#[test]
fn every_key_is_taken() {
    let text = r#"
        [server]
        grpc_addr = "[::1]:9444"
        tls_cert = "/a"
        tls_key = "/b"
        socket = "/s"
        [database]
        path = "/d"
        [agent]
        node_name = "n1"
        address = "10.0.0.1"
        image_registry = "mcr.example.net:8443/x/"
        port_range = "2000-3000"
        [socket]
        operators = ["kyle"]
        viewers = ["1001"]
        [log]
        level = "debug"
        format = "json"
        [monitor]
        interval = "30s"
        alert_command = ["/usr/bin/alert", "a b"]
        cooldown = "1h"
        flap_threshold = 5
        flap_window = "1m"
        retention = "7d"
        webhook = [{ url="http://hook:8080/x", token_file="/t", ca_cert="/c", kinds=["drift"] }]
        [backup]
        dir = "/b"
        keep = 3
        [files]
        dir = "/data"
        [[boot.sequence]]
        name = "core"
        services = ["a"]
        timeout = "90s"
        health = "tcp"
        required = false
    "#;
    let settings = parse(text, Path::new("a.toml"), &environment()).unwrap();
    assert_eq!(settings.node.image_registry.as_deref(), Some("mcr.example.net:8443/x"));
    assert_eq!(settings.log, LogSettings { level: Level::Debug, format: Format::Json });
    assert_eq!(settings.server.socket, PathBuf::from("/s"));
    assert_eq!(settings.monitor.alert_command, ["/usr/bin/alert", "a b"]);
    assert_eq!(settings.monitor.retention.to_string(), "7d");
    assert_eq!(settings.monitor.webhooks[0].kinds, [EventKind::Drift]);
    assert_eq!(settings.backup, BackupSettings { dir: "/b".into(), keep: 3 });
    let written = text.lines().filter(|line| line.contains(" = ")).count();
    // A list is not written as a key.
    let keys: usize = KEYS.iter().chain(LISTS).map(|(_, keys)| keys.len()).sum();
    assert_eq!(written, keys - LISTS.len());
}

#[test]
fn unknown_keys_are_named_with_their_place_and_the_likely_spelling() {
    assert_eq!(
        errors("[agent]\nnode_nam = \"x\"\n  port_rang = \"1\"\n[sevrer]\n"),
        "a.toml:2:1: agent.node_nam: there is no such key; did you mean \"node_name\"?\n\
         a.toml:3:3: agent.port_rang: there is no such key; did you mean \"port_range\"?\n\
         a.toml:4:2: sevrer: there is no such key; did you mean \"server\"?"
    );
}

#[test]
fn every_bad_value_is_told_at_once() {
    let told = errors(
        "[server]\ngrpc_addr = \"nine\"\ntls_cert = \"/a\"\n[agent]\naddress = \"0.0.0.0\"\n\
         image_registry = \"web\"\nport_range = \"1-2\"\nnode_name = \"A b\"\n[log]\nlevel = \"inof\"\n\
         [database]\npath = \"rel\"\n[monitor]\ninterval = \"2d\"\nalert_command = [\"alert\"]\nflap_threshold = 0\ncooldown = \"15\"\n[[monitor.webhook]]\nurl = \"hook\"\nkinds = [\"broken\"]\n[socket]\noperators = [\"a\"]\nviewers = [\"a\"]\n\
         [backup]\ndir = \"b\"\nkeep = 0\n",
    );
    for expected in [
        "a.toml:2:13: server.grpc_addr: the address has to be IP:port",
        "a.toml:3:12: server.tls_key: certificate and key have to be given together",
        "a.toml:5:11: agent.address: ports are published on one address",
        "a.toml:6:18: agent.image_registry: an image registry is host",
        "a.toml:7:14: agent.port_range: a port range is first-last",
        "a.toml:8:13: agent.node_name: node name \"A b\"",
        "a.toml:10:9: log.level: \"inof\" is not a log level; there are error, warn, info, debug and trace; did you mean \"info\"?",
        "a.toml:12:8: database.path: the path has to be absolute",
        "a.toml:14:12: monitor.interval: the interval is at most 24h",
        "a.toml:15:17: monitor.alert_command: the first word is the program, with its whole path",
        "a.toml:16:18: monitor.flap_threshold: the threshold is at least 1",
        "a.toml:17:12: monitor.cooldown: a time span is a number",
        "a.toml:19:7: monitor.webhook.url: a webhook's URL is http",
        "a.toml:20:10: monitor.webhook.kinds: \"broken\" is not a kind of event",
        "a.toml:23:12: socket.viewers: \"a\" is one of socket.operators already",
        "a.toml:25:7: backup.dir: the path has to be absolute",
        "a.toml:26:8: backup.keep: the number of copies to keep is from 1 to 1000",
    ] {
        assert!(told.contains(expected), "{expected}\n--\n{told}");
    }
}

#[test]
fn a_wrong_type_and_broken_toml_are_placed() {
    let told = errors("[log]\nlevel = 3\n");
    assert!(told.starts_with("a.toml:2:9: log.level: invalid type: integer"), "{told}");
    let told = errors("[log\n");
    assert!(told.starts_with("a.toml:1:"), "{told}");
    let told = errors("log = 3\n");
    assert!(told.starts_with("a.toml:1:7: log: invalid type"), "{told}");
}

#[test]
fn stages_have_defaults_and_the_first_is_required() {
    let text = "[[boot.sequence]]\nname = \"foundation\"\nservices = [\"mcr\", \"mcns\"]\n\
                [[boot.sequence]]\nname = \"core\"\nservices = [\"metacrypt\"]\nhealth = \"grpc\"\n";
    let stages = parse(text, Path::new("a.toml"), &environment()).unwrap().boot.stages;
    assert_eq!(stages.iter().map(|s| s.required).collect::<Vec<_>>(), [true, false]);
    assert_eq!(stages[0].timeout, std::time::Duration::from_secs(120));
    assert_eq!(
        stages.iter().map(|s| s.health).collect::<Vec<_>>(),
        [None, Some(StageHealth::Grpc)]
    );
    let text = format!("{text}required = true\n");
    assert!(parse(&text, Path::new("a.toml"), &environment()).unwrap().boot.stages[1].required);
    let none = parse("", Path::new("a.toml"), &environment()).unwrap().boot;
    assert!(none.stages.is_empty());
}

#[test]
fn every_mistake_in_a_stage_is_placed() {
    let told = errors(
        "[[boot.sequence]]\nname = \"core\"\nservices = [\"a\", \"mcp-late\"]\n\
         [[boot.sequence]]\nname = \"core\"\nservices = [\"b\", \"a\", \"b\"]\n\
         [[boot.sequence]]\nname = \"late\"\nservices = []\ntimeout = \"0s\"\nhealth = \"tcpp\"\n\
         [[boot.sequence]]\nname = \"No good\"\nservices = [\"x-gate\"]\n\
         [[boot.sequence]]\nname = \"x-ready\"\nservices = [\"y\"]\ntimeout = \"soon\"\n",
    );
    for expected in [
        "a.toml:5:8: boot.sequence.name: there is a stage core already",
        "a.toml:6:18: boot.sequence.services: a is in stage core already",
        "a.toml:6:23: boot.sequence.services: b is in stage core already",
        "a.toml:8:8: boot.sequence.name: the stage late and the service mcp-late of stage core would both have a unit mcp-late.target",
        "a.toml:9:12: boot.sequence.services: a stage needs at least one service",
        "a.toml:10:11: boot.sequence.timeout: \"0s\" is no time",
        "a.toml:11:10: boot.sequence.health: \"tcpp\" is no kind of check; there are tcp, http, grpc and cmd; did you mean \"tcp\"?",
        "a.toml:13:8: boot.sequence.name: stage name \"No good\" may hold only",
        "a.toml:14:13: boot.sequence.services: service name \"x-gate\" is reserved",
        "a.toml:16:8: boot.sequence.name: stage name \"x-ready\" is reserved",
        "a.toml:18:11: boot.sequence.timeout: \"soon\" is no time",
    ] {
        assert!(told.contains(expected), "{expected}\n--\n{told}");
    }
    assert_eq!(told.lines().count(), 11, "{told}");
    let told = errors("[[boot.sequence]]\nname = \"a\"\nservces = [\"b\"]\n");
    assert_eq!(
        told,
        "a.toml:3:1: boot.sequence.servces: there is no such key; did you mean \"services\"?"
    );
    let told = errors("[[boot.sequence]]\nname = \"a\"\n");
    assert!(told.contains("missing field `services`"), "{told}");
}
