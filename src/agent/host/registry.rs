//! Whether the registry is sound, whether there is a fresh copy of it, and
//! whether the clock goes on from what it recorded.

use std::path::{Path, PathBuf};

use crate::agent::backup;
use crate::agent::finding::Finding;
use crate::registry::snapshot::{self, Look, SnapshotError};
use crate::telemetry::Chain;

/// A copy that is older than this is no longer one of each day.
const STALE_MS: i64 = 3 * 24 * 3600 * 1000;
/// A clock may be set a little.
const SLACK_MS: i64 = 5 * 60 * 1000;

/// What was found of the registry and its copies.
#[derive(Debug)]
pub struct Memory {
    /// The registry's file.
    pub path: PathBuf,
    /// What it holds; none: there is none yet.
    pub look: Option<Result<Look, SnapshotError>>,
    /// Where copies are.
    pub copies: PathBuf,
    /// How old the newest copy is, in milliseconds.
    pub newest_copy_ms: Option<i64>,
    /// A copy that is sound.
    pub good: Option<PathBuf>,
}

/// Looks at the registry, which may be in use.
pub fn look(path: &Path, copies: &Path, now_ms: i64) -> Memory {
    let look = path.exists().then(|| snapshot::look(path));
    let damaged = look.as_ref().is_some_and(Result::is_err);
    Memory {
        path: path.to_owned(),
        look,
        copies: copies.to_owned(),
        newest_copy_ms: backup::age_of_newest(copies, now_ms),
        good: damaged.then(|| backup::newest_good(copies)).flatten(),
    }
}

/// Judges the registry.
pub fn judge(memory: &Memory, now_ms: i64) -> Vec<Finding> {
    let shown = memory.path.display();
    let subject = shown.to_string();
    match &memory.look {
        None => vec![Finding::fine("registry", subject, "There is no registry yet.")],
        Some(Err(error)) => vec![broken(memory, error)],
        Some(Ok(look)) => {
            let plural = if look.services == 1 { "" } else { "s" };
            let fine =
                format!("The registry is sound and knows {} service{plural}.", look.services);
            vec![
                Finding::fine("registry", subject, fine),
                clock(look, now_ms),
                copy(memory, look, now_ms),
            ]
        }
    }
}

fn broken(memory: &Memory, error: &SnapshotError) -> Finding {
    let subject = memory.path.display().to_string();
    let message = format!("The registry cannot be used: {}.", Chain(error));
    let mend = match (error, &memory.good) {
        (SnapshotError::Damaged { .. }, Some(copy)) => format!(
            "sudo systemctl stop mcp-agent && sudo mcp-agent restore {} && sudo systemctl start mcp-agent",
            copy.display()
        ),
        // It moves the file aside and takes what it can from the units.
        (SnapshotError::Damaged { .. }, None) => "sudo systemctl restart mcp-agent".to_owned(),
        (SnapshotError::Newer { .. }, _) => "sudo apt install --reinstall mcp-agent".to_owned(),
        (
            SnapshotError::Io { .. }
            | SnapshotError::Sqlite { .. }
            | SnapshotError::Foreign { .. }
            | SnapshotError::Migrate(_),
            _,
        ) => format!("sudo ls -l {subject}"),
    };
    Finding::failed("registry", subject, message).mend(mend)
}

fn clock(look: &Look, now_ms: i64) -> Finding {
    let behind_ms = look.newest_ms - now_ms;
    if behind_ms <= SLACK_MS {
        return Finding::fine("clock", "", "The clock goes on from what was recorded.");
    }
    Finding::warning(
        "clock",
        "",
        format!(
            "The clock is {} minutes behind the newest record of the registry: it was set back, or was wrong before.",
            behind_ms / 60_000
        ),
    )
    .mend("sudo timedatectl set-ntp true")
}

fn copy(memory: &Memory, look: &Look, now_ms: i64) -> Finding {
    let subject = memory.copies.display().to_string();
    let mend = "sudo systemctl enable --now mcp-agent-snapshot.timer && sudo systemctl start mcp-agent-snapshot.service";
    match memory.newest_copy_ms {
        Some(age) if age <= STALE_MS => {
            Finding::fine("backup", subject, "There is a fresh copy of the registry.")
        }
        Some(age) => Finding::warning(
            "backup",
            subject,
            format!("The newest copy of the registry is {} days old.", age / 86_400_000),
        )
        .mend(mend),
        None if now_ms - look.oldest_ms <= STALE_MS => {
            Finding::fine("backup", subject, "The registry is new, and has no copy yet.")
        }
        None => Finding::warning("backup", subject, "There is no copy of the registry.").mend(mend),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    const DAY: i64 = 86_400_000;

    fn memory(newest_ms: i64, oldest_ms: i64, newest_copy_ms: Option<i64>) -> Memory {
        Memory {
            path: "/srv/mcp/mcp.db".into(),
            look: Some(Ok(Look { services: 3, newest_ms, oldest_ms })),
            copies: "/srv/mcp/backups".into(),
            newest_copy_ms,
            good: None,
        }
    }

    fn levels(memory: &Memory) -> Vec<(&'static str, Level)> {
        judge(memory, 100 * DAY).iter().map(|f| (f.check, f.level)).collect()
    }

    #[test]
    fn a_clock_set_back_and_old_copies_are_told() {
        let registry = ("registry", Level::Fine);
        assert_eq!(
            levels(&memory(101 * DAY, 0, None)),
            [registry, ("clock", Level::Warning), ("backup", Level::Warning)]
        );
        assert_eq!(
            levels(&memory(99 * DAY, 99 * DAY, None)),
            [registry, ("clock", Level::Fine), ("backup", Level::Fine)]
        );
        assert_eq!(levels(&memory(1, 1, Some(DAY)))[2], ("backup", Level::Fine));
        assert_eq!(levels(&memory(1, 1, Some(9 * DAY)))[2], ("backup", Level::Warning));
    }

    #[test]
    fn a_damaged_registry_names_the_copy_that_is_sound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcp.db");
        drop(crate::registry::Registry::open(&path).unwrap());
        let copies = dir.path().join("backups");
        let settings = backup::BackupSettings { dir: copies.clone(), keep: 1 };
        let made = backup::make(&path, &settings, 5).unwrap().path;
        assert_eq!(judge(&look(&path, &copies, 5), 5)[0].level, Level::Fine);
        crate::atomic_file::write(&path, &[7; 8192], 0o600).unwrap();
        let found = judge(&look(&path, &copies, 5), 5);
        assert_eq!(found[0].level, Level::Failed);
        assert!(found[0].mend.contains(&format!("restore {}", made.display())), "{found:?}");
    }
}
