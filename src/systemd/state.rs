//! What systemd says about units.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use futures_util::future::{try_join, try_join_all, try_join3, try_join5};
use zbus::Connection;

use super::manager::{Manager, SystemdError};
use super::properties::{Properties, SERVICE, UNIT};
use super::proxy::UnitRow;
use crate::names::UnitName;

macro_rules! states {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $type {
            $($(#[$vdoc])* $variant,)*
            /// A state that a newer systemd added.
            Other(String),
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                match text {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl $type {
            /// Returns systemd's word for it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

states!(
    /// Whether systemd has read the unit's file (`org.freedesktop.systemd1(5)`).
    LoadState {
        /// The file is read.
        Loaded = "loaded",
        /// There is no such file, or podman's generator refused it.
        NotFound = "not-found",
        /// The file holds something fatal.
        BadSetting = "bad-setting",
        /// The file cannot be read.
        Error = "error",
        /// The name is an alias of another unit.
        Merged = "merged",
        /// The unit is masked: never to be started.
        Masked = "masked",
    }
);

states!(
    /// Whether the unit is up (`org.freedesktop.systemd1(5)`).
    ActiveState {
        /// Up, and ready.
        Active = "active",
        /// Up, reading its configuration again.
        Reloading = "reloading",
        /// Up, getting its extension images again.
        Refreshing = "refreshing",
        /// Down, on purpose or never started.
        Inactive = "inactive",
        /// Down, because it failed.
        Failed = "failed",
        /// Coming up; also between two starts of a unit that crashes.
        Activating = "activating",
        /// Going down.
        Deactivating = "deactivating",
        /// Down for maintenance.
        Maintenance = "maintenance",
    }
);

/// A row of systemd's list of units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUnit {
    /// The unit.
    pub name: UnitName,
    /// Whether its file is read.
    pub load: LoadState,
    /// Whether it is up.
    pub active: ActiveState,
    /// The finer state of its kind, such as `running` or `auto-restart`.
    pub sub: String,
    /// The kind of the job that is queued for it, such as `start`.
    pub job: Option<String>,
}

impl ListedUnit {
    /// Tells whether it is up, or coming up.
    pub fn is_up(&self) -> bool {
        is_up(&self.active, &self.sub)
    }

    /// Tells whether it has failed, and systemd waits before it tries again.
    pub fn waits_to_be_tried(&self) -> bool {
        waits_to_be_tried(&self.sub)
    }
}

impl UnitState {
    /// Tells whether it is up, or coming up.
    pub fn is_up(&self) -> bool {
        is_up(&self.active, &self.sub)
    }

    /// Tells whether it has failed, and systemd waits before it tries again.
    pub fn waits_to_be_tried(&self) -> bool {
        waits_to_be_tried(&self.sub)
    }

    /// Tells whether it has failed and systemd is trying it once more at this
    /// moment: that attempt may know nothing of what was mended meanwhile.
    pub fn is_tried_again(&self) -> bool {
        self.active == ActiveState::Activating && !self.waits_to_be_tried() && self.restarts > 0
    }
}

fn is_up(active: &ActiveState, sub: &str) -> bool {
    matches!(active, ActiveState::Active | ActiveState::Reloading)
        || (*active == ActiveState::Activating && !waits_to_be_tried(sub))
}

fn waits_to_be_tried(sub: &str) -> bool {
    // There is `auto-restart-queued` as well.
    sub.starts_with("auto-restart")
}

impl From<UnitRow> for ListedUnit {
    fn from(row: UnitRow) -> Self {
        let (name, _, load, active, sub, _, _, job_number, job_kind, _) = row;
        Self {
            name: UnitName::from_systemd(name),
            load: LoadState::from(load.as_str()),
            active: ActiveState::from(active.as_str()),
            sub,
            job: (job_number != 0).then_some(job_kind),
        }
    }
}

/// The state of a unit. One that is not loaded has no more than the rows of
/// [`ListedUnit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// The unit.
    pub name: UnitName,
    /// Whether its file is read.
    pub load: LoadState,
    /// Whether it is up.
    pub active: ActiveState,
    /// The finer state of its kind, such as `running` or `auto-restart`.
    pub sub: String,
    /// The kind of the job that is queued for it, such as `start`.
    pub job: Option<String>,
    /// When it came into its active state; `None` if never since boot.
    pub since: Option<SystemTime>,
    /// When one that comes up last moved on its way: with `RestartMode=direct`
    /// (`systemd.service(5)`) it is on it from its first start on.
    pub moved: Option<SystemTime>,
    /// The number of this run, 32 hexadecimal digits; `None` when it is down.
    pub invocation_id: Option<String>,
    /// Automatic restarts of a service since its last start by hand; 0 when
    /// it is down.
    pub restarts: u32,
    /// The main process of a service, conmon for a container.
    pub main_pid: Option<u32>,
    /// How the last run of a service ended, when it failed or is coming up
    /// again.
    pub ended: Option<Ended>,
    /// Whether a service that is down has ended well by itself, and nobody has
    /// stopped it.
    pub by_itself: bool,
}

/// How the main process of a service ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `success`, `exit-code`, `timeout`... (`systemd.exec(5)`,
    /// `$SERVICE_RESULT`).
    pub result: String,
    /// A `CLD_*` number of `sigaction(2)`: 1 is exited, 2 killed, 3 dumped;
    /// `None` if it has not ended.
    pub code: Option<i32>,
    /// The exit status, or the signal.
    pub status: i32,
}

/// The files of a unit, as systemd has them in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFiles {
    /// The unit.
    pub name: UnitName,
    /// The unit file, below `/run/user` if podman's generator made it.
    pub fragment_path: Option<String>,
    /// The Quadlet file that it was made from.
    pub source_path: Option<String>,
    /// Whether one of these or a drop-in changed since the last reload.
    pub need_daemon_reload: bool,
}

impl Manager {
    /// Lists the units in systemd's memory whose name matches one of the
    /// patterns (`glob(7)`). A unit that is down and that nothing refers to
    /// is not in memory.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn list_units(&self, patterns: &[&str]) -> Result<Vec<ListedUnit>, SystemdError> {
        let proxy = self.proxy().await?;
        let rows = proxy
            .list_units_by_patterns(&[], patterns)
            .await
            .map_err(|e| SystemdError::call("ListUnitsByPatterns", e))?;
        Ok(rows.into_iter().map(ListedUnit::from).collect())
    }

    /// Returns the rows of these units in systemd's list, in any order; one
    /// that does not exist comes as [`LoadState::NotFound`]. One call, where
    /// [`unit_states`](Self::unit_states) makes up to six more for a unit.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn listed(&self, units: &[UnitName]) -> Result<Vec<ListedUnit>, SystemdError> {
        let (_, rows) = self.rows(units).await?;
        Ok(rows.into_iter().map(ListedUnit::from).collect())
    }

    /// Returns the state of each unit, in the order asked for; one that does
    /// not exist comes as [`LoadState::NotFound`].
    ///
    /// One list, then all properties at once on one connection; a property
    /// takes systemd 40 us.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn unit_states(&self, units: &[UnitName]) -> Result<Vec<UnitState>, SystemdError> {
        let (connection, rows) = self.rows(units).await?;
        let states = rows.into_iter().map(|row| state(&connection, row));
        let mut states =
            try_join_all(states).await.map_err(|e| SystemdError::call("Properties.Get", e))?;
        states.sort_by_cached_key(|state| units.iter().position(|unit| *unit == state.name));
        Ok(states)
    }

    /// Returns when each of these units last left its active state, or began
    /// to; those that have not since the boot are left out.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn left_at(
        &self,
        units: &[UnitName],
    ) -> Result<BTreeMap<UnitName, SystemTime>, SystemdError> {
        let (connection, rows) = self.rows(units).await?;
        let left = async |row: UnitRow| {
            let bus = Properties { connection: &connection, path: row.6.to_string() };
            let at = bus.get::<u64>(UNIT, "ActiveExitTimestamp").await?;
            Ok(time(at).map(|at| (UnitName::from_systemd(row.0), at)))
        };
        let loaded = rows.into_iter().filter(|row| row.2 == LoadState::Loaded.as_str());
        let all = try_join_all(loaded.map(left))
            .await
            .map_err(|e: zbus::Error| SystemdError::call("Properties.Get", e))?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Returns the files of those units that are loaded, and whether they are
    /// as they were read. systemd looks at the disk for that, 1.5 ms a unit:
    /// ask after a change, not every time.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn unit_files(&self, units: &[UnitName]) -> Result<Vec<UnitFiles>, SystemdError> {
        let (connection, rows) = self.rows(units).await?;
        let files = rows
            .into_iter()
            .filter(|row| row.2 == LoadState::Loaded.as_str())
            .map(|row| files(&connection, row));
        try_join_all(files).await.map_err(|e| SystemdError::call("Properties.Get", e))
    }

    pub(super) async fn rows(
        &self,
        units: &[UnitName],
    ) -> Result<(Connection, Vec<UnitRow>), SystemdError> {
        let proxy = self.proxy().await?;
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        let rows = if names.is_empty() {
            Vec::new()
        } else {
            proxy
                .list_units_by_names(&names)
                .await
                .map_err(|e| SystemdError::call("ListUnitsByNames", e))?
        };
        Ok((proxy.inner().connection().clone(), rows))
    }
}

async fn state(connection: &Connection, row: UnitRow) -> zbus::Result<UnitState> {
    let bus = Properties { connection, path: row.6.to_string() };
    let ListedUnit { name, load, active, sub, job } = ListedUnit::from(row);
    let service = name.as_str().ends_with(".service");
    let up = active != ActiveState::Inactive;
    let known = up || load == LoadState::Loaded;
    // A unit that runs has not ended, and for one that is down all is well.
    let failing = !matches!(active, ActiveState::Active | ActiveState::Inactive);
    let down = active == ActiveState::Inactive && load == LoadState::Loaded;
    let moved = bus.get_if::<u64>(active == ActiveState::Activating, UNIT, "StateChangeTimestamp");
    let left = try_join(
        bus.get_if::<u64>(down && service, UNIT, "ActiveExitTimestampMonotonic"),
        bus.get_if::<u64>(down && service, SERVICE, "ExecMainExitTimestampMonotonic"),
    );
    let (since, invocation, restarts, main_pid, ended) = try_join5(
        bus.get_if::<u64>(known, UNIT, entered(&active)),
        bus.get_if::<Vec<u8>>(up, UNIT, "InvocationID"),
        bus.get_if::<u32>(up && service, SERVICE, "NRestarts"),
        bus.get_if::<u32>(up && service, SERVICE, "MainPID"),
        ended(&bus, failing && service),
    )
    .await?;
    // Whoever stops a unit has it leave its state before its process ends.
    let by_itself = match left.await? {
        (Some(left), Some(ended)) => left > 0 && ended > 0 && ended <= left,
        _ => false,
    };
    Ok(UnitState {
        name,
        load,
        active,
        sub,
        job,
        since: since.and_then(time),
        moved: moved.await?.and_then(time),
        invocation_id: invocation.and_then(|id| hexadecimal(&id)),
        restarts: restarts.unwrap_or_default(),
        main_pid: main_pid.filter(|pid| *pid != 0),
        ended,
        by_itself,
    })
}

async fn ended(bus: &Properties<'_>, wanted: bool) -> zbus::Result<Option<Ended>> {
    if !wanted {
        return Ok(None);
    }
    let (result, code, status) = try_join3(
        bus.get::<String>(SERVICE, "Result"),
        bus.get::<i32>(SERVICE, "ExecMainCode"),
        bus.get::<i32>(SERVICE, "ExecMainStatus"),
    )
    .await?;
    Ok(Some(Ended { result, code: (code != 0).then_some(code), status }))
}

async fn files(connection: &Connection, row: UnitRow) -> zbus::Result<UnitFiles> {
    let bus = Properties { connection, path: row.6.to_string() };
    let (fragment, source, need_daemon_reload) = try_join3(
        bus.get::<String>(UNIT, "FragmentPath"),
        bus.get::<String>(UNIT, "SourcePath"),
        bus.get::<bool>(UNIT, "NeedDaemonReload"),
    )
    .await?;
    Ok(UnitFiles {
        name: UnitName::from_systemd(row.0),
        fragment_path: some(fragment),
        source_path: some(source),
        need_daemon_reload,
    })
}

/// Names the property that says when the unit came into this state.
fn entered(active: &ActiveState) -> &'static str {
    match active {
        ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing => {
            "ActiveEnterTimestamp"
        }
        ActiveState::Inactive | ActiveState::Failed => "InactiveEnterTimestamp",
        ActiveState::Activating => "InactiveExitTimestamp",
        ActiveState::Deactivating => "ActiveExitTimestamp",
        ActiveState::Maintenance | ActiveState::Other(_) => "StateChangeTimestamp",
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Converts microseconds since 1970; systemd writes 0 for "never".
pub(super) fn time(us: u64) -> Option<SystemTime> {
    if us == 0 {
        return None;
    }
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(us))
}

/// Returns a time in milliseconds since the Unix epoch; 0 for what was before.
pub fn since_epoch_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn hexadecimal(bytes: &[u8]) -> Option<String> {
    use fmt::Write as _;
    if bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok()?;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_states_are_kept() {
        assert_eq!(ActiveState::from("active"), ActiveState::Active);
        assert_eq!(ActiveState::from("frozen").as_str(), "frozen");
        assert_eq!(LoadState::from("not-found"), LoadState::NotFound);
        assert_eq!(LoadState::from("stub").to_string(), "stub");
    }

    #[test]
    fn an_attempt_is_told_from_the_wait_before_it() {
        let row = |active: &str, sub: &str, restarts| {
            let unit = UnitState {
                name: UnitName::from_systemd("a.service"),
                load: LoadState::Loaded,
                active: ActiveState::from(active),
                sub: sub.to_owned(),
                job: None,
                since: None,
                moved: None,
                invocation_id: None,
                restarts,
                main_pid: None,
                ended: None,
                by_itself: false,
            };
            (unit.is_up(), unit.waits_to_be_tried(), unit.is_tried_again())
        };
        assert_eq!(row("active", "running", 3), (true, false, false));
        assert_eq!(row("activating", "start", 0), (true, false, false));
        assert_eq!(row("activating", "start-post", 2), (true, false, true));
        assert_eq!(row("activating", "auto-restart", 2), (false, true, false));
        assert_eq!(row("activating", "auto-restart-queued", 1), (false, true, false));
        assert_eq!(row("deactivating", "stop-sigterm", 1), (false, false, false));
        assert_eq!(row("failed", "failed", 0), (false, false, false));
        assert_eq!(row("inactive", "dead", 0), (false, false, false));
    }

    #[test]
    fn rows_become_listed_units() {
        let path = zbus::OwnedObjectPath::try_from("/a").unwrap();
        let text = |t: &str| t.to_owned();
        let row: UnitRow = (
            text("web.service"),
            text("The web"),
            text("loaded"),
            text("activating"),
            text("start"),
            String::new(),
            path.clone(),
            17,
            text("start"),
            path,
        );
        let unit = ListedUnit::from(row);
        assert_eq!(unit.name.as_str(), "web.service");
        assert_eq!(unit.active, ActiveState::Activating);
        assert_eq!(unit.job.as_deref(), Some("start"));
    }

    #[test]
    fn raw_values() {
        assert_eq!(time(0), None);
        assert_eq!(time(1_500_000), Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)));
        assert_eq!(hexadecimal(&[]), None);
        assert_eq!(hexadecimal(&[0; 16]), None);
        assert_eq!(hexadecimal(&[0x1a, 0xf0]).as_deref(), Some("1af0"));
    }
}
