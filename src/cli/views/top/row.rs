//! What one component uses, for people and for programs.

use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::problem::NodeProblem;
use crate::rpc::agent_v1 as proto;

/// `mcp top --once --json`.
#[derive(Debug, Default, Serialize)]
pub struct TopView {
    /// A sample of each node that answered.
    pub nodes: Vec<SampleView>,
    /// Nodes that could not be asked.
    pub problems: Vec<NodeProblem>,
}

/// A sample of one node; `mcp top --json` writes one a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleView {
    /// The node.
    pub node: String,
    /// When, RFC 3339.
    pub at: Option<String>,
    /// Processors of the node.
    pub cpus: u32,
    /// Memory of the node, in octets; `null`: not known.
    pub memory_bytes: Option<u64>,
    /// Controllers that systemd does not have there.
    pub missing_controllers: Vec<String>,
    /// The components.
    pub components: Vec<TopRow>,
}

/// What a component uses. `null`: not known, or it does not run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopRow {
    /// Its service.
    pub service: String,
    /// Its name.
    pub component: String,
    /// As in `ps`.
    pub state: String,
    /// As in `ps`.
    pub health: String,
    /// Processors used, since the sample before; 1 is one of them.
    pub cpu: Option<f64>,
    /// Time of processors since its start, in seconds.
    pub cpu_s: Option<f64>,
    /// Memory in octets.
    pub memory_bytes: Option<u64>,
    /// Octets read a second.
    pub io_read_bytes_s: Option<f64>,
    /// Octets written a second.
    pub io_written_bytes_s: Option<f64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// How often it was restarted by itself.
    pub restarts: u32,
    /// Events in the last hour.
    pub events: u32,
    /// The kind of the newest of them; `null`: none.
    pub last_event: Option<String>,
    /// When its state began, RFC 3339.
    pub since: Option<String>,
    /// The same, in milliseconds since the Unix epoch; 0: not known.
    #[serde(skip)]
    pub since_ms: i64,
}

impl SampleView {
    /// Takes a node's sample.
    pub fn new(node: &str, sample: proto::TopSample) -> Self {
        let proto::TopSample { at_ms, cpus, memory, missing, components } = sample;
        Self {
            node: node.to_owned(),
            at: age::rfc3339(at_ms),
            cpus,
            memory_bytes: (memory > 0).then_some(memory),
            missing_controllers: missing,
            components: components.into_iter().map(TopRow::from).collect(),
        }
    }
}

impl From<proto::TopComponent> for TopRow {
    fn from(used: proto::TopComponent) -> Self {
        Self {
            cpu: used.cpu,
            cpu_s: used.cpu_ns.map(|ns| std::time::Duration::from_nanos(ns).as_secs_f64()),
            memory_bytes: used.memory,
            io_read_bytes_s: used.io_read,
            io_written_bytes_s: used.io_written,
            tasks: used.tasks,
            restarts: used.restarts,
            events: used.events,
            last_event: (!used.last_event.is_empty()).then_some(used.last_event),
            since: age::rfc3339(used.since_ms),
            since_ms: used.since_ms,
            service: used.service,
            component: used.component,
            state: used.state,
            health: used.health,
        }
    }
}
