//! The journal: operations on services, saved before each step, so that a
//! restart finishes or undoes what a crash cut short.

use std::collections::BTreeMap;

use rusqlite::{Row, Transaction, params};

use super::connection::{Registry, WriteError, is_duplicate};
use super::error::RegistryError;
use super::row::{generation, number, parsed};
use crate::names::{Generation, ServiceName};

/// An operation about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOperation {
    /// The service it changes.
    pub service: ServiceName,
    /// What is done, such as `deploy`.
    pub kind: String,
    /// The first state, as JSON.
    pub state: String,
    /// The generation in force before; 0 for none.
    pub from: Generation,
    /// The generation in force after; 0 for none.
    pub to: Generation,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_at_ms: i64,
    /// Who asked for it.
    pub by: String,
}

/// An unfinished operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRow {
    /// Its identifier; never given twice.
    pub id: i64,
    /// The service it changes.
    pub service: ServiceName,
    /// What is done, such as `deploy`.
    pub kind: String,
    /// The last saved state, as JSON.
    pub state: String,
    /// The generation in force before; 0 for none.
    pub from: Generation,
    /// The generation in force after; 0 for none.
    pub to: Generation,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_at_ms: i64,
    /// Who asked for it.
    pub by: String,
}

/// An operation that was cut off and undone, and nothing was done after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoneRow {
    /// The service.
    pub service: ServiceName,
    /// The generation that it would have made.
    pub to: Generation,
    /// Who asked for it.
    pub by: String,
    /// When it was undone, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Why.
    pub reason: String,
}

/// An operation that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRow {
    /// What was done, such as `stop`.
    pub kind: String,
    /// Who asked for it.
    pub by: String,
    /// How it ended, in words.
    pub outcome: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

fn undone_from_row(row: &Row<'_>) -> rusqlite::Result<UndoneRow> {
    let outcome: String = row.get(4)?;
    Ok(UndoneRow {
        service: parsed(row, 0)?,
        to: generation(row, 1)?,
        by: row.get(2)?,
        at_ms: row.get(3)?,
        reason: outcome.strip_prefix(UNDONE).unwrap_or(&outcome).to_owned(),
    })
}

/// How the outcome begins of an operation that was cut off and undone; then
/// comes why.
pub const UNDONE: &str = "undone: ";

const BEGIN: &str = "INSERT INTO operations
    (service, kind, state, from_generation, to_generation, started_at_ms, started_by)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const SAVE: &str = "UPDATE operations SET state = ?2 WHERE id = ?1 AND finished_at_ms IS NULL";
const FINISH: &str = "UPDATE operations SET outcome = ?2, finished_at_ms = ?3
    WHERE id = ?1 AND finished_at_ms IS NULL";
const UNFINISHED: &str = "SELECT id, service, kind, state, from_generation, to_generation,
    started_at_ms, started_by FROM operations WHERE finished_at_ms IS NULL ORDER BY id";
const REMOVALS: &str = "SELECT service, max(finished_at_ms) FROM operations
    WHERE kind IN ('undeploy', 'purge', 'release') AND outcome = 'done' GROUP BY service";
const LAST_UNDONE: &str = "SELECT service, to_generation, started_by, finished_at_ms, outcome
    FROM operations AS o WHERE outcome LIKE 'undone: %'
    AND id = (SELECT max(id) FROM operations WHERE service = o.service) ORDER BY service";
const LAST_ENDED: &str = "SELECT kind, started_by, outcome, finished_at_ms FROM operations
    WHERE service = ?1 AND finished_at_ms IS NOT NULL ORDER BY id DESC LIMIT 1";
const PRUNE: &str = "DELETE FROM operations WHERE finished_at_ms < ?1";

fn from_row(row: &Row<'_>) -> rusqlite::Result<OperationRow> {
    Ok(OperationRow {
        id: row.get(0)?,
        service: parsed(row, 1)?,
        kind: row.get(2)?,
        state: row.get(3)?,
        from: generation(row, 4)?,
        to: generation(row, 5)?,
        started_at_ms: row.get(6)?,
        by: row.get(7)?,
    })
}

/// Finishes an operation within a transaction of another family.
pub(super) fn finish(
    tx: &Transaction<'_>,
    id: i64,
    outcome: &str,
    at_ms: i64,
) -> Result<(), WriteError> {
    if tx.execute(FINISH, params![id, outcome, at_ms])? == 0 {
        return Err(RegistryError::NoOperation { id }.into());
    }
    Ok(())
}

impl Registry {
    /// Begins an operation and returns its identifier.
    ///
    /// # Errors
    ///
    /// Another operation on the service is unfinished, or the registry does
    /// not answer.
    pub async fn begin_operation(&self, new: NewOperation) -> Result<i64, RegistryError> {
        self.write("begin an operation", move |tx| {
            let begun = tx.execute(
                BEGIN,
                params![
                    new.service.as_str(),
                    new.kind,
                    new.state,
                    number(new.from),
                    number(new.to),
                    new.started_at_ms,
                    new.by
                ],
            );
            match begun {
                Ok(_) => Ok(tx.last_insert_rowid()),
                Err(error) if is_duplicate(&error) => {
                    Err(RegistryError::UnderWay { service: new.service }.into())
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Saves the state of an unfinished operation, before the step it names.
    ///
    /// # Errors
    ///
    /// There is no such unfinished operation, or the registry does not answer.
    pub async fn save_operation_state(&self, id: i64, state: String) -> Result<(), RegistryError> {
        self.write("save the state of an operation", move |tx| {
            if tx.execute(SAVE, params![id, state])? == 0 {
                return Err(RegistryError::NoOperation { id }.into());
            }
            Ok(())
        })
        .await
    }

    /// Ends an operation with its outcome in words.
    ///
    /// # Errors
    ///
    /// There is no such unfinished operation, or the registry does not answer.
    pub async fn finish_operation(
        &self,
        id: i64,
        outcome: String,
        at_ms: i64,
    ) -> Result<(), RegistryError> {
        self.write("finish an operation", move |tx| finish(tx, id, &outcome, at_ms)).await
    }

    /// Returns the unfinished operations, oldest first.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn unfinished_operations(&self) -> Result<Vec<OperationRow>, RegistryError> {
        self.read("list unfinished operations", |tx| {
            tx.prepare_cached(UNFINISHED)?.query_map([], from_row)?.collect()
        })
        .await
    }

    /// Returns when services were removed last, as far as the journal goes
    /// back, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn removals(&self) -> Result<BTreeMap<ServiceName, i64>, RegistryError> {
        self.read("list removed services", |tx| {
            tx.prepare_cached(REMOVALS)?
                .query_map([], |row| Ok((parsed(row, 0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    /// Returns the services whose last operation was cut off and undone.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn undone(&self) -> Result<Vec<UndoneRow>, RegistryError> {
        self.read("list what was undone", |tx| {
            tx.prepare_cached(LAST_UNDONE)?.query_map([], undone_from_row)?.collect()
        })
        .await
    }

    /// Returns the last operation on a service that has ended.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn last_ended_operation(
        &self,
        service: &ServiceName,
    ) -> Result<Option<EndedRow>, RegistryError> {
        let service = service.clone();
        self.read("look at the last operation", move |tx| {
            let row = |row: &Row<'_>| {
                Ok(EndedRow {
                    kind: row.get(0)?,
                    by: row.get(1)?,
                    outcome: row.get(2)?,
                    at_ms: row.get(3)?,
                })
            };
            tx.prepare_cached(LAST_ENDED)?.query_map([service.as_str()], row)?.next().transpose()
        })
        .await
    }

    /// Forgets operations that were finished before a moment; returns how many.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn prune_operations(&self, before_ms: i64) -> Result<usize, RegistryError> {
        self.write("prune the journal", move |tx| Ok(tx.execute(PRUNE, [before_ms])?)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_operation_a_service_and_its_state_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.db");
        let registry = Registry::open(&path).unwrap();
        let new = NewOperation {
            service: "web".parse().unwrap(),
            kind: "deploy".to_owned(),
            state: "\"planned\"".to_owned(),
            from: Generation(0),
            to: Generation(1),
            started_at_ms: 3,
            by: "kyle".to_owned(),
        };
        let id = registry.begin_operation(new.clone()).await.unwrap();
        let error = registry.begin_operation(new.clone()).await.unwrap_err();
        assert!(matches!(error, RegistryError::UnderWay { .. }), "{error:?}");
        registry.save_operation_state(id, "\"installed\"".to_owned()).await.unwrap();

        let again = Registry::open(&path).unwrap();
        let unfinished = again.unfinished_operations().await.unwrap();
        assert_eq!(unfinished.len(), 1);
        assert_eq!(unfinished[0].state, "\"installed\"");
        again.finish_operation(id, "rolled back".to_owned(), 7).await.unwrap();
        assert!(matches!(
            again.save_operation_state(id, String::new()).await,
            Err(RegistryError::NoOperation { .. })
        ));
        assert!(registry.begin_operation(new).await.unwrap() > id);
        assert_eq!(registry.undone().await.unwrap(), []);
        let last = registry.unfinished_operations().await.unwrap()[0].id;
        registry.finish_operation(last, format!("{UNDONE}it was dark"), 9).await.unwrap();
        let undone = registry.undone().await.unwrap();
        assert_eq!((undone[0].to, undone[0].reason.as_str()), (Generation(1), "it was dark"));
        let ended = registry.last_ended_operation(&"web".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((ended.kind.as_str(), ended.by.as_str(), ended.at_ms), ("deploy", "kyle", 9));
        assert_eq!(registry.prune_operations(8).await.unwrap(), 1);
    }
}
