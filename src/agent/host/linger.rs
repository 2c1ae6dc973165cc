//! Whether the user's systemd is started at boot (`loginctl(1)`,
//! `enable-linger`).

use std::io::ErrorKind;
use std::path::Path;

use crate::agent::finding::Finding;

/// Where logind keeps one file for each user who lingers.
const DIRECTORY: &str = "/var/lib/systemd/linger";

/// What is known of a user's lingering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linger {
    /// The user's systemd is started at boot.
    On,
    /// It runs only while the user is logged in.
    Off,
    /// It cannot be seen.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Looks whether a user lingers.
pub fn look(user: &str) -> Linger {
    look_in(Path::new(DIRECTORY), user)
}

fn look_in(directory: &Path, user: &str) -> Linger {
    match directory.join(user).symlink_metadata() {
        Ok(_) => Linger::On,
        Err(error) if error.kind() == ErrorKind::NotFound => Linger::Off,
        Err(error) => Linger::Unknown { why: error.to_string() },
    }
}

/// Judges a user's lingering.
pub fn judge(user: &str, linger: &Linger) -> Finding {
    let check = "linger";
    let mend = format!("sudo loginctl enable-linger {user}");
    match linger {
        Linger::On => {
            Finding::fine(check, user, format!("The systemd of user {user} is started at boot."))
        }
        Linger::Off => Finding::failed(
            check,
            user,
            format!(
                "User {user} does not linger: nothing of it is started at boot, and all of it is \
                 stopped at the user's last logout."
            ),
        )
        .mend(mend),
        Linger::Unknown { why } => Finding::warning(
            check,
            user,
            format!("It cannot be seen whether user {user} lingers: {why}."),
        )
        .mend(mend),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    #[test]
    fn a_user_lingers_when_there_is_a_file_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look_in(dir.path(), "mcp"), Linger::Off);
        crate::atomic_file::write(&dir.path().join("mcp"), b"", 0o644).unwrap();
        assert_eq!(look_in(dir.path(), "mcp"), Linger::On);
        let inside_a_file = look_in(&dir.path().join("mcp"), "mcp");
        assert!(matches!(inside_a_file, Linger::Unknown { .. }), "{inside_a_file:?}");
    }

    #[test]
    fn a_user_who_does_not_linger_fails_with_the_command() {
        let finding = judge("mcp", &Linger::Off);
        assert_eq!((finding.level, finding.subject.as_str()), (Level::Failed, "mcp"));
        assert_eq!(finding.mend, "sudo loginctl enable-linger mcp");
        assert_eq!(judge("mcp", &Linger::On).level, Level::Fine);
        let unknown = Linger::Unknown { why: "it is dark".to_owned() };
        assert_eq!(judge("mcp", &unknown).level, Level::Warning);
    }
}
