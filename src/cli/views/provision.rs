//! `mcp node provision`: what was done to make a machine a node.

use std::time::Duration;

use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::findings::{self, FindingView};
use crate::ui::{Palette, Tone, visible_lines};

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was so already.
    Same,
    /// It was done.
    Changed,
    /// It would be done.
    Would,
}

/// One step.
#[derive(Debug, Serialize)]
pub struct StepView {
    /// `machine`, `upload`, `packages`, `configuration`, `agent`, `token`,
    /// `doctor` or `config`.
    pub step: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What it was about; may be empty.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl StepView {
    /// Makes the view of a step that has ended.
    pub fn new(step: &'static str, outcome: Outcome, detail: String, took: Duration) -> Self {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { step, outcome, detail, took_ms }
    }

    /// Returns a line about the step.
    pub fn line(&self, palette: Palette) -> String {
        let (word, tone) = match self.outcome {
            Outcome::Same => ("ok", Tone::Faint),
            Outcome::Changed => ("changed", Tone::Good),
            Outcome::Would => ("would change", Tone::Unsure),
        };
        let took = age::elapsed(Duration::from_millis(self.took_ms));
        let word = palette.paint(tone, &format!("{word:<12}"));
        let line = format!("{:<13} {word} {took:>6}  {}", self.step, visible_lines(&self.detail));
        line.trim_end().to_owned()
    }
}

/// What was done to make a machine a node.
#[derive(Debug, Serialize)]
pub struct ProvisionView {
    /// How ssh calls the machine.
    pub host: String,
    /// What the config calls it; empty if that was not reached.
    pub node: String,
    /// Where its agent is reached; empty if that was not reached.
    pub address: String,
    /// The fingerprint of its certificate; empty if that was not reached.
    pub fingerprint: String,
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// The steps, in order.
    pub steps: Vec<StepView>,
    /// What the doctor did not find fine.
    pub findings: Vec<FindingView>,
    /// For a machine that runs NixOS: the module that makes it a node.
    pub nixos_module: Option<String>,
}

impl ProvisionView {
    /// Makes a view of which nothing is known yet.
    pub fn new(host: &str, dry_run: bool) -> Self {
        Self {
            host: host.to_owned(),
            node: String::new(),
            address: String::new(),
            fingerprint: String::new(),
            dry_run,
            steps: Vec::new(),
            findings: Vec::new(),
            nixos_module: None,
        }
    }

    /// Tells whether a step would change something.
    pub fn would_change(&self) -> bool {
        self.steps.iter().any(|step| step.outcome == Outcome::Would)
    }

    /// Tells whether the doctor found something that fails.
    pub fn has_failures(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == "failed")
    }

    /// Returns what is left to say at the end, for people.
    pub fn text(&self, palette: Palette) -> String {
        if let Some(module) = &self.nixos_module {
            return module.clone();
        }
        let mut text = findings::text(&self.findings, palette);
        let changed = self.steps.iter().filter(|step| step.outcome == Outcome::Changed).count();
        let took: u64 = self.steps.iter().map(|step| step.took_ms).sum();
        let took = age::elapsed(Duration::from_millis(took));
        let node = visible_lines(&self.node);
        text.push_str(&match (self.dry_run, changed) {
            (true, _) if self.would_change() => format!("{node}: nothing was changed\n"),
            (_, 0) => format!("{node}: a node already, nothing to do ({took})\n"),
            (_, _) => format!("{node}: a node at {} ({took})\n", visible_lines(&self.address)),
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(dry_run: bool, outcomes: &[Outcome]) -> ProvisionView {
        let mut view = ProvisionView::new("root@rift", dry_run);
        view.node = "rift".into();
        view.address = "10.0.0.7:9444".into();
        for outcome in outcomes {
            let took = Duration::from_millis(61_500);
            view.steps.push(StepView::new(
                "packages",
                *outcome,
                "mcp-agent\u{1b} 0.1.0".into(),
                took,
            ));
        }
        view
    }

    #[test]
    fn a_step_is_a_line_that_reaches_no_terminal() {
        let lines: Vec<String> = view(false, &[Outcome::Same, Outcome::Changed, Outcome::Would])
            .steps
            .iter()
            .map(|step| step.line(Palette::PLAIN))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        packages      ok             1m1s  mcp-agent^[ 0.1.0
        packages      changed        1m1s  mcp-agent^[ 0.1.0
        packages      would change   1m1s  mcp-agent^[ 0.1.0
        ");
    }

    #[test]
    fn the_end_says_what_is_true_now() {
        let text = |dry_run, outcomes| view(dry_run, outcomes).text(Palette::PLAIN);
        assert_eq!(text(false, &[Outcome::Changed]), "rift: a node at 10.0.0.7:9444 (1m1s)\n");
        assert_eq!(text(false, &[Outcome::Same]), "rift: a node already, nothing to do (1m1s)\n");
        assert_eq!(text(true, &[Outcome::Would]), "rift: nothing was changed\n");
        assert_eq!(text(true, &[Outcome::Same]), "rift: a node already, nothing to do (1m1s)\n");
    }
}
