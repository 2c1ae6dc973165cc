//! `mcp purge`: entries of registries that were removed, or stay.

use serde::Serialize;

use crate::cli::views::problem::NodeProblem;
use crate::cli::views::table::{self, Cell};
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone};

/// Every entry that was looked at.
#[derive(Debug, Default, Serialize)]
pub struct PurgeView {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The entries, by node and service.
    pub entries: Vec<PurgeEntry>,
    /// The nodes that did not answer.
    pub problems: Vec<NodeProblem>,
}

/// One component of a service in a registry.
#[derive(Debug, Serialize)]
pub struct PurgeEntry {
    /// The service.
    pub service: String,
    /// The component.
    pub component: String,
    /// The node.
    pub node: String,
    /// Whether it is removed, or would be.
    pub purged: bool,
    /// Why.
    pub reason: String,
}

impl PurgeView {
    /// Adds what one node answered.
    pub fn add(&mut self, node: &str, answer: proto::PurgeResponse) {
        self.entries.extend(answer.results.into_iter().map(|result| PurgeEntry {
            service: result.service,
            component: result.component,
            node: node.to_owned(),
            purged: result.purged,
            reason: result.reason,
        }));
    }

    /// Returns the table.
    pub fn text(&self, palette: Palette) -> String {
        if self.entries.is_empty() && !self.problems.is_empty() {
            return String::new();
        }
        let rows: Vec<_> = self.entries.iter().map(|entry| self.row(entry)).collect();
        table::render(["SERVICE", "COMPONENT", "NODE", "RESULT", "REASON"], &rows, palette)
    }

    fn row(&self, entry: &PurgeEntry) -> [Cell; 5] {
        let result = match (entry.purged, self.dry_run) {
            (true, true) => Cell::new("would go").tone(Tone::Unsure),
            (true, false) => Cell::new("removed").tone(Tone::Good),
            (false, _) => Cell::new("stays").tone(Tone::Faint),
        };
        [
            Cell::new(&entry.service).tone(Tone::Strong),
            Cell::new(&entry.component),
            Cell::new(&entry.node),
            result,
            Cell::new(&entry.reason),
        ]
    }
}
