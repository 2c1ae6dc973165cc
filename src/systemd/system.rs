//! What the system's own systemd says: questions only. Everybody may ask
//! these, without polkit.

use std::time::Duration;

use futures_util::future::try_join4;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use super::manager::SystemdError;
use super::properties::{Properties, SERVICE, UNIT};
use super::proxy::SystemdProxy;
use super::state::{ActiveState, LoadState};
use crate::names::UnitName;

/// The system's systemd.
#[derive(Debug, Clone)]
pub struct SystemManager {
    connection: Connection,
}

/// A unit of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemUnit {
    /// Whether its file is read.
    pub load: LoadState,
    /// Whether it is up.
    pub active: ActiveState,
    /// The units that want it, of those that systemd has read.
    pub wanted_by: Vec<String>,
    /// The units that require it, of those that systemd has read.
    pub required_by: Vec<String>,
}

/// How long a service of the system may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceLimits {
    /// To start; `None`: as long as it likes.
    pub start: Option<Duration>,
    /// To stop, before it is killed; `None`: as long as it likes.
    pub stop: Option<Duration>,
}

impl SystemManager {
    /// Connects to the system's bus.
    ///
    /// # Errors
    ///
    /// [`SystemdError::SystemBus`], when nothing answers.
    pub async fn connect() -> Result<Self, SystemdError> {
        let bus = |source| SystemdError::SystemBus(Box::new(source));
        let connection = Connection::system().await.map_err(bus)?;
        Ok(Self { connection })
    }

    /// Returns a unit; one that does not exist comes as
    /// [`LoadState::NotFound`].
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn unit(&self, unit: &UnitName) -> Result<SystemUnit, SystemdError> {
        let bus = self.properties(unit).await?;
        let (load, active, wanted_by, required_by) = try_join4(
            bus.get::<String>(UNIT, "LoadState"),
            bus.get::<String>(UNIT, "ActiveState"),
            bus.get::<Vec<String>>(UNIT, "WantedBy"),
            bus.get::<Vec<String>>(UNIT, "RequiredBy"),
        )
        .await
        .map_err(|e| SystemdError::call("Properties.Get", e))?;
        Ok(SystemUnit {
            load: LoadState::from(load.as_str()),
            active: ActiveState::from(active.as_str()),
            wanted_by,
            required_by,
        })
    }

    /// Returns what a unit's `[Install]` section has been made into:
    /// `enabled`, `disabled`, `static`... (`systemctl(1)`, `is-enabled`);
    /// empty when there is no such file.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn file_state(&self, unit: &UnitName) -> Result<String, SystemdError> {
        let bus = self.properties(unit).await?;
        let state = bus.get::<String>(UNIT, "UnitFileState").await;
        state.map_err(|e| SystemdError::call("Properties.Get", e))
    }

    /// Returns how long a service may take.
    ///
    /// # Errors
    ///
    /// systemd does not answer, or the unit is no service.
    pub async fn limits(&self, unit: &UnitName) -> Result<ServiceLimits, SystemdError> {
        let bus = self.properties(unit).await?;
        let call = |e| SystemdError::call("Properties.Get", e);
        let start = bus.get::<u64>(SERVICE, "TimeoutStartUSec").await.map_err(call)?;
        let stop = bus.get::<u64>(SERVICE, "TimeoutStopUSec").await.map_err(call)?;
        Ok(ServiceLimits { start: limit(start), stop: limit(stop) })
    }

    async fn properties(&self, unit: &UnitName) -> Result<Properties<'_>, SystemdError> {
        let proxy = SystemdProxy::builder(&self.connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(|e| SystemdError::call("proxy", e))?;
        // Reads the unit's file if need be; starts nothing.
        let path =
            proxy.load_unit(unit.as_str()).await.map_err(|e| SystemdError::call("LoadUnit", e))?;
        Ok(Properties { connection: &self.connection, path: path.to_string() })
    }
}

/// Converts microseconds; systemd writes all ones for "no limit".
pub(super) fn limit(us: u64) -> Option<Duration> {
    (us != u64::MAX && us != 0).then(|| Duration::from_micros(us))
}
