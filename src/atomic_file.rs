//! Writing files so that a crash leaves the old content or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Writes `content` to `path` with the permission bits `mode`.
///
/// A temporary file beside it is written, synced and renamed over `path`, and
/// the directory is synced (`rename(2)`, `fsync(2)`).
///
/// # Errors
///
/// Any error of the file system; `path` then has its old content.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode)?;
    sync_directory(directory_of(path)?)
}

/// Does what [`write()`] does, and leaves it to the caller to sync the
/// directory: once for many files.
///
/// # Errors
///
/// Any error of the file system; `path` then has its old content.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = directory_of(path)?;
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(temporary);
    let result = write_and_rename(&temporary, path, content, mode);
    if result.is_err() {
        // What is left over is ours alone; the first error is the one to tell.
        drop(fs::remove_file(&temporary));
    }
    result
}

fn directory_of(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no directory"))
}

fn write_and_rename(temporary: &Path, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(temporary)?;
    // The umask may have taken bits away, or an old temporary had others.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

/// Syncs a directory, so that a rename in it survives a power loss.
///
/// # Errors
///
/// Any error of the file system.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_content_and_mode_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"one", 0o644).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"x", 0o644).is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
