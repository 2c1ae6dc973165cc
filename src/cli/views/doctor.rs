//! `mcp doctor`: what is wrong with nodes.

use serde::Serialize;

use crate::cli::views::findings::{self, FindingView};
use crate::cli::views::problem::NodeProblem;
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, visible};

/// What was found on nodes.
#[derive(Debug, Default, Serialize)]
pub struct DoctorView {
    /// The nodes that answered.
    pub nodes: Vec<NodeFindings>,
    /// Nodes that could not be asked.
    pub problems: Vec<NodeProblem>,
}

/// What was found on one node.
#[derive(Debug, Serialize)]
pub struct NodeFindings {
    /// The node.
    pub node: String,
    /// What was looked at; what is fine as well.
    pub findings: Vec<FindingView>,
}

impl DoctorView {
    /// Adds a node's answer.
    pub fn add(&mut self, node: &str, answer: proto::DoctorResponse) {
        let findings = answer.findings.into_iter().map(FindingView::from).collect();
        self.nodes.push(NodeFindings { node: node.to_owned(), findings });
    }

    /// Tells whether anything failed.
    pub fn has_failures(&self) -> bool {
        self.nodes.iter().flat_map(|node| &node.findings).any(|found| found.level == "failed")
    }

    /// Returns the findings for people: those that are fine only if asked for.
    pub fn text(&self, all: bool, palette: Palette) -> String {
        let mut text = String::new();
        for NodeFindings { node, findings } in &self.nodes {
            let shown: Vec<FindingView> =
                findings.iter().filter(|f| all || f.level != "ok").cloned().collect();
            let fine = findings.iter().filter(|f| f.level == "ok").count();
            text.push_str(&visible(node));
            text.push_str(&[": ", &fine.to_string(), " of ", &findings.len().to_string()].concat());
            text.push_str(" checks are fine\n");
            text.push_str(&findings::text(&shown, palette));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fine_is_shown_only_if_asked_for() {
        let finding = |level: proto::FindingLevel| proto::Finding {
            check: "linger".into(),
            subject: "mcp".into(),
            level: level.into(),
            message: "It is so.".into(),
            mend: String::new(),
        };
        let mut view = DoctorView::default();
        let findings = vec![finding(proto::FindingLevel::Fine)];
        view.add("rift", proto::DoctorResponse { findings });
        assert_eq!(view.text(false, Palette::PLAIN), "rift: 1 of 1 checks are fine\n");
        assert!(!view.has_failures());
        let findings =
            vec![finding(proto::FindingLevel::Fine), finding(proto::FindingLevel::Failed)];
        view.add("lab", proto::DoctorResponse { findings });
        assert!(view.has_failures());
        insta::assert_snapshot!(view.text(true, Palette::PLAIN), @r"
        rift: 1 of 1 checks are fine
        ok       linger mcp: It is so.
        lab: 1 of 2 checks are fine
        ok       linger mcp: It is so.
        failed   linger mcp: It is so.
        ");
    }
}
