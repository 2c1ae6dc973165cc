//! The schema: numbered files over `PRAGMA user_version`.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::RegistryError;

/// The steps, each from the version of its index to the next.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_images.sql"),
    include_str!("migrations/0003_events.sql"),
];

pub(super) const VERSION: &str = "PRAGMA user_version";
const TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
const OURS: &str = "SELECT count(*) FROM sqlite_schema
    WHERE type = 'table' AND name IN ('services', 'generations', 'operations')";

/// Whose a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody's: it holds nothing yet.
    Empty,
    /// Ours, of this schema.
    Ours(i64),
    /// Of another program.
    Foreign,
}

/// Returns the schema that this program brings databases to.
pub fn newest() -> i64 {
    super::row::limit(MIGRATIONS.len())
}

/// Tells whose a database is.
pub(super) fn origin(connection: &Connection) -> rusqlite::Result<Origin> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    Ok(match (number(VERSION)?, number(TABLES)?, number(OURS)?) {
        (0, 0, _) => Origin::Empty,
        (schema, _, 3) if schema > 0 => Origin::Ours(schema),
        _ => Origin::Foreign,
    })
}

/// Brings the database to the newest schema; each step is one transaction.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), RegistryError> {
    apply(connection, path, MIGRATIONS)
}

fn apply(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), RegistryError> {
    let known = super::row::limit(migrations.len());
    loop {
        let failed = |version| move |source| RegistryError::Migrate { version, source };
        // Another process may migrate too: look again under the write lock.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed(known))?;
        let found: i64 =
            transaction.query_row(VERSION, [], |row| row.get(0)).map_err(failed(known))?;
        if found > known || found < 0 {
            return Err(RegistryError::Newer { path: path.to_owned(), found, known });
        }
        let Some(step) = usize::try_from(found).ok().and_then(|index| migrations.get(index)) else {
            return Ok(());
        };
        let version = found + 1;
        transaction.execute_batch(step).map_err(failed(version))?;
        transaction.pragma_update(None, "user_version", version).map_err(failed(version))?;
        transaction.commit().map_err(failed(version))?;
    }
}

/// Makes a registry of an earlier schema.
#[cfg(test)]
pub(crate) fn make_old(path: &Path, schema: usize) {
    let mut connection = Connection::open(path).unwrap();
    apply(&mut connection, path, &MIGRATIONS[..schema]).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("x");
        apply(&mut connection, path, &["CREATE TABLE a (x)"]).unwrap();
        apply(&mut connection, path, &["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y"])
            .unwrap();
        connection.execute("INSERT INTO a (x, y) VALUES (1, 2)", []).unwrap();
        let version: i64 = connection.query_row(VERSION, [], |row| row.get(0)).unwrap();
        assert_eq!(version, 2);
    }

    #[test]
    fn a_failed_step_leaves_the_schema_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); nonsense"];
        let error = apply(&mut connection, Path::new("x"), &steps).unwrap_err();
        assert!(matches!(error, RegistryError::Migrate { version: 2, .. }), "{error:?}");
        let version: i64 = connection.query_row(VERSION, [], |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
        assert!(connection.prepare("SELECT * FROM b").is_err());
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection, Path::new("x")).unwrap_err();
        assert!(matches!(error, RegistryError::Newer { found: 99, .. }), "{error:?}");
    }
}
