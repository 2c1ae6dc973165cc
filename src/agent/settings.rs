//! The agent's settings: what a configuration means once it is valid.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::backup::BackupSettings;
use super::monitor::MonitorSettings;
use crate::deployment::Sequence;
use crate::names::NodeName;
use crate::telemetry::{Format, Level};

/// Everything that the configuration decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where and how the agent is reached.
    pub server: ServerSettings,
    /// The registry's file.
    pub database: PathBuf,
    /// The node, as deployments see it.
    pub node: NodeSettings,
    /// Who may do what on the socket, besides root and the agent's own user.
    pub roles: SocketRoles,
    /// How the agent logs.
    pub log: LogSettings,
    /// How it watches, and whom it tells.
    pub monitor: MonitorSettings,
    /// Copies of the registry.
    pub backup: BackupSettings,
    /// What holds each service's data directory, by its name.
    pub files_dir: PathBuf,
    /// Where the agent keeps what it needs to start again.
    pub state_dir: PathBuf,
    /// The user that the agent runs as.
    pub uid: u32,
    /// The boot stages.
    pub boot: Sequence,
}

/// Where and how the agent is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// The TCP address; `None`: only the socket.
    pub grpc_addr: Option<SocketAddr>,
    /// Certificate and key; `None`: self-made ones.
    pub tls: Option<TlsFiles>,
    /// The Unix socket.
    pub socket: PathBuf,
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// The node, as deployments see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// Its name.
    pub name: NodeName,
    /// The address on which ports of routes are published.
    pub address: IpAddr,
    /// What stands before image names without a host:
    /// `host[:port][/prefix]`.
    pub image_registry: Option<String>,
    /// The ports that routes get.
    pub ports: PortRange,
}

/// Who may do what on the socket; user names, or numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketRoles {
    /// Those who may change what runs.
    pub operators: Vec<String>,
    /// Those who may look.
    pub viewers: Vec<String>,
}

/// How the agent logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// How much.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// A range of ports, both ends included, above the privileged ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The range of the platform.
    pub const DEFAULT: Self = Self { first: 10_000, last: 60_000 };

    /// Returns the lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// Returns the highest port.
    pub fn last(self) -> u16 {
        self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The text is not a range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a port range is first-last with 1024 <= first <= last <= 65535, such as 10000-60000")]
pub struct PortRangeError;

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let (first, last) = text.split_once('-').ok_or(PortRangeError)?;
        let number = |text: &str| text.trim().parse::<u16>().map_err(|_invalid| PortRangeError);
        let (first, last) = (number(first)?, number(last)?);
        if first < 1024 || first > last {
            return Err(PortRangeError);
        }
        Ok(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!("10000-60000".parse(), Ok(PortRange::DEFAULT));
        for bad in ["", "1-2", "80", "5000-4000", "10000-70000", "a-b", "-"] {
            assert_eq!(bad.parse::<PortRange>(), Err(PortRangeError), "{bad}");
        }
    }
}
