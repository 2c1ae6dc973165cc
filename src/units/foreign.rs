//! Unit files that somebody else wrote, while what they run is taken over:
//! taken away, kept, and put back if that goes wrong.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{at, entries, is_empty, make_directory, read_text, sync};
use super::store::{UnitsError, is_quadlet};
use crate::atomic_file;

/// Permission bits that a kept file may have.
const MODE: u32 = 0o777;

/// A file, or a link, as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub content: Content,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A file.
    File {
        /// Its text.
        text: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: PathBuf,
    },
}

/// Returns the file of a unit, its drop-ins beside it, and the links below
/// `links` (`~/.config/systemd/user`) by which other units want or require it
/// (`systemctl(1)`, `enable`).
///
/// # Errors
///
/// [`UnitsError`]; what is not there is no error.
pub fn read(path: &Path, unit: &str, links: &Path) -> Result<Vec<Foreign>, UnitsError> {
    let mut found = Vec::new();
    found.extend(one(path)?);
    let mut drop_ins = path.as_os_str().to_owned();
    drop_ins.push(".d");
    let drop_ins = PathBuf::from(drop_ins);
    for (name, kind) in entries(&drop_ins)? {
        if !kind.is_dir() {
            found.extend(one(&drop_ins.join(name))?);
        }
    }
    for (directory, kind) in entries(links)? {
        let ends = [".wants", ".requires", ".upholds"];
        if kind.is_dir() && ends.iter().any(|end| directory.ends_with(end)) {
            let link = links.join(directory).join(unit);
            found.extend(one(&link)?.filter(|f| matches!(f.content, Content::Link { .. })));
        }
    }
    Ok(found)
}

fn one(path: &Path) -> Result<Option<Foreign>, UnitsError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("look at", path)(error)),
    };
    let content = if metadata.is_symlink() {
        Content::Link { target: fs::read_link(path).map_err(at("read", path))? }
    } else {
        let Some(text) = read_text(path)? else { return Ok(None) };
        Content::File { text, mode: metadata.permissions().mode() & MODE }
    };
    Ok(Some(Foreign { path: path.to_owned(), content }))
}

/// Returns the unit files below a directory and their drop-ins, with their
/// texts, but for what is below `ours`; `depth` is how far down it goes. What
/// cannot be read is left out.
///
/// # Errors
///
/// [`UnitsError`]: a directory cannot be listed.
pub fn texts(
    directory: &Path,
    ours: &Path,
    depth: u32,
) -> Result<Vec<(PathBuf, String)>, UnitsError> {
    let mut found = Vec::new();
    for (name, kind) in entries(directory)? {
        let path = directory.join(&name);
        let is_unit = is_quadlet(&name)
            || path.extension().is_some_and(|kind| kind == "service" || kind == "conf");
        if path == ours {
            continue;
        }
        if kind.is_dir() && depth > 0 {
            found.extend(texts(&path, ours, depth - 1)?);
        } else if is_unit && let Ok(text) = fs::read_to_string(&path) {
            found.push((path, text));
        }
    }
    Ok(found)
}

/// Takes them away. What is gone already is fine; what has changed since it
/// was read is not.
///
/// # Errors
///
/// [`UnitsError`]; some may be gone then.
pub fn take_away(all: &[Foreign]) -> Result<(), UnitsError> {
    for foreign in all {
        match one(&foreign.path)? {
            None => continue,
            Some(now) if now == *foreign => {}
            Some(_) => return Err(UnitsError::Changed(foreign.path.clone())),
        }
        fs::remove_file(&foreign.path).map_err(at("remove", &foreign.path))?;
        sync_parent(&foreign.path)?;
        // A directory of drop-ins goes with the last of them.
        let parent = foreign.path.parent().filter(|p| p.extension().is_some_and(|e| e == "d"));
        if let Some(parent) = parent.filter(|parent| is_empty(parent).unwrap_or(false)) {
            fs::remove_dir(parent).map_err(at("remove", parent))?;
        }
    }
    Ok(())
}

/// Puts them where they were. What somebody has put there meanwhile stays.
///
/// # Errors
///
/// [`UnitsError`]; some may be there then.
pub fn put_back(all: &[Foreign]) -> Result<(), UnitsError> {
    for foreign in all {
        if foreign.path.symlink_metadata().is_ok() {
            continue;
        }
        place(foreign, &foreign.path)?;
    }
    Ok(())
}

/// Keeps copies of them for people, below a directory, each at its path.
///
/// # Errors
///
/// [`UnitsError`]
pub fn keep(all: &[Foreign], directory: &Path) -> Result<(), UnitsError> {
    for foreign in all {
        let path = foreign.path.strip_prefix("/").unwrap_or(&foreign.path);
        let path = directory.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove", &path)(error));
            }
            Ok(()) | Err(_) => place(foreign, &path)?,
        }
    }
    Ok(())
}

fn place(foreign: &Foreign, path: &Path) -> Result<(), UnitsError> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match &foreign.content {
        Content::File { text, mode } => {
            atomic_file::write(path, text.as_bytes(), *mode).map_err(at("write", path))
        }
        Content::Link { target } => {
            symlink(target, path).map_err(at("link", path))?;
            sync_parent(path)
        }
    }
}

fn sync_parent(path: &Path) -> Result<(), UnitsError> {
    path.parent().map_or(Ok(()), sync)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_away_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (quadlets, units) = (dir.path().join("containers"), dir.path().join("user"));
        let path = quadlets.join("web.container");
        let put = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            atomic_file::write(path, text.as_bytes(), 0o640).unwrap();
        };
        put(&path, "a");
        put(&quadlets.join("web.container.d/x.conf"), "b");
        put(&quadlets.join("other.container"), "c");
        let wants = units.join("default.target.wants");
        fs::create_dir_all(&wants).unwrap();
        symlink("../web.service", wants.join("web.service")).unwrap();
        let all = read(&path, "web.service", &units).unwrap();
        assert_eq!(all.len(), 3);
        keep(&all, &dir.path().join("kept")).unwrap();
        for _ in 0..2 {
            take_away(&all).unwrap();
        }
        assert_eq!(read(&path, "web.service", &units).unwrap(), []);
        assert!(quadlets.join("other.container").exists());
        assert!(!quadlets.join("web.container.d").exists());
        for _ in 0..2 {
            put_back(&all).unwrap();
        }
        assert_eq!(read(&path, "web.service", &units).unwrap(), all);
        let kept = dir.path().join("kept").join(path.strip_prefix("/").unwrap());
        assert_eq!(fs::read_to_string(kept).unwrap(), "a");

        put(&path, "edited");
        assert!(matches!(take_away(&all), Err(UnitsError::Changed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "edited");
    }
}
