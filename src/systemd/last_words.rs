//! What a unit wrote last, its main process' words included that journald
//! cannot tell the unit of, and those that it has not read yet.

use std::time::Duration;

use futures_util::future::try_join4;
use zbus::Connection;

use super::invocation::{LATE_MS, MainProcess, boot_id};
use super::journal::{self, Entry, JournalError, LogQuery, Of};
use super::manager::{Manager, SystemdError};
use super::properties::{Properties, SERVICE, UNIT};
use super::proxy::UnitRow;
use super::state::{ActiveState, ListedUnit, hexadecimal, since_epoch_ms, time};
use crate::names::UnitName;

/// How long journald is waited for, which is behind on a busy machine.
const BEHIND: Duration = Duration::from_secs(5);

/// What systemd says last of a run that failed.
const FAILED: &str = "Failed with result '";

/// The last run of a service that has had a main process.
#[derive(Debug)]
struct Run {
    main: MainProcess,
    invocation_id: Option<String>,
    /// Whether it failed only just, so that journald may be behind.
    failed: bool,
}

impl Run {
    /// Tells whether a line is systemd's last about its failure.
    fn is_ended_by(&self, entry: &Entry) -> bool {
        entry.from_systemd()
            && entry.time_us >= self.main.began_us()
            && entry.message.contains(FAILED)
    }
}

impl Manager {
    /// Reads the newest `count` lines about a unit, of one run of it if an
    /// invocation is given, in the order in which they were written; for the
    /// report of a failure.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; no line at all is an empty list.
    pub async fn last_lines(
        &self,
        unit: &UnitName,
        invocation_id: Option<&str>,
        count: u32,
    ) -> Result<Vec<Entry>, JournalError> {
        let run = match self.last_run(unit).await {
            Ok(run) => run,
            Err(error) => {
                tracing::debug!(%unit, %error, "the main process of a unit is not known");
                None
            }
        };
        let is_it = |run: &Run| {
            invocation_id.is_none_or(|wanted| run.invocation_id.as_deref() == Some(wanted))
        };
        let run = run.filter(is_it);
        let units = std::slice::from_ref(unit);
        let of = Of { units, invocation_id, main: run.as_ref().map(|run| &run.main) };
        let mut lines = journal::newest(of, None, count).await?;
        match run.as_ref().filter(|run| run.failed) {
            Some(run) if !lines.iter().any(|line| run.is_ended_by(line)) => {
                told(run, units).await?;
                lines = journal::newest(of, None, count).await?;
            }
            Some(_) | None => {}
        }
        lines.sort_by_key(|line| line.written_us);
        Ok(lines)
    }

    async fn last_run(&self, unit: &UnitName) -> Result<Option<Run>, SystemdError> {
        if !unit.as_str().ends_with(".service") {
            return Ok(None);
        }
        let (connection, rows) = self.rows(std::slice::from_ref(unit)).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        last_run(&connection, row).await.map_err(|e| SystemdError::call("Properties.Get", e))
    }
}

async fn last_run(connection: &Connection, row: UnitRow) -> zbus::Result<Option<Run>> {
    let bus = Properties { connection, path: row.6.to_string() };
    let unit = ListedUnit::from(row);
    let (pid, began, ended, result) = try_join4(
        bus.get::<u32>(SERVICE, "ExecMainPID"),
        bus.get::<u64>(SERVICE, "ExecMainStartTimestamp"),
        bus.get::<u64>(SERVICE, "ExecMainExitTimestamp"),
        bus.get::<String>(SERVICE, "Result"),
    )
    .await?;
    let Some(began) = time(began).filter(|_| pid != 0) else { return Ok(None) };
    let ended = time(ended);
    let invocation = bus.get::<Vec<u8>>(UNIT, "InvocationID").await?;
    // One that ended well and is started again has not.
    let has_failed =
        result != "success" && (unit.active == ActiveState::Failed || unit.waits_to_be_tried());
    let late = u128::from(LATE_MS.unsigned_abs());
    let only_just = ended.is_some_and(|at| at.elapsed().is_ok_and(|ago| ago.as_millis() < late));
    Ok(Some(Run {
        main: MainProcess {
            pid,
            boot_id: boot_id(),
            began_ms: since_epoch_ms(began),
            ended_ms: ended.map_or(i64::MAX, since_epoch_ms),
        },
        invocation_id: hexadecimal(&invocation),
        failed: has_failed && only_just,
    }))
}

/// Waits until systemd's last line about a failure can be read: journald takes
/// what was written to it in turn, so that by then the rest can be as well.
async fn told(run: &Run, units: &[UnitName]) -> Result<(), JournalError> {
    let query = LogQuery { lines: None, since_us: Some(run.main.began_us()), follow: true };
    let mut lines = journal::follow(units, &query)?;
    let waiting = async {
        while let Some(entry) = lines.next().await? {
            if run.is_ended_by(&entry) {
                break;
            }
        }
        Ok(())
    };
    tokio::time::timeout(BEHIND, waiting).await.unwrap_or_else(|_elapsed| {
        tracing::debug!(?units, "journald does not catch up");
        Ok(())
    })
}
