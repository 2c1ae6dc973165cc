//! What units use, as systemd reads it from their control groups
//! (`systemd.resource-control(5)`).

use futures_util::future::try_join_all;
use zbus::Connection;

use super::manager::{Manager, SystemdError};
use super::properties::{Properties, SERVICE};
use super::proxy::UnitRow;
use super::state::LoadState;
use crate::names::UnitName;

/// What a service has used, and uses; what systemd cannot say, because the
/// controller or its accounting is off, is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The unit.
    pub unit: UnitName,
    /// Time of processors, in nanoseconds, since it was started.
    pub cpu_ns: Option<u64>,
    /// Memory, in octets.
    pub memory: Option<u64>,
    /// Octets read from block devices since it was started.
    pub io_read: Option<u64>,
    /// Octets written to them.
    pub io_written: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
}

impl Manager {
    /// Returns what services use; those that are not loaded are left out.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn usage(&self, units: &[UnitName]) -> Result<Vec<Usage>, SystemdError> {
        let (connection, rows) = self.rows(units).await?;
        let usages = rows
            .into_iter()
            .filter(|row| row.2 == LoadState::Loaded.as_str())
            .map(|row| usage(&connection, row));
        try_join_all(usages).await.map_err(|e| SystemdError::call("Properties.Get", e))
    }
}

async fn usage(connection: &Connection, row: UnitRow) -> zbus::Result<Usage> {
    let bus = Properties { connection, path: row.6.to_string() };
    let number = async |name: &str| bus.get::<u64>(SERVICE, name).await.map(known);
    Ok(Usage {
        unit: UnitName::from_systemd(row.0),
        cpu_ns: number("CPUUsageNSec").await?,
        memory: number("MemoryCurrent").await?,
        io_read: number("IOReadBytes").await?,
        io_written: number("IOWriteBytes").await?,
        tasks: number("TasksCurrent").await?,
    })
}

/// systemd writes all ones for what it does not know.
fn known(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}
