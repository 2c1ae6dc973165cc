//! Events: what happened to services and components.

use rusqlite::{Row, params};

use super::connection::Registry;
use super::error::RegistryError;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventRow {
    /// Its number; later ones are higher, and none is used twice. Of no
    /// meaning in an event that is yet to be recorded.
    pub id: i64,
    /// When, in milliseconds since the Unix epoch, as the clock stood.
    pub at_ms: i64,
    /// What kind of thing, such as `drift`.
    pub kind: String,
    /// The service; it may be one that MCP does not know. Empty: the node.
    pub service: String,
    /// The component; empty: the service as a whole.
    pub component: String,
    /// The unit; may be empty.
    pub unit: String,
    /// What was wanted: `running`, `stopped`, or nothing.
    pub desired: String,
    /// The state before.
    pub previous: String,
    /// The state then.
    pub observed: String,
    /// The kind of drift, of events that tell of one.
    pub drift: String,
    /// What that is about: a unit, a file, a container.
    pub subject: String,
    /// Why, in words.
    pub reason: String,
    /// The command that mends it; may be empty.
    pub mend: String,
    /// How many transitions it stands for.
    pub count: u32,
}

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// Of this service; empty: all.
    pub service: String,
    /// Of this component; empty: all.
    pub component: String,
    /// Of these kinds; empty: all.
    pub kinds: Vec<String>,
    /// From this moment on, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// With a higher number than this.
    pub after: i64,
    /// At most so many, the newest.
    pub limit: usize,
}

const INSERT: &str = "INSERT INTO events
    (at_ms, kind, service, component, unit, desired, previous, observed, drift, subject,
    reason, mend, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
const SELECT: &str = "SELECT id, at_ms, kind, service, component, unit, desired, previous,
    observed, drift, subject, reason, mend, count FROM events
    WHERE id > ?1 AND (?2 = '' OR service = ?2) AND (?3 = '' OR component = ?3)
    AND at_ms >= ?4 AND (?5 = '[]' OR kind IN (SELECT value FROM json_each(?5)))
    ORDER BY id DESC LIMIT ?6";
const OPEN: &str = "SELECT id, at_ms, kind, service, component, unit, desired, previous,
    observed, drift, subject, reason, mend, count FROM events
    WHERE kind = ?1 AND id IN (SELECT max(id) FROM events WHERE kind IN (?1, ?2)
    GROUP BY service, component, drift, subject) ORDER BY id";
const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM events";
const PRUNE: &str = "DELETE FROM events WHERE
    (at_ms < ?1 AND id NOT IN (SELECT id FROM events ORDER BY id DESC LIMIT ?2))
    OR id NOT IN (SELECT id FROM events ORDER BY id DESC LIMIT ?3)";

fn from_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        kind: row.get(2)?,
        service: row.get(3)?,
        component: row.get(4)?,
        unit: row.get(5)?,
        desired: row.get(6)?,
        previous: row.get(7)?,
        observed: row.get(8)?,
        drift: row.get(9)?,
        subject: row.get(10)?,
        reason: row.get(11)?,
        mend: row.get(12)?,
        count: row.get(13)?,
    })
}

impl Registry {
    /// Records an event; returns its number.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn record_event(&self, row: EventRow) -> Result<i64, RegistryError> {
        self.write("record an event", move |tx| {
            tx.prepare_cached(INSERT)?.execute(params![
                row.at_ms,
                row.kind,
                row.service,
                row.component,
                row.unit,
                row.desired,
                row.previous,
                row.observed,
                row.drift,
                row.subject,
                row.reason,
                row.mend,
                row.count,
            ])?;
            Ok(tx.last_insert_rowid())
        })
        .await
    }

    /// Returns the newest events that a query selects, oldest first.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<EventRow>, RegistryError> {
        let kinds = serde_json::json!(query.kinds).to_string();
        self.read("list events", move |tx| {
            let mut statement = tx.prepare_cached(SELECT)?;
            let selected = params![
                query.after,
                query.service,
                query.component,
                query.since_ms.unwrap_or(i64::MIN),
                kinds,
                super::row::limit(query.limit),
            ];
            let rows = statement.query_map(selected, from_row)?;
            let mut rows: Vec<EventRow> = rows.collect::<rusqlite::Result<_>>()?;
            rows.reverse();
            Ok(rows)
        })
        .await
    }

    /// Returns the last events of a kind that none of another kind has ended:
    /// one for each component, drift and subject.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn open_events(
        &self,
        begin: &'static str,
        end: &'static str,
    ) -> Result<Vec<EventRow>, RegistryError> {
        self.read("list what is open", move |tx| {
            tx.prepare_cached(OPEN)?.query_map([begin, end], from_row)?.collect()
        })
        .await
    }

    /// Returns the number of the newest event; 0 when there is none.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn newest_event(&self) -> Result<i64, RegistryError> {
        self.read("find the newest event", |tx| tx.query_row(NEWEST, [], |row| row.get(0))).await
    }

    /// Forgets what is older than a moment, but not of the newest `spared`
    /// rows, and whatever is beyond the newest `keep` rows; returns how many
    /// went. So a clock that jumps takes neither all away nor keeps all.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn prune_events(
        &self,
        before_ms: i64,
        spared: usize,
        keep: usize,
    ) -> Result<usize, RegistryError> {
        let (spared, keep) = (super::row::limit(spared), super::row::limit(keep));
        self.write("prune events", move |tx| {
            Ok(tx.execute(PRUNE, params![before_ms, spared, keep])?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_ms: i64, service: &str, kind: &str) -> EventRow {
        EventRow {
            at_ms,
            service: service.to_owned(),
            kind: kind.to_owned(),
            ..EventRow::default()
        }
    }

    #[tokio::test]
    async fn a_query_selects_and_numbers_are_never_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        for (at, service, kind) in [(1, "a", "failed"), (2, "b", "drift"), (3, "a", "drift")] {
            registry.record_event(event(at, service, kind)).await.unwrap();
        }
        let ids = async |query: EventQuery| -> Vec<i64> {
            let query = EventQuery { limit: 9, ..query };
            registry.events(query).await.unwrap().iter().map(|row| row.id).collect()
        };
        assert_eq!(ids(EventQuery::default()).await, [1, 2, 3]);
        let service = "a".to_owned();
        assert_eq!(ids(EventQuery { service, ..EventQuery::default() }).await, [1, 3]);
        let kinds = vec!["drift".to_owned(), "started".to_owned()];
        assert_eq!(ids(EventQuery { kinds, ..EventQuery::default() }).await, [2, 3]);
        assert_eq!(ids(EventQuery { after: 2, ..EventQuery::default() }).await, [3]);
        assert_eq!(ids(EventQuery { since_ms: Some(2), ..EventQuery::default() }).await, [2, 3]);
        let one = EventQuery { limit: 1, ..EventQuery::default() };
        assert_eq!(registry.events(one).await.unwrap()[0].id, 3);
        assert_eq!(registry.prune_events(i64::MAX, 0, 0).await.unwrap(), 3);
        assert_eq!(registry.record_event(event(4, "a", "failed")).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn what_has_ended_is_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        for (subject, kind) in [("x", "drift"), ("y", "drift"), ("x", "over"), ("y", "drift")] {
            let row = EventRow { subject: subject.to_owned(), ..event(1, "a", kind) };
            registry.record_event(row).await.unwrap();
        }
        let open = registry.open_events("drift", "over").await.unwrap();
        assert_eq!(open.iter().map(|row| row.id).collect::<Vec<_>>(), [4]);
    }

    #[tokio::test]
    async fn a_clock_that_jumps_neither_empties_nor_fills_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        for at in 0..10 {
            registry.record_event(event(at, "a", "failed")).await.unwrap();
        }
        // A year ahead: all is old, and the newest stay.
        assert_eq!(registry.prune_events(i64::MAX, 6, 100).await.unwrap(), 4);
        // A year back: nothing is old, and the oldest go.
        assert_eq!(registry.prune_events(i64::MIN, 2, 3).await.unwrap(), 3);
        assert_eq!(registry.newest_event().await.unwrap(), 10);
    }
}
