//! The config, checked: where definitions and token are, and which nodes
//! there are and how to reach them.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::cli::config::file::{self, ConfigFile, NodeTable};
use crate::cli::environment::Environment;
use crate::cli::error::{CliError, FileError};
use crate::cli::peers::Peers;
use crate::cli::snippet::{InvalidFile, Mistake};
use crate::names::NodeName;
use crate::rpc::tls::{FingerprintError, Trust};
use crate::secret::Secret;

/// How one agent is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over a socket on this machine; the kernel says who the caller is.
    Socket(PathBuf),
    /// Over TLS, with a token.
    Tls {
        /// `host:port`, tried in order; at least one.
        addresses: Vec<String>,
        /// How the agent's certificate is known.
        trust: Trust,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Tls { addresses, trust: _ } => f.write_str(&addresses.join(", ")),
        }
    }
}

/// One node that commands can go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name; `local` when nothing is configured.
    pub name: NodeName,
    /// How its agent is reached.
    pub address: Address,
    /// Where the token for it is, if not with the others.
    pub token_path: Option<PathBuf>,
}

/// The checked config.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The config file, whether it exists or not.
    pub path: PathBuf,
    /// Where the service definitions are.
    pub services_dir: PathBuf,
    /// Where the token is for nodes that have none of their own.
    pub token_path: PathBuf,
    /// The token of the environment.
    pub token: Option<Secret<String>>,
    /// The nodes, at least one; by the order of the file.
    pub nodes: Vec<Node>,
    /// Whether `nodes` is only the local socket, because the file names none.
    pub nothing_configured: bool,
    /// Where the versions of the agents are noted.
    pub peers: Peers,
}

/// Returns the config file in force: `--config`, `MCP_CONFIG`, else
/// `~/.config/mcp/mcp.toml`.
pub fn path(environment: &Environment, option: Option<&Path>) -> PathBuf {
    let path = option.map(Path::to_owned).or_else(|| environment.config.clone());
    path.map_or_else(|| environment.config_dir().join("mcp.toml"), |path| environment.expand(&path))
}

/// Loads the config; without a file everything has its default.
///
/// # Errors
///
/// A file that was asked for and is missing, that cannot be read, or that is
/// invalid.
pub fn load(environment: &Environment, option: Option<&Path>) -> Result<Settings, CliError> {
    let path = path(environment, option);
    let asked_for = option.is_some() || environment.config.is_some();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !asked_for => String::new(),
        Err(error) => return Err(unreadable(&path, error)),
    };
    let file = file::parse(&path, &text).map_err(CliError::usage)?;
    let nodes = nodes(environment, &file).map_err(|mistakes| {
        CliError::usage(InvalidFile { path: path.clone(), text: text.clone(), mistakes })
    })?;
    let socket = |path: &str| environment.runtime_dir.as_ref().map(|dir| dir.join(path));
    let local = socket("mcp/agent.sock")
        .filter(|socket| socket.exists())
        .unwrap_or_else(|| PathBuf::from("/run/mcp/agent.sock"));
    Ok(settings(environment, file, nodes, local).at(path))
}

fn unreadable(path: &Path, error: io::Error) -> CliError {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let source = FileError { action: "read the config", path: path.to_owned(), source: error };
    let error = CliError::usage(source);
    if missing {
        error.hint("leave out --config and MCP_CONFIG to use the local agent")
    } else {
        error
    }
}

fn settings(
    environment: &Environment,
    file: ConfigFile,
    nodes: Vec<Node>,
    local: PathBuf,
) -> Settings {
    let dir = environment.config_dir();
    let chosen = |variable: &Option<PathBuf>, key: Option<PathBuf>, default: &str| {
        let path = variable.clone().or(key);
        path.map_or_else(|| dir.join(default), |path| environment.expand(&path))
    };
    let nothing_configured = nodes.is_empty();
    Settings {
        path: PathBuf::new(),
        services_dir: chosen(&environment.services_dir, file.services.dir, "services"),
        token_path: chosen(&environment.token_path, file.auth.token_path, "token"),
        token: environment.token.clone(),
        nodes: if nothing_configured { vec![local_node(local)] } else { nodes },
        nothing_configured,
        peers: Peers::default(),
    }
}

impl Settings {
    /// Returns the file that holds the token for a node.
    pub fn token_path(&self, node: &Node) -> PathBuf {
        node.token_path.clone().unwrap_or_else(|| self.token_path.clone())
    }

    /// Returns the socket of this machine's agent that is asked because the
    /// file names no node.
    pub fn unnamed_socket(&self) -> Option<&Path> {
        let local = self.nodes.first().filter(|_| self.nothing_configured)?;
        match &local.address {
            Address::Socket(socket) => Some(socket),
            Address::Tls { .. } => None,
        }
    }

    fn at(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }
}

#[expect(clippy::expect_used, reason = "the name is a constant of the grammar")]
fn local_node(socket: PathBuf) -> Node {
    let name = "local".parse().expect("a DNS label");
    Node { name, address: Address::Socket(socket), token_path: None }
}

/// Checks the nodes of a file.
fn nodes(environment: &Environment, file: &ConfigFile) -> Result<Vec<Node>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut names = BTreeSet::new();
    let mut nodes = Vec::new();
    for table in &file.nodes {
        match node(environment, table) {
            Ok(node) if names.insert(node.name.clone()) => nodes.push(node),
            Ok(node) => {
                let name = &table.get_ref().name;
                mistakes.push(mistake(name, format!("there are two nodes called {}", node.name)));
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(nodes) } else { Err(mistakes) }
}

fn mistake<T>(place: &Spanned<T>, message: impl Into<String>) -> Mistake {
    Mistake { span: place.span(), message: message.into(), help: None }
}

fn node(environment: &Environment, spanned: &Spanned<NodeTable>) -> Result<Node, Mistake> {
    let table = spanned.get_ref();
    let name: NodeName = table
        .name
        .get_ref()
        .parse()
        .map_err(|e: crate::names::NameError| mistake(&table.name, e.to_string()))?;
    let mut addresses: Vec<&Spanned<String>> = table.address.iter().collect();
    addresses.extend(&table.addresses);
    if let Some(bad) = addresses.iter().find(|address| !is_address(address.get_ref())) {
        return Err(mistake(bad, "an address is `host:port`, an IPv6 one `[::1]:port`"));
    }
    let addresses: Vec<String> = addresses.iter().map(|a| a.get_ref().clone()).collect();
    let trust = match (&table.fingerprint, &table.ca_cert) {
        (Some(_), Some(ca)) => {
            return Err(mistake(ca, "a node has a `fingerprint` or a `ca_cert`, not both"));
        }
        (Some(print), None) => {
            let pin = print
                .get_ref()
                .parse()
                .map_err(|e: FingerprintError| mistake(print, e.to_string()))?;
            Some(Trust::Pin(pin))
        }
        (None, Some(ca)) => Some(Trust::CaFile(environment.expand(ca.get_ref()))),
        (None, None) => None,
    };
    if let (Some(_), Some(token)) = (&table.socket, &table.token_path) {
        return Err(mistake(token, "a node with a `socket` needs no token"));
    }
    let address = match (&table.socket, addresses.is_empty(), trust) {
        (Some(socket), true, None) => Address::Socket(environment.expand(socket.get_ref())),
        (Some(socket), _, _) => {
            return Err(mistake(
                socket,
                "a node with a `socket` has no address, fingerprint or ca_cert",
            ));
        }
        (None, true, _) => {
            return Err(mistake(
                &table.name,
                format!("node {name} has neither `address` nor `socket`"),
            ));
        }
        (None, false, Some(trust)) => Address::Tls { addresses, trust },
        (None, false, None) => {
            return Err(Mistake {
                help: Some("`mcp node add` fills in the fingerprint".to_owned()),
                ..mistake(&table.name, format!("node {name} needs a `fingerprint` or a `ca_cert`"))
            });
        }
    };
    let token_path = table.token_path.as_ref().map(|path| environment.expand(path.get_ref()));
    Ok(Node { name, address, token_path })
}

/// Tells whether a text is `host:port`.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_is_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    host_is_good && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Vec<Node>, String> {
        let environment = Environment { home: Some("/home/o".into()), ..Environment::default() };
        let path = Path::new("mcp.toml");
        let file = file::parse(path, text).map_err(|e| e.to_string())?;
        nodes(&environment, &file).map_err(|mistakes| {
            InvalidFile { path: path.to_owned(), text: text.to_owned(), mistakes }.to_string()
        })
    }

    #[test]
    fn nodes_have_addresses_in_order_and_one_kind_of_trust() {
        let text = "[[nodes]]\nname = \"rift\"\naddress = \"100.95.252.120:9444\"\n\
                    addresses = [\"rift:9444\"]\nfingerprint = \"SHA256:0000000000000000000000000000000000000000000000000000000000000000\"\n\
                    [[nodes]]\nname = \"here\"\nsocket = \"~/a.sock\"\n";
        let nodes = checked(text).unwrap();
        assert_eq!(nodes[0].address.to_string(), "100.95.252.120:9444, rift:9444");
        assert_eq!(nodes[1].address, Address::Socket("/home/o/a.sock".into()));
    }

    #[test]
    fn every_wrong_node_is_told_at_once() {
        let text = "[[nodes]]\nname = \"A\"\n[[nodes]]\nname = \"b\"\n\
                    [[nodes]]\nname = \"c\"\naddress = \"c\"\n\
                    [[nodes]]\nname = \"d\"\naddress = \"d:1\"\n\
                    [[nodes]]\nname = \"e\"\nsocket = \"/s\"\nfingerprint = \"x\"\n\
                    [[nodes]]\nname = \"f\"\nsocket = \"/s\"\n[[nodes]]\nname = \"f\"\nsocket = \"/s\"\n";
        insta::assert_snapshot!(checked(text).unwrap_err(), @r#"
        mcp.toml:2:8: node name "A" may hold only a-z, 0-9 and '-', and starts and ends with a letter or digit
        mcp.toml:4:8: node b has neither `address` nor `socket`
        mcp.toml:7:11: an address is `host:port`, an IPv6 one `[::1]:port`
        mcp.toml:9:8: node d needs a `fingerprint` or a `ca_cert` (`mcp node add` fills in the fingerprint)
        mcp.toml:14:15: "x" is not a fingerprint; it is SHA256: and 64 hexadecimal digits
        mcp.toml:19:8: there are two nodes called f
        "#);
    }

    #[test]
    fn without_a_config_the_local_socket_is_used_and_nothing_is_needed() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment { home: Some(home.path().into()), ..Environment::default() };
        let settings = load(&environment, None).unwrap();
        assert!(settings.nothing_configured);
        assert!(settings.unnamed_socket().is_some());
        assert_eq!(settings.nodes[0].address, Address::Socket("/run/mcp/agent.sock".into()));
        assert_eq!(settings.services_dir, home.path().join(".config/mcp/services"));
        assert_eq!(settings.token_path, home.path().join(".config/mcp/token"));
        let error = load(&environment, Some(Path::new("/nonexistent"))).unwrap_err();
        assert_eq!(error.kind.exit_code(), 2);
    }

    #[test]
    fn the_users_socket_wins_over_the_systems_and_the_environment_over_the_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("mcp")).unwrap();
        let socket = home.path().join("mcp/agent.sock");
        crate::atomic_file::write(&socket, b"", 0o600).unwrap();
        let config = home.path().join("mcp.toml");
        crate::atomic_file::write(
            &config,
            b"[services]\ndir = \"~/s\"\n[auth]\ntoken_path = \"~/t\"\n",
            0o600,
        )
        .unwrap();
        let environment = Environment {
            home: Some(home.path().into()),
            runtime_dir: Some(home.path().into()),
            config: Some(config),
            services_dir: Some("/other".into()),
            ..Environment::default()
        };
        let settings = load(&environment, None).unwrap();
        assert_eq!(settings.nodes[0].address, Address::Socket(socket));
        assert_eq!(settings.services_dir, Path::new("/other"));
        assert_eq!(settings.token_path, home.path().join("t"));
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["rift:9444", "10.0.0.1:1", "[::1]:9444", "a.b-c.net:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in
            ["", "rift", ":1", "rift:", "rift:0", "rift:70000", "::1:1", "a b:1", "[x]:1", "a/b:1"]
        {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
