//! The handle to the registry, and the thread that owns the connection.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::error::RegistryError;
use super::migrate::{Origin, migrate, origin};

/// Requests that wait at most, before callers wait themselves.
const QUEUE: usize = 64;
/// How long a caller waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long `SQLite` waits for another process.
const BUSY: Duration = Duration::from_secs(5);

const QUICK_CHECK: &str = "PRAGMA quick_check(1)";
const PING: &str = "SELECT 1";
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";

type Job = Box<dyn FnOnce(&mut Connection) -> Health + Send>;

/// Whether the connection can be worked with any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Sound,
    /// The file turned out to be damaged: only a start helps, which looks at
    /// the file first.
    Damaged,
    /// Nobody is to use it any more.
    Closed,
}

/// Gives access to the agent's memory; clones share one connection.
///
/// The connection lives on a thread of its own and ends with the last clone.
#[derive(Clone)]
pub struct Registry {
    jobs: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the database at `path`, makes it when it is not there, checks it
    /// and brings its schema up to date. Blocks while it reads the file.
    ///
    /// # Errors
    ///
    /// The file cannot be used, is damaged, or is of a later version.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        create(path).map_err(|source| RegistryError::File { path: path.to_owned(), source })?;
        let mut connection = connect(path).map_err(|source| unusable(path, source))?;
        check(&connection, path)?;
        if origin(&connection).map_err(|source| unusable(path, source))? == Origin::Foreign {
            return Err(RegistryError::Foreign { path: path.to_owned() });
        }
        migrate(&mut connection, path)?;
        // The package reads the schema's number out of the file itself, when
        // an earlier version is about to be installed.
        connection
            .query_row(CHECKPOINT, [], |_| Ok(()))
            .map_err(|source| unusable(path, source))?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    match job(&mut connection) {
                        Health::Sound => {}
                        Health::Damaged => {
                            tracing::error!("the registry's file is damaged");
                            break;
                        }
                        Health::Closed => break,
                    }
                }
                // Before the queue, whose end tells who waits for it.
                drop(connection);
            })
            .map_err(RegistryError::Thread)?;
        Ok(Self { jobs })
    }

    /// Asks the thread for a sign of life.
    ///
    /// # Errors
    ///
    /// The registry does not answer or cannot read.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        self.read("answer", |tx| tx.query_row(PING, [], |_| Ok(()))).await
    }

    /// Waits until the thread has ended, which it does by a panic, or when the
    /// file is found to be damaged.
    pub async fn stopped(&self) {
        self.jobs.closed().await;
    }

    /// Closes the file, whoever else has the registry: what was written is
    /// then in the file itself and not in the log beside it, and whoever
    /// copies the file has all of it.
    ///
    /// # Errors
    ///
    /// The registry does not answer, or is closed already.
    pub async fn close(&self) -> Result<(), RegistryError> {
        let job: Job = Box::new(|_| Health::Closed);
        self.jobs.send_timeout(job, PATIENCE).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => RegistryError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => RegistryError::Stopped,
        })?;
        self.jobs.closed().await;
        Ok(())
    }

    /// Runs one reading transaction.
    pub(super) async fn read<T, F>(&self, action: &'static str, work: F) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(move |connection| {
            let failed = |source| RegistryError::Statement { action, source };
            let transaction = connection.transaction().map_err(failed)?;
            work(&transaction).map_err(failed)
        })
        .await
    }

    /// Runs one writing transaction; an error undoes it.
    pub(super) async fn write<T, F>(
        &self,
        action: &'static str,
        work: F,
    ) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, WriteError> + Send + 'static,
    {
        self.run(move |connection| {
            let failed = |source| RegistryError::Statement { action, source };
            // Immediate: a reading transaction that turns to writing can fail
            // at once with SQLITE_BUSY, whatever busy_timeout says.
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(failed)?;
            match work(&transaction) {
                Ok(value) => transaction.commit().map_err(failed).map(|()| value),
                Err(WriteError::Sqlite(source)) => Err(failed(source)),
                Err(WriteError::Refused(error)) => Err(error),
            }
        })
        .await
    }

    async fn run<T, F>(&self, work: F) -> Result<T, RegistryError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, RegistryError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = work(connection);
            let health = match &result {
                Err(error) if error.is_damage() => Health::Damaged,
                Ok(_) | Err(_) => Health::Sound,
            };
            // A caller that has gone away does not want its answer.
            drop(answer.send(result));
            health
        });
        self.jobs.send_timeout(job, PATIENCE).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => RegistryError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => RegistryError::Stopped,
        })?;
        answered.await.map_err(|_closed| RegistryError::Stopped)?
    }
}

/// Why a writing closure gave up.
pub(super) enum WriteError {
    /// A statement failed.
    Sqlite(rusqlite::Error),
    /// The registry's own rules forbid it.
    Refused(RegistryError),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<RegistryError> for WriteError {
    fn from(error: RegistryError) -> Self {
        Self::Refused(error)
    }
}

/// Tells whether a statement broke a `UNIQUE` or `PRIMARY KEY` rule.
pub(super) fn is_duplicate(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
    error.sqlite_error().is_some_and(|error| {
        matches!(error.extended_code, SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY)
    })
}

/// Makes an empty file that only its owner reads, before `SQLite` makes one
/// with the umask's bits. `SQLite` gives its -wal and -shm the same mode.
fn create(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // Root, who makes a token before the agent's first start, must not
        // leave a database that the agent cannot open.
        Ok(_) if rustix::process::geteuid().is_root() => {
            let owner = fs::metadata(directory)?;
            std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // KiB. Rows are read once and kept by who needs them; the usual 2 MB of
    // pages would only make the agent larger.
    connection.pragma_update(None, "cache_size", -256)?;
    Ok(connection)
}

fn check(connection: &Connection, path: &Path) -> Result<(), RegistryError> {
    let verdict: String = connection
        .query_row(QUICK_CHECK, [], |row| row.get(0))
        .map_err(|source| unusable(path, source))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(RegistryError::Damaged { path: path.to_owned(), problem: verdict })
}

fn unusable(path: &Path, source: rusqlite::Error) -> RegistryError {
    if is_damage(&source) {
        return RegistryError::Damaged { path: path.to_owned(), problem: source.to_string() };
    }
    RegistryError::Open { path: path.to_owned(), source }
}

/// Tells whether `SQLite` found the file damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_owner_reads_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/mcp.db");
        let registry = Registry::open(&path).unwrap();
        registry.ping().await.unwrap();
        for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_closed_registry_is_all_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.db");
        let registry = Registry::open(&path).unwrap();
        // Somebody who still has it does not hold it open.
        let other = registry.clone();
        registry.close().await.unwrap();
        assert!(!path.with_extension("db-wal").exists());
        assert!(matches!(other.ping().await, Err(RegistryError::Stopped)));
    }

    #[test]
    fn a_damaged_file_is_called_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.db");
        crate::atomic_file::write(&path, &[7; 8192], 0o600).unwrap();
        let error = Registry::open(&path).unwrap_err();
        assert!(matches!(error, RegistryError::Damaged { .. }), "{error:?}");
    }

    #[test]
    fn a_torn_page_is_found_at_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.db");
        drop(Registry::open(&path).unwrap());
        // The thread closes the connection; wait for its checkpoint.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while path.with_extension("db-wal").exists() && std::time::Instant::now() < deadline {
            thread::yield_now();
        }
        let mut bytes = fs::read(&path).unwrap();
        bytes[4096..8192].fill(0xff);
        crate::atomic_file::write(&path, &bytes, 0o600).unwrap();
        let error = Registry::open(&path).unwrap_err();
        assert!(matches!(error, RegistryError::Damaged { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_panic_of_the_writer_is_seen_by_every_caller() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.db");
        let registry = Registry::open(&path).unwrap();
        let other = registry.clone();
        let result: Result<(), _> = registry
            .write("do as told", |tx| {
                tx.execute("INSERT INTO observations VALUES ('a','','','',0,0)", [])?;
                panic!("on purpose")
            })
            .await;
        assert!(matches!(result, Err(RegistryError::Stopped)), "{result:?}");
        other.stopped().await;
        assert!(matches!(other.ping().await, Err(RegistryError::Stopped)));
        // What it had not committed is gone, and the file is sound.
        let again = Registry::open(&path).unwrap();
        assert!(again.observations().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn two_processes_can_share_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.db");
        let (one, two) = (Registry::open(&path).unwrap(), Registry::open(&path).unwrap());
        let event = |kind: &str| super::super::EventRow {
            at_ms: 1,
            service: "a".to_owned(),
            kind: kind.to_owned(),
            ..Default::default()
        };
        for _ in 0..20 {
            let (a, b) = tokio::join!(one.record_event(event("x")), two.record_event(event("y")));
            a.unwrap();
            b.unwrap();
        }
        let all = super::super::EventQuery { limit: 100, ..Default::default() };
        assert_eq!(one.events(all).await.unwrap().len(), 40);
    }
}
