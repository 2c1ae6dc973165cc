//! What brings back what was lost of a node.

use std::time::Duration;

use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::findings::{self, FindingView};
use crate::cli::views::operation::FailureView;
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// The plan of a recovery, and what came of it.
#[derive(Debug, Serialize)]
pub struct RecoveryView {
    /// The node.
    pub node: String,
    /// Whether only the plan was asked for.
    pub dry_run: bool,
    /// What is done, in order.
    pub steps: Vec<RecoveryStepView>,
    /// What is left to a person.
    pub left: Vec<FindingView>,
    /// `planned`, `done`, `unchanged` or `failed`.
    pub outcome: &'static str,
    /// What the agent says.
    pub message: String,
    /// What did not work.
    pub failures: Vec<FailureView>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// One thing to do.
#[derive(Debug, Serialize)]
pub struct RecoveryStepView {
    /// `registry`, `units`, `unit-record`, `podman-record`, `forget`, `pull` or
    /// `start`.
    pub kind: String,
    /// The service.
    pub service: String,
    /// What is done, in words.
    pub message: String,
}

impl RecoveryView {
    /// Makes a view of which nothing is known yet.
    pub fn new(node: &str, dry_run: bool) -> Self {
        Self {
            node: node.to_owned(),
            dry_run,
            steps: Vec::new(),
            left: Vec::new(),
            outcome: if dry_run { "planned" } else { "failed" },
            message: if dry_run { String::new() } else { "the agent told no end".to_owned() },
            failures: Vec::new(),
            elapsed_ms: 0,
        }
    }

    /// Takes the plan.
    pub fn plan(&mut self, plan: proto::RecoveryPlan) {
        let step = |step: proto::RecoveryStep| RecoveryStepView {
            kind: step.kind,
            service: step.service,
            message: step.message,
        };
        self.steps = plan.steps.into_iter().map(step).collect();
        self.left = plan.left.into_iter().map(FindingView::from).collect();
    }

    /// Takes the end.
    pub fn end(&mut self, end: proto::RecoveryEnd) {
        self.outcome = match end.kind() {
            proto::OutcomeKind::Done => "done",
            proto::OutcomeKind::Unchanged => "unchanged",
            proto::OutcomeKind::RolledBack
            | proto::OutcomeKind::Failed
            | proto::OutcomeKind::Unspecified => "failed",
        };
        self.message = end.message;
        self.failures = end.failures.into_iter().map(FailureView::from).collect();
        self.elapsed_ms = end.elapsed_ms;
    }

    /// Tells whether it did not fail.
    pub fn succeeded(&self) -> bool {
        self.outcome != "failed"
    }

    /// Returns the plan or the end for people, and what is left to them.
    pub fn text(&self, palette: Palette) -> String {
        let mut text = String::new();
        if self.dry_run {
            for step in &self.steps {
                let service = palette.paint(Tone::Strong, &visible(&step.service));
                text.push_str(&format_line(&service, &visible(&step.message)));
            }
        }
        for failure in &self.failures {
            text.push_str(&failure.text(palette));
        }
        text.push_str(&findings::text(&self.left, palette));
        let node = visible(&self.node);
        if self.dry_run {
            if self.steps.is_empty() {
                text.push_str(&format_line(&node, "nothing to bring back"));
            }
            return text;
        }
        let (word, tone) = match self.outcome {
            "done" => ("ok", Tone::Good),
            "unchanged" => ("nothing to do", Tone::Good),
            _ => ("failed", Tone::Bad),
        };
        let time = age::elapsed(Duration::from_millis(self.elapsed_ms));
        let end = format!(
            "{}: {}{}",
            palette.paint(tone, word),
            visible(&self.message),
            palette.paint(Tone::Faint, &format!(" ({time})"))
        );
        text.push_str(&format_line(&node, &end));
        text
    }
}

fn format_line(subject: &str, rest: &str) -> String {
    format!("{subject}: {rest}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_shows_the_steps_and_what_is_left() {
        let mut view = RecoveryView::new("rift", true);
        assert_eq!(view.text(Palette::PLAIN), "rift: nothing to bring back\n");
        view.plan(proto::RecoveryPlan {
            steps: vec![proto::RecoveryStep {
                kind: "units".into(),
                service: "mcq".into(),
                message: "write mcq.container from the registry".into(),
            }],
            left: vec![proto::Finding {
                check: "recover".into(),
                subject: "shop/web".into(),
                level: proto::FindingLevel::Failed.into(),
                message: "The image localhost/web:1 is gone.".into(),
                mend: "podman load -i FILE".into(),
            }],
        });
        insta::assert_snapshot!(view.text(Palette::PLAIN), @r"
        mcq: write mcq.container from the registry
        failed   recover shop/web: The image localhost/web:1 is gone.
                 podman load -i FILE
        ");
    }

    #[test]
    fn an_answer_without_an_end_is_a_failure() {
        let mut view = RecoveryView::new("rift", false);
        assert!(!view.succeeded());
        view.end(proto::RecoveryEnd {
            kind: proto::OutcomeKind::Done.into(),
            message: "brought back: mcq".into(),
            failures: Vec::new(),
            elapsed_ms: 2_500,
        });
        assert!(view.succeeded());
        assert_eq!(view.text(Palette::PLAIN), "rift: ok: brought back: mcq (2.5s)\n");
    }
}
