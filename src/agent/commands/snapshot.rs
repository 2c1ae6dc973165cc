//! `mcp-agent snapshot`: a proved copy of the registry, also while the agent
//! runs.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{CommandError, Output};
use crate::agent::backup::{self, BackupError, BackupSettings};
use crate::agent::environment::Environment;
use crate::agent::gate::now_ms;
use crate::agent::last_good;
use crate::registry::snapshot::{self, SnapshotError, Verified};

/// The arguments of `mcp-agent snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// Read this configuration, for database.path and [backup] [default: as
    /// `mcp-agent server`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write the copy to this file, which must not be there yet
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "keep"])]
    pub to: Option<PathBuf>,
    /// Write the copy into this directory [default: backup.dir]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep this many copies there, the newest [default: backup.keep]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub keep: Option<u16>,
}

/// Says why there is no new copy.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotCommandError {
    /// The directory, or the copy in it.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The copy could not be made or proved.
    #[error("no copy was made")]
    Snapshot(#[from] SnapshotError),
    /// The file is there already.
    #[error("{} is there already; name another file, or remove that one", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

/// Runs `mcp-agent snapshot`.
///
/// # Errors
///
/// There is no new copy; old ones are as they were.
pub fn run(
    args: SnapshotArgs,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let settings = last_good::load_or_last_good(args.config.as_deref(), environment)?.settings;
    if let Some(to) = args.to {
        if to.symlink_metadata().is_ok() {
            return Err(SnapshotCommandError::Exists { path: to }.into());
        }
        let verified =
            snapshot::take(&settings.database, &to).map_err(SnapshotCommandError::from)?;
        return Ok(tell(output, &to, &verified)?);
    }
    let backup = BackupSettings {
        dir: args.dir.unwrap_or(settings.backup.dir),
        keep: args.keep.map_or(settings.backup.keep, usize::from),
    };
    let made =
        backup::make(&settings.database, &backup, now_ms()).map_err(SnapshotCommandError::from)?;
    tell(output, &made.path, &made.verified)?;
    for path in &made.pruned {
        writeln!(
            output.words,
            "removed {}, as {} newer ones are kept",
            path.display(),
            backup.keep
        )?;
    }
    Ok(())
}

fn tell(output: &mut Output<'_>, path: &Path, verified: &Verified) -> std::io::Result<()> {
    let Verified { schema, services, bytes } = verified;
    writeln!(output.data, "{}", path.display())?;
    let plural = if *services == 1 { "" } else { "s" };
    writeln!(
        output.words,
        "a sound copy of the registry: {services} service{plural}, {bytes} octets, schema {schema}"
    )
}
