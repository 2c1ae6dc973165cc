//! Events: what happened to services and components.

use rusqlite::{Row, params};

use super::connection::Registry;
use super::error::RegistryError;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The service; it may be one that MCP does not know.
    pub service: String,
    /// The component; empty: the service as a whole.
    pub component: String,
    /// What kind of thing, such as `drift`.
    pub kind: String,
    /// The particulars.
    pub detail: String,
}

const INSERT: &str =
    "INSERT INTO events (at_ms, service, component, kind, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
const RECENT: &str =
    "SELECT at_ms, service, component, kind, detail FROM events ORDER BY id DESC LIMIT ?1";
const PRUNE: &str = "DELETE FROM events WHERE at_ms < ?1 OR id NOT IN
    (SELECT id FROM events ORDER BY id DESC LIMIT ?2)";

fn from_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        at_ms: row.get(0)?,
        service: row.get(1)?,
        component: row.get(2)?,
        kind: row.get(3)?,
        detail: row.get(4)?,
    })
}

impl Registry {
    /// Records an event.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn record_event(&self, row: EventRow) -> Result<(), RegistryError> {
        self.write("record an event", move |tx| {
            tx.prepare_cached(INSERT)?.execute(params![
                row.at_ms,
                row.service,
                row.component,
                row.kind,
                row.detail
            ])?;
            Ok(())
        })
        .await
    }

    /// Returns the last `count` events, newest first.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn recent_events(&self, count: usize) -> Result<Vec<EventRow>, RegistryError> {
        self.read("list events", move |tx| {
            tx.prepare_cached(RECENT)?.query_map([super::row::limit(count)], from_row)?.collect()
        })
        .await
    }

    /// Forgets what is older than a moment or beyond the newest `keep` rows;
    /// returns how many went.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn prune_events(&self, before_ms: i64, keep: usize) -> Result<usize, RegistryError> {
        self.write("prune events", move |tx| {
            Ok(tx.execute(PRUNE, params![before_ms, super::row::limit(keep)])?)
        })
        .await
    }
}
