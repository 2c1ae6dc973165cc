//! Whether the system reaches `network-online.target` at boot: a user's
//! Quadlet units wait for it, unless told not to, and when nothing brings it
//! in they wait for 90 seconds.

use crate::agent::finding::Finding;
use crate::names::UnitName;
use crate::systemd::{ActiveState, LoadState, SystemManager, SystemdError};
use crate::telemetry::Chain;

/// The unit through which podman has a user's units wait for the network.
pub const WAITER: &str = "podman-user-wait-network-online.service";

const CHECK: &str = "network-online";

/// The target, and who brings it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether its file is read.
    pub load: LoadState,
    /// Whether it is reached.
    pub active: ActiveState,
    /// Units that bring it in at boot.
    pub wanted_by: Vec<String>,
    /// Units that would, and are not started at boot: somebody started them.
    pub disabled: Vec<String>,
}

/// Looks at the target and judges it; `waiting` as for [`judge`].
pub async fn examine(waiting: &[String]) -> Finding {
    match look().await {
        Ok(target) => judge(waiting, &target),
        Err(error) => {
            let message = format!("The system's systemd does not answer: {}.", Chain(&error));
            Finding::warning(CHECK, "", message).mend("systemctl status dbus.socket")
        }
    }
}

/// Asks the system for the target.
async fn look() -> Result<Target, SystemdError> {
    let unit = UnitName::from_systemd("network-online.target");
    let manager = SystemManager::connect().await?;
    let unit = manager.unit(&unit).await?;
    let mut target = Target {
        load: unit.load,
        active: unit.active,
        wanted_by: Vec::new(),
        disabled: Vec::new(),
    };
    for by in unit.wanted_by.into_iter().chain(unit.required_by) {
        let state = manager.file_state(&UnitName::from_systemd(by.as_str())).await?;
        let list = if state == "disabled" { &mut target.disabled } else { &mut target.wanted_by };
        list.push(by);
    }
    Ok(target)
}

/// Judges the target; `waiting` are the user's units that wait for it at
/// boot. When none does, it does not matter.
pub fn judge(waiting: &[String], target: &Target) -> Finding {
    let check = CHECK;
    let Some(first) = waiting.first() else {
        return Finding::fine(check, "", "No unit waits for the network at boot.");
    };
    let who = match waiting.len() {
        1 => format!("{first} waits"),
        more => format!("{first} and {} more wait", more - 1),
    };
    if target.load == LoadState::Masked {
        return Finding::failed(
            check,
            first.as_str(),
            format!(
                "{who} for network-online.target, which is masked: each will be started only \
                 after 90 s."
            ),
        )
        .mend("sudo systemctl unmask network-online.target");
    }
    let mend = "sudo systemctl add-wants multi-user.target network-online.target";
    if let Some(by) = target.wanted_by.first() {
        let message = format!("{who} for network-online.target, which {by} brings in.");
        return Finding::fine(check, "", message);
    }
    let why = match target.disabled.first() {
        Some(by) => format!("which only {by} brings in, and that is not started at boot"),
        // Whoever brought it in is gone from systemd's memory.
        None if target.active == ActiveState::Active => {
            return Finding::fine(
                check,
                "",
                format!("{who} for network-online.target, which is reached."),
            );
        }
        None => "which nothing brings in at boot".to_owned(),
    };
    Finding::failed(
        check,
        first.as_str(),
        format!("{who} for network-online.target, {why}: each will be started only after 90 s."),
    )
    .mend(mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    fn target(active: ActiveState, wanted_by: &[&str]) -> Target {
        Target {
            load: LoadState::Loaded,
            active,
            wanted_by: wanted_by.iter().map(|&name| name.to_owned()).collect(),
            disabled: Vec::new(),
        }
    }

    #[test]
    fn only_units_that_wait_need_the_target() {
        let nobody = target(ActiveState::Inactive, &[]);
        assert_eq!(judge(&[], &nobody).level, Level::Fine);
        let waiting = ["a.service".to_owned(), "b.service".to_owned()];
        let finding = judge(&waiting, &nobody);
        assert_eq!(finding.level, Level::Failed);
        assert_eq!(finding.subject, "a.service");
        assert!(finding.message.starts_with("a.service and 1 more wait for"), "{finding:?}");
        assert!(finding.mend.contains("add-wants multi-user.target network-online.target"));
        let wanted = target(ActiveState::Inactive, &["multi-user.target"]);
        assert_eq!(judge(&waiting, &wanted).level, Level::Fine);
        assert_eq!(judge(&waiting, &target(ActiveState::Active, &[])).level, Level::Fine);
        let disabled = Target {
            disabled: vec!["mcp-agent.service".to_owned()],
            ..target(ActiveState::Active, &[])
        };
        assert!(judge(&waiting, &disabled).message.contains("only mcp-agent.service brings in"));
        let masked = Target { load: LoadState::Masked, ..wanted };
        assert!(judge(&waiting, &masked).mend.contains("unmask"));
    }
}
