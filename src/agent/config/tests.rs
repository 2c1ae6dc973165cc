//! Every table, read together.

use std::path::{Path, PathBuf};

use super::parse;
use super::tables::KEYS;
use crate::agent::backup::BackupSettings;
use crate::agent::environment::Environment;
use crate::agent::settings::{LogSettings, PortRange};
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
        [backup]
        dir = "/b"
        keep = 3
    "#;
    let settings = parse(text, Path::new("a.toml"), &environment()).unwrap();
    assert_eq!(settings.node.image_registry.as_deref(), Some("mcr.example.net:8443/x"));
    assert_eq!(settings.log, LogSettings { level: Level::Debug, format: Format::Json });
    assert_eq!(settings.server.socket, PathBuf::from("/s"));
    assert_eq!(settings.backup, BackupSettings { dir: "/b".into(), keep: 3 });
    let written = text.lines().filter(|line| line.contains(" = ")).count();
    assert_eq!(written, KEYS.iter().map(|(_, keys)| keys.len()).sum::<usize>());
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
         [database]\npath = \"rel\"\n[socket]\noperators = [\"a\"]\nviewers = [\"a\"]\n\
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
        "a.toml:15:12: socket.viewers: \"a\" is one of socket.operators already",
        "a.toml:17:7: backup.dir: the path has to be absolute",
        "a.toml:18:8: backup.keep: the number of copies to keep is from 1 to 1000",
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
