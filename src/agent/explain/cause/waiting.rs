//! It waits: for a boot stage, or for something that is not ready.

use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::monitor::seen::ComponentState;

/// Explains what waits to be started.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    if !evidence.has_not_begun() {
        return None;
    }
    let queued = evidence.state == ComponentState::Starting;
    let how = if queued { "It waits to be started" } else { "It is not started" };
    let waits = |what: &str| format!("{how}: {what}");
    if let Some(stage) = &evidence.stage {
        let reason = waits(&format!("the boot stage {stage} comes before it and is not ready."));
        return Some(
            Explanation::failed(Cause::BootStage, reason)
                .mend("mcp boot plan")
                .mend("mcp boot report"),
        );
    }
    let (first, last) = (evidence.chain.first()?, evidence.chain.last()?);
    let what = if evidence.chain.len() == 1 {
        format!("it needs {}, which is {}.", last.name, last.state)
    } else {
        let path: Vec<&str> = evidence.chain.iter().map(|link| link.name.as_str()).collect();
        format!(
            "it needs {}, and the first that is broken on the way is {}, which is {} ({}).",
            first.name,
            last.name,
            last.state,
            path.join(" <- ")
        )
    };
    let mut explained = Explanation::failed(Cause::Dependency, waits(&what));
    if !last.why.is_empty() {
        explained = explained.shown_by(format!("{}: {}", last.name, last.why));
    }
    if last.component {
        explained = explained.mend(format!("mcp explain {}", last.name));
    }
    explained.mend.extend(last.mend.iter().cloned());
    // Where nothing is queued any more, nothing comes by itself.
    let start = format!("mcp start {}", evidence.service);
    Some(if evidence.state == ComponentState::Stopped && !explained.mend.contains(&start) {
        explained.mend(start)
    } else {
        explained
    })
}
