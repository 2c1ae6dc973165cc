//! The receiving end: each file appears whole or not at all.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{self, AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::error::TransferError;
use super::frame::{CHUNK, Frame, Hash, Piece, Summary, Wire};
use super::path::TreePath;
use super::tree::{self, Owner, PERMISSIONS};

/// How the name of a file begins whose content is still coming; the rest is
/// made of the name that it will have.
pub(super) const PART: &[u8] = b".mcp-part-";
/// How often the temporary file is opened anew when somebody else was
/// quicker.
const ATTEMPTS: usize = 8;

/// Where what arrives goes.
#[derive(Debug)]
pub struct Receiving {
    /// The directory that nothing leaves.
    pub root: OwnedFd,
    /// The path below it that stands before everything.
    pub base: TreePath,
    /// The path that a file gets that comes alone; none: `base`.
    pub alone: Option<TreePath>,
    /// Who gets what is written; none: whoever writes.
    pub owner: Option<(u32, u32)>,
    /// Whether a file that is there keeps its mode.
    pub keep_modes: bool,
}

/// Receives files and directories up to [`Frame::Done`], and answers with
/// [`Frame::Received`].
///
/// # Errors
///
/// [`TransferError`]. What had arrived whole stays; of a file that had not,
/// the part is kept for the next attempt if it is a large one and the wire was
/// cut, and else removed.
pub fn receive(to: &Receiving, wire: &mut impl Wire) -> Result<Summary, TransferError> {
    let mut receiver = Receiver { to, made: Vec::new(), parent: None, summary: Summary::default() };
    loop {
        match wire.receive()? {
            Frame::Directory { path, mode } => receiver.directory(&path, mode)?,
            Frame::File { path, mode, size, asks } => {
                let is_asked_for = path.is_root();
                let path = match &to.alone {
                    Some(alone) if is_asked_for => alone.clone(),
                    Some(_) | None => to.base.append(&path)?,
                };
                receiver.file(&Incoming { path, is_asked_for, mode, size, asks }, wire)?;
            }
            // Told to whoever asked for it, on the way here.
            Frame::LeftOut { .. } => {}
            Frame::Done => break,
            Frame::Held { .. }
            | Frame::From(_)
            | Frame::Same
            | Frame::Data(_)
            | Frame::End(_)
            | Frame::Received(_) => {
                return Err(TransferError::Protocol("a file or directory was to come"));
            }
        }
    }
    receiver.leave(&TreePath::default(), true)?;
    receiver.settle()?;
    wire.send(Frame::Received(receiver.summary))?;
    Ok(receiver.summary)
}

/// A file that is announced.
struct Incoming {
    path: TreePath,
    /// Whether it is what was asked for, not something in a directory.
    is_asked_for: bool,
    mode: u32,
    size: u64,
    asks: bool,
}

struct Receiver<'a> {
    to: &'a Receiving,
    /// Directories that were made and are being filled, with the modes that
    /// they get in the end: until then they must let us write.
    made: Vec<(TreePath, u32)>,
    /// Where the last file went.
    parent: Option<(TreePath, OwnedFd)>,
    summary: Summary,
}

impl Receiver<'_> {
    fn directory(&mut self, path: &TreePath, mode: u32) -> Result<(), TransferError> {
        let path = self.to.base.append(path)?;
        self.leave(&path, false)?;
        let root = self.to.root.as_fd();
        let Some((above, name)) = path.split() else { return Ok(()) };
        let parent = tree::make_below(root, &above, self.to.owner)?;
        let failed = TransferError::at("make the directory", &path);
        if tree::make(parent.as_fd(), name, mode | 0o700, self.to.owner).map_err(failed)? {
            self.summary.directories += 1;
            self.made.push((path, mode & PERMISSIONS));
            return Ok(());
        }
        let found =
            tree::look(parent.as_fd(), name).map_err(TransferError::at("look at", &path))?;
        match found.as_ref().map(tree::file_type) {
            Some(FileType::Directory) => Ok(()),
            other => Err(TransferError::InTheWay {
                path: path.to_string(),
                found: other.map_or("nothing", tree::kind),
                wanted: "a directory",
            }),
        }
    }

    /// Gives the directories that `path` is not in their final modes.
    fn leave(&mut self, path: &TreePath, all: bool) -> Result<(), TransferError> {
        while let Some((top, mode)) = self.made.pop_if(|(top, _)| all || !path.is_within(top)) {
            let failed =
                |errno| TransferError::Io { action: "finish", path: top.to_string(), errno };
            let directory = tree::open_below(self.to.root.as_fd(), &top).map_err(failed)?;
            fs::fchmod(&directory, Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes the names of the last files survive a power loss.
    fn settle(&mut self) -> Result<(), TransferError> {
        let Some((path, directory)) = self.parent.take() else { return Ok(()) };
        fs::fsync(&directory).map_err(TransferError::at("save", &path))
    }

    /// Opens the directory that a file goes to.
    fn enter(&mut self, path: &TreePath) -> Result<OwnedFd, TransferError> {
        if self.parent.as_ref().is_none_or(|(is, _)| is != path) {
            self.settle()?;
            let opened = tree::make_below(self.to.root.as_fd(), path, self.to.owner)?;
            self.parent = Some((path.clone(), opened));
        }
        let Some((_, directory)) = &self.parent else {
            return Err(TransferError::Protocol("no directory"));
        };
        directory.try_clone().map_err(TransferError::io("open", path))
    }

    fn file(&mut self, file: &Incoming, wire: &mut impl Wire) -> Result<(), TransferError> {
        self.leave(&file.path, false)?;
        let Some((above, name)) = file.path.split() else {
            let path = file.path.to_string();
            return Err(TransferError::IsDirectory { path });
        };
        let directory = self.enter(&above)?;
        let (owner, mode) = (self.to.owner, file.mode & PERMISSIONS);
        let mut target = Target { directory, name, file, owner, mode };
        let there = target.there()?;
        if let Some(there) = there.as_ref().filter(|_| self.to.keep_modes) {
            target.mode = there.stat.st_mode & PERMISSIONS;
        }
        let mut part = target.part()?;
        match target.fill(&mut part, there.as_ref(), wire) {
            Ok(Filled::Same) => {
                target.discard();
                let changed = target.dress(there.as_ref())?;
                self.count(changed, file, 0);
                Ok(())
            }
            Ok(Filled::Whole { hash, resumed }) => {
                if target.is_same(there.as_ref(), &hash)? {
                    target.discard();
                    let changed = target.dress(there.as_ref())?;
                    self.count(changed, file, resumed);
                    return Ok(());
                }
                target.finish(&part).inspect_err(|_| target.discard())?;
                self.count(true, file, resumed);
                Ok(())
            }
            Err(TransferError::Wire(gone)) if file.asks => Err(gone.into()),
            Err(error) => {
                target.discard();
                Err(error)
            }
        }
    }

    fn count(&mut self, changed: bool, file: &Incoming, resumed: u64) {
        if changed {
            self.summary.files += 1;
            self.summary.bytes += file.size;
            self.summary.resumed += resumed;
        } else {
            self.summary.unchanged += 1;
        }
    }
}

/// What became of a file's content.
enum Filled {
    /// It is there already under its name.
    Same,
    /// All of it is in the temporary file.
    Whole { hash: Hash, resumed: u64 },
}

/// A file of that name that was there before.
struct There {
    handle: OwnedFd,
    stat: fs::Stat,
}

/// The place of one file.
struct Target<'a> {
    directory: OwnedFd,
    name: &'a [u8],
    file: &'a Incoming,
    owner: Option<Owner>,
    /// The permission bits that it gets.
    mode: u32,
}

impl Target<'_> {
    fn failed(&self, action: &'static str) -> impl Fn(Errno) -> TransferError {
        let path = self.file.path.to_string();
        move |errno| TransferError::Io { action, path: path.clone(), errno }
    }

    /// Opens what has the name already.
    fn there(&self) -> Result<Option<There>, TransferError> {
        let failed = self.failed("look at");
        let at = self.directory.as_fd();
        let Some(found) = tree::look(at, self.name).map_err(&failed)? else { return Ok(None) };
        let in_the_way = |file_type| {
            let path = self.file.path.to_string();
            // What was asked for, not something within it.
            if self.file.is_asked_for && file_type == FileType::Directory {
                return TransferError::IsDirectory { path };
            }
            TransferError::InTheWay { path, found: tree::kind(file_type), wanted: "a file" }
        };
        let file_type = tree::file_type(&found);
        if file_type != FileType::RegularFile {
            return Err(in_the_way(file_type));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let handle = match tree::open(at, self.name, flags, 0) {
            // It is replaced, not read.
            Err(Errno::NOENT | Errno::ACCESS) => return Ok(None),
            other => other.map_err(&failed)?,
        };
        let stat = fs::fstat(&handle).map_err(&failed)?;
        let file_type = tree::file_type(&stat);
        if file_type == FileType::RegularFile {
            Ok(Some(There { handle, stat }))
        } else {
            Err(in_the_way(file_type))
        }
    }

    fn part_name(&self) -> Vec<u8> {
        let hash = Sha256::digest(self.name);
        let digits = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
        [PART, digits.as_bytes()].concat()
    }

    /// Opens the temporary file, for this transfer alone.
    fn part(&self) -> Result<File, TransferError> {
        let failed = self.failed("write");
        let (at, name) = (self.directory.as_fd(), self.part_name());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
        for _ in 0..ATTEMPTS {
            let handle = match tree::open(at, &name, flags, 0o600) {
                Ok(handle) => handle,
                // A link or a pipe that somebody put there.
                Err(Errno::LOOP | Errno::NXIO) => {
                    self.discard();
                    continue;
                }
                Err(errno) => return Err(failed(errno)),
            };
            match fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {
                    return Err(TransferError::Busy { path: self.file.path.to_string() });
                }
                other => other.map_err(&failed)?,
            }
            let held = fs::fstat(&handle).map_err(&failed)?;
            let named = tree::look(at, &name).map_err(&failed)?;
            let is_ours = held.st_nlink == 1 && tree::file_type(&held) == FileType::RegularFile;
            let is_named =
                named.is_some_and(|n| n.st_ino == held.st_ino && n.st_dev == held.st_dev);
            if is_ours && is_named {
                // Until it is whole nobody else reads it.
                fs::fchmod(&handle, Mode::from_raw_mode(0o600)).map_err(&failed)?;
                return Ok(File::from(handle));
            }
            if is_named {
                self.discard();
            }
        }
        Err(TransferError::Busy { path: self.file.path.to_string() })
    }

    /// Removes the temporary file.
    fn discard(&self) {
        // That it is gone already, or cannot go, changes nothing of what
        // there is to tell.
        let removed = fs::unlinkat(&self.directory, self.part_name(), AtFlags::empty());
        drop(removed.map_err(std::io::Error::from));
    }

    /// Has the content arrive in the temporary file.
    fn fill(
        &self,
        part: &mut File,
        there: Option<&There>,
        wire: &mut impl Wire,
    ) -> Result<Filled, TransferError> {
        let mut hash = Sha256::new();
        let mut from = 0;
        if self.file.asks {
            let Some(begin) = self.agree(part, there, wire, &mut hash)? else {
                return Ok(Filled::Same);
            };
            from = begin;
        }
        let failed = || TransferError::io("write", &self.file.path);
        part.set_len(from).map_err(failed())?;
        part.seek(SeekFrom::Start(from)).map_err(failed())?;
        self.reserve(part)?;
        let mut length = from;
        loop {
            match Piece::next(wire)? {
                Piece::Data(data) => {
                    length += data.len() as u64;
                    if length > self.file.size {
                        return Err(TransferError::Protocol("a file is longer than announced"));
                    }
                    hash.update(&data);
                    part.write_all(&data).map_err(failed())?;
                }
                Piece::End(announced) => {
                    let hash: Hash = hash.finalize().into();
                    if length != self.file.size || hash != announced {
                        return Err(TransferError::Damaged { path: self.file.path.to_string() });
                    }
                    return Ok(Filled::Whole { hash, resumed: from });
                }
            }
        }
    }

    /// Tells the sender what is there, and learns where it begins; none: it
    /// need not send anything.
    fn agree(
        &self,
        part: &mut File,
        there: Option<&There>,
        wire: &mut impl Wire,
        hash: &mut Sha256,
    ) -> Result<Option<u64>, TransferError> {
        let failed = || TransferError::io("read", &self.file.path);
        let length = part.metadata().map_err(failed())?.len();
        let held = if length > 0 && length <= self.file.size {
            copy_into(hash, part).map_err(failed())?;
            Some((length, hash.clone().finalize().into()))
        } else {
            None
        };
        let same = there.filter(|there| self.has_size(there)).map(|there| self.hash_of(there));
        wire.send(Frame::Held { part: held, same: same.transpose()? })?;
        match wire.receive()? {
            Frame::Same if same_allowed(there, self.file) => Ok(None),
            Frame::From(0) => {
                *hash = Sha256::new();
                Ok(Some(0))
            }
            Frame::From(at) if held.is_some_and(|(length, _)| length == at) => Ok(Some(at)),
            Frame::Same
            | Frame::From(_)
            | Frame::Directory { .. }
            | Frame::File { .. }
            | Frame::Held { .. }
            | Frame::Data(_)
            | Frame::End(_)
            | Frame::LeftOut { .. }
            | Frame::Done
            | Frame::Received(_) => Err(TransferError::Protocol("where a file begins was to come")),
        }
    }

    /// Asks the file system for the room at once, not when half is there.
    fn reserve(&self, part: &File) -> Result<(), TransferError> {
        if self.file.size == 0 {
            return Ok(());
        }
        match fs::fallocate(part, FallocateFlags::KEEP_SIZE, 0, self.file.size) {
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::ROFS)) => {
                Err(self.failed("write")(errno))
            }
            // Not every file system can; then the writes will tell.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn has_size(&self, there: &There) -> bool {
        u64::try_from(there.stat.st_size).is_ok_and(|size| size == self.file.size)
    }

    fn hash_of(&self, there: &There) -> Result<Hash, TransferError> {
        let failed = || TransferError::io("read", &self.file.path);
        let mut hash = Sha256::new();
        let mut file = File::from(there.handle.try_clone().map_err(failed())?);
        file.seek(SeekFrom::Start(0)).map_err(failed())?;
        copy_into(&mut hash, &mut file).map_err(failed())?;
        Ok(hash.finalize().into())
    }

    /// Tells whether what is there has this content.
    fn is_same(&self, there: Option<&There>, hash: &Hash) -> Result<bool, TransferError> {
        let Some(there) = there.filter(|there| self.has_size(there)) else { return Ok(false) };
        Ok(self.hash_of(there)? == *hash)
    }

    /// Gives what is there the owner and mode it should have; tells whether
    /// it had others.
    fn dress(&self, there: Option<&There>) -> Result<bool, TransferError> {
        let Some(There { handle, stat }) = there else { return Ok(false) };
        let mode = self.mode;
        let has_owner = self.owner.is_none_or(|owner| owner == (stat.st_uid, stat.st_gid));
        if has_owner && stat.st_mode & 0o7777 == mode {
            return Ok(false);
        }
        let failed = self.failed("change");
        tree::give(handle, self.owner).map_err(&failed)?;
        fs::fchmod(handle, Mode::from_raw_mode(mode)).map_err(&failed)?;
        fs::fsync(handle).map_err(&failed)?;
        Ok(true)
    }

    /// Puts the temporary file, now whole, under its name.
    fn finish(&self, part: &File) -> Result<(), TransferError> {
        let failed = self.failed("write");
        tree::give(part, self.owner).map_err(&failed)?;
        fs::fchmod(part, Mode::from_raw_mode(self.mode)).map_err(&failed)?;
        fs::fsync(part).map_err(&failed)?;
        fs::renameat(&self.directory, self.part_name(), &self.directory, self.name).map_err(&failed)
    }
}

fn same_allowed(there: Option<&There>, file: &Incoming) -> bool {
    there.is_some_and(|there| u64::try_from(there.stat.st_size).is_ok_and(|s| s == file.size))
}

/// Hashes a file from where it is to its end.
fn copy_into(hash: &mut Sha256, file: &mut File) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        hash.update(bytes);
    }
}
