//! Copies of the registry in a directory: their names, the newest, and how
//! many are kept.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use crate::registry::snapshot::{self, SnapshotError, Verified};

/// Where copies go, and how many are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSettings {
    /// The directory.
    pub dir: PathBuf,
    /// How many of the newest are kept.
    pub keep: usize,
}

impl BackupSettings {
    /// How many copies are kept unless something else is said: two weeks of
    /// one a day.
    pub const KEEP: usize = 14;

    /// Returns the directory that is used when none is named.
    pub fn default_dir(state_dir: &Path) -> PathBuf {
        state_dir.join("backups")
    }
}

/// Says why there is no new copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory cannot be used.
    #[error("cannot {action} {}", path.display())]
    Directory {
        /// What was to be done.
        action: &'static str,
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another copy is being made there.
    #[error("another mcp-agent makes a copy in {} at this moment", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The copy could not be made or proved; the old ones are as they were.
    #[error("no copy was made; the old ones are as they were")]
    Snapshot(#[source] SnapshotError),
}

/// A new copy, and the old ones that went for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub verified: Verified,
    /// The old copies that were removed.
    pub pruned: Vec<PathBuf>,
}

const PREFIX: &str = "mcp-";
const SUFFIX: &str = ".db";

/// Returns a moment as names of files have it: in UTC, and so that names sort
/// by time.
pub fn stamp(now_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

/// The right to change a directory of copies.
struct Alone(File);

impl Alone {
    fn in_directory(path: &Path) -> Result<Self, BackupError> {
        let directory = File::open(path).map_err(at("open", path))?;
        match directory.try_lock() {
            Ok(()) => Ok(Self(directory)),
            Err(TryLockError::WouldBlock) => Err(BackupError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(at("lock", path)(source)),
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked just now has the file
        // as well, until it becomes another program (flock(2)).
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the directory of copies stays locked for a moment");
        }
    }
}

/// Makes and proves a copy in a directory, then removes all but the newest.
///
/// # Errors
///
/// [`BackupError`]; no old copy is removed then.
pub fn make(database: &Path, settings: &BackupSettings, now_ms: i64) -> Result<Made, BackupError> {
    let directory = &settings.dir;
    make_directory(directory)?;
    let _alone = Alone::in_directory(directory)?;
    let path = directory.join(format!("{PREFIX}{}{SUFFIX}", stamp(now_ms)));
    let verified = snapshot::take(database, &path).map_err(BackupError::Snapshot)?;
    let pruned = prune(directory, settings.keep, &path)?;
    Ok(Made { path, verified, pruned })
}

/// Makes a copy of a registry of an earlier schema, which is to be changed;
/// one that no other pushes out. `found` is that schema.
///
/// # Errors
///
/// [`BackupError`]
pub fn before_schema(
    database: &Path,
    settings: &BackupSettings,
    (found, now_ms): (i64, i64),
) -> Result<PathBuf, BackupError> {
    make_directory(&settings.dir)?;
    let name = format!("{PREFIX}schema-{found}-{}{SUFFIX}", stamp(now_ms));
    let path = settings.dir.join(name);
    snapshot::take(database, &path).map_err(BackupError::Snapshot)?;
    Ok(path)
}

/// Returns the copies in a directory, newest first; none if it is not there.
///
/// # Errors
///
/// The directory cannot be read.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at("list", directory))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at("list", directory))?;
        if entry.file_name().to_str().is_some_and(is_copy) {
            found.push(entry.path());
        }
    }
    found.sort_by(|a, b| b.file_name().cmp(&a.file_name()));
    Ok(found)
}

/// Returns the newest copy that is sound; one that is not is passed over.
pub fn newest_good(directory: &Path) -> Option<PathBuf> {
    let copies = list(directory).unwrap_or_else(|error| {
        tracing::warn!(error = %crate::telemetry::Chain(&error), "the copies of the registry cannot be listed");
        Vec::new()
    });
    copies.into_iter().find(|path| snapshot::verify(path).is_ok())
}

/// Returns how old the newest copy is, in milliseconds; none: there is none.
pub fn age_of_newest(directory: &Path, now_ms: i64) -> Option<i64> {
    let newest = list(directory).ok()?.into_iter().next()?;
    let written = newest.metadata().ok()?.mtime();
    Some(now_ms - written.saturating_mul(1000))
}

fn is_copy(name: &str) -> bool {
    name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)).is_some_and(|stamp| {
        !stamp.is_empty()
            && stamp.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'T' | b'Z' | b'.'))
    })
}

/// Removes all but the newest copies, and what a copy that was cut off left;
/// the one just made stays, whatever the clock says.
fn prune(directory: &Path, keep: usize, made: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut old: Vec<PathBuf> =
        list(directory)?.into_iter().filter(|path| path != made).skip(keep.max(1) - 1).collect();
    let copies = old.len();
    for entry in fs::read_dir(directory).map_err(at("list", directory))? {
        let entry = entry.map_err(at("list", directory))?;
        let name = entry.file_name();
        let cut_off = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(".tmp"))
            .is_some_and(is_copy);
        if cut_off {
            old.push(entry.path());
        }
    }
    for path in &old {
        fs::remove_file(path).map_err(at("remove", path))?;
    }
    old.truncate(copies);
    Ok(old)
}

fn make_directory(directory: &Path) -> Result<(), BackupError> {
    let is_new = !directory.exists();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(at("make", directory))?;
    // Root's directory must be the agent's.
    if is_new
        && rustix::process::geteuid().is_root()
        && let Some(parent) = directory.parent()
    {
        let owner = fs::metadata(parent).map_err(at("read", parent))?;
        chown(directory, Some(owner.uid()), Some(owner.gid())).map_err(at("make", directory))?;
    }
    Ok(())
}

fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BackupError + 'a {
    move |source| BackupError::Directory { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn names(paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_child_that_is_just_being_made_locks_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let alone = Alone::in_directory(dir.path()).unwrap();
        let of_the_child = alone.0.try_clone().unwrap();
        assert!(matches!(Alone::in_directory(dir.path()), Err(BackupError::Locked { .. })));
        drop(alone);
        assert!(Alone::in_directory(dir.path()).is_ok());
        drop(of_the_child);
    }

    #[test]
    fn the_newest_are_kept_and_the_one_just_made_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("mcp.db");
        drop(Registry::open(&database).unwrap());
        let settings = BackupSettings { dir: dir.path().join("backups"), keep: 2 };
        let day = 86_400_000;
        for at in [3 * day, 4 * day, 5 * day] {
            make(&database, &settings, at).unwrap();
        }
        let cut_off = settings.dir.join(".mcp-19700107T000000.000Z.db.tmp");
        crate::atomic_file::write(&cut_off, b"half", 0o600).unwrap();
        let other = settings.dir.join("mcp-mine.db");
        crate::atomic_file::write(&other, b"a person's", 0o600).unwrap();
        // The clock was set back.
        let made = make(&database, &settings, day).unwrap();
        assert_eq!(names(&made.pruned), ["mcp-19700105T000000.000Z.db"]);
        let left = names(&list(&settings.dir).unwrap());
        assert_eq!(left, ["mcp-19700106T000000.000Z.db", "mcp-19700102T000000.000Z.db"]);
        assert!(other.exists() && !cut_off.exists());
    }

    #[test]
    fn a_copy_that_cannot_be_made_costs_no_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("mcp.db");
        drop(Registry::open(&database).unwrap());
        let settings = BackupSettings { dir: dir.path().join("backups"), keep: 1 };
        let good = make(&database, &settings, 1).unwrap().path;
        crate::atomic_file::write(&database, &[7; 8192], 0o600).unwrap();
        let error = make(&database, &settings, 2).unwrap_err();
        assert!(matches!(error, BackupError::Snapshot(SnapshotError::Damaged { .. })), "{error:?}");
        assert_eq!(list(&settings.dir).unwrap(), std::slice::from_ref(&good));
        assert_eq!(newest_good(&settings.dir), Some(good));
    }
}
