//! It runs.

use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::monitor::seen::ComponentState;

/// Explains a component that runs, with what is not as it was deployed.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    if evidence.state == ComponentState::Stopping {
        return Some(Explanation::warning(Cause::OnItsWay, "It is being stopped."));
    }
    if evidence.state != ComponentState::Running {
        return None;
    }
    let check = match evidence.health.0 {
        "healthy" => "It runs, and its check succeeds.",
        "starting" => "It runs; its check has not succeeded yet.",
        "ready" => "It runs, and was ready when it started.",
        "none" => "It runs; it has no check.",
        _ => "It runs; nothing is known of its check.",
    };
    let Some(first) = evidence.drift.first() else {
        return Some(Explanation::fine(Cause::Running, check));
    };
    let more = match evidence.drift.len() {
        1 => String::new(),
        n => format!(" (and {} more: mcp status {})", n - 1, evidence.service),
    };
    let reason = format!("{check} It is not all as it was deployed: {}{more}.", first.reason);
    Some(Explanation::warning(Cause::Running, reason).mend(first.mend.as_str()))
}
