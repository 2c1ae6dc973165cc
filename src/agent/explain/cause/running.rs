//! It runs, or has done its work.

use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::monitor::seen::ComponentState;

/// Explains a component that runs, or has run to its end, with what is not as it was deployed.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    if evidence.state == ComponentState::Stopping {
        return Some(Explanation::warning(Cause::OnItsWay, "It is being stopped."));
    }
    let is_done = evidence.state == ComponentState::Done;
    if !is_done && evidence.state != ComponentState::Running {
        return None;
    }
    let check = match evidence.health.0 {
        _ if is_done => "It has done its work and ended, without an error.",
        "healthy" => "It runs, and its check succeeds.",
        "starting" => "It runs; its check has not succeeded yet.",
        "ready" => "It runs, and was ready when it started.",
        "none" => "It runs; it has no check.",
        _ => "It runs; nothing is known of its check.",
    };
    let cause = if is_done { Cause::Ended } else { Cause::Running };
    let Some(first) = evidence.drift.first() else {
        return Some(Explanation::fine(cause, check));
    };
    let more = match evidence.drift.len() {
        1 => String::new(),
        n => format!(" (and {} more: mcp status {})", n - 1, evidence.service),
    };
    let reason = format!("{check} It is not all as it was deployed: {}{more}.", first.reason);
    Some(Explanation::warning(cause, reason).mend(first.mend.as_str()))
}
