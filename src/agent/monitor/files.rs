//! Changes of the unit directories, through inotify (`inotify(7)`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// What is of interest in a directory of units.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// And in one whose content only comes and goes.
const COMINGS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// Deepest directory that is looked at.
const DEPTH: u32 = 4;
const BUFFER: usize = 16 * 1024;

/// A directory to watch.
#[derive(Debug, Clone)]
pub struct Root {
    /// Where; it need not exist yet.
    pub path: PathBuf,
    /// Whether what is below it counts, or only the directories in it that
    /// come and go.
    pub whole: bool,
}

/// Watches directories.
#[derive(Debug)]
pub struct Files {
    inotify: AsyncFd<OwnedFd>,
    roots: Vec<Root>,
    watched: Watched,
}

/// The directories that are watched, by the numbers of their watches.
#[derive(Debug, Default)]
struct Watched {
    directories: BTreeMap<i32, PathBuf>,
    /// Whether some are not, though they are there.
    not_all: bool,
}

impl Files {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// The system has no inotify instance left (`fs.inotify.max_user_instances`).
    pub fn watch(roots: Vec<Root>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "what replaces it is unsafe; an OwnedFd is always the same")]
        let inotify = AsyncFd::new(inotify)?;
        let mut files = Self { inotify, roots, watched: Watched::default() };
        files.rescan();
        Ok(files)
    }

    /// Tells whether there are directories that cannot be watched.
    pub fn misses_some(&self) -> bool {
        self.watched.not_all
    }

    /// Watches every directory that there is now; one that is watched already
    /// stays so.
    pub fn rescan(&mut self) {
        let mut found = Watched::default();
        for root in &self.roots {
            if root.whole {
                self.add_tree(&root.path, DEPTH, &mut found);
            } else {
                self.add(&root.path, COMINGS, &mut found);
            }
            // What is not there may come: its parent says so.
            if let Some(parent) = root.path.ancestors().skip(1).find(|path| path.is_dir()) {
                self.add(parent, COMINGS | WatchFlags::MASK_ADD, &mut found);
            }
        }
        let gone = |number: &&i32| !found.directories.contains_key(*number);
        for number in self.watched.directories.keys().filter(gone) {
            if let Err(error) = inotify::remove_watch(&self.inotify, *number) {
                // It goes by itself with its directory.
                tracing::debug!(%error, "a directory was not watched any more");
            }
        }
        self.watched = found;
    }

    fn add_tree(&self, directory: &Path, depth: u32, found: &mut Watched) {
        if !self.add(directory, CHANGES, found) || depth == 0 {
            return;
        }
        let Ok(entries) = fs::read_dir(directory) else {
            found.not_all = true;
            return;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add_tree(&entry.path(), depth - 1, found);
            }
        }
    }

    fn add(&self, directory: &Path, what: WatchFlags, found: &mut Watched) -> bool {
        match inotify::add_watch(&self.inotify, directory, what) {
            Ok(number) => {
                found.directories.insert(number, directory.to_owned());
                true
            }
            Err(Errno::NOENT | Errno::NOTDIR) => false,
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error, "a directory cannot be watched; each sweep looks at it");
                found.not_all = true;
                false
            }
        }
    }

    /// Waits for changes and returns the paths that changed. Directories that
    /// came are watched from then on.
    ///
    /// May be cancelled: nothing is lost.
    ///
    /// # Errors
    ///
    /// inotify cannot be read.
    pub async fn changed(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        let mut changed = BTreeSet::new();
        while changed.is_empty() {
            let mut ready = self.inotify.readable().await?;
            let rescan = match read(ready.get_inner(), &self.watched.directories, &mut changed) {
                Ok(rescan) => rescan,
                Err(Errno::WOULDBLOCK) => {
                    ready.clear_ready();
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            ready.clear_ready();
            drop(ready);
            if rescan {
                self.rescan();
            }
        }
        Ok(changed)
    }
}

/// Reads what there is; tells whether directories came or went.
fn read(
    inotify: &OwnedFd,
    watched: &BTreeMap<i32, PathBuf>,
    changed: &mut BTreeSet<PathBuf>,
) -> Result<bool, Errno> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let (mut rescan, mut any) = (false, false);
    loop {
        let event = match reader.next() {
            Ok(event) => event,
            Err(Errno::WOULDBLOCK) if any => return Ok(rescan),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        any = true;
        let kind = event.events();
        if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
            changed.extend(watched.values().cloned());
            rescan = true;
            continue;
        }
        rescan |= kind.intersects(
            ReadFlags::ISDIR | ReadFlags::IGNORED | ReadFlags::UNMOUNT | ReadFlags::MOVE_SELF,
        );
        let Some(directory) = watched.get(&event.wd()) else { continue };
        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
        changed.insert(name.map_or_else(|| directory.clone(), |name| directory.join(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::atomic_file::write(path, text.as_bytes(), 0o644).unwrap();
    }

    async fn until(files: &mut Files, path: &Path) {
        let seen = async { while !files.changed().await.unwrap().contains(path) {} };
        tokio::time::timeout(std::time::Duration::from_secs(30), seen).await.unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_is_moved_away_is_seen_and_its_successor_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("containers/units");
        write(&root.join("shop.container"), "a");
        let mut files = Files::watch(vec![Root { path: root.clone(), whole: true }]).unwrap();
        assert!(!files.misses_some());
        fs::rename(dir.path().join("containers"), dir.path().join("old")).unwrap();
        until(&mut files, &dir.path().join("containers")).await;
        write(&root.join("other.container"), "b");
        until(&mut files, &dir.path().join("containers")).await;
        files.rescan();
        write(&root.join("third.container"), "c");
        until(&mut files, &root.join("third.container")).await;
    }

    #[tokio::test]
    async fn files_are_seen_in_directories_that_came_later_and_were_exchanged() {
        let dir = tempfile::tempdir().unwrap();
        let (root, staging) = (dir.path().join("units"), dir.path().join("staging"));
        let mut files = Files::watch(vec![Root { path: root.clone(), whole: true }]).unwrap();
        let unit = root.join("shop/shop.container");
        fs::create_dir(&root).unwrap();
        until(&mut files, &root).await;
        fs::create_dir(root.join("shop")).unwrap();
        until(&mut files, &root.join("shop")).await;
        write(&unit, "a");
        until(&mut files, &unit).await;
        write(&staging.join("shop/shop.container"), "b");
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            staging.join("shop"),
            rustix::fs::CWD,
            root.join("shop"),
            rustix::fs::RenameFlags::EXCHANGE,
        )
        .unwrap();
        until(&mut files, &root.join("shop")).await;
        fs::remove_file(&unit).unwrap();
        until(&mut files, &unit).await;
    }
}
