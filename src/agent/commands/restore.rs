//! `mcp-agent restore`: a copy in the place of the registry, while the agent
//! is stopped.

use std::path::PathBuf;

use clap::Args;

use super::args::{CommandError, Output};
use crate::agent::backup;
use crate::agent::environment::Environment;
use crate::agent::gate::now_ms;
use crate::agent::last_good;
use crate::agent::restored;
use crate::agent::run::{self, RunError};
use crate::registry::snapshot::{self, SnapshotError};

/// The arguments of `mcp-agent restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Read this configuration, for database.path [default: as `mcp-agent
    /// server`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The copy, as `mcp-agent snapshot` made it
    pub file: PathBuf,
}

/// Says why the copy is not in place.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The agent runs, or its state directory cannot be used.
    #[error(transparent)]
    Taken(Box<RunError>),
    /// The copy does not do, or cannot be put in place.
    #[error("nothing was restored, the registry is as it was")]
    Snapshot(#[from] SnapshotError),
    /// That this is a restored registry cannot be noted.
    #[error("cannot note in {} that the registry is an earlier one; nothing was restored", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Runs `mcp-agent restore`.
///
/// # Errors
///
/// The agent runs, or the copy does not do: the registry is as it was.
pub fn run(
    args: &RestoreArgs,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let settings = last_good::load_or_last_good(args.config.as_deref(), environment)?.settings;
    let lock = run::take(&settings.state_dir).map_err(|e| RestoreError::Taken(Box::new(e)))?;
    snapshot::verify(&args.file).map_err(RestoreError::from)?;
    // Before the registry is exchanged: an agent that finds the note beside the
    // registry of before takes nothing for granted, and that is all.
    let note = restored::path(&settings.state_dir);
    restored::write(&settings.state_dir, &args.file)
        .map_err(|source| RestoreError::Note { path: note, source })?;
    let stamp = backup::stamp(now_ms());
    let (verified, kept) =
        snapshot::restore(&args.file, &settings.database, &stamp).map_err(RestoreError::from)?;
    drop(lock);
    let plural = if verified.services == 1 { "" } else { "s" };
    writeln!(
        output.words,
        "restored {} with {} service{plural}",
        settings.database.display(),
        verified.services
    )?;
    if let Some(kept) = kept {
        writeln!(output.words, "the registry of before is kept as {}", kept.display())?;
    }
    writeln!(
        output.words,
        "Start the agent: systemctl start mcp-agent. What was deployed since the copy was made it takes from the unit files; `mcp agent recover --dry-run` shows what it leaves to you."
    )?;
    Ok(())
}
