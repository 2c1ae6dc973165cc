//! The service that a definition describes: valid by construction.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::things::{ExtraKey, ExtraSection, NetworkSpec, VolumeSpec};
use crate::names::{
    ComponentName, ContainerName, ImageRef, NetworkName, NodeName, RouteName, ScheduleName,
    ServiceName, VolumeName,
};

/// Containers that belong together, and what they need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The node it is pinned to.
    pub node: Option<NodeName>,
    /// The kind of node it is placed on.
    pub tier: Tier,
    /// Whether it runs.
    pub active: bool,
    /// Whether the agent brings it back by itself.
    #[serde(default)]
    pub heal: bool,
    /// A remark for people, one line.
    pub comment: Option<String>,
    /// Directory of its source, relative to the workspace.
    pub path: Option<String>,
    /// Tag of images that are not written out.
    pub version: Option<String>,
    /// Services that must be ready first, without repetition.
    pub depends_on: Vec<ServiceName>,
    /// Dockerfile by image name.
    pub images: BTreeMap<String, String>,
    /// How its data is saved.
    pub snapshot: Option<Snapshot>,
    /// How a new generation takes the place of the old one.
    pub deploy: DeployRules,
    /// What networks are, beyond their names.
    #[serde(default)]
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// What its volumes are, beyond their names.
    #[serde(default)]
    pub volumes: BTreeMap<VolumeName, VolumeSpec>,
    /// Its containers, at least one, in the order of the text.
    pub components: Vec<Component>,
}

/// How a new generation takes the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployRules {
    /// In which way.
    pub strategy: Strategy,
    /// How long connections to the old one may go on.
    pub drain: Duration,
}

impl Default for DeployRules {
    fn default() -> Self {
        Self { strategy: Strategy::Recreate, drain: Duration::from_secs(10) }
    }
}

/// In which way a new generation takes the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The old one is stopped, then the new one started.
    #[default]
    Recreate,
    /// The new one is started beside the old one, and gets its connections
    /// when it is ready.
    BlueGreen,
}

/// The kind of node that a service is placed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Services that others need: pinned, never moved.
    Core,
    /// Everything else.
    #[default]
    Worker,
    /// On the edge of the fleet.
    Edge,
}

/// How a service's data is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// How a consistent copy is made.
    pub method: SnapshotMethod,
    /// Patterns of files that are left out.
    pub exclude: Vec<String>,
}

/// How a consistent copy is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotMethod {
    /// Configuration, databases and certificates.
    Default,
    /// The whole data directory.
    Full,
    /// The service is asked over gRPC.
    Grpc,
    /// The service's own `snapshot` command.
    Cli,
    /// A command of the operator.
    Exec(String),
}

/// One container of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its name, unique in the service.
    pub name: ComponentName,
    /// Its image; without one the node's default registry is used.
    pub image: Option<ImageRef>,
    /// Words in place of the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments.
    pub cmd: Vec<String>,
    /// Environment by name.
    pub env: BTreeMap<String, String>,
    /// Absolute paths of environment files on the node.
    pub env_files: Vec<String>,
    /// What is mounted.
    pub volumes: Vec<Mount>,
    /// Its network, or the first of them.
    pub network: Network,
    /// Further podman networks, without repetition.
    #[serde(default)]
    pub more_networks: Vec<NetworkName>,
    /// Further names in its networks.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Lines of `/etc/hosts`, `name:address`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Directory that the process starts in.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Whether podman's own init is process 1.
    #[serde(default)]
    pub init: bool,
    /// Ports published as written.
    pub ports: Vec<Port>,
    /// User in the container.
    pub user: Option<String>,
    /// User namespace mode.
    pub userns: Option<String>,
    /// When systemd starts it again.
    pub restart: Restart,
    /// Components of the same service that must be ready first.
    pub depends_on: Vec<ComponentName>,
    /// The time that it has to end well, if it is ready only then.
    #[serde(default)]
    pub oneshot: Option<Duration>,
    /// When it is ready; without it, once its process runs.
    pub health: Option<Health>,
    /// Limits.
    pub resources: Resources,
    /// Devices.
    pub devices: Vec<Device>,
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// Annotations by name.
    pub annotations: BTreeMap<String, String>,
    /// Host name.
    pub hostname: Option<String>,
    /// DNS servers.
    pub dns: Vec<IpAddr>,
    /// Capabilities added, without the prefix `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped; `ALL` for every one.
    pub cap_drop: Vec<String>,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Temporary file systems, `path[:options]`.
    pub tmpfs: Vec<String>,
    /// Size of `/dev/shm`, as podman takes it.
    pub shm_size: Option<String>,
    /// Limits by name, `soft[:hard]`.
    pub ulimits: BTreeMap<String, String>,
    /// Kernel parameters by name.
    pub sysctls: BTreeMap<String, String>,
    /// Time between the stop signal and SIGKILL.
    pub stop_timeout: Duration,
    /// The stop signal in place of the image's.
    pub stop_signal: Option<String>,
    /// Where output goes.
    pub log: Log,
    /// Keys put into the unit as they are.
    pub extra: Vec<ExtraKey>,
    /// Ports leased by the agent.
    pub routes: Vec<Route>,
    /// What runs in it by the calendar.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
}

impl Component {
    /// Returns the networks that `extra` names word for word.
    pub fn verbatim_networks(&self) -> impl Iterator<Item = &str> {
        let is_network =
            |extra: &&ExtraKey| extra.section == ExtraSection::Container && extra.key == "Network";
        self.extra.iter().filter(is_network).map(|extra| extra.value.as_str())
    }

    /// Tells whether it lives in the network namespace of a container
    /// (`Network=NAME.container`, `podman-systemd.unit(5)`).
    pub fn joins(&self, holder: &ContainerName) -> bool {
        let (file, name) = (format!("{holder}.container"), format!("container:{holder}"));
        self.verbatim_networks().any(|network| network == file || network == name)
    }
}

/// A command that is run in a running container by the calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name, unique in the component.
    pub name: ScheduleName,
    /// When it runs: at least one calendar expression (`systemd.time(7)`).
    pub on_calendar: Vec<String>,
    /// The command, in words.
    pub cmd: Vec<String>,
    /// The user that runs it; none: the component's.
    pub user: Option<String>,
    /// How long one run may take.
    pub timeout: Duration,
    /// Whether a run that was missed is made up for.
    pub persistent: bool,
    /// By how much runs are put off at most.
    pub randomized_delay: Duration,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Mount options, each one of podman's.
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// An absolute path on the node.
    Path(String),
    /// A volume of the service.
    Volume(VolumeName),
}

/// Which network a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A network namespace of its own, reached through published ports.
    Private,
    /// The node's.
    Host,
    /// Only loopback.
    None,
    /// A podman network, made when it is missing.
    Named(NetworkName),
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Address of the node; none: all of them.
    pub address: Option<IpAddr>,
    /// Port of the node.
    pub host: u16,
    /// Port in the container.
    pub container: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// When systemd starts a component again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Whenever it ends.
    Always,
    /// When it fails.
    OnFailure,
    /// Never.
    No,
}

/// A readiness check with its timing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is checked.
    pub check: Check,
    /// Time between checks once ready.
    pub interval: Duration,
    /// Time that one check may take.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Time given to become ready.
    pub start_period: Duration,
    /// What becomes of it when it is unhealthy.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// What becomes of a running component whose check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing: it is shown and told.
    #[default]
    None,
    /// It is restarted, ever more slowly.
    Restart,
    /// It is stopped, until somebody starts it.
    Stop,
}

impl OnFailure {
    /// Returns the word of the definition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }
}

impl FromStr for OnFailure {
    type Err = UnknownOnFailure;

    fn from_str(text: &str) -> Result<Self, UnknownOnFailure> {
        [Self::None, Self::Restart, Self::Stop]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(UnknownOnFailure)
    }
}

/// A word that says nothing about what becomes of an unhealthy component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write none, restart or stop")]
pub struct UnknownOnFailure;

/// What is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// A command in the container, in words.
    Command(Vec<String>),
    /// A line for the shell of the container.
    Shell(String),
    /// A TCP connection.
    Tcp(CheckPort),
    /// An HTTP request.
    Http {
        /// Where to.
        port: CheckPort,
        /// Path and query.
        path: String,
        /// Whether to speak TLS.
        tls: bool,
        /// Host header.
        host: Option<String>,
    },
    /// A gRPC health request.
    Grpc {
        /// Where to.
        port: CheckPort,
        /// Service asked for; empty: the server.
        service: String,
        /// Whether to speak TLS.
        tls: bool,
    },
}

/// The port that is checked, as seen from the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckPort {
    /// A published port, by the index in `ports`.
    Published(usize),
    /// The leased port of a route.
    Route(RouteName),
    /// A port of the node itself, for containers in its network.
    Host(u16),
}

/// Limits of a component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory, as podman takes it.
    pub memory: Option<String>,
    /// Processors, as podman takes them.
    pub cpus: Option<String>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the node.
    pub host: String,
    /// Path in the container, when another.
    pub container: Option<String>,
    /// Letters of `rwm`.
    pub permissions: Option<String>,
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The driver.
    pub driver: LogDriver,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// A log driver of podman that works under systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// The journal.
    Journald,
    /// A file of podman's.
    K8sFile,
    /// Nowhere.
    None,
}

impl LogDriver {
    /// Returns podman's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Journald => "journald",
            Self::K8sFile => "k8s-file",
            Self::None => "none",
        }
    }
}

/// A port leased by the agent and served by the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Name, unique in the component.
    pub name: RouteName,
    /// Port of the proxy.
    pub port: u16,
    /// How the proxy treats it.
    pub mode: RouteMode,
    /// Host name in place of the derived one.
    pub hostname: Option<String>,
    /// Whether the world may reach it.
    pub public: bool,
}

/// How the proxy treats a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteMode {
    /// TLS is passed through by its server name.
    #[default]
    L4,
    /// HTTP; TLS ends at the proxy.
    L7,
}
