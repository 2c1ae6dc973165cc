//! Whether the system reaches `network-online.target` at boot: a user's
//! Quadlet units wait for it, unless told not to, and when nothing brings it
//! in they wait for 90 seconds.

use crate::agent::finding::Finding;
use crate::names::UnitName;
use crate::systemd::{ActiveState, LoadState, SystemManager, SystemUnit, SystemdError};

/// The unit through which podman has a user's units wait for the network.
pub const WAITER: &str = "podman-user-wait-network-online.service";

/// Asks the system for the target.
///
/// # Errors
///
/// The system's bus does not answer.
pub async fn look() -> Result<SystemUnit, SystemdError> {
    let unit = UnitName::from_systemd("network-online.target");
    SystemManager::connect().await?.unit(&unit).await
}

/// Judges the target; `waiting` are the user's units that wait for it at
/// boot. When none does, it does not matter.
pub fn judge(waiting: &[String], target: &SystemUnit) -> Finding {
    let check = "network-online";
    let Some(first) = waiting.first() else {
        return Finding::fine(check, "", "No unit waits for the network at boot.");
    };
    let who = match waiting.len() {
        1 => format!("{first} waits"),
        more => format!("{first} and {} more wait", more - 1),
    };
    let wanted = !target.wanted_by.is_empty() || !target.required_by.is_empty();
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
    if wanted || target.active == ActiveState::Active {
        let active = if target.active == ActiveState::Active { "is reached" } else { "is wanted" };
        return Finding::fine(
            check,
            "",
            format!("{who} for network-online.target, which {active}."),
        );
    }
    Finding::failed(
        check,
        first.as_str(),
        format!(
            "{who} for network-online.target, which nothing brings in at boot: each will be \
             started only after 90 s."
        ),
    )
    .mend("sudo systemctl add-wants multi-user.target network-online.target")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    fn target(active: ActiveState, wanted_by: &[&str]) -> SystemUnit {
        SystemUnit {
            load: LoadState::Loaded,
            active,
            wanted_by: wanted_by.iter().map(|&name| name.to_owned()).collect(),
            required_by: Vec::new(),
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
        let masked = SystemUnit { load: LoadState::Masked, ..wanted };
        assert!(judge(&waiting, &masked).mend.contains("unmask"));
    }
}
