//! The definition as the file says it: the TOML shape, nothing checked.
//!
//! Every field may be absent here, so that reading never stops at the first
//! one that is missing. The doc comments are the texts of the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service: containers that belong together, and what they need.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Name of the service: a DNS label.
    #[schemars(required)]
    pub name: Option<String>,
    /// Node that runs the service; without it, placement by `tier`.
    pub node: Option<String>,
    /// Kind of node to place the service on: "core", "worker" or "edge".
    pub tier: Option<String>,
    /// Whether the service runs; false: deployed, but stopped. Default true.
    pub active: Option<bool>,
    /// Directory of the service's source, relative to the workspace.
    pub path: Option<String>,
    /// Whether the agent brings the service back by itself when it is not as
    /// it was deployed. Default false.
    pub heal: Option<bool>,
    /// A remark for people; it goes into the units' descriptions.
    pub comment: Option<String>,
    /// Tag of images that are not written out; see `image`.
    pub version: Option<String>,
    /// Services on the same node that must be ready before this one starts.
    pub depends_on: Option<Vec<String>>,
    /// How images are built.
    pub build: Option<Build>,
    /// How the service's data is saved.
    pub snapshot: Option<Snapshot>,
    /// How a new generation takes the place of the old one.
    pub deploy: Option<Deploy>,
    /// What podman's networks are to be, by name; a network needs no table.
    pub networks: Option<BTreeMap<String, Network>>,
    /// What the service's volumes are to be, by name; a volume needs no
    /// table.
    pub volumes: Option<BTreeMap<String, Volume>>,
    /// The containers of the service.
    #[schemars(required)]
    pub components: Option<Vec<Component>>,
}

/// Keys put into a unit as they are, by section.
pub type Extra = BTreeMap<String, BTreeMap<String, OneOrMany>>;

/// A podman network. All services of a node that name it say the same of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Whether nothing outside can be reached from it. Default false.
    pub internal: Option<bool>,
    /// Whether it has IPv6 as well. Default false.
    pub ipv6: Option<bool>,
    /// Its subnets, such as "10.89.7.0/24"; without one podman chooses.
    pub subnets: Option<Vec<String>>,
    /// Keys put into its unit as they are, by section: "Unit", "Network",
    /// "Service".
    pub extra: Option<Extra>,
}

/// A volume of the service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// What podman calls it. Default: `<service>-<volume>`.
    pub name: Option<String>,
    /// Keys put into its unit as they are, by section: "Unit", "Volume",
    /// "Service".
    pub extra: Option<Extra>,
}

/// How images are built.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Dockerfile by image name (the last part of a component's image).
    pub images: Option<BTreeMap<String, String>>,
    /// Accepted from older definitions; it has no effect.
    pub uses_mcdsl: Option<bool>,
}

/// How the service's data is saved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// "full", "grpc", "cli", or "exec: COMMAND".
    pub method: Option<String>,
    /// Patterns of files that are left out.
    pub exclude: Option<Vec<String>>,
    /// The same, as older definitions spell it.
    pub excludes: Option<Vec<String>>,
}

/// How a new generation takes the place of the old one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// "recreate" (default): stop the old one, start the new one.
    /// "blue-green": start the new one beside the old one, and hand its
    /// connections over when it is ready.
    pub strategy: Option<String>,
    /// How long connections to the old one may go on. Default "10s".
    pub drain: Option<String>,
}

/// One container of the service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Name of the component: a DNS label.
    #[schemars(required)]
    pub name: Option<String>,
    /// Image with its registry and tag. Without it the node's default
    /// registry, the service's name and its `version` are put together.
    pub image: Option<String>,
    /// Arguments of the entrypoint, one word each.
    pub cmd: Option<Vec<String>>,
    /// Entrypoint in place of the image's, one word each.
    pub entrypoint: Option<Vec<String>>,
    /// Environment: a table, or a list of "NAME=value".
    pub env: Option<Environment>,
    /// Files on the node with more environment, one NAME=value a line.
    pub env_files: Option<Vec<String>>,
    /// Mounts: `/host/path:/path[:options]` or `name:/path[:options]`.
    pub volumes: Option<Vec<String>>,
    /// Network: a name (made when missing), a list of names, "host" or
    /// "none". Default: the container's own.
    pub network: Option<OneOrMany>,
    /// Further names by which the container is found in its networks.
    pub aliases: Option<Vec<String>>,
    /// Lines for the container's /etc/hosts: `name:address`.
    pub hosts: Option<Vec<String>>,
    /// Published ports: `[address:]host:container[/udp]`.
    pub ports: Option<Vec<String>>,
    /// Directory in the container that the process starts in.
    pub working_dir: Option<String>,
    /// Whether podman's own init is process 1 and reaps what is left over.
    /// Default false.
    pub init: Option<bool>,
    /// User in the container: `user[:group]`, names or numbers.
    pub user: Option<String>,
    /// User namespace: "keep-id", "auto", "nomap", or with ":options".
    pub userns: Option<String>,
    /// When to start again: "always" (default), "unless-stopped",
    /// "on-failure" or "no".
    pub restart: Option<String>,
    /// Components of this service that must be ready first.
    pub depends_on: Option<Vec<String>>,
    /// Whether it runs to its end: ready once it has ended with 0, and then
    /// left at that. Default false.
    pub oneshot: Option<Oneshot>,
    /// When the component is ready, and whether it still is.
    pub health: Option<Health>,
    /// Limits.
    pub resources: Option<Resources>,
    /// Devices: `/dev/host[:/dev/container[:rwm]]`.
    pub devices: Option<Vec<String>>,
    /// Labels of the container.
    pub labels: Option<BTreeMap<String, String>>,
    /// OCI annotations of the container.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Host name in the container.
    pub hostname: Option<String>,
    /// DNS servers of the container.
    pub dns: Option<Vec<String>>,
    /// Capabilities to add and to drop.
    pub capabilities: Option<Capabilities>,
    /// Whether the root file system is read-only. Default false.
    pub read_only: Option<bool>,
    /// Temporary file systems: `/path[:options]`.
    pub tmpfs: Option<Vec<String>>,
    /// Size of /dev/shm, such as "64m".
    pub shm_size: Option<String>,
    /// Limits by name: "soft:hard" or one number.
    pub ulimits: Option<BTreeMap<String, Limit>>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: Option<BTreeMap<String, Scalar>>,
    /// How long stopping may take before SIGKILL. Default "10s".
    pub stop_timeout: Option<String>,
    /// Signal that asks the container to stop, such as "SIGTERM".
    pub stop_signal: Option<String>,
    /// Where the container's output goes.
    pub log: Option<Log>,
    /// Keys put into the unit as they are, by section: an escape hatch that
    /// is shown in every plan and audited.
    pub extra: Option<Extra>,
    /// Ports leased by the agent, each given as `$PORT_<NAME>`.
    pub routes: Option<Vec<Route>>,
    /// Commands that are run in the running container by the calendar.
    pub schedule: Option<Vec<Schedule>>,
    /// "container" is the only runtime.
    pub runtime: Option<String>,
    /// Memory in MiB, as older definitions spell it; see `resources`.
    pub memory: Option<u32>,
    /// Processors, as older definitions spell it; see `resources`.
    pub vcpus: Option<u32>,
}

/// Environment of a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "environment must be a table of texts or a list of \"NAME=value\"")]
pub enum Environment {
    /// By name.
    Table(BTreeMap<String, Scalar>),
    /// As `NAME=value`.
    List(Vec<String>),
}

/// A text, or a number or truth value that is meant as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the value must be a text, a whole number or true/false")]
pub enum Scalar {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A truth value.
    Bool(bool),
}

impl Scalar {
    /// Returns the value as text.
    pub fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
        }
    }
}

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the limit must be a whole number or a text \"soft:hard\"")]
pub enum Limit {
    /// Soft and hard limit alike.
    Number(u64),
    /// `soft:hard`; `-1` or `unlimited` is without limit.
    Text(String),
}

/// One value of a directive, or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the value must be a text or a list of texts")]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several: the directive is repeated.
    Many(Vec<String>),
}

/// A command, in words or as a shell line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "the command must be a list of words, or one text for the image's shell"
)]
pub enum Command {
    /// One text, run by `/bin/sh -c` in the container.
    Shell(String),
    /// The words of the command; no shell is needed.
    Words(Vec<String>),
}

/// Whether a component runs to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "oneshot must be true, false, or a table with timeout")]
pub enum Oneshot {
    /// It does, or does not.
    Flag(bool),
    /// It does, in full.
    Full(OneshotTable),
}

/// How a component runs to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneshotTable {
    /// How long it may take. Default "1h".
    pub timeout: Option<String>,
}

/// A port, by its number in the container or by the name of its route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the port must be a number from 1 to 65535 or the name of a route")]
pub enum PortName {
    /// Number in the container.
    Number(u16),
    /// Name of a route of the component.
    Route(String),
}

/// An HTTP check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "the http check must be a path, or a table with port, path, tls and host"
)]
pub enum HttpCheck {
    /// Path on the component's only port.
    Path(String),
    /// In full.
    Full(HttpTable),
}

/// An HTTP check in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTable {
    /// Port; default: the component's only one.
    pub port: Option<PortName>,
    /// Path; default "/".
    pub path: Option<String>,
    /// Whether to speak TLS; the certificate is not checked. Default false.
    pub tls: Option<bool>,
    /// Host header; default: the address.
    pub host: Option<String>,
}

/// A gRPC health check (grpc.health.v1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "the grpc check must be a port, or a table with port, service and tls"
)]
pub enum GrpcCheck {
    /// The port.
    Port(PortName),
    /// In full.
    Full(GrpcTable),
}

/// A gRPC health check in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcTable {
    /// Port; default: the component's only one.
    pub port: Option<PortName>,
    /// Name of the service that is asked for; default: the server as a whole.
    pub service: Option<String>,
    /// Whether to speak TLS; the certificate is not checked. Default false.
    pub tls: Option<bool>,
}

/// When a component is ready: one of `cmd`, `tcp`, `http`, `grpc`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Command that succeeds in the container.
    pub cmd: Option<Command>,
    /// Port that accepts connections.
    pub tcp: Option<PortName>,
    /// HTTP request that is answered with 2xx or 3xx.
    pub http: Option<HttpCheck>,
    /// gRPC server that says it is serving.
    pub grpc: Option<GrpcCheck>,
    /// Time between checks. Default "30s"; while starting, 2 seconds.
    pub interval: Option<String>,
    /// Time one check may take. Default "5s".
    pub timeout: Option<String>,
    /// Checks that must fail in a row before the component is unhealthy.
    /// Default 3.
    pub retries: Option<u32>,
    /// Time that the component is given to become ready. Default "30s".
    pub start_period: Option<String>,
    /// What becomes of a running component that is unhealthy: "none"
    /// (default), "restart" or "stop".
    pub on_failure: Option<String>,
}

/// Limits of a component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Memory, such as "512m".
    pub memory: Option<String>,
    /// Processors, such as 1.5.
    pub cpus: Option<Cpus>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// A number of processors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "cpus must be a number such as 0.5 or 2")]
pub enum Cpus {
    /// Whole ones.
    Whole(u32),
    /// With a fraction.
    Part(f64),
}

/// Capabilities to add and to drop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Added, such as `NET_BIND_SERVICE`.
    pub add: Option<Vec<String>>,
    /// Dropped; "all" drops every one.
    pub drop: Option<Vec<String>>,
}

/// Where the container's output goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// "journald" (default), "k8s-file" or "none".
    pub driver: Option<String>,
    /// Options of the driver, such as `max-size`.
    pub options: Option<BTreeMap<String, Scalar>>,
}

/// A command that is run in the running container by the calendar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Name of the schedule: a DNS label, unique in the component.
    #[schemars(required)]
    pub name: Option<String>,
    /// When it runs: one or several calendar expressions of systemd, such as
    /// "daily" or "*-*-* 03:00".
    #[schemars(required)]
    pub on_calendar: Option<OneOrMany>,
    /// Command that is run in the container.
    #[schemars(required)]
    pub cmd: Option<Command>,
    /// User in the container that runs it. Default: the component's.
    pub user: Option<String>,
    /// How long one run may take. Default "1h".
    pub timeout: Option<String>,
    /// Whether a run that was missed while the component was down is made up
    /// for. Default false.
    pub persistent: Option<bool>,
    /// Runs are put off by a random time up to this. Default "0s".
    pub randomized_delay: Option<String>,
}

/// A port leased by the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Name; needed when there is more than one. The port is `$PORT_<NAME>`.
    pub name: Option<String>,
    /// Port at which the proxy serves the route.
    #[schemars(required)]
    pub port: Option<u16>,
    /// "l4": TLS is passed through (default); "l7": HTTP, TLS ends at the
    /// proxy.
    pub mode: Option<String>,
    /// Host name in place of the derived one.
    pub hostname: Option<String>,
    /// Whether edge nodes serve the route to the world. Default false.
    pub public: Option<bool>,
}
