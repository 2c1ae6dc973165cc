//! A look at a registry that another process may have open, without changing
//! anything.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::RegistryError;

const IN_FORCE: &str = "SELECT services.active, generations.deployment FROM services
    JOIN generations ON service = name AND number = services.generation ORDER BY name";

/// Returns for each service whether it is to run, and its deployment in force
/// (JSON).
///
/// # Errors
///
/// There is no registry at `path`, or it cannot be read.
pub fn deployments(path: &Path) -> Result<Vec<(bool, String)>, RegistryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|source| RegistryError::Open { path: path.to_owned(), source })?;
    let failed =
        |source| RegistryError::Statement { action: "list the deployments in force", source };
    let mut statement = connection.prepare(IN_FORCE).map_err(failed)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    rows.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Generation;
    use crate::registry::{Commit, GenerationRow, NewOperation, Registry};

    #[tokio::test]
    async fn what_is_in_force_is_seen_while_the_registry_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.db");
        assert!(deployments(&path).is_err());
        assert!(!path.exists());
        let registry = Registry::open(&path).unwrap();
        let (service, number) = ("web".parse().unwrap(), Generation(1));
        let row = GenerationRow {
            service,
            number,
            definition: String::new(),
            file_name: String::new(),
            deployment: "{}".to_owned(),
            files: String::new(),
            created_at_ms: 1,
            created_by: String::new(),
            images: None,
        };
        let service = row.service.clone();
        let new = NewOperation {
            service: service.clone(),
            kind: "deploy".to_owned(),
            state: String::new(),
            from: Generation(0),
            to: number,
            started_at_ms: 1,
            by: String::new(),
        };
        let operation = registry.begin_operation(new).await.unwrap();
        registry.insert_generation(row).await.unwrap();
        assert_eq!(deployments(&path).unwrap(), []);
        let by = String::new();
        let commit =
            Commit { operation, service, number, active: false, images: None, by, at_ms: 2 };
        registry.commit(commit).await.unwrap();
        assert_eq!(deployments(&path).unwrap(), [(false, "{}".to_owned())]);
    }
}
