//! `mcp agent upgrade`: what became of each node.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::agent_status::UpgradeEndView;
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// What became of the nodes, in their order.
#[derive(Debug, Serialize)]
pub struct UpgradesView {
    /// Whether only a look was asked for.
    pub dry_run: bool,
    /// The nodes.
    pub nodes: Vec<NodeUpgrade>,
}

/// What became of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeUpgrade {
    /// The node.
    pub node: String,
    /// `upgraded`, `unchanged`, `planned`, `returned`, `failed` or
    /// `not_tried`.
    pub outcome: &'static str,
    /// The version that ran before; empty: not known.
    pub from: String,
    /// The version that was sent; empty: not known.
    pub to: String,
    /// The SHA-256 of what was sent; `null`: nothing was.
    pub sha256: Option<String>,
    /// The schema of the registry before and after; `null`: not known.
    pub schema: Option<[i64; 2]>,
    /// What went wrong.
    pub message: String,
    /// The last lines of a trial that failed.
    pub journal: Vec<String>,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl NodeUpgrade {
    /// Makes a view of a node of which nothing is known yet.
    pub fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            outcome: "failed",
            from: String::new(),
            to: String::new(),
            sha256: None,
            schema: None,
            message: String::new(),
            journal: Vec::new(),
            elapsed_ms: 0,
        }
    }

    /// Makes a view of a node that was left alone.
    pub fn not_tried(node: &str) -> Self {
        Self { outcome: "not_tried", ..Self::new(node) }
    }

    /// Says that the node runs the program already.
    pub fn unchanged(&mut self) {
        self.outcome = "unchanged";
        self.to.clone_from(&self.from);
    }

    /// Takes the node's word that the program will do.
    pub fn accepted(&mut self, answer: proto::UpgradeResponse, dry_run: bool) {
        self.to = answer.to;
        self.schema = Some([answer.schema_from, answer.schema_to]);
        if dry_run {
            self.outcome = "planned";
        }
    }

    /// Says what went wrong before there was an answer.
    pub fn fail(&mut self, message: String) {
        self.outcome = "failed";
        self.message = message;
    }

    /// Takes what the agent says after its restart; tells whether that is the
    /// end.
    pub fn has_ended(&mut self, after: proto::AgentStatusResponse, sha256: &str) -> bool {
        let ours = |program: &proto::UpgradedProgram| program.sha256 == sha256;
        let last = after.last.filter(|end| end.program.as_ref().is_some_and(ours));
        match (after.waiting.as_ref().is_some_and(ours), last) {
            (true, _) if after.sha256 == sha256 => return false,
            (true, _) => self.fail(
                "its trial could not begin; the agent's log says why, and it begins with the agent's next start"
                    .to_owned(),
            ),
            (false, Some(end)) if end.outcome == "confirmed" => self.outcome = "upgraded",
            (false, Some(end)) => {
                let end = UpgradeEndView::from(end);
                self.outcome = "returned";
                self.message = end.reason;
                self.journal = end.journal;
            }
            (false, None) => self.fail(if after.problem.is_empty() {
                "the agent has no record of it".to_owned()
            } else {
                after.problem
            }),
        }
        true
    }

    /// Tells whether the nodes after this one are to be left alone.
    pub fn has_failed(&self) -> bool {
        !matches!(self.outcome, "upgraded" | "unchanged" | "planned")
    }

    fn line(&self, palette: Palette) -> String {
        let (node, from, to) = (visible(&self.node), visible(&self.from), visible(&self.to));
        let (tone, text) = match self.outcome {
            "upgraded" => {
                let took = age::elapsed(Duration::from_millis(self.elapsed_ms));
                (Tone::Good, format!("upgraded from {from} to {to} in {took}"))
            }
            "unchanged" => (Tone::Plain, format!("runs this program already, {from}")),
            "planned" => (Tone::Plain, format!("would be upgraded from {from} to {to}")),
            "returned" => (
                Tone::Bad,
                format!(
                    "{to} did not come up, and the agent of before serves again: {}",
                    visible(&self.message)
                ),
            ),
            "not_tried" => (Tone::Faint, "not tried".to_owned()),
            _ => (Tone::Bad, format!("not upgraded: {}", visible(&self.message))),
        };
        let schema = match self.schema {
            Some([before, after]) if before != after && !self.has_failed() => {
                format!("; the registry goes from schema {before} to {after}")
            }
            Some(_) | None => String::new(),
        };
        format!("{node}: {}{schema}", palette.paint(tone, &text))
    }
}

impl UpgradesView {
    /// Returns one line a node, and the last words of a trial that failed.
    pub fn text(&self, palette: Palette) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            text.push_str(&node.line(palette));
            text.push('\n');
            for line in &node.journal {
                // A string takes whatever is written.
                if writeln!(text, "    {}", visible(line)).is_err() {
                    break;
                }
            }
        }
        text
    }
}
