//! The audit: every call that changes something, and every refusal.

use rusqlite::{Row, params};

use super::connection::Registry;
use super::error::RegistryError;

/// One call, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who: a user or token name; `-` when nobody was recognised.
    pub caller: String,
    /// The caller's role; `-` for none.
    pub role: String,
    /// Where from: `uid 850 pid 7` or an address.
    pub peer: String,
    /// What was called, without the package, such as `Deploy`.
    pub method: String,
    /// What it was about, such as a service; may be empty.
    pub subject: String,
    /// The result: `ok`, or a gRPC code in words such as `permission_denied`.
    pub code: String,
    /// A short explanation; may be empty.
    pub message: String,
}

const INSERT: &str = "INSERT INTO audit
    (at_ms, caller, role, peer, method, subject, code, message)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const RECENT: &str = "SELECT at_ms, caller, role, peer, method, subject, code, message FROM audit
    ORDER BY id DESC LIMIT ?1";
const PRUNE: &str = "DELETE FROM audit WHERE at_ms < ?1 OR id NOT IN
    (SELECT id FROM audit ORDER BY id DESC LIMIT ?2)";

fn from_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        at_ms: row.get(0)?,
        caller: row.get(1)?,
        role: row.get(2)?,
        peer: row.get(3)?,
        method: row.get(4)?,
        subject: row.get(5)?,
        code: row.get(6)?,
        message: row.get(7)?,
    })
}

impl Registry {
    /// Records one call.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn record_audit(&self, row: AuditRow) -> Result<(), RegistryError> {
        self.write("record a call", move |tx| {
            tx.prepare_cached(INSERT)?.execute(params![
                row.at_ms,
                row.caller,
                row.role,
                row.peer,
                row.method,
                row.subject,
                row.code,
                row.message
            ])?;
            Ok(())
        })
        .await
    }

    /// Returns the last `count` calls, newest first.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn recent_audit(&self, count: usize) -> Result<Vec<AuditRow>, RegistryError> {
        self.read("list recorded calls", move |tx| {
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
    pub async fn prune_audit(&self, before_ms: i64, keep: usize) -> Result<usize, RegistryError> {
        self.write("prune recorded calls", move |tx| {
            Ok(tx.execute(PRUNE, params![before_ms, super::row::limit(keep)])?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn recent_calls_come_newest_first_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        for at_ms in 1..=5 {
            let row = AuditRow {
                at_ms,
                caller: "kyle".to_owned(),
                role: "viewer".to_owned(),
                peer: "uid 0".to_owned(),
                method: "Deploy".to_owned(),
                subject: "web".to_owned(),
                code: "permission_denied".to_owned(),
                message: String::new(),
            };
            registry.record_audit(row).await.unwrap();
        }
        let recent = registry.recent_audit(2).await.unwrap();
        assert_eq!(recent.iter().map(|row| row.at_ms).collect::<Vec<_>>(), [5, 4]);
        assert_eq!(registry.prune_audit(2, 3).await.unwrap(), 2);
        assert_eq!(registry.recent_audit(9).await.unwrap().len(), 3);
    }
}
