//! The agent's configuration, with an address to serve on.

use std::net::{IpAddr, SocketAddr};

use toml_edit::{DocumentMut, Item, Table, TomlError, value};

/// Why the configuration was not completed.
#[derive(Debug, thiserror::Error)]
pub enum AgentConfigError {
    /// It is not TOML.
    #[error("it is not valid TOML")]
    Syntax(#[from] TomlError),
    /// `server` is no table, or `grpc_addr` in it no text.
    #[error("`{0}` is not what it should be")]
    Shape(&'static str),
    /// The address that it has is none.
    #[error("`server.grpc_addr` is {0:?}, which is no address and port")]
    Address(String),
}

/// The configuration of an agent that serves over TCP.
#[derive(Debug, PartialEq, Eq)]
pub struct Served {
    /// Where it serves.
    pub address: SocketAddr,
    /// The new text; `None` if the old one says so already.
    pub text: Option<String>,
}

/// Has the agent serve at `wanted`, unless the text names another address;
/// comments and order stay.
///
/// # Errors
///
/// The text is not a configuration.
pub fn serving(text: &str, wanted: SocketAddr) -> Result<Served, AgentConfigError> {
    let mut document: DocumentMut = text.parse()?;
    let server = document.entry("server").or_insert(Item::Table(Table::new()));
    let server = server.as_table_like_mut().ok_or(AgentConfigError::Shape("server"))?;
    if let Some(found) = server.get("grpc_addr") {
        let found = found.as_str().ok_or(AgentConfigError::Shape("server.grpc_addr"))?;
        let address = found.parse().map_err(|_| AgentConfigError::Address(found.to_owned()))?;
        return Ok(Served { address, text: None });
    }
    server.insert("grpc_addr", value(wanted.to_string()));
    Ok(Served { address: wanted, text: Some(document.to_string()) })
}

/// Returns where an agent that serves at `served` is reached, on a machine
/// that was reached at `known`.
pub fn reached(served: SocketAddr, known: Option<IpAddr>) -> SocketAddr {
    match known {
        Some(known) if served.ip().is_unspecified() => SocketAddr::new(known, served.port()),
        Some(_) | None => served,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_added_and_comments_stay() {
        let wanted = at("10.0.0.7:9444");
        let added = serving("", wanted).unwrap().text.unwrap();
        assert_eq!(added, "[server]\ngrpc_addr = \"10.0.0.7:9444\"\n");
        let text = "# mine\n[server] # here\nsocket = \"/run/mcp/x.sock\" # odd\n\n[log]\nlevel = \"debug\"\n";
        let added = serving(text, wanted).unwrap().text.unwrap();
        assert_eq!(added, text.replace("# odd\n", "# odd\ngrpc_addr = \"10.0.0.7:9444\"\n"));
        assert_eq!(serving(&added, wanted).unwrap(), Served { address: wanted, text: None });
    }

    #[test]
    fn an_address_of_the_operator_stays() {
        let served = serving("server = { grpc_addr = \"0.0.0.0:1\" }\n", at("10.0.0.7:9444"));
        let served = served.unwrap();
        assert_eq!(served, Served { address: at("0.0.0.0:1"), text: None });
        assert_eq!(reached(served.address, Some("10.0.0.7".parse().unwrap())), at("10.0.0.7:1"));
        assert_eq!(reached(at("10.1.1.1:1"), Some("10.0.0.7".parse().unwrap())), at("10.1.1.1:1"));
    }

    #[test]
    fn what_is_no_configuration_is_left_alone() {
        for (text, said) in [
            ("[server", "it is not valid TOML"),
            ("server = 7", "`server` is not what it should be"),
            ("[server]\ngrpc_addr = 7", "`server.grpc_addr` is not what it should be"),
            (
                "[server]\ngrpc_addr = \"x\"",
                "`server.grpc_addr` is \"x\", which is no address and port",
            ),
        ] {
            assert_eq!(serving(text, at("10.0.0.7:9444")).unwrap_err().to_string(), said);
        }
    }
}
