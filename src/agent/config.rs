//! The configuration file: TOML in, settings or every mistake out.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::settings::{
    LogSettings, NodeSettings, PortRange, ServerSettings, Settings, SocketRoles, TlsFiles,
};
use crate::names::{ImageRef, NodeName};
use crate::telemetry::{Format, Level};

/// Every key that there is, by table; errors suggest from it.
const KEYS: &[(&str, &[&str])] = &[
    ("server", &["grpc_addr", "tls_cert", "tls_key", "socket"]),
    ("database", &["path"]),
    ("agent", &["node_name", "address", "image_registry", "port_range"]),
    ("socket", &["operators", "viewers"]),
    ("log", &["level", "format"]),
];

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    server: ServerTable,
    database: DatabaseTable,
    agent: AgentTable,
    socket: SocketTable,
    log: LogTable,
}

type Text = Option<Spanned<String>>;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ServerTable {
    grpc_addr: Text,
    tls_cert: Text,
    tls_key: Text,
    socket: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct DatabaseTable {
    path: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct AgentTable {
    node_name: Text,
    address: Text,
    image_registry: Text,
    port_range: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct SocketTable {
    operators: Vec<Spanned<String>>,
    viewers: Vec<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct LogTable {
    level: Text,
    format: Text,
}

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, such as `agent.port_range`; empty when TOML itself is broken.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion:?}?"),
            None => Ok(()),
        }
    }
}

/// Says why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file has mistakes.
    #[error("{}", listed(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All mistakes, in order.
        problems: Vec<ConfigProblem>,
    },
}

fn listed(path: &Path, problems: &[ConfigProblem]) -> String {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect();
    lines.join("\n")
}

/// Parses and validates a configuration; `path` is only for messages.
///
/// # Errors
///
/// It has mistakes, all of which are told.
pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Settings, ConfigError> {
    let mut reader = Reader { text, problems: Vec::new() };
    let settings = reader.read(environment);
    let mut problems = reader.problems;
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        Some(_) | None => {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            Err(ConfigError::Invalid { path: path.to_owned(), problems })
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    problems: Vec<ConfigProblem>,
}

impl Reader<'_> {
    fn read(&mut self, environment: &Environment) -> Option<Settings> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.problem(error.span().map_or(0, |span| span.start), "", error.message());
        }
        if !errors.is_empty() {
            return None;
        }
        self.unknown_keys(table.get_ref());
        if !self.problems.is_empty() {
            return None;
        }
        match toml::from_str::<File>(self.text) {
            Ok(file) => self.settings(file, environment),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                self.problem(at, &key_at(table.get_ref(), at), error.message());
                None
            }
        }
    }

    fn problem(&mut self, at: usize, key: &str, message: impl fmt::Display) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.problems.push(ConfigProblem {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            key: key.to_owned(),
            message: message.to_string(),
            suggestion: None,
        });
    }

    fn unknown(&mut self, at: usize, key: &str, candidates: &mut dyn Iterator<Item = &str>) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let near = nearest(name, candidates);
        self.problem(at, key, "there is no such key");
        if let Some(problem) = self.problems.last_mut() {
            problem.suggestion = near;
        }
    }

    fn unknown_keys(&mut self, root: &DeTable<'_>) {
        for (section, value) in root {
            let name = section.get_ref().as_ref();
            let Some((_, keys)) = KEYS.iter().find(|(known, _)| *known == name) else {
                let at = section.span().start;
                self.unknown(at, name, &mut KEYS.iter().map(|(known, _)| *known));
                continue;
            };
            let DeValue::Table(table) = value.get_ref() else { continue };
            for (key, _) in table {
                if !keys.contains(&key.get_ref().as_ref()) {
                    let path = format!("{name}.{}", key.get_ref());
                    self.unknown(key.span().start, &path, &mut keys.iter().copied());
                }
            }
        }
    }

    /// Parses one value; a mistake is noted and gives `None`.
    fn value<T>(&mut self, key: &str, text: &Spanned<String>) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match text.get_ref().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(text.span().start, key, error);
                None
            }
        }
    }

    fn value_or<T>(&mut self, key: &str, text: &Text, default: T) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match text {
            Some(text) => self.value(key, text),
            None => Some(default),
        }
    }

    fn word<T>(&mut self, key: &str, text: &Text, default: T, words: &[&str]) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let value = self.value_or(key, text, default);
        if let (None, Some(text), Some(problem)) = (&value, text, self.problems.last_mut()) {
            problem.suggestion = nearest(text.get_ref(), &mut words.iter().copied());
        }
        value
    }

    fn path(&mut self, key: &str, text: &Text) -> Option<PathBuf> {
        let text = text.as_ref()?;
        let path = PathBuf::from(text.get_ref());
        if !path.is_absolute() {
            self.problem(text.span().start, key, "the path has to be absolute");
        }
        Some(path)
    }

    fn settings(&mut self, file: File, environment: &Environment) -> Option<Settings> {
        let File { server, database, agent, socket, log } = file;
        let state_dir = environment.state_dir();
        let server = self.server(&server, environment);
        let database =
            self.path("database.path", &database.path).unwrap_or_else(|| state_dir.join("mcp.db"));
        let node = self.node(&agent, environment);
        let roles = self.roles(socket);
        let levels = crate::telemetry::LEVELS.map(Level::as_str);
        let level = self.word("log.level", &log.level, Level::Info, &levels);
        let format = self.word("log.format", &log.format, Format::Text, &["text", "json"]);
        Some(Settings {
            server: server?,
            database,
            node: node?,
            roles,
            log: LogSettings { level: level?, format: format? },
            state_dir,
            uid: environment.uid,
        })
    }

    fn server(&mut self, table: &ServerTable, environment: &Environment) -> Option<ServerSettings> {
        let grpc_addr = match &table.grpc_addr {
            Some(text) => match text.get_ref().parse() {
                Ok(address) => Some(address),
                Err(_) => {
                    let message = "the address has to be IP:port, such as 100.64.0.1:9444";
                    self.problem(text.span().start, "server.grpc_addr", message);
                    None
                }
            },
            None => None,
        };
        let certificate = self.path("server.tls_cert", &table.tls_cert);
        let key = self.path("server.tls_key", &table.tls_key);
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let (given, missing) = match &table.tls_cert {
                    Some(_) => (&table.tls_cert, "server.tls_key"),
                    None => (&table.tls_key, "server.tls_cert"),
                };
                let at = given.as_ref().map_or(0, |text| text.span().start);
                self.problem(at, missing, "certificate and key have to be given together");
                None
            }
        };
        let socket = self
            .path("server.socket", &table.socket)
            .unwrap_or_else(|| environment.default_socket());
        Some(ServerSettings { grpc_addr, tls, socket })
    }

    fn node(&mut self, table: &AgentTable, environment: &Environment) -> Option<NodeSettings> {
        let name = match &table.node_name {
            Some(text) => self.value::<NodeName>("agent.node_name", text),
            None => self.host_name(environment),
        };
        let local = IpAddr::from([127, 0, 0, 1]);
        let address = self.value_or("agent.address", &table.address, local);
        if let (Some(address), Some(text)) = (address, &table.address)
            && (address.is_unspecified() || address.is_multicast())
        {
            let message = "ports are published on one address of this node, not on all";
            self.problem(text.span().start, "agent.address", message);
        }
        let image_registry = table.image_registry.as_ref().and_then(|text| {
            let registry = text.get_ref().trim_end_matches('/');
            let host = registry.split('/').next().unwrap_or_default();
            let named = host.contains(['.', ':']) || host == "localhost";
            if named && format!("{registry}/x").parse::<ImageRef>().is_ok() {
                return Some(registry.to_owned());
            }
            let message = "an image registry is host[:port][/prefix], such as mcr.example.net:8443";
            self.problem(text.span().start, "agent.image_registry", message);
            None
        });
        let ports = self.value_or("agent.port_range", &table.port_range, PortRange::DEFAULT);
        Some(NodeSettings { name: name?, address: address?, image_registry, ports: ports? })
    }

    fn host_name(&mut self, environment: &Environment) -> Option<NodeName> {
        let label = environment.host_name.split('.').next().unwrap_or_default();
        match label.to_ascii_lowercase().parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let message =
                    format!("the host name does not do for a node, set this key: {error}");
                self.problem(0, "agent.node_name", message);
                None
            }
        }
    }

    fn roles(&mut self, table: SocketTable) -> SocketRoles {
        let operators: Vec<String> = table.operators.into_iter().map(Spanned::into_inner).collect();
        for viewer in &table.viewers {
            if operators.contains(viewer.get_ref()) {
                let message = format!("{:?} is one of socket.operators already", viewer.get_ref());
                self.problem(viewer.span().start, "socket.viewers", message);
            }
        }
        let viewers = table.viewers.into_iter().map(Spanned::into_inner).collect();
        SocketRoles { operators, viewers }
    }
}

/// Returns the key whose value is at an offset.
fn key_at(root: &DeTable<'_>, at: usize) -> String {
    for (section, value) in root {
        if let DeValue::Table(table) = value.get_ref() {
            for (key, value) in table {
                if value.span().contains(&at) {
                    return format!("{}.{}", section.get_ref(), key.get_ref());
                }
            }
        }
        if value.span().contains(&at) {
            return section.get_ref().to_string();
        }
    }
    String::new()
}

/// Returns the candidate that a misspelt word probably means.
fn nearest(word: &str, candidates: &mut dyn Iterator<Item = &str>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        "#;
        let settings = parse(text, Path::new("a.toml"), &environment()).unwrap();
        assert_eq!(settings.node.image_registry.as_deref(), Some("mcr.example.net:8443/x"));
        assert_eq!(settings.log, LogSettings { level: Level::Debug, format: Format::Json });
        assert_eq!(settings.server.socket, PathBuf::from("/s"));
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
             [database]\npath = \"rel\"\n[socket]\noperators = [\"a\"]\nviewers = [\"a\"]\n",
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
}
