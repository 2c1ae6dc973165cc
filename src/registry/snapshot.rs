//! Copies of the registry: taken while it is in use, proved before they
//! count, and put in its place again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::connection::{connect, is_damage};
use super::migrate::{self, migrate};
use crate::atomic_file::sync_directory;

const COPY: &str = "VACUUM INTO ?1";
const INTEGRITY: &str = "PRAGMA integrity_check(1)";
const FOREIGN_KEYS: &str = "PRAGMA foreign_key_check";
const SERVICES: &str = "SELECT count(*) FROM services";
const QUICK: &str = "PRAGMA quick_check(1)";
const SPAN: &str = "SELECT coalesce(min(at), 0), coalesce(max(at), 0) FROM (
    SELECT started_at_ms AS at FROM operations UNION ALL SELECT finished_at_ms FROM operations
    UNION ALL SELECT at_ms FROM audit UNION ALL SELECT created_at_ms FROM generations)
    WHERE at IS NOT NULL";
/// How long a copy waits for a writer.
const BUSY: Duration = Duration::from_secs(10);

/// Says why there is no copy, or why one does not do.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// `SQLite` refused something.
    #[error("cannot {action} {}", path.display())]
    Sqlite {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is damaged.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing that is wrong with it.
        problem: String,
    },
    /// The file is a database of something else.
    #[error("{} is no registry of mcp-agent", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the program made the file.
    #[error(
        "{} has schema {found}, this program knows {known}; use the newer mcp-agent",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The schema of this program.
        known: i64,
    },
    /// The copy could not be brought to today's schema.
    #[error(transparent)]
    Migrate(#[from] super::RegistryError),
}

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its schema.
    pub schema: i64,
    /// How many services it knows.
    pub services: u32,
    /// Its size in octets.
    pub bytes: u64,
}

/// Copies the registry to a new file while it is in use, and proves the copy.
/// On any failure nothing is left at `target`, and what was there before
/// stays.
///
/// # Errors
///
/// [`SnapshotError`]
pub fn take(database: &Path, target: &Path) -> Result<Verified, SnapshotError> {
    take_proved(database, target, verify)
}

/// Does what [`take()`] does, for a registry of whatever schema.
///
/// # Errors
///
/// [`SnapshotError`]
pub fn keep(database: &Path, target: &Path) -> Result<(), SnapshotError> {
    take_proved(database, target, |copy| sound(copy).map(drop))
}

fn take_proved<T>(
    database: &Path,
    target: &Path,
    prove: impl FnOnce(&Path) -> Result<T, SnapshotError>,
) -> Result<T, SnapshotError> {
    let temporary = beside(target);
    let result = copy(database, &temporary).and_then(|()| prove(&temporary)).and_then(|proved| {
        sync(&temporary)?;
        fs::rename(&temporary, target).map_err(at("put in place", target))?;
        sync_parent(target)?;
        Ok(proved)
    });
    if result.is_err() {
        discard(&temporary);
    }
    result
}

/// Returns the schema of a registry that nobody uses; 0: it holds nothing.
///
/// # Errors
///
/// It cannot be read.
pub fn schema(database: &Path) -> Result<i64, SnapshotError> {
    let failed = |source| unusable(database, source);
    // Not read-only: what a process that was killed left in the log counts.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.query_row(migrate::VERSION, [], |row| row.get(0)).map_err(failed)
}

/// Puts a copy that [`keep()`] made in the place of the registry, as it is; as
/// [`restore()`] does otherwise.
///
/// # Errors
///
/// The copy is damaged, or a file cannot be written: the registry is then as
/// it was.
pub fn put_back(
    snapshot: &Path,
    database: &Path,
    stamp: &str,
) -> Result<Option<PathBuf>, SnapshotError> {
    sound(snapshot)?;
    exchange(snapshot, database, stamp, sync)
}

/// Opens a copy without changing anything, and looks at all of it.
///
/// # Errors
///
/// It is damaged, of something else, or of a later version.
pub fn verify(path: &Path) -> Result<Verified, SnapshotError> {
    let bytes = fs::metadata(path).map_err(at("read", path))?.len();
    let failed = |source| unusable(path, source);
    let connection = sound(path)?;
    let known = migrate::newest();
    match migrate::origin(&connection).map_err(failed)? {
        migrate::Origin::Ours(schema) if schema > known => {
            Err(SnapshotError::Newer { path: path.to_owned(), found: schema, known })
        }
        migrate::Origin::Ours(schema) => {
            let services = connection.query_row(SERVICES, [], |row| row.get(0)).map_err(failed)?;
            Ok(Verified { schema, services, bytes })
        }
        migrate::Origin::Empty | migrate::Origin::Foreign => {
            Err(SnapshotError::Foreign { path: path.to_owned() })
        }
    }
}

/// Opens a copy without changing anything, and looks whether it is whole.
fn sound(path: &Path) -> Result<Connection, SnapshotError> {
    let failed = |source| unusable(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable(path), flags).map_err(failed)?;
    let text: String = connection.query_row(INTEGRITY, [], |row| row.get(0)).map_err(failed)?;
    if text != "ok" {
        return Err(SnapshotError::Damaged { path: path.to_owned(), problem: text });
    }
    let orphans = connection
        .prepare(FOREIGN_KEYS)
        .and_then(|mut statement| statement.exists([]))
        .map_err(failed)?;
    if orphans {
        let problem = "a row points at one that is not there".to_owned();
        return Err(SnapshotError::Damaged { path: path.to_owned(), problem });
    }
    Ok(connection)
}

/// What a registry in use holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// How many services it knows.
    pub services: u32,
    /// Its earliest record, in milliseconds since the Unix epoch; 0: none.
    pub oldest_ms: i64,
    /// Its latest record; 0: none.
    pub newest_ms: i64,
}

/// Looks into a registry, which may be in use; changes nothing.
///
/// # Errors
///
/// It is damaged, of something else, or of a later version.
pub fn look(database: &Path) -> Result<Look, SnapshotError> {
    let failed = |source| unusable(database, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let text: String = connection.query_row(QUICK, [], |row| row.get(0)).map_err(failed)?;
    if text != "ok" {
        return Err(SnapshotError::Damaged { path: database.to_owned(), problem: text });
    }
    let known = migrate::newest();
    match migrate::origin(&connection).map_err(failed)? {
        migrate::Origin::Empty => Ok(Look { services: 0, oldest_ms: 0, newest_ms: 0 }),
        migrate::Origin::Foreign => Err(SnapshotError::Foreign { path: database.to_owned() }),
        migrate::Origin::Ours(found) if found > known => {
            Err(SnapshotError::Newer { path: database.to_owned(), found, known })
        }
        migrate::Origin::Ours(_) => {
            let services = connection.query_row(SERVICES, [], |row| row.get(0)).map_err(failed)?;
            let span = connection.query_row(SPAN, [], |row| Ok((row.get(0)?, row.get(1)?)));
            let (oldest_ms, newest_ms) = span.map_err(failed)?;
            Ok(Look { services, oldest_ms, newest_ms })
        }
    }
}

/// Puts a copy in the place of the registry, whose agent must be stopped. The
/// replaced registry is kept beside it; returns where, if there was one.
///
/// # Errors
///
/// The copy does not do, or a file cannot be written: the registry is then as
/// it was.
pub fn restore(
    snapshot: &Path,
    database: &Path,
    stamp: &str,
) -> Result<(Verified, Option<PathBuf>), SnapshotError> {
    let proved = verify(snapshot)?;
    let kept = exchange(snapshot, database, stamp, bring_forward)?;
    Ok((proved, kept))
}

/// Has a copy take the place of the registry, made ready by `finish`.
fn exchange(
    snapshot: &Path,
    database: &Path,
    stamp: &str,
    finish: impl FnOnce(&Path) -> Result<(), SnapshotError>,
) -> Result<Option<PathBuf>, SnapshotError> {
    let temporary = beside(database);
    let prepared = prepare(snapshot, &temporary, database).and_then(|()| finish(&temporary));
    if let Err(error) = prepared {
        discard(&temporary);
        return Err(error);
    }
    settle(database);
    let kept = if database.exists() {
        Some(set_aside(database, "replaced", stamp, Main::Linked)?)
    } else {
        None
    };
    fs::rename(&temporary, database).map_err(at("put in place", database))?;
    sync_parent(database)?;
    Ok(kept)
}

/// What becomes of the database's own file when it is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Main {
    /// It gets a second name, and the old one is then taken by another file.
    Linked,
    /// It is moved.
    Moved,
}

/// Gives a database and what belongs to it (`-wal`, `-shm`) another name
/// beside it, `<database>.<why>-<stamp>`, and returns that.
///
/// # Errors
///
/// The file system refuses.
pub fn set_aside(
    database: &Path,
    why: &str,
    stamp: &str,
    main: Main,
) -> Result<PathBuf, SnapshotError> {
    let aside = with_suffix(database, &format!(".{why}-{stamp}"));
    for suffix in ["-wal", "-shm"] {
        let (from, to) = (with_suffix(database, suffix), with_suffix(&aside, suffix));
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("move aside", &from)(error)),
        }
    }
    match main {
        Main::Linked => fs::hard_link(database, &aside),
        Main::Moved => fs::rename(database, &aside),
    }
    .map_err(at("move aside", database))?;
    sync_parent(database)?;
    Ok(aside)
}

/// Copies `database` into the new file `to`, with its owner.
fn copy(database: &Path, to: &Path) -> Result<(), SnapshotError> {
    let owner = fs::metadata(database).map_err(at("read", database))?;
    discard(to);
    // VACUUM INTO takes an empty file, and would make one that all can read.
    create(to, &owner)?;
    let failed =
        |source| SnapshotError::Sqlite { action: "copy", path: database.to_owned(), source };
    // Not read-only: the log of a database in use is shared memory.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(database, flags).map_err(|e| unusable(database, e))?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let name = to.to_str().ok_or_else(|| {
        at("name", to)(io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))
    })?;
    match connection.execute(COPY, [name]) {
        Ok(_) => Ok(()),
        Err(source) if is_damage(&source) => Err(unusable(database, source)),
        Err(source) => Err(failed(source)),
    }
}

/// Makes the file that is to be the registry.
fn prepare(snapshot: &Path, to: &Path, database: &Path) -> Result<(), SnapshotError> {
    discard(to);
    let parent = database.parent().unwrap_or(Path::new("/"));
    let owner = fs::metadata(parent).map_err(at("read", parent))?;
    create(to, &owner)?;
    fs::copy(snapshot, to).map_err(at("copy", snapshot))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).map_err(at("write", to))
}

/// Brings a copy to today's schema, whole on the disk.
fn bring_forward(to: &Path) -> Result<(), SnapshotError> {
    let failed = |source| unusable(to, source);
    let mut connection = connect(to).map_err(failed)?;
    migrate(&mut connection, to)?;
    connection.close().map_err(|(_, source)| failed(source))?;
    sync(to)
}

/// Has what is still in the log written into the database; one that cannot be
/// opened is kept as it is, log included.
fn settle(database: &Path) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let settled = Connection::open_with_flags(database, flags).and_then(|connection| {
        connection.pragma_query(None, "wal_checkpoint", |_| Ok(()))?;
        connection.close().map_err(|(_, source)| source)
    });
    if let Err(error) = settled {
        tracing::debug!(%error, "the replaced registry keeps its log");
    }
}

fn create(path: &Path, owner: &fs::Metadata) -> Result<(), SnapshotError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at("write", path))?;
    // Root's copy must be the agent's.
    if rustix::process::geteuid().is_root() {
        chown(path, Some(owner.uid()), Some(owner.gid())).map_err(at("write", path))?;
    }
    Ok(())
}

fn unusable(path: &Path, source: rusqlite::Error) -> SnapshotError {
    let path = path.to_owned();
    if is_damage(&source) {
        return SnapshotError::Damaged { path, problem: source.to_string() };
    }
    SnapshotError::Sqlite { action: "read", path, source }
}

fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SnapshotError + 'a {
    move |source| SnapshotError::Io { action, path: path.to_owned(), source }
}

/// Returns the address of a file that `SQLite` is not to write beside
/// (<https://www.sqlite.org/uri.html>).
fn immutable(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let escaped = path.as_os_str().as_bytes().iter().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    format!("file:{}?immutable=1", escaped.collect::<String>())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns the name under which a file is put together.
fn beside(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".tmp");
    target.with_file_name(name)
}

/// Removes what was being put together; what cannot be is overwritten by the
/// next.
fn discard(temporary: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        drop(fs::remove_file(with_suffix(temporary, suffix)));
    }
}

fn sync(path: &Path) -> Result<(), SnapshotError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at("write", path))
}

fn sync_parent(path: &Path) -> Result<(), SnapshotError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    sync_directory(parent).map_err(at("write", parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{EventQuery, EventRow, Registry};

    fn event(kind: &str) -> EventRow {
        EventRow {
            at_ms: 1,
            service: "a".to_owned(),
            component: String::new(),
            kind: kind.to_owned(),
            ..Default::default()
        }
    }

    async fn kinds(path: &Path) -> Vec<String> {
        let events = Registry::open(path)
            .unwrap()
            .events(EventQuery { limit: 9, ..EventQuery::default() })
            .await
            .unwrap();
        events.into_iter().rev().map(|event| event.kind).collect()
    }

    #[tokio::test]
    async fn a_copy_of_a_registry_in_use_is_whole_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (database, copy) = (dir.path().join("mcp.db"), dir.path().join("a copy%.db"));
        let registry = Registry::open(&database).unwrap();
        registry.record_event(event("before")).await.unwrap();
        let taken = take(&database, &copy).unwrap();
        assert_eq!((taken.schema, taken.services), (migrate::newest(), 0));
        registry.record_event(event("after")).await.unwrap();
        drop(registry);
        let (_, kept) = restore(&copy, &database, "1").unwrap();
        assert_eq!(kinds(&database).await, ["before"]);
        assert_eq!(kinds(&kept.unwrap()).await, ["after", "before"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().filter(is_temporary).count(), 0);
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o600);
    }

    fn is_temporary(entry: &io::Result<fs::DirEntry>) -> bool {
        entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().contains(".tmp"))
    }

    #[tokio::test]
    async fn what_is_no_sound_registry_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("mcp.db");
        Registry::open(&database).unwrap().record_event(event("kept")).await.unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            crate::atomic_file::write(&path, bytes, 0o600).unwrap();
            path
        };
        let copy = dir.path().join("copy.db");
        take(&database, &copy).unwrap();
        let mut bytes = fs::read(&copy).unwrap();
        let truncated = write("truncated.db", &bytes[..bytes.len() / 2]);
        bytes[4096..8192].fill(0xff);
        let torn = write("torn.db", &bytes);
        let garbage = write("garbage.db", &[7; 8192]);
        let empty = write("empty.db", b"");
        let foreign = dir.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        let newer = dir.path().join("newer.db");
        fs::copy(&copy, &newer).unwrap();
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 9_999).unwrap();
        for (path, word) in [
            (truncated, "damaged"),
            (torn, "damaged"),
            (garbage, "damaged"),
            (empty, "no registry"),
            (foreign, "no registry"),
            (newer, "newer mcp-agent"),
            (dir.path().join("absent.db"), "cannot read"),
        ] {
            let error = restore(&path, &database, "1").unwrap_err().to_string();
            assert!(error.contains(word), "{}: {error}", path.display());
        }
        assert_eq!(kinds(&database).await, ["kept"]);
    }

    #[test]
    fn a_copy_that_fails_leaves_the_old_one_and_nothing_half() {
        let dir = tempfile::tempdir().unwrap();
        let (database, copy) = (dir.path().join("mcp.db"), dir.path().join("copy.db"));
        crate::atomic_file::write(&database, &[7; 8192], 0o600).unwrap();
        crate::atomic_file::write(&copy, b"the one before", 0o600).unwrap();
        assert!(matches!(take(&database, &copy), Err(SnapshotError::Damaged { .. })));
        assert_eq!(fs::read(&copy).unwrap(), b"the one before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_registry_of_any_schema_is_kept_and_put_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (database, copy) = (dir.path().join("mcp.db"), dir.path().join("copy.db"));
        Registry::open(&database).unwrap().close().await.unwrap();
        let number = |to: i64| {
            let connection = Connection::open(&database).unwrap();
            connection.pragma_update(None, "user_version", to).unwrap();
        };
        number(98);
        assert!(matches!(take(&database, &copy), Err(SnapshotError::Newer { .. })));
        keep(&database, &copy).unwrap();
        number(99);
        assert_eq!(schema(&database).unwrap(), 99);
        let kept = put_back(&copy, &database, "1").unwrap().unwrap();
        assert_eq!((schema(&database).unwrap(), schema(&kept).unwrap()), (98, 99));
        crate::atomic_file::write(&copy, &[7; 8192], 0o600).unwrap();
        assert!(matches!(put_back(&copy, &database, "2"), Err(SnapshotError::Damaged { .. })));
        assert_eq!(schema(&database).unwrap(), 98);
    }

    #[test]
    fn a_copy_of_an_earlier_schema_is_brought_forward() {
        let dir = tempfile::tempdir().unwrap();
        let (database, copy) = (dir.path().join("mcp.db"), dir.path().join("copy.db"));
        let old = Connection::open(&copy).unwrap();
        old.execute_batch(include_str!("migrations/0001_initial.sql")).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let (proved, kept) = restore(&copy, &database, "1").unwrap();
        assert_eq!((proved.schema, kept), (1, None));
        assert_eq!(verify(&database).unwrap().schema, migrate::newest());
    }
}
