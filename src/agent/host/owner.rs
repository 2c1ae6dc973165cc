//! Whether the agent's files still belong to its user: a user that got another
//! number has lost its state, its units and podman's storage.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::agent::finding::Finding;

/// A file or directory that has to be the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Where it is.
    pub path: PathBuf,
    /// Its owner and permission bits; or why they cannot be seen; none: it is
    /// not there.
    pub seen: Result<Option<(u32, u32)>, String>,
    /// Permission bits that nobody but the owner may have.
    pub private: bool,
}

/// Looks at a path.
pub fn look(path: &Path, private: bool) -> Owned {
    let seen = match path.metadata() {
        Ok(metadata) => Ok(Some((metadata.uid(), metadata.mode() & 0o7777))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    Owned { path: path.to_owned(), seen, private }
}

/// Judges the paths of a user.
pub fn judge(user: &str, uid: u32, paths: &[Owned]) -> Vec<Finding> {
    let check = "owner";
    let mut findings = Vec::new();
    for Owned { path, seen, private } in paths {
        let shown = path.display();
        let subject = shown.to_string();
        match seen {
            Err(why) => findings.push(
                Finding::failed(check, subject, format!("{shown} cannot be looked at: {why}."))
                    .mend(format!("sudo chown {user}: {shown}")),
            ),
            Ok(Some((other, _))) if *other != uid => findings.push(
                Finding::failed(
                    check,
                    subject,
                    format!(
                        "{shown} belongs to uid {other}, and user {user} has the uid {uid}: if the user's number was changed, so must be the owner of all its files."
                    ),
                )
                .mend(format!("sudo chown -R -h --from={other} {user} {shown}")),
            ),
            Ok(Some((_, mode))) if mode & 0o700 & !0o100 != 0o600 => findings.push(
                Finding::failed(check, subject, format!("User {user} may not read and write {shown}."))
                    .mend(format!("sudo chmod u+rwX {shown}")),
            ),
            Ok(Some((_, mode))) if *private && mode & 0o077 != 0 => findings.push(
                Finding::warning(check, subject, format!("Others than user {user} may enter {shown}."))
                    .mend(format!("sudo chmod go-rwx {shown}")),
            ),
            Ok(_) => {}
        }
    }
    if findings.is_empty() {
        let text = format!("The files of user {user} are its own.");
        findings.push(Finding::fine(check, user, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    fn owned(seen: Result<Option<(u32, u32)>, String>) -> Vec<Finding> {
        judge("mcp", 850, &[Owned { path: "/srv/mcp".into(), seen, private: true }])
    }

    #[test]
    fn files_of_another_number_fail_with_the_command() {
        let found = owned(Ok(Some((849, 0o700))));
        assert_eq!(found[0].level, Level::Failed);
        assert_eq!(found[0].mend, "sudo chown -R -h --from=849 mcp /srv/mcp");
        assert_eq!(owned(Ok(Some((850, 0o500))))[0].mend, "sudo chmod u+rwX /srv/mcp");
        assert_eq!(owned(Ok(Some((850, 0o755))))[0].level, Level::Warning);
        assert_eq!(owned(Err("it is dark".to_owned()))[0].level, Level::Failed);
        for fine in [Ok(Some((850, 0o700))), Ok(None)] {
            assert_eq!(owned(fine)[0].level, Level::Fine);
        }
    }
}
