//! Whether nodes will come back from a reboot.

use serde::Serialize;

use crate::cli::views::findings::{self, FindingView};
use crate::cli::views::problem::NodeProblem;
use crate::rpc::agent_v1 as pb;
use crate::ui::{Palette, Tone, visible};

/// What was found on the nodes that were asked.
#[derive(Debug, Serialize)]
pub struct BootVerifyView {
    /// One for each node that answered.
    pub nodes: Vec<NodeFindings>,
    /// The nodes that did not.
    pub problems: Vec<NodeProblem>,
}

/// What was found on one node.
#[derive(Debug, Serialize)]
pub struct NodeFindings {
    /// The node.
    pub node: String,
    /// `ok`, `warning` or `failed`: the worst of the findings.
    pub verdict: &'static str,
    /// Each thing that was looked at.
    pub findings: Vec<FindingView>,
}

impl NodeFindings {
    /// Takes a node's answer.
    pub fn new(node: String, findings: Vec<pb::Finding>) -> Self {
        let findings: Vec<FindingView> = findings.into_iter().map(FindingView::from).collect();
        let has = |level: &str| findings.iter().any(|finding| finding.level == level);
        let verdict = match (has("failed"), has("warning")) {
            (true, _) => "failed",
            (false, true) => "warning",
            (false, false) => "ok",
        };
        Self { node, verdict, findings }
    }

    fn counted(&self, level: &str) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    fn text(&self, palette: Palette, all: bool) -> String {
        let node = palette.paint(Tone::Strong, &visible(&self.node));
        let (failed, warnings) = (self.counted("failed"), self.counted("warning"));
        let looked = self.findings.len();
        let verdict = match self.verdict {
            "failed" => {
                palette.paint(Tone::Bad, &format!("will not come back as it is: {failed} failed"))
            }
            "warning" => palette.paint(Tone::Unsure, "will come back"),
            _ => palette.paint(Tone::Good, "will come back"),
        };
        let mut text = format!(
            "{node}: {verdict}, {}, {}\n",
            counted(warnings, "warning"),
            counted(looked, "finding")
        );
        let shown: Vec<FindingView> =
            self.findings.iter().filter(|f| all || f.level != "ok").cloned().collect();
        text.push_str(&findings::text(&shown, palette));
        text
    }
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

impl BootVerifyView {
    /// Tells whether a node will not come back as it is.
    pub fn failed(&self) -> bool {
        self.nodes.iter().any(|node| node.verdict == "failed")
    }

    /// Returns the findings for people; those that are well only on request.
    pub fn text(&self, palette: Palette, all: bool) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.text(palette, all)).collect();
        nodes.join("\n")
    }
}
