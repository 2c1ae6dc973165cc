//! Changes in directories, as they happen (`inotify(7)`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Bytes for what has happened since the last look; more comes with the next.
const ROOM: usize = 16 * 1024;

/// A file that changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// It was written, moved there, moved away or removed.
    File(PathBuf),
    /// A directory that was watched is gone, and watched no more.
    Gone(PathBuf),
    /// More happened than the kernel keeps: look at everything.
    All,
}

/// Watches files in directories, without those below them.
#[derive(Debug)]
pub struct FileWatch {
    kernel: AsyncFd<OwnedFd>,
    directories: BTreeMap<i32, PathBuf>,
}

impl FileWatch {
    /// Makes a watch on nothing yet; to be called within a runtime.
    ///
    /// # Errors
    ///
    /// The user has too many of them (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let kernel = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "the other way is unsafe code; the descriptor is owned and never exchanged"
        )]
        let kernel = AsyncFd::new(kernel)?;
        Ok(Self { kernel, directories: BTreeMap::new() })
    }

    /// Adds a directory; one that is watched already stays as it is.
    ///
    /// # Errors
    ///
    /// The directory is not there, or the user watches too many.
    pub fn add(&mut self, directory: &Path) -> io::Result<()> {
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        let number = inotify::add_watch(&self.kernel, directory, flags)?;
        self.directories.insert(number, directory.to_owned());
        Ok(())
    }

    /// Watches exactly these directories, of those that are there; returns
    /// the ones that could not be watched, each with the reason.
    pub fn set(&mut self, directories: &[PathBuf]) -> Vec<(PathBuf, io::Error)> {
        let gone: Vec<i32> = self
            .directories
            .iter()
            .filter(|(_, path)| !directories.contains(path))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            self.directories.remove(&number);
            if let Err(error) = inotify::remove_watch(&self.kernel, number) {
                // The kernel has dropped it when the directory is gone.
                tracing::debug!(%error, "a directory was watched no more");
            }
        }
        let watched: Vec<&PathBuf> = self.directories.values().collect();
        let new: Vec<&PathBuf> = directories.iter().filter(|d| !watched.contains(d)).collect();
        new.into_iter().filter_map(|d| self.add(d).err().map(|error| (d.clone(), error))).collect()
    }

    /// Waits until something changes, and returns all that has.
    ///
    /// May be cancelled: nothing is lost.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn next(&mut self) -> io::Result<Vec<Changed>> {
        loop {
            let mut ready = self.kernel.readable().await?;
            let events = match read(ready.get_inner()) {
                Ok(events) => events,
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            drop(ready);
            let mut changed: Vec<Changed> =
                events.into_iter().filter_map(|event| self.changed(event)).collect();
            changed.sort();
            changed.dedup();
            if !changed.is_empty() {
                return Ok(changed);
            }
        }
    }

    fn changed(&mut self, (number, flags, name): Event) -> Option<Changed> {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(Changed::All);
        }
        if flags.contains(ReadFlags::IGNORED) {
            return self.directories.remove(&number).map(Changed::Gone);
        }
        Some(Changed::File(self.directories.get(&number)?.join(name?)))
    }
}

type Event = (i32, ReadFlags, Option<OsString>);

/// Reads what has happened, as far as there is room.
fn read(kernel: &OwnedFd) -> Result<Vec<Event>, Errno> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut reader = inotify::Reader::new(kernel, &mut room);
    let mut events = Vec::new();
    loop {
        let event = reader.next()?;
        let name = event.file_name().map(|name| OsString::from_vec(name.to_bytes().to_vec()));
        events.push((event.wd(), event.events(), name));
        if reader.is_buffer_empty() {
            return Ok(events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(watch: &mut FileWatch) -> Vec<Changed> {
        tokio::time::timeout(std::time::Duration::from_secs(20), watch.next())
            .await
            .unwrap()
            .unwrap()
    }

    #[tokio::test]
    async fn what_changes_is_told_by_its_path_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let mut watch = FileWatch::new().unwrap();
        assert_eq!(watch.set(std::slice::from_ref(&one)).len(), 1, "it is not there yet");
        for directory in [&one, &two] {
            std::fs::create_dir(directory).unwrap();
        }
        assert!(watch.set(std::slice::from_ref(&one)).is_empty());
        for _ in 0..3 {
            crate::atomic_file::replace(&two.join("b"), b"x", 0o600).unwrap();
            crate::atomic_file::replace(&one.join("a"), b"x", 0o600).unwrap();
        }
        let seen = next(&mut watch).await;
        assert_eq!(seen.iter().filter(|c| **c == Changed::File(one.join("a"))).count(), 1);
        assert!(!seen.contains(&Changed::File(two.join("b"))), "{seen:?}");
        assert!(watch.set(std::slice::from_ref(&two)).is_empty());
        std::fs::remove_dir_all(&one).unwrap();
        std::fs::remove_dir_all(&two).unwrap();
        let seen = next(&mut watch).await;
        assert!(seen.contains(&Changed::Gone(two)), "{seen:?}");
    }
}
