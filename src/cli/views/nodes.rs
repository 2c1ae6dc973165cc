//! `mcp node list`: the nodes of the config and what their agents say.

use serde::Serialize;

use crate::cli::views::info::InfoView;
use crate::cli::views::problem::NodeProblem;
use crate::cli::views::table::{self, Cell};
use crate::ui::{Palette, Tone};

/// The nodes of the config.
#[derive(Debug, Default, Serialize)]
pub struct NodesView {
    /// By the order of the config.
    pub nodes: Vec<NodeView>,
}

/// One node.
#[derive(Debug, Serialize)]
pub struct NodeView {
    /// Its name in the config.
    pub name: String,
    /// How it is reached.
    pub address: String,
    /// What its agent says; `null` when it did not answer.
    pub agent: Option<InfoView>,
    /// Why it did not answer; `null` when it did.
    pub problem: Option<NodeProblem>,
}

/// `mcp node add` and `mcp node remove`.
#[derive(Debug, Serialize)]
pub struct NodeChangeView {
    /// The node.
    pub node: String,
    /// The config that was written.
    pub path: String,
}

impl NodesView {
    /// Returns the table.
    pub fn text(&self, palette: Palette) -> String {
        let header = ["NAME", "ADDRESS", "VERSION", "STATE", "ROLE", "PODMAN", "SYSTEMD", "ARCH"];
        let row = |node: &NodeView| {
            let (state, tone) = match (&node.agent, &node.problem) {
                (_, Some(problem)) => (problem.kind.replace('_', " "), Tone::Bad),
                (Some(agent), None) if agent.problems.is_empty() => {
                    ("ready".to_owned(), Tone::Good)
                }
                (Some(_) | None, None) => ("limited".to_owned(), Tone::Unsure),
            };
            let agent = |field: fn(&InfoView) -> &String| {
                Cell::or_dash(node.agent.as_ref().map_or("", |agent| field(agent)))
            };
            [
                Cell::new(&node.name),
                Cell::new(&node.address),
                agent(|agent| &agent.version),
                Cell::new(state).tone(tone),
                agent(|agent| &agent.role),
                agent(|agent| &agent.podman_version),
                agent(|agent| &agent.systemd_version),
                agent(|agent| &agent.arch),
            ]
        };
        table::render(header, &self.nodes.iter().map(row).collect::<Vec<_>>(), palette)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::agent_v1 as proto;

    #[test]
    fn a_node_that_is_down_keeps_its_row() {
        let info = proto::InfoResponse {
            node: "rift".into(),
            version: "0.1.0".into(),
            caller: "kyle".into(),
            role: "admin".into(),
            podman_version: "5.4.2".into(),
            systemd_version: "257".into(),
            arch: "x86_64".into(),
            problems: Vec::new(),
        };
        let problem = NodeProblem {
            node: "svc".into(),
            address: "svc:9444".into(),
            kind: "unreachable",
            message: "refused".into(),
        };
        let view = NodesView {
            nodes: vec![
                NodeView {
                    name: "rift".into(),
                    address: "100.95.252.120:9444".into(),
                    agent: Some(info.into()),
                    problem: None,
                },
                NodeView {
                    name: "svc".into(),
                    address: "svc:9444".into(),
                    agent: None,
                    problem: Some(problem),
                },
            ],
        };
        insta::assert_snapshot!(view.text(Palette::PLAIN), @r"
        NAME  ADDRESS              VERSION  STATE        ROLE   PODMAN  SYSTEMD  ARCH
        rift  100.95.252.120:9444  0.1.0    ready        admin  5.4.2   257      x86_64
        svc   svc:9444             -        unreachable  -      -       -        -
        ");
        insta::assert_snapshot!(serde_json::to_string(&view).unwrap(), @r#"{"nodes":[{"name":"rift","address":"100.95.252.120:9444","agent":{"node":"rift","version":"0.1.0","caller":"kyle","role":"admin","podman_version":"5.4.2","systemd_version":"257","arch":"x86_64","problems":[]},"problem":null},{"name":"svc","address":"svc:9444","agent":null,"problem":{"node":"svc","address":"svc:9444","kind":"unreachable","message":"refused"}}]}"#);
    }
}
