//! Which units wait for which, and what systemd remembers of their starts.

use std::path::PathBuf;

use futures_util::future::{try_join_all, try_join3};
use zbus::Connection;

use super::manager::{Manager, SystemdError};
use super::properties::{Properties, UNIT};
use super::proxy::UnitRow;
use super::state::LoadState;
use super::system::{ServiceLimits, limit};
use crate::names::UnitName;

/// A unit in systemd's memory, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitEdges {
    /// The unit.
    pub name: UnitName,
    /// The units that it is ordered after.
    pub after: Vec<UnitName>,
    /// The units that it cannot start without.
    pub requires: Vec<UnitName>,
    /// When it last began to start, since the machine started, in
    /// microseconds; 0: never.
    pub started_us: u64,
    /// When it was last ready, likewise.
    pub ready_us: u64,
}

impl Manager {
    /// Returns the directories in which the manager searches units, the
    /// strongest first.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn unit_path(&self) -> Result<Vec<PathBuf>, SystemdError> {
        let proxy = self.proxy().await?;
        let path = proxy.unit_path().await.map_err(|e| SystemdError::call("UnitPath", e))?;
        Ok(path.into_iter().map(PathBuf::from).collect())
    }

    /// Returns how long units may take that do not say so.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn default_limits(&self) -> Result<ServiceLimits, SystemdError> {
        let proxy = self.proxy().await?;
        let call = |e| SystemdError::call("DefaultTimeout", e);
        let start = proxy.default_timeout_start().await.map_err(call)?;
        let stop = proxy.default_timeout_stop().await.map_err(call)?;
        Ok(ServiceLimits { start: limit(start), stop: limit(stop) })
    }

    /// Returns when the manager started: microseconds since the machine did,
    /// and since 1970.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn began(&self) -> Result<(u64, u64), SystemdError> {
        let proxy = self.proxy().await?;
        let call = |e| SystemdError::call("UserspaceTimestamp", e);
        let since_start = proxy.userspace_timestamp_monotonic().await.map_err(call)?;
        Ok((since_start, proxy.userspace_timestamp().await.map_err(call)?))
    }

    /// Returns what these units wait for; those that are not loaded are left
    /// out.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn unit_edges(&self, units: &[UnitName]) -> Result<Vec<UnitEdges>, SystemdError> {
        let (connection, rows) = self.rows(units).await?;
        let edges = rows
            .into_iter()
            .filter(|row| row.2 == LoadState::Loaded.as_str())
            .map(|row| edges(&connection, row));
        try_join_all(edges).await.map_err(|e| SystemdError::call("Properties.Get", e))
    }
}

async fn edges(connection: &Connection, row: UnitRow) -> zbus::Result<UnitEdges> {
    let bus = Properties { connection, path: row.6.to_string() };
    let (after, requires, (started_us, ready_us)) = try_join3(
        bus.get::<Vec<String>>(UNIT, "After"),
        bus.get::<Vec<String>>(UNIT, "Requires"),
        async {
            let started = bus.get::<u64>(UNIT, "InactiveExitTimestampMonotonic").await?;
            Ok((started, bus.get::<u64>(UNIT, "ActiveEnterTimestampMonotonic").await?))
        },
    )
    .await?;
    let names = |list: Vec<String>| list.into_iter().map(UnitName::from_systemd).collect();
    Ok(UnitEdges {
        name: UnitName::from_systemd(row.0),
        after: names(after),
        requires: names(requires),
        started_us,
        ready_us,
    })
}
