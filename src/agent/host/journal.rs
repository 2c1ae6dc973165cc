//! Whether the user may read the journal: for a uid below 1000 journald keeps
//! no journal of the user's own, and without the system's there is nothing.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::agent::finding::Finding;

/// Where journald keeps its files (`systemd-journald.service(8)`).
const DIRECTORIES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// The journals of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journals {
    /// Those that this process can read.
    pub readable: Vec<PathBuf>,
    /// Those that it cannot.
    pub closed: Vec<PathBuf>,
}

/// Looks for the system's journal, and for the user's own.
pub fn look(uid: u32) -> Journals {
    look_in(&DIRECTORIES.map(Path::new), uid)
}

fn look_in(directories: &[&Path], uid: u32) -> Journals {
    let mut journals = Journals::default();
    let names = ["system.journal".to_owned(), format!("user-{uid}.journal")];
    for directory in directories {
        // One that cannot be listed has nothing to be read.
        let Ok(machines) = fs::read_dir(directory) else {
            if directory.exists() {
                journals.closed.push((*directory).to_owned());
            }
            continue;
        };
        for machine in machines.flatten() {
            for path in names.iter().map(|name| machine.path().join(name)) {
                if access(&path, Access::READ_OK).is_ok() {
                    journals.readable.push(path);
                } else if path.exists() {
                    journals.closed.push(path);
                }
            }
        }
    }
    journals
}

/// Judges what a user can read.
pub fn judge(user: &str, uid: u32, journals: &Journals) -> Finding {
    let check = "journal";
    if let Some(path) = journals.readable.first() {
        return Finding::fine(check, user, format!("User {user} can read {}.", path.display()));
    }
    let mend =
        format!("sudo usermod -aG systemd-journal {user} && sudo systemctl restart mcp-agent");
    let why = if uid < 1000 {
        "for a uid below 1000 there is no journal but the system's, and the user is not in the group systemd-journal"
    } else {
        "the user is not in the group systemd-journal"
    };
    if journals.closed.is_empty() {
        let text = "There is no journal: systemd-journald does not run, or keeps nothing.";
        return Finding::failed(check, user, text).mend("sudo systemctl restart systemd-journald");
    }
    Finding::failed(
        check,
        user,
        format!(
            "User {user} cannot read the journal, so `mcp logs` and `podman logs` show nothing: {why}."
        ),
    )
    .mend(mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    #[test]
    fn a_journal_that_can_be_read_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let machine = dir.path().join("0123");
        fs::create_dir(&machine).unwrap();
        let none = look_in(&[dir.path()], 850);
        assert_eq!(none, Journals::default());
        assert!(judge("mcp", 850, &none).mend.contains("systemd-journald"));
        crate::atomic_file::write(&machine.join("system.journal"), b"", 0o600).unwrap();
        assert_eq!(judge("mcp", 850, &look_in(&[dir.path()], 850)).level, Level::Fine);
        let closed = Journals { readable: Vec::new(), closed: vec![machine] };
        let finding = judge("mcp", 850, &closed);
        assert_eq!(finding.level, Level::Failed);
        assert!(finding.mend.contains("usermod -aG systemd-journal mcp"), "{finding:?}");
    }
}
