//! Copying what a person put beside our unit files.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// Deepest directory that is copied; a drop-in directory has one level.
const DEPTH: u32 = 8;

/// Makes `to` another name of `from`: a hard link of a file, a copy of a
/// symbolic link, a directory of such. What is already at `to` stays.
///
/// A hard link keeps owner, mode and time, and an editor that is writing to
/// the file goes on writing to it.
///
/// # Errors
///
/// Any error of the file system, and one for sockets, pipes and devices.
pub fn carry(from: &Path, to: &Path) -> io::Result<()> {
    carry_below(from, to, DEPTH)
}

fn carry_below(from: &Path, to: &Path, depth: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return keep_existing(symlink(fs::read_link(from)?, to));
    }
    if kind.is_file() {
        if keep_existing(fs::hard_link(from, to)).is_err() {
            // A file of root's may not be linked (proc(5), protected_hardlinks).
            fs::copy(from, to)?;
            fs::File::open(to)?.sync_all()?;
        }
        return Ok(());
    }
    if !kind.is_dir() || depth == 0 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{} is neither file, directory nor symbolic link", from.display()),
        ));
    }
    keep_existing(fs::create_dir(to))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        carry_below(&entry.path(), &to.join(entry.file_name()), depth - 1)?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.permissions().mode() & 0o7777))?;
    crate::atomic_file::sync_directory(to)
}

fn keep_existing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_links_files_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("a.d");
        fs::create_dir(&from).unwrap();
        crate::atomic_file::write(&from.join("x.conf"), b"[Unit]\n", 0o600).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        let to = dir.path().join("b.d");
        carry(&from, &to).unwrap();
        carry(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("x.conf")).unwrap(), b"[Unit]\n");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
        let mode = fs::metadata(to.join("x.conf")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn refuses_what_it_cannot_carry() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(carry(&socket, &dir.path().join("t")).is_err());
    }
}
