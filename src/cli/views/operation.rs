//! What a deploy, undeploy, stop, start or restart did.

use std::time::Duration;

use serde::Serialize;

use crate::cli::views::age;
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible, visible_lines};

/// The end of an operation, and the way to it.
#[derive(Debug, Serialize)]
pub struct OperationView {
    /// The service.
    pub service: String,
    /// The node.
    pub node: String,
    /// `done`, `unchanged`, `rolled_back` or `failed`.
    pub outcome: &'static str,
    /// The deployment in force afterwards; `null`: none.
    pub generation: Option<u64>,
    /// What the agent says.
    pub message: String,
    /// Components that were started, restarted or stopped.
    pub changed: Vec<String>,
    /// What went wrong.
    pub failures: Vec<FailureView>,
    /// What to know besides.
    pub warnings: Vec<String>,
    /// The steps that ended, in order.
    pub steps: Vec<StepView>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// A step that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepView {
    /// `check`, `pull`, `install`, `reload`, `start`, ...
    pub name: String,
    /// A unit or component; `null`: the whole.
    pub subject: Option<String>,
    /// `done`, `failed` or `skipped`.
    pub state: &'static str,
    /// What there is to say.
    pub detail: String,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// A component that did not do what was asked.
#[derive(Debug, Serialize)]
pub struct FailureView {
    /// The component.
    pub component: String,
    /// Its unit.
    pub unit: String,
    /// The result of systemd's job.
    pub result: String,
    /// What that means.
    pub explanation: String,
    /// The last lines of that invocation's journal.
    pub journal: Vec<String>,
}

impl StepView {
    /// Takes a step; `None` when it has not ended.
    pub fn ended(step: &proto::Step) -> Option<Self> {
        let state = match step.state() {
            proto::StepState::Unspecified | proto::StepState::Started => return None,
            proto::StepState::Done => "done",
            proto::StepState::Failed => "failed",
            proto::StepState::Skipped => "skipped",
        };
        Some(Self {
            name: step.name.clone(),
            subject: (!step.subject.is_empty()).then(|| step.subject.clone()),
            state,
            detail: step.detail.clone(),
            elapsed_ms: step.elapsed_ms,
        })
    }

    /// Returns the step on one line: `  pull mcq: done (2.1s)`.
    pub fn line(&self, palette: Palette) -> String {
        let tone = match self.state {
            "done" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Faint,
        };
        let time = age::elapsed(Duration::from_millis(self.elapsed_ms));
        let mut line = format!("  {}: {}", self.label(), palette.paint(tone, self.state));
        if !self.detail.is_empty() {
            line.extend([", ", &visible(&self.detail)]);
        }
        if self.state != "skipped" {
            line.push_str(&palette.paint(Tone::Faint, &format!(" ({time})")));
        }
        line
    }

    fn label(&self) -> String {
        label(&self.name, self.subject.as_deref().unwrap_or_default())
    }
}

/// Returns what a step is called.
pub fn label(name: &str, subject: &str) -> String {
    match subject {
        "" => visible(name).into_owned(),
        subject => format!("{} {}", visible(name), visible(subject)),
    }
}

impl From<proto::Failure> for FailureView {
    fn from(failure: proto::Failure) -> Self {
        let proto::Failure { component, unit, result, explanation, journal } = failure;
        Self { component, unit, result, explanation, journal }
    }
}

impl FailureView {
    /// Returns the failure for people.
    pub fn text(&self, palette: Palette) -> String {
        let what = if self.component.is_empty() { &self.unit } else { &self.component };
        let result = if self.result.is_empty() {
            String::new()
        } else {
            format!(" ({}: {})", visible(&self.unit), visible(&self.result))
        };
        let mut text = format!(
            "{} {}{result}\n",
            palette.paint(Tone::Bad, "failed:"),
            palette.paint(Tone::Strong, &visible(what)),
        );
        for line in visible_lines(&self.explanation).lines() {
            text.extend(["  ", line, "\n"]);
        }
        if !self.journal.is_empty() {
            text.push_str("  its last lines:\n");
        }
        for line in &self.journal {
            text.push_str(&palette.paint(Tone::Faint, &format!("  | {}", visible(line))));
            text.push('\n');
        }
        text
    }
}

impl OperationView {
    /// Puts an outcome and what went before it together.
    pub fn new(
        node: &str,
        outcome: proto::Outcome,
        steps: Vec<StepView>,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            outcome: match outcome.kind() {
                proto::OutcomeKind::Done => "done",
                proto::OutcomeKind::Unchanged => "unchanged",
                proto::OutcomeKind::RolledBack => "rolled_back",
                proto::OutcomeKind::Failed | proto::OutcomeKind::Unspecified => "failed",
            },
            service: outcome.service,
            node: node.to_owned(),
            generation: (outcome.generation > 0).then_some(outcome.generation),
            message: outcome.message,
            changed: outcome.changed,
            failures: outcome.failures.into_iter().map(FailureView::from).collect(),
            warnings,
            steps,
            elapsed_ms: outcome.elapsed_ms,
        }
    }

    /// Tells whether what was asked for is so now.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, "done" | "unchanged")
    }

    /// Returns the last line: what is so now.
    pub fn text(&self, palette: Palette) -> String {
        let (word, tone) = match self.outcome {
            "done" => ("ok", Tone::Good),
            "unchanged" => ("nothing to do", Tone::Good),
            "rolled_back" => ("failed, rolled back", Tone::Bad),
            _ => ("failed", Tone::Bad),
        };
        let mut text = format!("{}: {}", visible(&self.service), palette.paint(tone, word));
        if let Some(generation) = self.generation {
            text.extend([", generation ", &generation.to_string()]);
        }
        if !self.changed.is_empty() {
            text.extend([", changed ", &visible(&self.changed.join(", "))]);
        }
        if !self.message.is_empty() {
            text.extend([": ", &visible(&self.message)]);
        }
        let time = age::elapsed(Duration::from_millis(self.elapsed_ms));
        text.push_str(&palette.paint(Tone::Faint, &format!(" ({time})")));
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, subject: &str, state: proto::StepState) -> proto::Step {
        proto::Step {
            name: name.into(),
            subject: subject.into(),
            state: state.into(),
            detail: String::new(),
            elapsed_ms: 2_140,
        }
    }

    fn rolled_back() -> OperationView {
        let outcome = proto::Outcome {
            service: "mcq".into(),
            kind: proto::OutcomeKind::RolledBack.into(),
            generation: 3,
            message: "mcq did not become ready".into(),
            failures: vec![proto::Failure {
                component: "mcq".into(),
                unit: "mcq.service".into(),
                result: "timeout".into(),
                explanation: "Its health check did not pass within 30s.".into(),
                journal: vec!["listening".into(), "\u{1b}[31mpanic\u{1b}[0m".into()],
            }],
            changed: vec!["mcq".into()],
            elapsed_ms: 31_000,
        };
        let steps = [
            step("pull", "mcq", proto::StepState::Done),
            step("start", "mcq", proto::StepState::Started),
            step("start", "mcq", proto::StepState::Failed),
            step("commit", "", proto::StepState::Skipped),
        ];
        OperationView::new(
            "rift",
            outcome,
            steps.iter().filter_map(StepView::ended).collect(),
            Vec::new(),
        )
    }

    #[test]
    fn a_failed_deploy() {
        let view = rolled_back();
        assert!(!view.succeeded());
        let mut shown = String::new();
        shown.extend(
            view.steps.iter().flat_map(|step| [step.line(Palette::PLAIN), "\n".to_owned()]),
        );
        shown.extend(view.failures.iter().map(|failure| failure.text(Palette::PLAIN)));
        shown.push_str(&view.text(Palette::PLAIN));
        insta::assert_snapshot!(shown, @r"
          pull mcq: done (2.1s)
          start mcq: failed (2.1s)
          commit: skipped
        failed: mcq (mcq.service: timeout)
          Its health check did not pass within 30s.
          its last lines:
          | listening
          | ^[[31mpanic^[[0m
        mcq: failed, rolled back, generation 3, changed mcq: mcq did not become ready (31.0s)
        ");
    }

    #[test]
    fn the_document() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&rolled_back()).unwrap(), @r#"
        {
          "service": "mcq",
          "node": "rift",
          "outcome": "rolled_back",
          "generation": 3,
          "message": "mcq did not become ready",
          "changed": [
            "mcq"
          ],
          "failures": [
            {
              "component": "mcq",
              "unit": "mcq.service",
              "result": "timeout",
              "explanation": "Its health check did not pass within 30s.",
              "journal": [
                "listening",
                "\u001b[31mpanic\u001b[0m"
              ]
            }
          ],
          "warnings": [],
          "steps": [
            {
              "name": "pull",
              "subject": "mcq",
              "state": "done",
              "detail": "",
              "elapsed_ms": 2140
            },
            {
              "name": "start",
              "subject": "mcq",
              "state": "failed",
              "detail": "",
              "elapsed_ms": 2140
            },
            {
              "name": "commit",
              "subject": null,
              "state": "skipped",
              "detail": "",
              "elapsed_ms": 2140
            }
          ],
          "elapsed_ms": 31000
        }
        "#);
    }

    #[test]
    fn a_deploy_with_nothing_to_do() {
        let outcome = proto::Outcome {
            service: "mcq".into(),
            kind: proto::OutcomeKind::Unchanged.into(),
            generation: 3,
            elapsed_ms: 12,
            ..proto::Outcome::default()
        };
        let view = OperationView::new("rift", outcome, Vec::new(), Vec::new());
        assert_eq!(view.text(Palette::PLAIN), "mcq: nothing to do, generation 3 (0.0s)\n");
    }
}
