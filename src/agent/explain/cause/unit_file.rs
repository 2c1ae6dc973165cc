//! The unit cannot be used: it is masked, podman's generator makes none of its
//! file, or systemd refuses what it says.

use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::finding::shell_word;
use crate::agent::monitor::drift::DriftKind;
use crate::agent::monitor::seen::ComponentState;

/// Explains a unit that cannot be used, though the component is to run.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    if !evidence.desired {
        return None;
    }
    let explained = match evidence.unit.load.as_str() {
        "masked" => masked(evidence),
        "not-found" => missing(evidence),
        "bad-setting" | "error" => refused(evidence),
        _ => return None,
    };
    let up = evidence.state == ComponentState::Running;
    // What runs goes on without its unit; it would not come back.
    Some(if up {
        let reason = format!("It runs, but could not be started again. {}", explained.reason);
        Explanation { reason, ..explained }
    } else {
        explained
    })
}

fn masked(evidence: &Evidence) -> Explanation {
    let unit = evidence.container.name.unit();
    let reason = format!("Somebody masked {unit}, so systemd does not start it.");
    // A mask is a link in the user's files, or in the runtime directory.
    let unmask = format!("unmask {unit}");
    Explanation::failed(Cause::Masked, reason)
        .shown_by(format!("systemd: Unit {unit} is masked."))
        .mend(evidence.owner.systemctl(&unmask))
        .mend(evidence.owner.systemctl(&format!("unmask --runtime {unit}")))
        .mend(format!("mcp start {}", evidence.service))
}

fn missing(evidence: &Evidence) -> Explanation {
    let unit = evidence.container.name.unit();
    let file = format!("{}.container", evidence.container.name);
    let fatal = evidence.generator.iter().find(|message| message.contains("error loading"));
    let own = evidence.generator.iter().find(|m| m.contains(&file) || m.contains(unit.as_str()));
    if let Some(said) = own {
        let reason = format!(
            "Podman's generator makes no unit of {file}: the file holds something that it does not take."
        );
        return reconciled(evidence, Explanation::failed(Cause::Generator, reason).shown_by(said));
    }
    if let Some(said) = fatal {
        let other = said.split('"').nth(1).unwrap_or_default();
        let reason = format!(
            "Podman's generator cannot parse {other}, and makes no unit at all until that is mended."
        );
        let (from, to) = (shell_word(other), shell_word(&format!("{other}.broken")));
        return Explanation::failed(Cause::Generator, reason)
            .shown_by(said)
            .mend(format!("sudo mv {from} {to}"))
            .mend(format!("mcp reconcile {}", evidence.service));
    }
    let gone = evidence.drift.iter().any(|d| d.kind == DriftKind::FileRemoved);
    let reason = if gone {
        format!("The file {file} is gone, so systemd knows no {unit}.")
    } else {
        format!("systemd knows no {unit}: it has not read the files as they are.")
    };
    reconciled(evidence, Explanation::failed(Cause::UnitMissing, reason))
}

fn refused(evidence: &Evidence) -> Explanation {
    let unit = evidence.container.name.unit();
    let said = evidence.journal.current.iter().chain(&evidence.journal.failed).rev();
    let said = said.map(|said| said.text.as_str()).find(|text| text.contains("Refusing"));
    let explained = |reason: String| {
        Explanation::failed(Cause::BadSetting, reason).shown_by(said.unwrap_or_default())
    };
    match evidence.unit.drop_ins.first() {
        None => reconciled(
            evidence,
            explained(format!("systemd refuses {unit}: a setting in it cannot be.")),
        ),
        Some(path) => explained(format!(
            "systemd refuses {unit}: a setting in it cannot be, and the drop-in {path} changes it."
        ))
        .mend(format!("sudo rm {}", shell_word(path)))
        .mend(evidence.owner.systemctl("daemon-reload"))
        .mend(format!("mcp start {}", evidence.service)),
    }
}

/// The files go back to what was deployed.
fn reconciled(evidence: &Evidence, explanation: Explanation) -> Explanation {
    explanation
        .mend(format!("mcp reconcile {} --dry-run", evidence.service))
        .mend(format!("mcp reconcile {}", evidence.service))
}
