//! The names in one directory.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Dir, FileType};

use super::error::TransferError;
use super::path::TreePath;
use super::receive::PART;
use super::tree;

/// What a name is that can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// The most names that are returned: some directories have millions.
const MOST_NAMES: usize = 1000;

/// Returns the names in a directory below another that begin so and can be
/// sent, sorted, a thousand at most; no link is followed.
///
/// # Errors
///
/// It is no directory, or may not be read.
pub fn names(
    root: &OwnedFd,
    path: &TreePath,
    prefix: &[u8],
) -> Result<Vec<(Vec<u8>, Kind)>, TransferError> {
    let directory =
        tree::open_below(root.as_fd(), path).map_err(TransferError::at("read", path))?;
    let entries = Dir::read_from(&directory).map_err(TransferError::at("read", path))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(TransferError::at("read", path))?;
        let name = entry.file_name().to_bytes();
        let is_one = name.starts_with(prefix) && path.join(name).is_ok() && !name.starts_with(PART);
        if !is_one {
            continue;
        }
        // What is gone by now is not there.
        let Ok(Some(stat)) = tree::look(directory.as_fd(), name) else { continue };
        let kind = match tree::file_type(&stat) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => continue,
        };
        found.push((name.to_owned(), kind));
        if found.len() == MOST_NAMES {
            break;
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::atomic_file;
    use crate::transfer::open_directory;

    #[test]
    fn names_are_those_that_can_be_sent_and_none_from_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/sub/deep")).unwrap();
        for file in ["secret", "data/b", "data/a", "data/sub/x"] {
            atomic_file::write(&dir.path().join(file), b"", 0o600).unwrap();
        }
        symlink("..", dir.path().join("data/up")).unwrap();
        symlink("sub", dir.path().join("data/within")).unwrap();
        let root = open_directory(&dir.path().join("data")).unwrap();
        let listed = |path: &str, prefix: &str| {
            let path = TreePath::parse(path.as_bytes()).unwrap();
            let names = names(&root, &path, prefix.as_bytes()).ok()?;
            let shown = |(name, kind): (Vec<u8>, Kind)| {
                let end = if kind == Kind::Directory { "/" } else { "" };
                format!("{}{end}", String::from_utf8(name).unwrap())
            };
            Some(names.into_iter().map(shown).collect::<Vec<_>>())
        };
        assert_eq!(listed("", "").unwrap(), ["a", "b", "sub/"]);
        assert_eq!(listed("", "s").unwrap(), ["sub/"]);
        assert_eq!(listed("sub", "").unwrap(), ["deep/", "x"]);
        for number in 0..MOST_NAMES + 5 {
            let path = dir.path().join(format!("data/sub/deep/{number}"));
            atomic_file::write(&path, b"", 0o600).unwrap();
        }
        assert_eq!(listed("sub/deep", "").unwrap().len(), MOST_NAMES);
        assert_eq!(listed("sub/deep", "1004").unwrap(), ["1004"]);
        for bad in ["a", "up", "within", "none"] {
            assert_eq!(listed(bad, ""), None, "{bad}");
        }
    }
}
