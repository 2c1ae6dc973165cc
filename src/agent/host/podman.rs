//! Whether podman is there, new enough, and answers.

use crate::agent::finding::Finding;

/// What podman says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Podman {
    /// It cannot be used: it is missing or too old, or a template is broken.
    Unusable {
        /// Why.
        why: String,
    },
    /// Its pause process does not live, so that it was not asked any further.
    NoPause {
        /// Its version.
        version: String,
        /// What became of the unit that makes the pause process.
        unit: String,
        /// The last lines of that unit.
        said: String,
    },
    /// Its pause process is being made.
    Preparing {
        /// Its version.
        version: String,
    },
    /// No agent has made anything for this user yet.
    Unprepared {
        /// Its version.
        version: String,
    },
    /// It answers with an error.
    Refuses {
        /// Its words.
        said: String,
    },
    /// It answers.
    Answers {
        /// Its version.
        version: String,
    },
}

/// What podman says when its processes were killed and their traces were not
/// removed.
const STALE: &str = "invalid internal status";

/// Judges what podman says to a user.
pub fn judge(user: &str, uid: u32, podman: &Podman) -> Finding {
    let check = "podman";
    let as_user = format!("sudo systemctl --user -M {user}@");
    match podman {
        Podman::Answers { version } => {
            Finding::fine(check, "", format!("podman {version} answers."))
        }
        Podman::Unprepared { version } => {
            let text = format!("podman {version} is there; no agent of user {user} has used it.");
            Finding::fine(check, "", text)
        }
        Podman::Preparing { version } => {
            let text = format!("mcp-podman.service is making podman {version} ready; look again.");
            Finding::warning(check, user, text).mend(format!("{as_user} status mcp-podman.service"))
        }
        Podman::Unusable { why } => {
            Finding::failed(check, "", format!("This node cannot deploy: {why}."))
                .mend("sudo apt install podman && sudo systemctl restart mcp-agent")
        }
        Podman::Refuses { said } | Podman::NoPause { said, .. } if said.contains(STALE) => {
            Finding::failed(
                check,
                user,
                "Podman's processes were killed, and what they left in the way keeps every container from starting (invalid internal status).",
            )
            .mend(stale_mend(uid))
        }
        Podman::Refuses { said } => {
            Finding::failed(check, user, format!("Podman answers with an error: {said}."))
                .mend(format!("sudo runuser -u {user} -- env XDG_RUNTIME_DIR=/run/user/{uid} podman info"))
        }
        Podman::NoPause { unit, version, .. } => Finding::failed(
            check,
            user,
            format!(
                "Podman's pause process does not live (podman {version}; mcp-podman.service is {unit}): containers with a check may not get ready."
            ),
        )
        .mend(format!("{as_user} restart mcp-podman.service")),
    }
}

/// Returns the command after which podman works again: as after a boot, with
/// nothing left in the runtime directory. `podman system migrate`, which podman
/// proposes, leaves the networks of the dead containers in the way.
fn stale_mend(uid: u32) -> String {
    format!(
        "sudo systemctl stop user@{uid} user-runtime-dir@{uid} && sudo systemctl start user@{uid} && sudo systemctl try-restart mcp-agent"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    #[test]
    fn each_trouble_has_its_command() {
        let refuses = |said: &str| Podman::Refuses { said: said.to_owned() };
        let stale = judge("mcp", 850, &refuses("Error: invalid internal status, try resetting"));
        assert!(stale.mend.contains("user-runtime-dir@850"), "{stale:?}");
        assert!(judge("mcp", 850, &refuses("no space")).mend.ends_with("podman info"));
        let no_pause = Podman::NoPause {
            version: "5.4.2".to_owned(),
            unit: "failed".to_owned(),
            said: String::new(),
        };
        assert!(judge("mcp", 850, &no_pause).mend.contains("restart mcp-podman.service"));
        let unusable = Podman::Unusable { why: "podman 4.3.1 is too old".to_owned() };
        assert_eq!(judge("mcp", 850, &unusable).level, Level::Failed);
        let new = judge("mcp", 850, &Podman::Unprepared { version: "5.4.2".to_owned() });
        assert_eq!(new.level, Level::Fine);
        let soon = judge("mcp", 850, &Podman::Preparing { version: "5.4.2".to_owned() });
        assert_eq!(soon.level, Level::Warning);
        let fine = judge("mcp", 850, &Podman::Answers { version: "5.4.2".to_owned() });
        assert_eq!(fine.level, Level::Fine);
    }
}
