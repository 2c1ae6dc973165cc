//! There is no room.

use crate::agent::explain::{Cause, Evidence, Explanation};

const WORDS: &[&str] = &[
    "no space left on device",
    "disk quota exceeded",
    "ENOSPC",
    "Disk full",
    "database or disk is full",
];

/// Explains a failure for want of room.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    let said = evidence.journal.podman(WORDS).or_else(|| evidence.journal.container(WORDS))?;
    let reason = match evidence.full.first() {
        Some(full) => format!("There is no room left: {full}"),
        None => "There was no room left when it was started.".to_owned(),
    };
    Some(
        Explanation::failed(Cause::DiskFull, reason)
            .shown_by(said)
            .mend("df -h")
            .mend(evidence.owner.run("podman image prune -a"))
            .mend(evidence.restart()),
    )
}
