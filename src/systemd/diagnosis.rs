//! All that systemd knows of why a unit is as it is.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use zbus::Connection;

use super::manager::{Manager, SystemdError};
use super::properties::{Properties, SERVICE, UNIT};
use super::proxy::UnitRow;
use super::state::{Ended, ListedUnit, time};
use crate::names::UnitName;

/// A command of a service, as `org.freedesktop.systemd1(5)` has it: program,
/// words, whether its failure is ignored, when it began and ended (on two
/// clocks each), process, `CLD_*` code, status.
type Command = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

/// `CLD_EXITED` of `sigaction(2)`.
const EXITED: i32 = 1;

/// What systemd knows of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The unit, its states and its job.
    pub unit: ListedUnit,
    /// How its last run ended, whatever its state.
    pub ended: Ended,
    /// Drop-ins that were read.
    pub drop_ins: Vec<String>,
    /// When its main process was started last.
    pub started: Option<SystemTime>,
    /// When its state changed last.
    pub changed: Option<SystemTime>,
    /// How long it waits before it is started again.
    pub restart_delay: Option<Duration>,
    /// The command before the main one that failed, and its exit status.
    pub failed_command: Option<(String, i32)>,
}

impl Manager {
    /// Returns what systemd knows of services, in no order.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn diagnoses(&self, units: &[UnitName]) -> Result<Vec<Diagnosis>, SystemdError> {
        let (connection, rows) = self.rows(units).await?;
        let found = rows.into_iter().map(|row| diagnosis(&connection, row));
        try_join_all(found).await.map_err(|e| SystemdError::call("Properties.Get", e))
    }
}

async fn diagnosis(connection: &Connection, row: UnitRow) -> zbus::Result<Diagnosis> {
    let bus = Properties { connection, path: row.6.to_string() };
    let unit = ListedUnit::from(row);
    let code = bus.get::<i32>(SERVICE, "ExecMainCode").await?;
    let ended = Ended {
        result: bus.get(SERVICE, "Result").await?,
        code: (code != 0).then_some(code),
        status: bus.get(SERVICE, "ExecMainStatus").await?,
    };
    let before = bus.get::<Vec<Command>>(SERVICE, "ExecStartPre").await?;
    let conditions = bus.get::<Vec<Command>>(SERVICE, "ExecCondition").await?;
    let failed = |command: &Command| !command.2 && command.8 == EXITED && command.9 != 0;
    let delay = bus.get::<u64>(SERVICE, "RestartUSecNext").await?;
    Ok(Diagnosis {
        unit,
        ended,
        drop_ins: bus.get(UNIT, "DropInPaths").await?,
        started: time(bus.get(SERVICE, "ExecMainStartTimestamp").await?),
        changed: time(bus.get(UNIT, "StateChangeTimestamp").await?),
        restart_delay: (delay != u64::MAX).then(|| Duration::from_micros(delay)),
        failed_command: conditions
            .into_iter()
            .chain(before)
            .find(failed)
            .map(|command| (command.1.join(" "), command.9)),
    })
}
