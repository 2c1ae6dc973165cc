//! The sending end.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, Dir, FileType, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::error::TransferError;
use super::frame::{CHUNK, Frame, Hash, LARGE, Wire};
use super::path::{PathError, TreePath, shown};
use super::receive::PART;
use super::tree::{self, PERMISSIONS};

/// What is sent: one file, or a directory with everything in it.
#[derive(Debug)]
pub struct Source {
    handle: OwnedFd,
    is_directory: bool,
    shown: String,
}

impl Source {
    /// Opens what a person named, links in the path and all.
    ///
    /// # Errors
    ///
    /// It is not there, may not be read, or is neither file nor directory.
    pub fn named(path: &Path) -> Result<Self, TransferError> {
        let shown = path.display().to_string();
        // Looked at first: opening a device may act on it.
        let found = fs::stat(path).map_err(TransferError::at("read", &shown))?;
        let flags = flags(&found, &shown)?;
        let handle =
            fs::open(path, flags, fs::Mode::empty()).map_err(TransferError::at("read", &shown))?;
        Self::new(handle, shown)
    }

    /// Opens a path below a directory; no link is followed.
    ///
    /// # Errors
    ///
    /// As [`Source::named`].
    pub fn below(root: &OwnedFd, path: &TreePath) -> Result<Self, TransferError> {
        let shown = path.to_string();
        let failed = |errno| TransferError::Io { action: "read", path: shown.clone(), errno };
        let handle = match path.split() {
            None => tree::open_below(root.as_fd(), path).map_err(failed)?,
            Some((above, name)) => {
                let above = tree::open_below(root.as_fd(), &above).map_err(failed)?;
                let found = tree::look(above.as_fd(), name)
                    .and_then(|found| found.ok_or(Errno::NOENT))
                    .map_err(failed)?;
                tree::open(above.as_fd(), name, flags(&found, &shown)?, 0).map_err(failed)?
            }
        };
        Self::new(handle, shown)
    }

    /// Keeps what a stream holds, in a file without a name in `$TMPDIR` that
    /// nobody else may read: how much it is must be known before it is sent.
    ///
    /// # Errors
    ///
    /// The stream cannot be read, or the file cannot be written.
    pub fn kept(mut stream: impl std::io::Read) -> Result<Self, TransferError> {
        let directory = std::env::temp_dir().display().to_string();
        let failed = || TransferError::io("keep standard input in", &directory);
        let mut file = tempfile::tempfile().map_err(failed())?;
        std::io::copy(&mut stream, &mut file).and_then(|_| file.rewind()).map_err(failed())?;
        Self::new(file.into(), "standard input".to_owned())
    }

    fn new(handle: OwnedFd, shown: String) -> Result<Self, TransferError> {
        let found = fs::fstat(&handle).map_err(TransferError::at("read", &shown))?;
        let file_type = tree::file_type(&found);
        let is_directory = file_type == FileType::Directory;
        if !is_directory && file_type != FileType::RegularFile {
            return Err(TransferError::NotSent { path: shown, found: tree::kind(file_type) });
        }
        Ok(Self { handle, is_directory, shown })
    }
}

/// Returns how to open what is a file or a directory.
fn flags(found: &fs::Stat, shown: &str) -> Result<OFlags, TransferError> {
    let file_type = tree::file_type(found);
    if file_type == FileType::Directory {
        Ok(OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)
    } else if file_type == FileType::RegularFile {
        Ok(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC)
    } else {
        Err(TransferError::NotSent { path: shown.to_owned(), found: tree::kind(file_type) })
    }
}

/// Sends a source, to [`Frame::Done`]; what it cannot send of a directory
/// (links, devices and the like) it names.
///
/// # Errors
///
/// [`TransferError`]
pub fn send(source: &Source, wire: &mut impl Wire) -> Result<(), TransferError> {
    let found = fs::fstat(&source.handle).map_err(TransferError::at("read", &source.shown))?;
    let path = TreePath::default();
    if source.is_directory {
        wire.send(Frame::Directory { path: path.clone(), mode: found.st_mode & PERMISSIONS })?;
        send_children(source.handle.as_fd(), &path, wire)?;
    } else {
        let handle = source.handle.try_clone().map_err(TransferError::io("read", &source.shown))?;
        send_file(handle, &path, &source.shown, wire)?;
    }
    wire.send(Frame::Done)?;
    Ok(())
}

fn send_children(
    directory: BorrowedFd<'_>,
    path: &TreePath,
    wire: &mut impl Wire,
) -> Result<(), TransferError> {
    // Read as it goes: a directory may have more names than fit in memory.
    let mut entries = Dir::read_from(directory).map_err(TransferError::at("read", path))?;
    while let Some(entry) = entries.read() {
        let entry = entry.map_err(TransferError::at("read", path))?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        match path.join(name) {
            Ok(child) => send_child(directory, name, &child, wire)?,
            Err(why @ PathError::Control(_)) => {
                left_out(shown(name), &why.to_string(), wire)?;
            }
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

fn send_child(
    directory: BorrowedFd<'_>,
    name: &[u8],
    path: &TreePath,
    wire: &mut impl Wire,
) -> Result<(), TransferError> {
    if name.starts_with(PART) {
        return left_out(path.to_string(), "a part of a transfer that did not end", wire);
    }
    let failed = |errno| TransferError::Io { action: "read", path: path.to_string(), errno };
    let Some(found) = tree::look(directory, name).map_err(failed)? else {
        return left_out(path.to_string(), "it went away", wire);
    };
    let file_type = tree::file_type(&found);
    if !matches!(file_type, FileType::Directory | FileType::RegularFile) {
        return left_out(path.to_string(), tree::kind(file_type), wire);
    }
    let handle = match tree::open(directory, name, flags(&found, &path.to_string())?, 0) {
        Err(Errno::NOENT) => return left_out(path.to_string(), "it went away", wire),
        other => other.map_err(failed)?,
    };
    let source = Source::new(handle, path.to_string())?;
    if source.is_directory {
        let mode = fs::fstat(&source.handle).map_err(failed)?.st_mode & PERMISSIONS;
        wire.send(Frame::Directory { path: path.clone(), mode })?;
        return send_children(source.handle.as_fd(), path, wire);
    }
    send_file(source.handle, path, &source.shown, wire)
}

fn left_out(name: String, why: &str, wire: &mut impl Wire) -> Result<(), TransferError> {
    Ok(wire.send(Frame::LeftOut { name, why: why.to_owned() })?)
}

fn send_file(
    handle: OwnedFd,
    path: &TreePath,
    shown: &str,
    wire: &mut impl Wire,
) -> Result<(), TransferError> {
    let found = fs::fstat(&handle).map_err(TransferError::at("read", shown))?;
    let size = u64::try_from(found.st_size).unwrap_or_default();
    let asks = size >= LARGE;
    let mode = found.st_mode & PERMISSIONS;
    wire.send(Frame::File { path: path.clone(), mode, size, asks })?;
    let mut file = Reader { file: File::from(handle), shown, hash: Sha256::new(), at: 0 };
    if asks && file.agree(size, wire)? {
        return Ok(());
    }
    let mut left = size - file.at;
    while left > 0 {
        let chunk = file.chunk(left)?;
        left -= chunk.len() as u64;
        wire.send(Frame::Data(chunk))?;
    }
    Ok(wire.send(Frame::End(file.hash.finalize().into()))?)
}

/// A file that is read once from its start, but for what the receiver has.
struct Reader<'a> {
    file: File,
    shown: &'a str,
    hash: Sha256,
    at: u64,
}

impl Reader<'_> {
    /// Finds out with the receiver where to begin; tells whether there is
    /// nothing to send.
    fn agree(&mut self, size: u64, wire: &mut impl Wire) -> Result<bool, TransferError> {
        let Frame::Held { part, same } = wire.receive()? else {
            return Err(TransferError::Protocol("what it has of a file was to come"));
        };
        if let Some(same) = same {
            if self.hash_to(size)? == same {
                wire.send(Frame::Same)?;
                return Ok(true);
            }
            self.rewind()?;
        }
        if let Some((length, hash)) = part.filter(|(length, _)| *length <= size) {
            if self.hash_to(length)? == hash {
                wire.send(Frame::From(length))?;
                return Ok(false);
            }
            self.rewind()?;
        }
        wire.send(Frame::From(0))?;
        Ok(false)
    }

    /// Reads on to a place, and returns the hash of all before it.
    fn hash_to(&mut self, end: u64) -> Result<Hash, TransferError> {
        while self.at < end {
            self.chunk(end - self.at)?;
        }
        Ok(self.hash.clone().finalize().into())
    }

    fn rewind(&mut self) -> Result<(), TransferError> {
        self.file.seek(SeekFrom::Start(0)).map_err(TransferError::io("read", self.shown))?;
        (self.hash, self.at) = (Sha256::new(), 0);
        Ok(())
    }

    /// Reads the next chunk of at most `left` bytes, and at least one.
    fn chunk(&mut self, left: u64) -> Result<Vec<u8>, TransferError> {
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = Vec::with_capacity(length);
        let read = (&mut self.file).take(length as u64).read_to_end(&mut chunk);
        read.map_err(TransferError::io("read", self.shown))?;
        if chunk.len() < length {
            return Err(TransferError::Changed { path: self.shown.to_owned() });
        }
        self.hash.update(&chunk);
        self.at += chunk.len() as u64;
        Ok(chunk)
    }
}
