//! Connecting to a node's agent as the operator.

use crate::cli::config::{Address, Node, Settings};
use crate::cli::error::{CliError, ErrorKind, FileError};
use crate::names::NodeName;
use crate::rpc::client::{self, AgentClient, ConnectError, Endpoint};
use crate::rpc::tls::{Fingerprint, Trust};
use crate::secret::Secret;

/// A node that could not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("cannot talk to node {node}")]
pub struct ConnectionError {
    node: NodeName,
    source: ConnectError,
}

/// Connects to a node with the operator's token.
///
/// # Errors
///
/// The node cannot be reached or is not trusted, or a token is needed and
/// there is none.
pub async fn open(settings: &Settings, node: &Node) -> Result<AgentClient, CliError> {
    let token = match &node.address {
        Address::Socket(_) => None,
        Address::Tls { addresses: _, trust: _ } => Some(token(settings, node)?),
    };
    let seen = settings.peers.of(&node.name);
    client::connect_and_note(&endpoint(&node.address), token.as_ref(), seen)
        .await
        .map_err(|source| failure(node, source))
}

/// Connects to a node with this token.
///
/// # Errors
///
/// The node cannot be reached or is not trusted.
pub async fn open_as(node: &Node, token: Option<&Secret<String>>) -> Result<AgentClient, CliError> {
    client::connect(&endpoint(&node.address), token).await.map_err(|source| failure(node, source))
}

fn endpoint(address: &Address) -> Endpoint {
    match address {
        Address::Socket(path) => Endpoint::Unix(path.clone()),
        Address::Tls { addresses, trust } => {
            Endpoint::Tls { addresses: addresses.clone(), trust: trust.clone() }
        }
    }
}

fn failure(node: &Node, source: ConnectError) -> CliError {
    let name = node.name.clone();
    let (kind, hint) = match &source {
        ConnectError::Unreachable { .. } | ConnectError::Protocol { .. } => {
            let hint = match &node.address {
                Address::Socket(_) => Some("systemctl status mcp-agent".to_owned()),
                Address::Tls { .. } => None,
            };
            (ErrorKind::Unreachable, hint)
        }
        ConnectError::NotAllowed { .. } => {
            let hint = "run it as the user of the agent, or add yourself to its group";
            (ErrorKind::NotAllowed, Some(hint.to_owned()))
        }
        ConnectError::Mismatch { .. } => {
            let hint = format!(
                "if the agent has a new certificate: mcp node remove {name} && mcp node add {name} {}",
                node.address
            );
            (ErrorKind::Unreachable, Some(hint))
        }
        ConnectError::Handshake { .. } | ConnectError::NoAddress => (ErrorKind::Unreachable, None),
        ConnectError::Address { .. } | ConnectError::Trust(_) => (ErrorKind::Usage, None),
        ConnectError::Token => (ErrorKind::NotAllowed, Some(format!("mcp login -n {name}"))),
    };
    let error = CliError::new(kind, ConnectionError { node: name, source });
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Returns the fingerprint of the certificate that is shown at an address,
/// believing nothing.
///
/// # Errors
///
/// Nobody answers there, or not with TLS.
pub async fn seen_fingerprint(name: &NodeName, address: &str) -> Result<Fingerprint, CliError> {
    let nobody = Fingerprint::of(&Vec::new().into());
    let trust = Trust::Pin(nobody);
    let node = Node {
        name: name.clone(),
        address: Address::Tls { addresses: vec![address.to_owned()], trust },
        token_path: None,
    };
    match client::connect(&endpoint(&node.address), None).await {
        Err(ConnectError::Mismatch { at: _, source }) => Ok(source.found),
        // No certificate has the hash of nothing.
        Ok(_) => Ok(nobody),
        Err(error) => Err(failure(&node, error)),
    }
}

/// Returns the token: `MCP_TOKEN`, else the content of the token's file
/// without the blanks around it.
///
/// # Errors
///
/// There is no such file, or it cannot be read.
pub fn token(settings: &Settings, node: &Node) -> Result<Secret<String>, CliError> {
    if let Some(token) = &settings.token {
        return Ok(token.clone());
    }
    let path = settings.token_path(node);
    let text = std::fs::read_to_string(&path).map_err(|source| {
        let error = FileError { action: "read the token", path, source };
        CliError::new(ErrorKind::NotAllowed, error).hint("mcp login")
    })?;
    Ok(Secret::new(text.trim().to_owned()))
}
