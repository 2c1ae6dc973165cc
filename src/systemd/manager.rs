//! A handle on the user manager, which outlives the manager's restarts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use super::jobs::{JobMode, JobResult, Jobs, Verb};
use super::proxy::SystemdProxy;
use crate::names::UnitName;

/// Longest wait for the answer to one call; a reload may run slow generators,
/// each of which systemd gives 90 s (`systemd.generator(7)`).
const ANSWER: Duration = Duration::from_secs(120);

/// Says why systemd did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SystemdError {
    /// Nothing answers at the bus: the user manager is down.
    #[error("cannot reach the user's systemd at {address}; is lingering on for this user?")]
    Connect {
        /// Where the bus should be.
        address: BusAddress,
        /// What the connection said.
        #[source]
        source: Box<zbus::Error>,
    },
    /// Nothing answers at the system's bus.
    #[error("cannot reach the system's bus")]
    SystemBus(#[source] Box<zbus::Error>),
    /// The connection broke during a call; the next call connects anew.
    #[error("the connection to the user's systemd broke")]
    Disconnected,
    /// systemd knows no unit of that name.
    #[error("systemd knows no unit {unit}")]
    NoSuchUnit {
        /// The unit asked for.
        unit: UnitName,
    },
    /// systemd refused a job for a unit.
    #[error("systemd refused to {verb} {unit}")]
    Refused {
        /// What was asked: start, stop, restart...
        verb: &'static str,
        /// The unit asked for.
        unit: UnitName,
        /// What systemd answered.
        #[source]
        source: Box<zbus::Error>,
    },
    /// A call that concerns no single unit failed.
    #[error("systemd's {call} failed")]
    Call {
        /// The method or property.
        call: &'static str,
        /// What systemd answered.
        #[source]
        source: Box<zbus::Error>,
    },
    /// A job was not done in time; it has been cancelled.
    #[error("{unit} was not done after {seconds} s; its job is cancelled")]
    Deadline {
        /// The unit waited for.
        unit: UnitName,
        /// How long.
        seconds: u64,
    },
    /// The version that systemd gives starts with no number.
    #[error("systemd's version {text:?} is not a number")]
    Version {
        /// What it gave.
        text: String,
    },
}

impl SystemdError {
    /// Makes an error of a call that concerns no single unit.
    pub(super) fn call(call: &'static str, source: zbus::Error) -> Self {
        if is_broken(&source) {
            Self::Disconnected
        } else {
            Self::Call { call, source: Box::new(source) }
        }
    }

    /// Makes an error of a call that concerns `unit`.
    pub(super) fn unit(verb: &'static str, unit: &UnitName, source: zbus::Error) -> Self {
        if is_broken(&source) {
            Self::Disconnected
        } else if is_method_error(&source, "org.freedesktop.systemd1.NoSuchUnit") {
            Self::NoSuchUnit { unit: unit.clone() }
        } else {
            Self::Refused { verb, unit: unit.clone(), source: Box::new(source) }
        }
    }
}

fn is_method_error(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(n, _, _) if n.as_str() == name)
}

/// Tells a dead connection from a call that failed. A bus that lost systemd,
/// or says so, counts as dead: both come back with a new connection.
fn is_broken(error: &zbus::Error) -> bool {
    use zbus::fdo::Error as Bus;
    if let zbus::Error::InputOutput(error) = error {
        return error.kind() != std::io::ErrorKind::TimedOut;
    }
    let zbus::Error::FDO(error) = error else { return false };
    matches!(
        **error,
        Bus::ServiceUnknown(_) | Bus::NameHasNoOwner(_) | Bus::Disconnected(_) | Bus::NoReply(_)
    )
}

/// The socket of a user's message bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusAddress(PathBuf);

impl BusAddress {
    /// Returns the own user's bus: `$XDG_RUNTIME_DIR/bus`, else
    /// `/run/user/<uid>/bus`. A system service with `User=` has no
    /// `XDG_RUNTIME_DIR`.
    pub fn own() -> Self {
        Self(own_runtime_directory().join("bus"))
    }

    /// Returns the bus with the given socket.
    pub fn at(socket: &Path) -> Self {
        Self(socket.to_owned())
    }
}

/// Returns `$XDG_RUNTIME_DIR`, else `/run/user/<uid>`.
pub(super) fn own_runtime_directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory),
        Some(_) | None => {
            PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw()))
        }
    }
}

impl fmt::Display for BusAddress {
    /// Writes the address as the D-Bus specification, "Server Addresses", has
    /// it, unusual bytes as `%xx`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::os::unix::ffi::OsStrExt as _;
        f.write_str("unix:path=")?;
        for byte in self.0.as_os_str().as_bytes() {
            match byte {
                b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'/' | b'.' => {
                    write!(f, "{}", char::from(*byte))?;
                }
                other => write!(f, "%{other:02x}")?,
            }
        }
        Ok(())
    }
}

/// The user's systemd. Clones share one connection, which is made when needed
/// and again after it broke.
#[derive(Debug, Clone)]
pub struct Manager {
    address: BusAddress,
    connected: Arc<Mutex<Option<Connection>>>,
}

impl Manager {
    /// Makes a handle that connects at the first call.
    pub fn new(address: BusAddress) -> Self {
        Self { address, connected: Arc::new(Mutex::new(None)) }
    }

    /// Makes a handle and connects, to see that systemd is there.
    ///
    /// # Errors
    ///
    /// [`SystemdError::Connect`], when nothing answers.
    pub async fn connect(address: BusAddress) -> Result<Self, SystemdError> {
        let manager = Self::new(address);
        manager.proxy().await?;
        Ok(manager)
    }

    /// Returns the live connection, or makes one and subscribes on it: once,
    /// for a second `Subscribe` on a connection is an error.
    pub(super) async fn connection(&self) -> Result<Connection, SystemdError> {
        // Held while connecting, so that two callers do not both connect.
        let mut connected = self.connected.lock().await;
        if let Some(connection) = connected.as_ref()
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        *connected = None;
        let connection = self.own_connection().await?;
        *connected = Some(connection.clone());
        Ok(connection)
    }

    /// Makes a connection that nobody shares, and subscribes on it.
    pub(super) async fn own_connection(&self) -> Result<Connection, SystemdError> {
        self.open().await.map_err(|source| SystemdError::Connect {
            address: self.address.clone(),
            source: Box::new(source),
        })
    }

    async fn open(&self) -> zbus::Result<Connection> {
        let connection = zbus::connection::Builder::address(self.address.to_string().as_str())
            .method_timeout(ANSWER)
            .build()
            .await?;
        proxy_on(&connection).await?.subscribe().await?;
        tracing::debug!(address = %self.address, "connected to the user's systemd");
        Ok(connection)
    }

    /// Returns a proxy on a live connection.
    pub(super) async fn proxy(&self) -> Result<SystemdProxy<'static>, SystemdError> {
        let connection = self.connection().await?;
        proxy_on(&connection).await.map_err(|e| SystemdError::call("proxy", e))
    }

    /// Makes systemd run its generators and read all unit files. Returns when
    /// it is done.
    ///
    /// A file that podman's generator refuses gives no error here: its unit
    /// is just missing afterwards (`crate::units::generator` finds out first).
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn reload(&self) -> Result<(), SystemdError> {
        let proxy = self.proxy().await?;
        proxy.reload().await.map_err(|e| SystemdError::call("Reload", e))
    }

    /// Starts a unit and waits until its job ended.
    ///
    /// # Errors
    ///
    /// [`SystemdError::NoSuchUnit`], [`SystemdError::Deadline`] and the rest.
    /// A job that ended badly is no error but a [`JobResult`].
    pub async fn start(
        &self,
        unit: &UnitName,
        mode: JobMode,
        deadline: Duration,
    ) -> Result<JobResult, SystemdError> {
        self.one(Verb::Start, unit, mode, deadline).await
    }

    /// Stops a unit and waits until its job ended.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn stop(
        &self,
        unit: &UnitName,
        mode: JobMode,
        deadline: Duration,
    ) -> Result<JobResult, SystemdError> {
        self.one(Verb::Stop, unit, mode, deadline).await
    }

    /// Restarts a unit, or starts it if it is down, and waits until its job
    /// ended.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn restart(
        &self,
        unit: &UnitName,
        mode: JobMode,
        deadline: Duration,
    ) -> Result<JobResult, SystemdError> {
        self.one(Verb::Restart, unit, mode, deadline).await
    }

    async fn one(
        &self,
        verb: Verb,
        unit: &UnitName,
        mode: JobMode,
        deadline: Duration,
    ) -> Result<JobResult, SystemdError> {
        let mut jobs =
            Jobs::queue(self.proxy().await?, verb, std::slice::from_ref(unit), mode, deadline)
                .await?;
        // The task ends without an answer only if the runtime is going down.
        jobs.next().await.map_or(Err(SystemdError::Disconnected), |(_, result)| result)
    }

    /// Queues the start of many units at once; the results come as they end.
    ///
    /// # Errors
    ///
    /// [`SystemdError::Connect`] and [`SystemdError::Disconnected`]; what
    /// concerns one unit comes out of [`Jobs::next`].
    pub async fn start_all(
        &self,
        units: &[UnitName],
        mode: JobMode,
        deadline: Duration,
    ) -> Result<Jobs, SystemdError> {
        Jobs::queue(self.proxy().await?, Verb::Start, units, mode, deadline).await
    }

    /// Queues the stop of many units at once; the results come as they end.
    ///
    /// # Errors
    ///
    /// As [`start_all`](Self::start_all).
    pub async fn stop_all(
        &self,
        units: &[UnitName],
        mode: JobMode,
        deadline: Duration,
    ) -> Result<Jobs, SystemdError> {
        Jobs::queue(self.proxy().await?, Verb::Stop, units, mode, deadline).await
    }

    /// Queues the restart of many units at once; the results come as they end.
    ///
    /// # Errors
    ///
    /// As [`start_all`](Self::start_all).
    pub async fn restart_all(
        &self,
        units: &[UnitName],
        mode: JobMode,
        deadline: Duration,
    ) -> Result<Jobs, SystemdError> {
        Jobs::queue(self.proxy().await?, Verb::Restart, units, mode, deadline).await
    }

    /// Asks for a unit to be restarted if it is up, it alone, and does not
    /// wait for that.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but [`SystemdError::Deadline`].
    pub async fn ask_restart_if_up(&self, unit: &UnitName) -> Result<(), SystemdError> {
        let proxy = self.proxy().await?;
        let mode = JobMode::IgnoreDependencies.as_str();
        let job = proxy.try_restart_unit(unit.as_str(), mode).await;
        job.map(drop).map_err(|e| SystemdError::unit("restart", unit, e))
    }

    /// Forgets that a unit failed and how often it was started lately, or the
    /// next start is refused after five within 10 s (`systemd.unit(5)`,
    /// `StartLimitBurst=`). A unit that is not loaded is fine.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but [`SystemdError::NoSuchUnit`].
    pub async fn reset_failed(&self, unit: &UnitName) -> Result<(), SystemdError> {
        let proxy = self.proxy().await?;
        let Err(error) = proxy.reset_failed_unit(unit.as_str()).await else { return Ok(()) };
        let error = SystemdError::unit("reset", unit, error);
        if matches!(error, SystemdError::NoSuchUnit { .. }) { Ok(()) } else { Err(error) }
    }

    /// Tells whether systemd is on its way down, with all that it runs.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn is_stopping(&self) -> Result<bool, SystemdError> {
        let proxy = self.proxy().await?;
        let state = proxy.system_state().await.map_err(|e| SystemdError::call("SystemState", e))?;
        Ok(state == "stopping")
    }

    /// Returns systemd's major version, such as 257.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn version(&self) -> Result<u32, SystemdError> {
        let proxy = self.proxy().await?;
        let text = proxy.version().await.map_err(|e| SystemdError::call("Version", e))?;
        major_version(&text).ok_or(SystemdError::Version { text })
    }
}

async fn proxy_on(connection: &Connection) -> zbus::Result<SystemdProxy<'static>> {
    SystemdProxy::builder(connection).cache_properties(CacheProperties::No).build().await
}

/// Parses `257.13-1~deb13u1` and, as of git builds, `v257-rc1`.
fn major_version(text: &str) -> Option<u32> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions() {
        assert_eq!(major_version("257.13-1~deb13u1"), Some(257));
        assert_eq!(major_version("v252-rc1"), Some(252));
        assert_eq!(major_version("256"), Some(256));
        assert_eq!(major_version(""), None);
        assert_eq!(major_version("next"), None);
    }

    #[test]
    fn addresses_escape_unusual_bytes() {
        let address = BusAddress::at(Path::new("/run/user/850/bus"));
        assert_eq!(address.to_string(), "unix:path=/run/user/850/bus");
        let address = BusAddress::at(Path::new("/tmp/a b,c;é"));
        assert_eq!(address.to_string(), "unix:path=/tmp/a%20b%2cc%3b%c3%a9");
    }

    #[tokio::test]
    async fn a_missing_bus_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let manager = Manager::new(BusAddress::at(&dir.path().join("bus")));
        let error = manager.version().await.unwrap_err();
        assert!(matches!(error, SystemdError::Connect { .. }), "{error:?}");
    }
}
