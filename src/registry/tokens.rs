//! Bearer tokens, by their hashes.

use rusqlite::{OptionalExtension as _, Row, params};

use super::connection::Registry;
use super::error::RegistryError;

/// A token, without the secret, which nobody keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its identifier, which the token's text carries.
    pub id: String,
    /// What the operator calls it; the caller's name in logs and audit.
    pub name: String,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    /// SHA-256 of the 32 random bytes.
    pub hash: [u8; 32],
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// When it stops being valid; `None`: never.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked; `None`: it was not.
    pub revoked_at_ms: Option<i64>,
    /// When it was last used, to the minute; `None`: never.
    pub last_used_ms: Option<i64>,
}

/// What a revocation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The token is revoked now.
    Changed,
    /// It had been revoked before.
    Unchanged,
    /// There is no such token.
    Unknown,
}

const INSERT: &str = "INSERT INTO tokens
    (id, name, role, hash, created_at_ms, expires_at_ms, revoked_at_ms, last_used_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const GET: &str = "SELECT id, name, role, hash, created_at_ms, expires_at_ms, revoked_at_ms,
    last_used_ms FROM tokens WHERE id = ?1";
const LIST: &str = "SELECT id, name, role, hash, created_at_ms, expires_at_ms, revoked_at_ms,
    last_used_ms FROM tokens ORDER BY created_at_ms, id";
const REVOKE: &str = "UPDATE tokens SET revoked_at_ms = ?2 WHERE id = ?1 AND revoked_at_ms IS NULL";
const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM tokens WHERE id = ?1)";
const TOUCH: &str = "UPDATE tokens SET last_used_ms = ?2 WHERE id = ?1";

fn from_row(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        hash: row.get(3)?,
        created_at_ms: row.get(4)?,
        expires_at_ms: row.get(5)?,
        revoked_at_ms: row.get(6)?,
        last_used_ms: row.get(7)?,
    })
}

impl Registry {
    /// Stores a new token.
    ///
    /// # Errors
    ///
    /// Its identifier is taken, or the registry does not answer.
    pub async fn insert_token(&self, row: TokenRow) -> Result<(), RegistryError> {
        self.write("store a token", move |tx| {
            tx.execute(
                INSERT,
                params![
                    row.id,
                    row.name,
                    row.role,
                    row.hash,
                    row.created_at_ms,
                    row.expires_at_ms,
                    row.revoked_at_ms,
                    row.last_used_ms
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Returns one token, valid or not.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn token(&self, id: &str) -> Result<Option<TokenRow>, RegistryError> {
        let id = id.to_owned();
        self.read("look up a token", move |tx| {
            tx.prepare_cached(GET)?.query_row([id], from_row).optional()
        })
        .await
    }

    /// Returns every token, oldest first.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, RegistryError> {
        self.read("list the tokens", |tx| {
            tx.prepare_cached(LIST)?.query_map([], from_row)?.collect()
        })
        .await
    }

    /// Revokes a token.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn revoke_token(&self, id: &str, at_ms: i64) -> Result<Revoked, RegistryError> {
        let id = id.to_owned();
        self.write("revoke a token", move |tx| {
            if tx.execute(REVOKE, params![id, at_ms])? > 0 {
                return Ok(Revoked::Changed);
            }
            let known: bool = tx.query_row(EXISTS, [id], |row| row.get(0))?;
            Ok(if known { Revoked::Unchanged } else { Revoked::Unknown })
        })
        .await
    }

    /// Records that a token was used.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn touch_token(&self, id: &str, at_ms: i64) -> Result<(), RegistryError> {
        let id = id.to_owned();
        self.write("record the use of a token", move |tx| {
            tx.execute(TOUCH, params![id, at_ms])?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_revoked_token_stays_revoked_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("mcp.db")).unwrap();
        let row = TokenRow {
            id: "ab".to_owned(),
            name: "ci".to_owned(),
            role: "viewer".to_owned(),
            hash: [7; 32],
            created_at_ms: 1,
            expires_at_ms: Some(9),
            revoked_at_ms: None,
            last_used_ms: None,
        };
        registry.insert_token(row.clone()).await.unwrap();
        assert!(registry.insert_token(row.clone()).await.is_err());
        assert_eq!(registry.token("ab").await.unwrap().unwrap(), row);
        registry.touch_token("ab", 4).await.unwrap();
        assert_eq!(registry.revoke_token("ab", 5).await.unwrap(), Revoked::Changed);
        assert_eq!(registry.revoke_token("ab", 6).await.unwrap(), Revoked::Unchanged);
        assert_eq!(registry.revoke_token("zz", 6).await.unwrap(), Revoked::Unknown);
        let listed = registry.tokens().await.unwrap();
        assert_eq!((listed[0].revoked_at_ms, listed[0].last_used_ms), (Some(5), Some(4)));
    }
}
