//! `mcp-agent token`: bearer tokens, in the registry of this node.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::{CommandError, Output};
use crate::agent::environment::Environment;
use crate::agent::gate::now_ms;
use crate::agent::last_good;
use crate::registry::{Registry, RegistryError, Revoked, TokenRow};
use crate::rpc::auth::{RandomError, Role, Token};

/// The arguments of `mcp-agent token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Read this configuration, for database.path [default: as `mcp-agent server`]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, this once
    Create {
        /// Call its bearer this, in logs and audit
        #[arg(long)]
        name: String,
        /// Give it this role: viewer, operator or admin
        #[arg(long)]
        role: Role,
        /// Let it expire after this time, such as 30d or 12h [default: never]
        #[arg(long, value_name = "TIME")]
        expires: Option<Lifetime>,
    },
    /// List the tokens, without their secrets
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a token invalid at once
    Revoke {
        /// The identifier, from `mcp-agent token list`
        id: String,
    },
}

/// How long a token is valid: a number and `m`, `h`, `d` or `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    ms: i64,
}

/// The text is not a lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lifetime is a number and m, h, d or y, such as 30d")]
pub struct LifetimeError;

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        const MINUTE: i64 = 60_000;
        let (unit, factor) = [
            ('m', MINUTE),
            ('h', 60 * MINUTE),
            ('d', 24 * 60 * MINUTE),
            ('y', 365 * 24 * 60 * MINUTE),
        ]
        .into_iter()
        .find(|(unit, _)| text.ends_with(*unit))
        .ok_or(LifetimeError)?;
        let number: u32 = text.trim_end_matches(unit).parse().map_err(|_invalid| LifetimeError)?;
        let ms = i64::from(number).checked_mul(factor).filter(|ms| *ms > 0);
        ms.map(|ms| Self { ms }).ok_or(LifetimeError)
    }
}

/// Says why a token could not be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There are no random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The name is empty or not of printable characters.
    #[error("the name {0:?} has to be 1 to 64 printable characters")]
    Name(String),
    /// There is no such token.
    #[error("there is no token {0:?}; `mcp-agent token list` shows them")]
    Unknown(String),
}

/// Runs `mcp-agent token`.
///
/// # Errors
///
/// The configuration or the registry cannot be used, or there is no such token.
pub async fn run(
    args: TokenArgs,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let loaded = last_good::load_or_last_good(args.config.as_deref(), environment)?;
    let registry = Registry::open(&loaded.settings.database).map_err(TokenError::from)?;
    match args.command {
        TokenCommand::Create { name, role, expires } => {
            create(&registry, output, name, role, expires).await
        }
        TokenCommand::List { json } => {
            let rows = registry.tokens().await.map_err(TokenError::from)?;
            list(&rows, json, now_ms(), output)
        }
        TokenCommand::Revoke { id } => {
            match registry.revoke_token(&id, now_ms()).await.map_err(TokenError::from)? {
                Revoked::Changed => writeln!(output.words, "revoked {id}")?,
                Revoked::Unchanged => writeln!(output.words, "{id} was revoked before")?,
                Revoked::Unknown => return Err(TokenError::Unknown(id).into()),
            }
            Ok(())
        }
    }
}

async fn create(
    registry: &Registry,
    output: &mut Output<'_>,
    name: String,
    role: Role,
    expires: Option<Lifetime>,
) -> Result<(), CommandError> {
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(TokenError::Name(name).into());
    }
    let token = Token::generate().map_err(TokenError::from)?;
    let now = now_ms();
    let row = TokenRow {
        id: token.id().to_owned(),
        name,
        role: role.to_string(),
        hash: token.hash(),
        created_at_ms: now,
        expires_at_ms: expires.map(|lifetime| now.saturating_add(lifetime.ms)),
        revoked_at_ms: None,
        last_used_ms: None,
    };
    registry.insert_token(row).await.map_err(TokenError::from)?;
    writeln!(output.data, "{}", token.text().reveal())?;
    writeln!(output.words, "Keep it: it is shown only now. Its id is {}.", token.id())?;
    Ok(())
}

/// A token as `--json` shows it; times are RFC 3339.
#[derive(Serialize)]
struct TokenView<'a> {
    id: &'a str,
    name: &'a str,
    role: &'a str,
    state: &'static str,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used: Option<String>,
}

impl<'a> TokenView<'a> {
    fn new(row: &'a TokenRow, now_ms: i64) -> Self {
        Self {
            id: &row.id,
            name: &row.name,
            role: &row.role,
            state: match (row.revoked_at_ms, row.expires_at_ms) {
                (Some(_), _) => "revoked",
                (None, Some(expires)) if expires <= now_ms => "expired",
                (None, _) => "valid",
            },
            created_at: time(row.created_at_ms),
            expires_at: row.expires_at_ms.map(time),
            revoked_at: row.revoked_at_ms.map(time),
            last_used: row.last_used_ms.map(time),
        }
    }
}

fn time(ms: i64) -> String {
    // The registry holds what this program's clock said.
    jiff::Timestamp::from_millisecond(ms / 1000 * 1000).unwrap_or_default().to_string()
}

fn list(
    rows: &[TokenRow],
    json: bool,
    now_ms: i64,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let views: Vec<TokenView<'_>> = rows.iter().map(|row| TokenView::new(row, now_ms)).collect();
    if json {
        serde_json::to_writer_pretty(&mut *output.data, &views).map_err(std::io::Error::from)?;
        writeln!(output.data)?;
        return Ok(());
    }
    let line = ["ID", "ROLE", "STATE", "EXPIRES", "LAST USED", "NAME"];
    let dash = || "-".to_owned();
    let mut lines = vec![line.map(str::to_owned)];
    lines.extend(views.into_iter().map(|view| {
        [
            view.id.to_owned(),
            view.role.to_owned(),
            view.state.to_owned(),
            view.expires_at.unwrap_or_else(dash),
            view.last_used.unwrap_or_else(dash),
            view.name.to_owned(),
        ]
    }));
    for [id, role, state, expires, used, name] in lines {
        writeln!(output.data, "{id:<13} {role:<9} {state:<8} {expires:<21} {used:<21} {name}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!("30d".parse(), Ok(Lifetime { ms: 30 * 24 * 3_600_000 }));
        assert_eq!("1m".parse(), Ok(Lifetime { ms: 60_000 }));
        for bad in ["", "d", "0d", "-1d", "1w", "3", "99999999999d", "1dd d"] {
            assert_eq!(bad.parse::<Lifetime>(), Err(LifetimeError), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_token_is_made_listed_without_its_secret_and_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            host_name: "rift".to_owned(),
            state_directory: Some(dir.path().to_owned()),
            home: Some(dir.path().to_owned()),
            ..Environment::default()
        };
        let run_it = async |command: TokenCommand| {
            let (mut data, mut words) = (Vec::new(), Vec::new());
            let mut output = Output { data: &mut data, words: &mut words };
            run(TokenArgs { config: None, command }, &environment, &mut output).await?;
            Ok::<_, CommandError>(String::from_utf8(data).unwrap())
        };
        let made = run_it(TokenCommand::Create {
            name: "ci".to_owned(),
            role: Role::Viewer,
            expires: Some("30d".parse().unwrap()),
        });
        let token = Token::parse(made.await.unwrap().trim()).unwrap();
        let listed = run_it(TokenCommand::List { json: true }).await.unwrap();
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed[0]["id"], token.id());
        assert_eq!(listed[0]["state"], "valid");
        run_it(TokenCommand::Revoke { id: token.id().to_owned() }).await.unwrap();
        let table = run_it(TokenCommand::List { json: false }).await.unwrap();
        assert!(table.contains("revoked"), "{table}");
        assert!(!table.contains(token.text().reveal().as_str()));
        assert!(run_it(TokenCommand::Revoke { id: "x".to_owned() }).await.is_err());
    }
}
