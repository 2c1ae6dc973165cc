//! What an agent says about itself and the caller.

use serde::Serialize;

use crate::rpc::agent_v1 as proto;

/// An agent, and who the caller is to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InfoView {
    /// The node's own name.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// Who the caller is to it.
    pub caller: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// Empty when podman was not found.
    pub podman_version: String,
    /// The version of systemd.
    pub systemd_version: String,
    /// The machine's architecture.
    pub arch: String,
    /// What keeps the agent from full service.
    pub problems: Vec<String>,
}

impl From<proto::InfoResponse> for InfoView {
    fn from(info: proto::InfoResponse) -> Self {
        Self {
            node: info.node,
            version: info.version,
            caller: info.caller,
            role: info.role,
            podman_version: info.podman_version,
            systemd_version: info.systemd_version,
            arch: info.arch,
            problems: info.problems,
        }
    }
}
