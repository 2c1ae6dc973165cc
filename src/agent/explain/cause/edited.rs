//! What a person changed since the deploy, told beside what goes wrong: it may
//! well be the reason.

use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::finding::shell_word;
use crate::agent::monitor::drift::{Drift, DriftKind};

/// Adds to an explanation that its files are not those that were deployed.
pub fn told(evidence: &Evidence, mut explained: Explanation) -> Explanation {
    if let Some(edited) = first(evidence, DriftKind::FileEdited) {
        let more = format!(" {} since it was deployed: that may be why.", edited.reason);
        explained.reason.push_str(&more);
        let back = format!("mcp reconcile {}", evidence.service);
        explained.mend.splice(0..0, [format!("{back} --dry-run"), back]);
    } else if let Some(drop_in) = first(evidence, DriftKind::DropIn)
        && !explained.evidence.contains(&drop_in.subject)
    {
        let more = format!(" The drop-in {} changes its unit, too.", drop_in.subject);
        explained.reason.push_str(&more);
        let path = shell_word(&drop_in.subject);
        explained.mend.push(format!("cat {path}"));
        if explained.cause == Cause::ImageMissing {
            explained.mend.push(format!("sudo rm {path}"));
            explained.mend.push(evidence.owner.systemctl("daemon-reload"));
            explained.mend.push(evidence.restart());
        }
    }
    explained
}

/// Tells whether its unit may say something else than what was deployed.
pub fn is_it(evidence: &Evidence) -> bool {
    [DriftKind::FileEdited, DriftKind::DropIn].iter().any(|kind| first(evidence, *kind).is_some())
}

fn first(evidence: &Evidence, kind: DriftKind) -> Option<&Drift> {
    evidence.drift.iter().find(|drift| drift.kind == kind)
}
