//! A note beside the registry that it is an earlier one, put back by a person:
//! what it alone knows may have been removed since.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use crate::atomic_file;

/// Returns where the note is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("mcp-agent.restored")
}

/// Notes that the registry was restored from `copy`.
///
/// # Errors
///
/// The file system refuses.
pub fn write(state_dir: &Path, copy: &Path) -> io::Result<()> {
    let path = path(state_dir);
    atomic_file::write(&path, format!("{}\n", copy.display()).as_bytes(), 0o600)?;
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(state_dir)?;
        chown(&path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Tells whether the registry was restored, and not yet compared with the rest.
pub fn is_noted(state_dir: &Path) -> bool {
    path(state_dir).exists()
}

/// Removes the note.
///
/// # Errors
///
/// The file system refuses; that there is none is fine.
pub fn clear(state_dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
