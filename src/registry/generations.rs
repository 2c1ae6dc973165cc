//! Generations: every deployment that was planned or accepted.

use rusqlite::{OptionalExtension as _, Row, params};

use super::connection::Registry;
use super::error::RegistryError;
use super::row::{generation, number, parsed};
use crate::names::{Generation, ServiceName};

/// One deployment of a service, with all that is needed to do it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationRow {
    /// Its service.
    pub service: ServiceName,
    /// Its number, from 1.
    pub number: Generation,
    /// The TOML text.
    pub definition: String,
    /// What the operator called the file.
    pub file_name: String,
    /// The resolved deployment, as JSON.
    pub deployment: String,
    /// The rendered files, as JSON.
    pub files: String,
    /// The images that ran when it was accepted, as JSON; none: not known.
    pub images: Option<String>,
    /// When it was planned, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Who asked for it.
    pub created_by: String,
}

/// How far a generation came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationState {
    /// Planned; its deploy is under way or was abandoned.
    Pending,
    /// In force, or was once.
    Accepted,
}

/// A generation without its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationSummary {
    /// Its number.
    pub number: Generation,
    /// How far it came.
    pub state: GenerationState,
    /// What the operator called the file.
    pub file_name: String,
    /// When it was planned, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Who asked for it.
    pub created_by: String,
}

/// The acceptance of a generation, which ends its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The journal's row, from [`Registry::begin_operation`].
    pub operation: i64,
    /// The service.
    pub service: ServiceName,
    /// The generation that is now in force.
    pub number: Generation,
    /// Whether the service is to run.
    pub active: bool,
    /// The images that it runs, as JSON; none: not known.
    pub images: Option<String>,
    /// Who asked for it.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

// A pending generation of the same number was abandoned: it is overwritten.
const INSERT: &str = "INSERT INTO generations
    (service, number, state, definition, file_name, deployment, files, created_at_ms, created_by)
    VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (service, number) DO UPDATE SET definition = ?3, file_name = ?4, deployment = ?5,
    files = ?6, created_at_ms = ?7, created_by = ?8 WHERE state = 'pending'";
const GET: &str = "SELECT service, number, definition, file_name, deployment, files, created_at_ms,
    created_by, images FROM generations WHERE service = ?1 AND number = ?2";
const LATEST: &str = "SELECT service, number, definition, file_name, deployment, files,
    created_at_ms, created_by, images FROM generations WHERE service = ?1 AND state = 'accepted'
    ORDER BY number DESC LIMIT 1";
const LIST: &str = "SELECT number, state, file_name, created_at_ms, created_by FROM generations
    WHERE service = ?1 ORDER BY number DESC";
const LAST_NUMBER: &str =
    "SELECT coalesce(max(number), 0) FROM generations WHERE service = ?1 AND state = 'accepted'";
const DISCARD: &str =
    "DELETE FROM generations WHERE service = ?1 AND number = ?2 AND state = 'pending'";
const PRUNE: &str = "DELETE FROM generations WHERE service = ?1 AND number NOT IN
    (SELECT number FROM generations WHERE service = ?1 ORDER BY number DESC LIMIT ?2)
    AND number NOT IN (SELECT generation FROM services WHERE name = ?1)
    AND number NOT IN (SELECT from_generation FROM operations
        WHERE service = ?1 AND finished_at_ms IS NULL)";
const ACCEPT: &str = "UPDATE generations SET state = 'accepted', images = ?3
    WHERE service = ?1 AND number = ?2";
const PUT_SERVICE: &str = "INSERT INTO services
    (name, active, generation, deployed_at_ms, deployed_by) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (name) DO UPDATE SET active = ?2, generation = ?3, deployed_at_ms = ?4,
    deployed_by = ?5";

fn from_row(row: &Row<'_>) -> rusqlite::Result<GenerationRow> {
    Ok(GenerationRow {
        service: parsed(row, 0)?,
        number: generation(row, 1)?,
        definition: row.get(2)?,
        file_name: row.get(3)?,
        deployment: row.get(4)?,
        files: row.get(5)?,
        created_at_ms: row.get(6)?,
        created_by: row.get(7)?,
        images: row.get(8)?,
    })
}

fn summary_from_row(row: &Row<'_>) -> rusqlite::Result<GenerationSummary> {
    let state: String = row.get(1)?;
    Ok(GenerationSummary {
        number: generation(row, 0)?,
        // The table's CHECK admits these two alone.
        state: if state == "accepted" {
            GenerationState::Accepted
        } else {
            GenerationState::Pending
        },
        file_name: row.get(2)?,
        created_at_ms: row.get(3)?,
        created_by: row.get(4)?,
    })
}

impl Registry {
    /// Stores a planned generation; a pending one of the same number, which
    /// was abandoned, is overwritten.
    ///
    /// # Errors
    ///
    /// The number was already accepted, or the registry does not answer.
    pub async fn insert_generation(&self, row: GenerationRow) -> Result<(), RegistryError> {
        self.write("store a generation", move |tx| {
            let stored = tx.execute(
                INSERT,
                params![
                    row.service.as_str(),
                    number(row.number),
                    row.definition,
                    row.file_name,
                    row.deployment,
                    row.files,
                    row.created_at_ms,
                    row.created_by
                ],
            )?;
            if stored == 0 {
                let GenerationRow { service, number, .. } = row;
                return Err(RegistryError::GenerationTaken { service, number }.into());
            }
            Ok(())
        })
        .await
    }

    /// Returns one generation, pending or accepted.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn generation(
        &self,
        service: &ServiceName,
        wanted: Generation,
    ) -> Result<Option<GenerationRow>, RegistryError> {
        let service = service.clone();
        self.read("look up a generation", move |tx| {
            tx.prepare_cached(GET)?
                .query_row(params![service.as_str(), number(wanted)], from_row)
                .optional()
        })
        .await
    }

    /// Returns the accepted generation with the highest number.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn latest_generation(
        &self,
        service: &ServiceName,
    ) -> Result<Option<GenerationRow>, RegistryError> {
        let service = service.clone();
        self.read("look up the latest generation", move |tx| {
            tx.prepare_cached(LATEST)?.query_row([service.as_str()], from_row).optional()
        })
        .await
    }

    /// Returns the generations of a service, newest first.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn generations(
        &self,
        service: &ServiceName,
    ) -> Result<Vec<GenerationSummary>, RegistryError> {
        let service = service.clone();
        self.read("list generations", move |tx| {
            tx.prepare_cached(LIST)?.query_map([service.as_str()], summary_from_row)?.collect()
        })
        .await
    }

    /// Returns the number that the next deployment of a service gets.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn next_generation(
        &self,
        service: &ServiceName,
    ) -> Result<Generation, RegistryError> {
        let service = service.clone();
        self.read("count generations", move |tx| {
            tx.prepare_cached(LAST_NUMBER)?
                .query_row([service.as_str()], |row| generation(row, 0))
                .map(Generation::next)
        })
        .await
    }

    /// Forgets a pending generation and finishes the operation that was to
    /// make it, at once: `ended` is its identifier, its outcome in words, and
    /// when. Tells whether there was such a generation.
    ///
    /// # Errors
    ///
    /// There is no such unfinished operation, or the registry does not answer:
    /// nothing has changed then.
    pub async fn discard_generation(
        &self,
        service: &ServiceName,
        wanted: Generation,
        (operation, outcome, at_ms): (i64, String, i64),
    ) -> Result<bool, RegistryError> {
        let service = service.clone();
        self.write("discard a generation", move |tx| {
            let found = tx.execute(DISCARD, params![service.as_str(), number(wanted)])? > 0;
            super::deploys::finish(tx, operation, &outcome, at_ms)?;
            Ok(found)
        })
        .await
    }

    /// Keeps the newest `keep` generations, the one in force and the one that
    /// an unfinished operation may go back to; returns how many went.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn prune_generations(
        &self,
        service: &ServiceName,
        keep: usize,
    ) -> Result<usize, RegistryError> {
        let service = service.clone();
        self.write("prune generations", move |tx| {
            Ok(tx.execute(PRUNE, params![service.as_str(), super::row::limit(keep)])?)
        })
        .await
    }

    /// Puts a generation in force and finishes its operation with the outcome
    /// `committed`, in one transaction.
    ///
    /// # Errors
    ///
    /// There is no such generation or unfinished operation, or the registry
    /// does not answer; nothing has changed then.
    pub async fn commit(&self, commit: Commit) -> Result<(), RegistryError> {
        self.write("commit a generation", move |tx| {
            let Commit { operation, service, number: wanted, active, images, by, at_ms } = commit;
            if tx.execute(ACCEPT, params![service.as_str(), number(wanted), images])? == 0 {
                return Err(RegistryError::NoGeneration { service, number: wanted }.into());
            }
            tx.execute(PUT_SERVICE, params![service.as_str(), active, number(wanted), at_ms, by])?;
            super::deploys::finish(tx, operation, "committed", at_ms)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewOperation;
    use super::*;

    fn row(number: u64, definition: &str) -> GenerationRow {
        GenerationRow {
            service: "web".parse().unwrap(),
            number: Generation(number),
            definition: definition.to_owned(),
            file_name: "web.toml".to_owned(),
            deployment: "{}".to_owned(),
            files: "{}".to_owned(),
            images: None,
            created_at_ms: 5,
            created_by: "kyle".to_owned(),
        }
    }

    fn commit(operation: i64, number: u64) -> Commit {
        Commit {
            operation,
            service: "web".parse().unwrap(),
            number: Generation(number),
            active: true,
            images: Some("[]".to_owned()),
            by: "kyle".to_owned(),
            at_ms: 9,
        }
    }

    fn operation(to: u64) -> NewOperation {
        NewOperation {
            service: "web".parse().unwrap(),
            kind: "deploy".to_owned(),
            state: "{}".to_owned(),
            from: Generation(to - 1),
            to: Generation(to),
            started_at_ms: 1,
            by: "kyle".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_commit_changes_service_generation_and_journal_together() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        let web: ServiceName = "web".parse().unwrap();
        registry.insert_generation(row(1, "a")).await.unwrap();
        assert_eq!(registry.latest_generation(&web).await.unwrap(), None);
        assert_eq!(registry.next_generation(&web).await.unwrap(), Generation(1));
        let id = registry.begin_operation(operation(1)).await.unwrap();

        let error = registry.commit(commit(id + 1, 1)).await.unwrap_err();
        assert!(matches!(error, RegistryError::NoOperation { .. }), "{error:?}");
        assert_eq!(registry.service(&web).await.unwrap(), None);
        assert_eq!(registry.latest_generation(&web).await.unwrap(), None);

        registry.commit(commit(id, 1)).await.unwrap();
        let service = registry.service(&web).await.unwrap().unwrap();
        assert_eq!((service.active, service.generation), (true, Generation(1)));
        let accepted = GenerationRow { images: Some("[]".to_owned()), ..row(1, "a") };
        assert_eq!(registry.latest_generation(&web).await.unwrap().unwrap(), accepted);
        assert!(registry.unfinished_operations().await.unwrap().is_empty());
        assert_eq!(registry.next_generation(&web).await.unwrap(), Generation(2));

        registry.set_service_active(&web, false, "{}".to_owned()).await.unwrap();
        assert!(!registry.services().await.unwrap()[0].active);
        assert!(registry.delete_service(&web).await.unwrap());
        assert!(!registry.delete_service(&web).await.unwrap());
        assert!(registry.generations(&web).await.unwrap().is_empty());
        assert!(matches!(
            registry.set_service_active(&web, true, "{}".to_owned()).await,
            Err(RegistryError::NoService { .. })
        ));
    }

    #[tokio::test]
    async fn an_accepted_generation_is_never_overwritten_and_a_pending_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        let web: ServiceName = "web".parse().unwrap();
        registry.insert_generation(row(1, "a")).await.unwrap();
        registry.insert_generation(row(1, "b")).await.unwrap();
        let id = registry.begin_operation(operation(1)).await.unwrap();
        registry.commit(commit(id, 1)).await.unwrap();
        let error = registry.insert_generation(row(1, "c")).await.unwrap_err();
        assert!(matches!(error, RegistryError::GenerationTaken { .. }), "{error:?}");
        let id = registry.begin_operation(operation(1)).await.unwrap();
        let discard = |id| {
            let ended = (id, "rolled back".to_owned(), 2);
            registry.discard_generation(&web, Generation(1), ended)
        };
        assert!(!discard(id).await.unwrap());
        assert_eq!(
            registry.generation(&web, Generation(1)).await.unwrap().unwrap().definition,
            "b"
        );
    }

    #[tokio::test]
    async fn a_generation_is_discarded_with_the_end_of_its_operation_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        let web: ServiceName = "web".parse().unwrap();
        registry.insert_generation(row(1, "a")).await.unwrap();
        let id = registry.begin_operation(operation(1)).await.unwrap();
        let discard = |id| {
            let ended = (id, "rolled back".to_owned(), 2);
            registry.discard_generation(&web, Generation(1), ended)
        };
        assert!(matches!(discard(id + 1).await, Err(RegistryError::NoOperation { .. })));
        assert!(registry.generation(&web, Generation(1)).await.unwrap().is_some());
        assert!(discard(id).await.unwrap());
        assert!(registry.generation(&web, Generation(1)).await.unwrap().is_none());
        assert!(registry.unfinished_operations().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn pruning_keeps_what_is_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        let web: ServiceName = "web".parse().unwrap();
        for number in 1..=5 {
            registry.insert_generation(row(number, "a")).await.unwrap();
        }
        let id = registry.begin_operation(operation(1)).await.unwrap();
        registry.commit(commit(id, 1)).await.unwrap();
        registry.begin_operation(operation(3)).await.unwrap();
        assert_eq!(registry.prune_generations(&web, 2).await.unwrap(), 1);
        let left: Vec<u64> =
            registry.generations(&web).await.unwrap().iter().map(|row| row.number.0).collect();
        assert_eq!(left, [5, 4, 2, 1]);
    }
}
