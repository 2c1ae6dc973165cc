//! What is said of networks and volumes, and what goes into units as it is.

use serde::{Deserialize, Serialize};

/// What a podman network is, beyond its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Whether nothing outside can be reached from it.
    pub internal: bool,
    /// Whether it has IPv6 as well.
    pub ipv6: bool,
    /// Its subnets, in CIDR notation.
    pub subnets: Vec<String>,
    /// Keys put into its unit as they are.
    pub extra: Vec<ExtraKey>,
}

impl NetworkSpec {
    /// Returns what podman makes the network of: all but what systemd reads.
    #[must_use]
    pub fn makes(&self) -> Self {
        Self { extra: of_section(&self.extra, ExtraSection::Network), ..self.clone() }
    }
}

/// What a volume is, beyond its name in the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// What podman calls it; none: `<service>-<volume>`.
    pub name: Option<String>,
    /// Keys put into its unit as they are.
    pub extra: Vec<ExtraKey>,
}

impl VolumeSpec {
    /// Returns what podman makes the volume of, its name aside: all but what
    /// systemd reads.
    pub fn makes(&self) -> Vec<ExtraKey> {
        of_section(&self.extra, ExtraSection::Volume)
    }
}

fn of_section(extra: &[ExtraKey], section: ExtraSection) -> Vec<ExtraKey> {
    extra.iter().filter(|key| key.section == section).cloned().collect()
}

/// One verbatim line of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraKey {
    /// Section of the unit.
    pub section: ExtraSection,
    /// Directive.
    pub key: String,
    /// Value, a single line.
    pub value: String,
}

/// A section that `extra` may add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ExtraSection {
    /// `[Unit]`, `systemd.unit(5)`.
    Unit,
    /// `[Container]`, `podman-systemd.unit(5)`.
    Container,
    /// `[Service]`, `systemd.service(5)`.
    Service,
    /// `[Network]`, `podman-systemd.unit(5)`.
    Network,
    /// `[Volume]`, `podman-systemd.unit(5)`.
    Volume,
}

impl ExtraSection {
    /// Returns it as a unit and a definition spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "Unit",
            Self::Container => "Container",
            Self::Service => "Service",
            Self::Network => "Network",
            Self::Volume => "Volume",
        }
    }
}
