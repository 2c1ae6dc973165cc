//! Podman itself is in trouble.

use crate::agent::explain::{Cause, Evidence, Explanation};

/// What podman says, and what it means.
const WORDS: &[(&str, &str)] = &[
    (
        "invalid internal status",
        "Podman's processes were killed, and what they left in the way keeps every container from starting.",
    ),
    ("newuidmap", "Podman cannot set up the user's subordinate ids."),
    ("newgidmap", "Podman cannot set up the user's subordinate ids."),
    ("insufficient UIDs or GIDs", "The user has too few subordinate ids for this image."),
    ("no subuid ranges found", "The user has no subordinate ids."),
    ("cannot find UID/GID for user", "The user has no subordinate ids."),
    ("database is locked", "Podman's own database is locked by another podman."),
    ("database disk image is malformed", "Podman's own database is damaged."),
];

/// Explains a failure of podman's own.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    let (meaning, said) = WORDS
        .iter()
        .find_map(|(words, meaning)| Some((*meaning, evidence.journal.podman(&[words])?)))?;
    Some(
        Explanation::failed(Cause::Podman, format!("{meaning} It is not the component's fault."))
            .shown_by(said)
            .mend("mcp doctor")
            .mend(evidence.restart()),
    )
}
