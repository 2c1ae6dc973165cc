//! Steps on the file system, each of which says what it did and may be
//! repeated.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::store::UnitsError;
use crate::atomic_file;

/// Adds action and path to an error of the system.
pub(super) fn at<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> UnitsError + 'a {
    move |source| UnitsError::Io { action, path: path.to_owned(), source }
}

/// Lists a directory; one that is not there is empty. A name that is no UTF-8
/// cannot be ours, and stays where it is.
pub(super) fn entries(directory: &Path) -> Result<Vec<(String, fs::FileType)>, UnitsError> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at("list", directory)(error)),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(at("list", directory))?;
        let kind = entry.file_type().map_err(at("look at", &entry.path()))?;
        match entry.file_name().into_string() {
            Ok(name) => entries.push((name, kind)),
            Err(_) => return Err(UnitsError::NotText { path: entry.path() }),
        }
    }
    Ok(entries)
}

/// Reads a regular file; `None` if there is none.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, UnitsError> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("look at", path)(error)),
    }
    let bytes = fs::read(path).map_err(at("read", path))?;
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| UnitsError::NotText { path: path.to_owned() })
}

pub(super) fn is_empty(directory: &Path) -> Result<bool, UnitsError> {
    let mut listing = fs::read_dir(directory).map_err(at("list", directory))?;
    Ok(listing.next().is_none())
}

/// Makes a directory and its parents, and syncs the parents that are new.
pub(super) fn make_directory(directory: &Path) -> Result<(), UnitsError> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent();
    if let Some(parent) = parent {
        make_directory(parent)?;
    }
    match fs::create_dir(directory) {
        Ok(()) => parent.map_or(Ok(()), sync),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(at("make", directory)(error)),
    }
}

pub(super) fn sync(directory: &Path) -> Result<(), UnitsError> {
    atomic_file::sync_directory(directory).map_err(at("sync", directory))
}

/// Removes what a crash or a swap left in the staging directory.
pub(super) fn discard(slot: &Path) -> Result<(), UnitsError> {
    match fs::remove_dir_all(slot) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at("remove", slot)(error)),
    }
}

/// Writes a file unless it has that content already; the caller syncs the
/// directory.
pub(super) fn put(directory: &Path, name: &str, text: &str) -> Result<Option<PathBuf>, UnitsError> {
    let path = directory.join(name);
    if read_text(&path)?.as_deref() == Some(text) {
        return Ok(None);
    }
    make_directory(directory)?;
    atomic_file::replace(&path, text.as_bytes(), 0o644).map_err(at("write", &path))?;
    Ok(Some(path))
}

/// Makes a symbolic link unless it is there already.
pub(super) fn put_link(link: &Path, target: &Path) -> Result<Option<PathBuf>, UnitsError> {
    if fs::read_link(link).is_ok_and(|present| present == target) {
        return Ok(None);
    }
    let Some(directory) = link.parent() else { return Ok(None) };
    if directory.is_symlink() {
        return Err(UnitsError::NotADirectory { path: directory.to_owned() });
    }
    make_directory(directory)?;
    // systemd skips names with a dot in front.
    let temporary = directory.join(".mcp-link.tmp");
    take(&temporary)?;
    symlink(target, &temporary).map_err(at("link", &temporary))?;
    fs::rename(&temporary, link).map_err(at("link", link))?;
    sync(directory)?;
    Ok(Some(link.to_owned()))
}

/// Removes a file or link if it is there.
pub(super) fn take(path: &Path) -> Result<Option<PathBuf>, UnitsError> {
    match fs::remove_file(path) {
        Ok(()) => {
            path.parent().map_or(Ok(()), sync)?;
            Ok(Some(path.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("remove", path)(error)),
    }
}
