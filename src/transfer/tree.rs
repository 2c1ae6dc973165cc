//! One open directory, and what can be reached from it and never leaves it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::TransferError;
use super::path::TreePath;

/// Nothing on the way may be a link of any kind, or lead out.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// How a directory is opened.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How often an open is tried again that a rename elsewhere disturbed
/// (`openat2(2)`, `EAGAIN`).
const ATTEMPTS: usize = 16;
/// The permission bits that are carried: none of set-uid, set-gid, sticky.
pub(super) const PERMISSIONS: u32 = 0o777;
/// The mode of directories that are made on the way.
pub(super) const DIRECTORY_MODE: u32 = 0o755;

/// A user and a group, by number.
pub(super) type Owner = (u32, u32);

/// Opens a directory that is trusted, links in its path and all.
///
/// # Errors
///
/// It is not there, or may not be opened.
pub fn open_directory(path: &Path) -> Result<OwnedFd, TransferError> {
    let shown = path.display().to_string();
    fs::open(path, DIRECTORY, Mode::empty()).map_err(TransferError::at("open", &shown))
}

/// Opens a name or path below a directory.
pub(super) fn open(
    at: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: u32,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(mode);
    for _ in 1..ATTEMPTS {
        match fs::openat2(at, path, flags, mode, RESOLVE) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    fs::openat2(at, path, flags, mode, RESOLVE)
}

/// Opens a directory below another.
pub(super) fn open_below(at: BorrowedFd<'_>, path: &TreePath) -> Result<OwnedFd, Errno> {
    if path.is_root() {
        // A handle of its own: one that is read keeps its place.
        return open(at, b".", DIRECTORY, 0);
    }
    open(at, path.as_bytes(), DIRECTORY, 0)
}

/// Opens a directory below another, and makes what is missing of it.
pub(super) fn make_below(
    at: BorrowedFd<'_>,
    path: &TreePath,
    owner: Option<Owner>,
) -> Result<OwnedFd, TransferError> {
    match open_below(at, path) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(TransferError::at("open", path)),
    }
    let mut directory =
        open_below(at, &TreePath::default()).map_err(TransferError::at("open", "."))?;
    for name in path.names() {
        make(directory.as_fd(), name, DIRECTORY_MODE, owner)
            .map_err(TransferError::at("make the directory", path))?;
        directory =
            open(directory.as_fd(), name, DIRECTORY, 0).map_err(TransferError::at("open", path))?;
    }
    Ok(directory)
}

/// Makes a directory; tells whether it was not there.
pub(super) fn make(
    at: BorrowedFd<'_>,
    name: &[u8],
    mode: u32,
    owner: Option<Owner>,
) -> Result<bool, Errno> {
    match fs::mkdirat(at, name, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => return Ok(false),
        other => other?,
    }
    let directory = open(at, name, DIRECTORY, 0)?;
    let dressed = give(&directory, owner)
        .and_then(|()| fs::fchmod(&directory, Mode::from_raw_mode(mode & PERMISSIONS)));
    if let Err(errno) = dressed {
        // An empty directory of ours; the first error is the one to tell.
        drop(fs::unlinkat(at, name, AtFlags::REMOVEDIR).map_err(std::io::Error::from));
        return Err(errno);
    }
    fs::fsync(at)?;
    Ok(true)
}

/// Gives an open file to somebody.
pub(super) fn give(file: impl AsFd, owner: Option<Owner>) -> Result<(), Errno> {
    let Some((user, group)) = owner else { return Ok(()) };
    fs::fchown(file, Some(fs::Uid::from_raw(user)), Some(fs::Gid::from_raw(group)))
}

/// Says what a thing is that is neither a file nor a directory.
pub(super) fn kind(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    }
}

/// Returns what a name is, a link being a link; none: nothing.
pub(super) fn look(at: BorrowedFd<'_>, name: &[u8]) -> Result<Option<fs::Stat>, Errno> {
    match fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns the kind of what was looked at.
pub(super) fn file_type(stat: &fs::Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
