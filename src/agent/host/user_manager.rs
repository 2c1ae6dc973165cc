//! Whether the user's systemd runs, and is new enough.

use crate::agent::finding::Finding;

/// `RestartMode=` and `RestartSteps=` are of this version.
const OLDEST: u32 = 254;

/// Judges the answer of a user's systemd: its version, or why there is none.
pub fn judge(user: &str, uid: u32, version: &Result<u32, String>) -> Finding {
    match version {
        Err(why) => Finding::failed(
            "user-manager",
            user,
            format!("The systemd of user {user} does not answer: {why}. Nothing of it runs."),
        )
        .mend(format!("sudo systemctl start user@{uid}")),
        Ok(version) if *version < OLDEST => Finding::failed(
            "systemd",
            user,
            format!(
                "systemd {version} is older than {OLDEST}: units are restarted otherwise than they say."
            ),
        )
        .mend("sudo apt full-upgrade"),
        Ok(version) => {
            Finding::fine("user-manager", user, format!("systemd {version} of user {user} answers."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    #[test]
    fn a_user_manager_must_answer_and_be_new_enough() {
        let down = judge("mcp", 850, &Err("connection refused".to_owned()));
        assert_eq!(down.mend, "sudo systemctl start user@850");
        assert_eq!(judge("mcp", 850, &Ok(252)).check, "systemd");
        assert_eq!(judge("mcp", 850, &Ok(257)).level, Level::Fine);
    }
}
