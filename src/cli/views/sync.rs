//! `mcp sync`: what differs between the definitions and the nodes, and what
//! became of it.

use serde::Serialize;

use crate::cli::views::operation::OperationView;
use crate::cli::views::plan::{PlanEffect, PlanView};
use crate::cli::views::problem::NodeProblem;
use crate::cli::views::table::{self, Cell};
use crate::ui::{Palette, Tone};

/// Every service that is defined or on a node.
#[derive(Debug, Default, Serialize)]
pub struct SyncView {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The services by node, in the order in which they are taken.
    pub services: Vec<SyncService>,
    /// Files that cannot be used.
    pub broken: Vec<SyncFile>,
    /// The nodes that did not answer.
    pub problems: Vec<NodeProblem>,
    /// How many there are of each state.
    pub summary: SyncSummary,
}

/// How a service differs from its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Defined, and not on the node.
    New,
    /// The definition means something else than what is on the node.
    Changed,
    /// Only its words differ.
    Reworded,
    /// It is as defined.
    Unchanged,
    /// It is on the node, and there is no definition of it.
    Absent,
    /// It is on the node, and its definition is for another or cannot be used.
    Kept,
    /// The node does not take the definition.
    Refused,
}

/// What a sync does about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is deployed.
    Deploy,
    /// It is taken off the node; its data stays.
    Undeploy,
    /// Nothing.
    None,
}

/// One service on one node.
#[derive(Debug, Serialize)]
pub struct SyncService {
    /// The service.
    pub service: String,
    /// The node.
    pub node: String,
    /// How it differs.
    pub state: State,
    /// What is done about it.
    pub action: Action,
    /// Why nothing is done, where something would have to be.
    pub reason: String,
    /// Paths of unit files that differ.
    pub files: Vec<String>,
    /// What systemd does to units.
    pub effects: Vec<PlanEffect>,
    /// What to know besides.
    pub warnings: Vec<String>,
    /// What became of it; `null`: nothing was tried.
    pub outcome: Option<OperationView>,
    /// Why it could not be carried out, or was not tried.
    pub error: Option<String>,
}

/// A file that cannot be used.
#[derive(Debug, Serialize)]
pub struct SyncFile {
    /// The file.
    pub path: String,
    /// The services that it may be about; none: it may be any.
    pub services: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// Whether it is well, and only its node is not clear.
    pub unclear: bool,
}

/// How many services there are of each state, and what became of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "they are called as the states are")]
pub struct SyncSummary {
    pub new: usize,
    pub changed: usize,
    pub reworded: usize,
    pub unchanged: usize,
    pub absent: usize,
    pub kept: usize,
    pub refused: usize,
    /// Files that cannot be used.
    pub broken: usize,
    /// Files of which it is not clear for which node they are.
    pub unclear: usize,
    /// Carried out.
    pub done: usize,
    /// Tried without success, or not tried because of that.
    pub failed: usize,
}

impl SyncService {
    /// Makes a service of which nothing is known but its state.
    pub fn new(node: &str, service: String, state: State) -> Self {
        Self {
            service,
            node: node.to_owned(),
            state,
            action: Action::None,
            reason: String::new(),
            files: Vec::new(),
            effects: Vec::new(),
            warnings: Vec::new(),
            outcome: None,
            error: None,
        }
    }

    /// Takes over what a plan says.
    pub fn planned(&mut self, plan: PlanView) {
        self.files = plan.files.into_iter().map(|f| f.path).collect();
        self.effects = plan.effects;
        self.warnings = plan.warnings;
    }

    fn succeeded(&self) -> bool {
        self.outcome.as_ref().is_some_and(OperationView::succeeded)
    }

    fn failed(&self) -> bool {
        self.error.is_some() || self.outcome.as_ref().is_some_and(|o| !o.succeeded())
    }

    fn row(&self, dry_run: bool) -> [Cell; 5] {
        let tone = match self.state {
            State::New | State::Changed => Tone::Good,
            State::Reworded | State::Unchanged => Tone::Faint,
            State::Absent | State::Kept => Tone::Unsure,
            State::Refused => Tone::Bad,
        };
        [
            Cell::new(&self.service).tone(Tone::Strong),
            Cell::new(&self.node),
            Cell::new(self.state.word()).tone(tone),
            self.result(dry_run),
            Cell::or_dash(self.what()),
        ]
    }

    fn result(&self, dry_run: bool) -> Cell {
        match (&self.outcome, &self.error) {
            (Some(outcome), _) => {
                let tone = if outcome.succeeded() { Tone::Good } else { Tone::Bad };
                Cell::new(outcome.outcome).tone(tone)
            }
            (None, Some(_)) => Cell::new("failed").tone(Tone::Bad),
            (None, None) if dry_run => Cell::new(match self.action {
                Action::Deploy => "deploy",
                Action::Undeploy => "undeploy",
                Action::None => "-",
            }),
            (None, None) => Cell::new("-"),
        }
    }

    fn what(&self) -> String {
        if let Some(error) = &self.error {
            return error.clone();
        }
        if !self.reason.is_empty() {
            return self.reason.clone();
        }
        let effects: Vec<String> =
            self.effects.iter().map(|e| format!("{} {}", e.action, e.unit)).collect();
        match (effects.as_slice(), self.files.len()) {
            ([], 0) => String::new(),
            ([], 1) => "1 file, nothing restarted".to_owned(),
            ([], files) => format!("{files} files, nothing restarted"),
            (effects, _) => effects.join(", "),
        }
    }
}

impl State {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Reworded => "reworded",
            Self::Unchanged => "unchanged",
            Self::Absent => "absent",
            Self::Kept => "kept",
            Self::Refused => "refused",
        }
    }
}

impl SyncView {
    /// Counts.
    pub fn summarise(&mut self) {
        let count = |state: State| self.services.iter().filter(|s| s.state == state).count();
        self.summary = SyncSummary {
            new: count(State::New),
            changed: count(State::Changed),
            reworded: count(State::Reworded),
            unchanged: count(State::Unchanged),
            absent: count(State::Absent),
            kept: count(State::Kept),
            refused: count(State::Refused),
            broken: self.broken.iter().filter(|file| !file.unclear).count(),
            unclear: self.broken.iter().filter(|file| file.unclear).count(),
            done: self.services.iter().filter(|s| s.succeeded()).count(),
            failed: self.services.iter().filter(|s| s.failed()).count(),
        };
    }

    /// Tells whether something is to be done.
    pub fn has_work(&self) -> bool {
        self.services.iter().any(|s| s.action != Action::None)
    }

    /// Returns what differs as a table, and the counts.
    pub fn text(&self, palette: Palette) -> String {
        let shown: Vec<&SyncService> =
            self.services.iter().filter(|s| s.state != State::Unchanged).collect();
        let mut text = String::new();
        if !shown.is_empty() {
            let header = [
                "SERVICE",
                "NODE",
                "STATE",
                if self.dry_run { "ACTION" } else { "OUTCOME" },
                "WHAT",
            ];
            let rows: Vec<_> = shown.iter().map(|s| s.row(self.dry_run)).collect();
            text = table::render(header, &rows, palette);
        }
        let s = &self.summary;
        let counts = [
            (s.new, "new"),
            (s.changed, "changed"),
            (s.reworded, "reworded"),
            (s.unchanged, "unchanged"),
            (s.absent, "absent"),
            (s.kept, "kept"),
            (s.refused, "refused"),
            (s.broken, "broken"),
            (s.unclear, "unclear"),
        ];
        let mut words: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if words.is_empty() {
            words.push("no services".to_owned());
        }
        text.push_str(&words.join(", "));
        if !self.dry_run && s.done + s.failed > 0 {
            text.push_str(&format!("; {} done, {} failed", s.done, s.failed));
        }
        text.push('\n');
        text
    }
}
