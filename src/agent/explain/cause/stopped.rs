//! It is down without having failed: on purpose, by hand, by its check, or
//! because it was done.

use crate::agent::explain::evidence::span;
use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::monitor::drift::DriftKind;
use crate::agent::monitor::seen::ComponentState;

/// Explains what is not to run.
pub fn on_purpose(evidence: &Evidence) -> Option<Explanation> {
    use ComponentState::{Done, Failed, Missing, Restarting, Running, Starting, Stopped, Stopping};
    if evidence.desired {
        return None;
    }
    Some(match evidence.state {
        Running | Starting | Restarting => Explanation::failed(
            Cause::Unwanted,
            "Its service was stopped, and it runs all the same: somebody started it with systemd.",
        )
        .mend(format!("mcp reconcile {}", evidence.service))
        .mend(format!("mcp start {}", evidence.service)),
        Stopping => Explanation::warning(Cause::OnItsWay, "It is being stopped."),
        Stopped | Failed | Missing | Done => {
            let reason = match &evidence.stop {
                Some(stop) => format!(
                    "It was stopped on purpose, by {}, {} ago; it stays down after a reboot.",
                    stop.by,
                    span(stop.ago_ms)
                ),
                None => "It was stopped on purpose (active = false); it stays down after a reboot."
                    .to_owned(),
            };
            Explanation::fine(Cause::Stopped, reason)
                .mend(format!("mcp start {}", evidence.service))
        }
    })
}

/// Explains what should run, and went down well.
pub fn by_itself(evidence: &Evidence) -> Option<Explanation> {
    if evidence.state != ComponentState::Stopped {
        return None;
    }
    let start = format!("mcp start {}", evidence.service);
    let has = |kind: DriftKind| evidence.drift.iter().find(|drift| drift.kind == kind);
    if has(DriftKind::StoppedByCheck).is_some() {
        let reason = "Its check failed, and stopped it as its definition says (on_failure = \"stop\"): it stays down until it is started.";
        return Some(
            Explanation::failed(Cause::StoppedByCheck, reason)
                .shown_by(evidence.health.1.as_str())
                .mend(evidence.logs())
                .mend(start),
        );
    }
    if let Some(with) = has(DriftKind::StoppedWith) {
        let reason = format!("Nobody stopped it for itself: {}.", with.reason);
        return Some(Explanation::failed(Cause::Dependency, reason).mend(start));
    }
    if has(DriftKind::StoppedByHand).is_some() {
        let stopped = evidence.journal.current.iter().chain(&evidence.journal.failed);
        let stopped = stopped.map(|said| said.text.as_str()).find(|t| t.starts_with("Stopping "));
        let ago = evidence.unit.since_ms.map(|since| span(evidence.now_ms.saturating_sub(since)));
        let ago = ago.map(|ago| format!(", {ago} ago")).unwrap_or_default();
        let said = stopped.map(|said| format!("systemd: {said}")).unwrap_or_default();
        return Some(
            Explanation::failed(
                Cause::StoppedByHand,
                format!("Somebody stopped it with systemd{ago}. It stays down until it is started, or the node boots."),
            )
            .shown_by(said)
            .mend(start),
        );
    }
    if let (true, Some(since)) = (evidence.drift.is_empty(), evidence.unit.since_ms) {
        let ago = span(evidence.now_ms.saturating_sub(since));
        return Some(
            Explanation::fine(
                Cause::Ended,
                format!("It has done its work and ended, without an error, {ago} ago; as its definition has it, systemd does not start it again."),
            )
            .shown_by(last_line(evidence)),
        );
    }
    let reason =
        "It should run, has not failed, and was not started since the user's systemd came up.";
    Some(Explanation::failed(Cause::Down, reason).mend(start).mend("mcp boot report"))
}

fn last_line(evidence: &Evidence) -> String {
    let mut lines = evidence.journal.current.iter().rev();
    let said = lines.find(|said| said.speaker == crate::agent::explain::Speaker::Container);
    said.map(|said| said.text.clone()).unwrap_or_default()
}
