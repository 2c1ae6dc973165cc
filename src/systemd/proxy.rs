//! The calls and signals of systemd that we use (`org.freedesktop.systemd1(5)`).

use zbus::OwnedObjectPath;

/// One row of `ListUnitsByPatterns` and `ListUnitsByNames`: name, description,
/// load, active and sub state, followed unit, path, job number, job type, job.
pub type UnitRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// The manager object of the user's systemd.
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub trait Systemd {
    /// Turns signals on for this connection; they stop with the connection.
    fn subscribe(&self) -> zbus::Result<()>;

    /// Runs the generators and reads all unit files again.
    fn reload(&self) -> zbus::Result<()>;

    /// Queues a start and returns the job.
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Makes a unit without a file, queues its start and returns the job.
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, zbus::Variant<'_>)],
        auxiliary: &[(&str, Vec<(&str, zbus::Variant<'_>)>)],
    ) -> zbus::Result<OwnedObjectPath>;

    /// Queues a stop and returns the job.
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Queues a restart and returns the job.
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Queues a restart of a unit that is up, and returns the job; nothing is
    /// done to one that is down.
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Forgets that a unit failed, and its start limit.
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;

    /// Reads a unit's file if it is not in memory, and returns its object.
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Lists units in memory whose name matches one of the patterns.
    fn list_units_by_patterns(
        &self,
        states: &[&str],
        patterns: &[&str],
    ) -> zbus::Result<Vec<UnitRow>>;

    /// Lists the named units, and loads those that are not in memory.
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<UnitRow>>;

    /// Takes a job out of the queue.
    fn cancel_job(&self, id: u32) -> zbus::Result<()>;

    /// Version and build, such as `257.13-1~deb13u1`.
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;

    /// The state of the whole, such as `running` or `stopping`.
    #[zbus(property)]
    fn system_state(&self) -> zbus::Result<String>;
    /// The directories in which units are searched, the strongest first.
    #[zbus(property)]
    fn unit_path(&self) -> zbus::Result<Vec<String>>;

    /// How long a unit may take to start that does not say so, in
    /// microseconds.
    #[zbus(property, name = "DefaultTimeoutStartUSec")]
    fn default_timeout_start(&self) -> zbus::Result<u64>;

    /// How long a unit may take to stop that does not say so.
    #[zbus(property, name = "DefaultTimeoutStopUSec")]
    fn default_timeout_stop(&self) -> zbus::Result<u64>;

    /// When the manager started, since the machine did, in microseconds.
    #[zbus(property)]
    fn userspace_timestamp_monotonic(&self) -> zbus::Result<u64>;

    /// The same in microseconds since 1970.
    #[zbus(property)]
    fn userspace_timestamp(&self) -> zbus::Result<u64>;

    /// A job ended; it comes only after [`subscribe`](Self::subscribe).
    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}
