//! Whether `newuidmap` and `newgidmap` are there and may do their work: podman
//! makes a user's namespaces with them (`newuidmap(1)`).

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::agent::finding::Finding;

/// One of the two programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// Its name.
    pub name: &'static str,
    /// Where it is, and whether it may do its work; none: nowhere.
    pub found: Option<(PathBuf, bool)>,
}

/// Looks for both in a search path.
pub fn look(search: &OsStr) -> [Helper; 2] {
    ["newuidmap", "newgidmap"].map(|name| {
        let found = std::env::split_paths(search)
            .map(|directory| directory.join(name))
            .find_map(|path| path.metadata().ok().map(|metadata| (path, metadata)));
        let found = found.map(|(path, metadata)| {
            let set_uid = metadata.permissions().mode() & 0o4000 != 0;
            let mut buffer = [0_u8; 64];
            let capable = rustix::fs::getxattr(&path, "security.capability", &mut buffer).is_ok();
            (path, set_uid || capable)
        });
        Helper { name, found }
    })
}

/// Judges one of them.
pub fn judge(helper: &Helper) -> Finding {
    let check = "uidmap";
    let name = helper.name;
    match &helper.found {
        None => Finding::failed(
            check,
            name,
            format!("There is no {name}: podman can make no container for an ordinary user."),
        )
        .mend("sudo apt install uidmap"),
        Some((path, false)) => {
            let path = path.display();
            Finding::failed(
                check,
                name,
                format!("{path} has neither its file capability nor the set-uid bit."),
            )
            .mend(format!("sudo chmod u+s {path}"))
        }
        Some((path, true)) => Finding::fine(check, name, format!("{}.", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    #[test]
    fn a_helper_must_be_there_and_may_do_its_work() {
        let dir = tempfile::tempdir().unwrap();
        let search = dir.path().as_os_str();
        assert_eq!(judge(&look(search)[0]).mend, "sudo apt install uidmap");
        let path = dir.path().join("newgidmap");
        crate::atomic_file::write(&path, b"", 0o755).unwrap();
        assert!(judge(&look(search)[1]).mend.starts_with("sudo chmod u+s "));
        crate::atomic_file::write(&path, b"", 0o4755).unwrap();
        assert_eq!(judge(&look(search)[1]).level, Level::Fine);
    }
}
