//! It was started too often in too short a time (`systemd.unit(5)`,
//! `StartLimitBurst=`). Our units have no such limit; `extra` or a drop-in
//! sets one.

use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::monitor::seen::ComponentState;

/// Explains a start limit that was hit.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    let said = evidence.journal.systemd(&["Start request repeated too quickly"]);
    let hit = evidence.unit.result == "start-limit-hit" || said.is_some();
    if evidence.state != ComponentState::Failed || !hit {
        return None;
    }
    let why = super::ended::how(evidence).unwrap_or_else(|| "it ended".to_owned());
    let unit = evidence.container.name.unit();
    let reason = format!(
        "It was started too often in too short a time, so systemd has given it up; before that {why}."
    );
    let last = evidence.journal.last_words().map(str::to_owned);
    Some(
        Explanation::failed(Cause::StartLimit, reason)
            .shown_by(last.or_else(|| said.map(str::to_owned)).unwrap_or_default())
            .mend(evidence.logs())
            .mend(evidence.owner.systemctl(&format!("reset-failed {unit}")))
            .mend(format!("mcp start {}", evidence.service)),
    )
}
