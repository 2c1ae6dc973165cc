//! What runs on a node, as a value.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::definition::graph;
use crate::definition::service::{
    Component, DeployRules, MountSource, Network, NetworkSpec, OnFailure, Protocol, Schedule,
    VolumeSpec,
};
use crate::names::{
    ComponentName, ContainerName, Generation, ImageRef, NetworkName, NodeName, RouteName,
    ServiceName, UnitName, VolumeName,
};

/// How long podman may take to make a container.
pub const CREATION: Duration = Duration::from_secs(30);
/// Seconds that systemd waits longer for an end than podman.
pub const STOP_MARGIN: u64 = 15;

/// What resolving needs to know of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's name; none: not known, nothing is checked against it.
    pub node: Option<NodeName>,
    /// Address at which leased ports are published.
    pub address: IpAddr,
    /// Image registry of images that are not written out, `host[:port][/path]`.
    pub image_registry: Option<String>,
}

impl Default for NodeFacts {
    fn default() -> Self {
        Self { node: None, address: IpAddr::V4(Ipv4Addr::LOCALHOST), image_registry: None }
    }
}

/// A service resolved for one node and one generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// The service.
    pub service: ServiceName,
    /// The generation that this is.
    pub generation: Generation,
    /// Whether it runs, and starts at boot.
    pub active: bool,
    /// Whether the agent brings it back by itself.
    #[serde(default)]
    pub heal: bool,
    /// A remark for people.
    pub comment: Option<String>,
    /// Services whose components must all be ready first.
    pub depends_on: Vec<ServiceName>,
    /// How a new generation takes the place of the old one.
    #[serde(default)]
    pub deploy: DeployRules,
    /// What networks are, beyond their names.
    #[serde(default)]
    pub network_specs: BTreeMap<NetworkName, NetworkSpec>,
    /// What the service's volumes are, beyond their names.
    #[serde(default)]
    pub volume_specs: BTreeMap<VolumeName, VolumeSpec>,
    /// The containers, in the order of the definition.
    pub containers: Vec<Container>,
}

impl Deployment {
    /// Returns the containers that live in the network namespace of one:
    /// podman does not make that anew before it has removed them.
    pub fn joined<'a>(&'a self, holder: &'a Container) -> impl Iterator<Item = &'a Container> {
        self.containers.iter().filter(move |c| c.spec.joins(&holder.name))
    }

    /// Returns the networks that the definition describes or the containers
    /// use, without repetition.
    pub fn networks(&self) -> Vec<&NetworkName> {
        let mut networks: Vec<&NetworkName> = self
            .containers
            .iter()
            .flat_map(|c| {
                let first = match &c.spec.network {
                    Network::Named(name) => Some(name),
                    Network::Private | Network::Host | Network::None => None,
                };
                first.into_iter().chain(&c.spec.more_networks)
            })
            .chain(self.network_specs.keys())
            .collect();
        networks.sort();
        networks.dedup();
        networks
    }

    /// Returns the service's own volumes, without repetition, used or only
    /// described.
    pub fn volumes(&self) -> Vec<&VolumeName> {
        let mut volumes: Vec<&VolumeName> = self
            .containers
            .iter()
            .flat_map(|c| &c.spec.volumes)
            .filter_map(|mount| match &mount.source {
                MountSource::Volume(name) => Some(name),
                MountSource::Path(_) => None,
            })
            .chain(self.volume_specs.keys())
            .collect();
        volumes.sort();
        volumes.dedup();
        volumes
    }

    /// Returns what a network is, beyond its name.
    pub fn network_spec(&self, network: &NetworkName) -> NetworkSpec {
        self.network_specs.get(network).cloned().unwrap_or_default()
    }

    /// Returns what a volume is, beyond its name in the service.
    pub fn volume_spec(&self, volume: &VolumeName) -> VolumeSpec {
        self.volume_specs.get(volume).cloned().unwrap_or_default()
    }

    /// Returns podman's name of a volume of the service.
    pub fn podman_volume(&self, volume: &VolumeName) -> String {
        self.volume_spec(volume).name.unwrap_or_else(|| format!("{}-{volume}", self.service))
    }

    /// Returns the deployment without what its definition puts into units as it
    /// is.
    #[must_use]
    pub fn without_extra(&self) -> Self {
        let mut bare = self.clone();
        bare.containers.iter_mut().for_each(|c| c.spec.extra.clear());
        bare.network_specs.values_mut().for_each(|spec| spec.extra.clear());
        bare.volume_specs.values_mut().for_each(|spec| spec.extra.clear());
        bare
    }

    /// Returns the container of a component.
    pub fn container(&self, component: &ComponentName) -> Option<&Container> {
        self.containers.iter().find(|c| c.spec.name == *component)
    }

    /// Groups the components in the order in which they start.
    pub fn layers(&self) -> Vec<Vec<ComponentName>> {
        let edges: BTreeMap<ComponentName, Vec<ComponentName>> = self
            .containers
            .iter()
            .map(|c| (c.spec.name.clone(), c.spec.depends_on.clone()))
            .collect();
        graph::layers(&edges)
    }
}

/// One container, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its name, and its unit's.
    pub name: ContainerName,
    /// Its image, written out.
    pub image: ImageRef,
    /// Its environment, the leased ports included.
    pub env: BTreeMap<String, String>,
    /// Ports that podman publishes on the node, leased ones included.
    pub publish: Vec<Publish>,
    /// Ports of the node that a forwarder holds, each with the published port
    /// behind it.
    #[serde(default)]
    pub forwards: Vec<Forward>,
    /// Leased ports by route, in the order of the routes.
    pub leased: Vec<(RouteName, u16)>,
    /// Units that must be ready first.
    pub requires: Vec<UnitName>,
    /// When it is ready.
    pub readiness: Readiness,
    /// Everything that needs no resolving.
    pub spec: Component,
}

impl Container {
    /// Returns how long a start may take before it has failed: making the
    /// container, then the whole time its check allows.
    pub fn start_timeout(&self) -> Duration {
        CREATION
            + match &self.readiness {
                Readiness::Started => Duration::from_secs(30),
                Readiness::Ended { timeout } => *timeout,
                Readiness::Command { timing, .. } | Readiness::Probe { timing, .. } => {
                    timing.window()
                }
            }
    }

    /// Returns what becomes of it when it runs and its check fails.
    pub fn on_failure(&self) -> OnFailure {
        self.spec.health.as_ref().map(|h| h.on_failure).unwrap_or_default()
    }

    /// Tells whether it has units of its own that check it while it runs.
    /// Podman repeats a command by itself, so for that they are needed only
    /// to act.
    pub fn is_checked(&self) -> bool {
        match self.readiness {
            Readiness::Started | Readiness::Ended { .. } => false,
            Readiness::Command { .. } => self.on_failure() != OnFailure::None,
            Readiness::Probe { .. } => true,
        }
    }

    /// Returns the units that check it while it runs.
    pub fn check_units(&self) -> Vec<UnitName> {
        if self.is_checked() {
            vec![self.name.check_timer(), self.name.check_unit()]
        } else {
            Vec::new()
        }
    }

    /// Returns the units that run commands in it by the calendar.
    pub fn schedule_units(&self) -> Vec<UnitName> {
        let of_one = |schedule: &Schedule| {
            [self.name.schedule_timer(&schedule.name), self.name.schedule_unit(&schedule.name)]
        };
        self.spec.schedules.iter().flat_map(of_one).collect()
    }

    /// Returns the units beside its own that come and go with it: those that
    /// check it, and those of its schedules.
    pub fn side_units(&self) -> Vec<UnitName> {
        self.check_units().into_iter().chain(self.schedule_units()).collect()
    }

    /// Returns the ports of the node at which the container can be reached by
    /// everybody: what is published, or forwarded to what is published.
    pub fn reachable(&self) -> Vec<Publish> {
        let behind = |p: &&Publish| self.forwards.iter().all(|f| f.behind != p.host);
        let direct = self.publish.iter().filter(behind).cloned();
        self.forwards.iter().flat_map(Forward::ports).chain(direct).collect()
    }

    /// Returns every port of the node that the container takes up.
    pub fn occupied(&self) -> Vec<Publish> {
        self.forwards.iter().flat_map(Forward::ports).chain(self.publish.iter().cloned()).collect()
    }

    /// Returns every leased port by name, those behind a forwarder included.
    pub fn leases(&self) -> impl Iterator<Item = (RouteName, u16)> {
        let behind = self.forwards.iter().map(|f| (RouteName::behind(f.port), f.behind));
        self.leased.iter().cloned().chain(behind)
    }

    /// Returns the units that hold the container's ports: the sockets, then
    /// the forwarder behind them.
    pub fn port_units(&self) -> Vec<UnitName> {
        self.sockets().chain(self.forwarder()).collect()
    }

    /// Returns the units that listen on the container's ports.
    pub fn sockets(&self) -> impl Iterator<Item = UnitName> {
        self.forwards.iter().map(|f| self.name.socket_unit(f.port))
    }

    /// Returns the unit that forwards what the sockets take; none where
    /// podman publishes the ports.
    pub fn forwarder(&self) -> Option<UnitName> {
        (!self.forwards.is_empty()).then(|| self.name.forward_unit())
    }

    /// Returns the container that stands in for this one while a deploy hands
    /// over: the same, but for its name and the ports of the node.
    ///
    /// `ports` are those to publish, by the port behind the forwarder that
    /// each takes the place of.
    #[must_use]
    pub fn stand_in(&self, ports: &BTreeMap<u16, u16>) -> Self {
        let mut other = self.clone();
        other.name = self.name.stand_in();
        other.forwards = Vec::new();
        for publish in &mut other.publish {
            publish.host = *ports.get(&publish.host).unwrap_or(&publish.host);
        }
        if let Readiness::Probe {
            probe:
                Probe::Tcp { address, .. } | Probe::Http { address, .. } | Probe::Grpc { address, .. },
            ..
        } = &mut other.readiness
        {
            address.set_port(*ports.get(&address.port()).unwrap_or(&address.port()));
        }
        other
    }

    /// Returns how long a stop may take: podman kills after `stop_timeout`,
    /// and removing the container needs a while more.
    pub fn stop_timeout(&self) -> Duration {
        self.spec.stop_timeout + Duration::from_secs(STOP_MARGIN)
    }
}

/// Directory in the user's runtime directory (`$XDG_RUNTIME_DIR`) in which a
/// file named like a container says where its forwarder sends connections
/// while a deploy hands over.
pub const SWITCHES: &str = "mcp/forward";

/// A port of the node that a forwarder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Addresses of the node; none: all of them.
    pub addresses: Vec<Option<IpAddr>>,
    /// The port.
    pub port: u16,
    /// The port at [`Ipv4Addr::LOCALHOST`] behind it, which podman publishes.
    pub behind: u16,
    /// Port in the container.
    pub container: u16,
}

impl Forward {
    /// Returns the ports as they are seen from outside.
    fn ports(&self) -> impl Iterator<Item = Publish> {
        self.addresses.iter().map(|address| Publish {
            address: *address,
            host: self.port,
            container: self.container,
            protocol: Protocol::Tcp,
        })
    }
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Publish {
    /// Address of the node; none: all of them.
    pub address: Option<IpAddr>,
    /// Port of the node.
    pub host: u16,
    /// Port in the container.
    pub container: u16,
    /// Transport.
    pub protocol: Protocol,
}

impl Publish {
    /// Returns podman's words for it (`podman-run(1)`, `--publish`).
    pub fn argument(&self) -> String {
        let address = match self.address {
            Some(IpAddr::V6(address)) => format!("[{address}]:"),
            Some(IpAddr::V4(address)) if !address.is_unspecified() => format!("{address}:"),
            // All addresses; podman 5.0 drops 0.0.0.0 itself.
            Some(IpAddr::V4(_)) | None => String::new(),
        };
        let protocol = match self.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "/udp",
        };
        format!("{address}{}:{}{protocol}", self.host, self.container)
    }

    /// Tells whether the two cannot both be bound.
    pub fn clashes(&self, other: &Self) -> bool {
        let any = |p: &Self| p.address.is_none_or(|a| a.is_unspecified());
        self.host == other.host
            && self.protocol == other.protocol
            && (any(self) || any(other) || self.address == other.address)
    }
}

/// When a container is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// Once its process runs.
    Started,
    /// When its process has ended with 0.
    Ended {
        /// The time that it has for that.
        timeout: Duration,
    },
    /// When podman's own check succeeds in the container.
    Command {
        /// The value of `--health-cmd`: JSON words.
        words: Vec<String>,
        /// Its timing.
        timing: Timing,
    },
    /// When a probe from the node succeeds.
    Probe {
        /// What is probed.
        probe: Probe,
        /// Its timing.
        timing: Timing,
    },
}

/// Timing of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Time between checks once ready.
    pub interval: Duration,
    /// Time that one check may take.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Time given to become ready.
    pub start_period: Duration,
}

impl Timing {
    /// Time between checks while starting: the shortest that systemd takes
    /// without calling it a start loop.
    pub const STARTING: Duration = Duration::from_secs(2);

    /// Returns how long becoming ready may take in all.
    pub fn window(&self) -> Duration {
        self.start_period + (self.interval.min(Self::STARTING) + self.timeout) * self.retries
    }
}

/// What a probe from the node asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// Connects.
    Tcp {
        /// Where to.
        address: SocketAddr,
        /// The port on which the container listens.
        #[serde(default)]
        container: Option<u16>,
    },
    /// Asks over HTTP.
    Http {
        /// Where to.
        address: SocketAddr,
        /// Path and query.
        path: String,
        /// Whether to speak TLS.
        tls: bool,
        /// Host header.
        host: Option<String>,
    },
    /// Asks grpc.health.v1.
    Grpc {
        /// Where to.
        address: SocketAddr,
        /// Service asked for; empty: the server.
        service: String,
        /// Whether to speak TLS.
        tls: bool,
    },
}

impl Probe {
    /// Returns its kind, as the definition has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Http { .. } => "http",
            Self::Grpc { .. } => "grpc",
        }
    }
}
