//! What was last seen of components: the memory from one agent to the next.

use rusqlite::{Row, params};

use super::connection::Registry;
use super::error::RegistryError;

/// A component, or the node, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservationRow {
    /// The service; empty: the node.
    pub service: String,
    /// The component; empty: the node.
    pub component: String,
    /// Its state, in one word.
    pub state: String,
    /// The run it was; the boot, for the node.
    pub invocation: String,
    /// How often systemd had restarted it.
    pub restarts: u32,
    /// Whether it was flapping.
    pub flapping: bool,
}

const ALL: &str = "SELECT service, component, state, invocation, restarts, flapping
    FROM observations ORDER BY service, component";
const SAVE: &str = "INSERT OR REPLACE INTO observations
    (service, component, state, invocation, restarts, flapping) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const FORGET: &str = "DELETE FROM observations WHERE service = ?1 AND component = ?2";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ObservationRow> {
    Ok(ObservationRow {
        service: row.get(0)?,
        component: row.get(1)?,
        state: row.get(2)?,
        invocation: row.get(3)?,
        restarts: row.get(4)?,
        flapping: row.get(5)?,
    })
}

impl Registry {
    /// Returns everything that was last seen.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn observations(&self) -> Result<Vec<ObservationRow>, RegistryError> {
        self.read("list what was seen", |tx| {
            tx.prepare_cached(ALL)?.query_map([], from_row)?.collect()
        })
        .await
    }

    /// Keeps what was seen, all or nothing.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn save_observations(&self, rows: Vec<ObservationRow>) -> Result<(), RegistryError> {
        self.write("keep what was seen", move |tx| {
            let mut save = tx.prepare_cached(SAVE)?;
            for row in rows {
                save.execute(params![
                    row.service,
                    row.component,
                    row.state,
                    row.invocation,
                    row.restarts,
                    row.flapping,
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets a component that is no more.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn forget_observation(
        &self,
        service: String,
        component: String,
    ) -> Result<(), RegistryError> {
        self.write("forget what was seen", move |tx| {
            tx.prepare_cached(FORGET)?.execute(params![service, component])?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_sight_counts() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        let row = |state: &str| ObservationRow {
            service: "a".to_owned(),
            component: "b".to_owned(),
            state: state.to_owned(),
            flapping: true,
            ..ObservationRow::default()
        };
        registry.save_observations(vec![row("running"), row("failed")]).await.unwrap();
        assert_eq!(registry.observations().await.unwrap(), [row("failed")]);
        registry.forget_observation("a".to_owned(), "b".to_owned()).await.unwrap();
        assert!(registry.observations().await.unwrap().is_empty());
    }
}
