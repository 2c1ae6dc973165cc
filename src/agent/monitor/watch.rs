//! The loop: waits for whatever may have changed something, then looks.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::differences::Known;
use super::event::Event;
use super::events::Events;
use super::files::{Files, Root};
use super::flap::Flaps;
use super::heal::{Healed, Healing};
use super::kind::EventKind;
use super::look::Tracked;
use super::schedules::Scheduled;
use super::settings::MonitorSettings;
use crate::agent::engine::Engine;
use crate::names::{ServiceName, UnitName};
use crate::podman::{containers, exits, images};
use crate::registry::Registry;
use crate::systemd::{Change, SystemdError, UnitWatch};
use crate::telemetry::Chain;

/// How long after a change drift is looked for: what comes and goes at once,
/// such as a restart, is none. Well below the second in which it is told.
const SETTLE: Duration = Duration::from_millis(300);
/// Each how many sweeps the files are looked at.
const FILES_EVERY: u32 = 10;
/// How often a user manager that does not answer is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// What the monitor works with.
#[derive(Debug)]
pub struct Tools {
    /// Says what is desired and what is, and brings it back.
    pub engine: Engine,
    /// Takes what is seen.
    pub events: Events,
    /// Keeps what was last seen.
    pub registry: Registry,
    /// `[monitor]`, as it was last read.
    pub settings: watch::Receiver<Arc<MonitorSettings>>,
    /// `~/.config`.
    pub config: PathBuf,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime: PathBuf,
}

/// Watches everything that runs.
#[derive(Debug)]
pub struct Monitor {
    pub(super) tools: Tools,
    pub(super) tracked: BTreeMap<UnitName, Tracked>,
    pub(super) flaps: Flaps,
    pub(super) known: Known,
    pub(super) scheduled: BTreeMap<UnitName, Scheduled>,
    /// Those of them whose last run failed, as was told.
    pub(super) failing: BTreeSet<UnitName>,
    pub(super) healing: BTreeMap<ServiceName, Healing>,
    pub(super) heals: JoinSet<Healed>,
    pub(super) due: Due,
    began: Instant,
    /// When what is seen next happened, if not just now.
    pub(super) catching_up: Option<&'static str>,
}

/// What is to be looked at, and when.
#[derive(Debug)]
pub(super) struct Due {
    /// Services whose drift is looked for...
    pub(super) services: BTreeSet<ServiceName>,
    /// ...and the containers of no service...
    pub(super) strangers: bool,
    /// ...at this time.
    at: Option<Instant>,
    sweep: Instant,
    /// Sweeps that do without a look at files, before one that does not.
    without_files: u32,
}

impl Due {
    /// Has the drift of a service looked for soon.
    pub(super) fn service(&mut self, service: ServiceName) {
        self.services.insert(service);
        self.soon();
    }

    /// Tells whether this sweep looks at the files and podman's list as well,
    /// which is most of its work. inotify tells of them, and tells when it could
    /// not.
    fn is_with_files(&mut self, files: Option<&Files>) -> bool {
        let told = files.is_some_and(|files| !files.misses_some());
        let now = self.without_files == 0 || !told;
        self.without_files = if now { FILES_EVERY - 1 } else { self.without_files - 1 };
        now
    }

    fn soon(&mut self) {
        self.at.get_or_insert_with(|| Instant::now() + SETTLE);
    }
}

impl Monitor {
    /// Makes a monitor that has seen nothing.
    pub fn new(tools: Tools) -> Self {
        let now = Instant::now();
        Self {
            tools,
            tracked: BTreeMap::new(),
            flaps: Flaps::default(),
            known: Known::default(),
            scheduled: BTreeMap::new(),
            failing: BTreeSet::new(),
            healing: BTreeMap::new(),
            heals: JoinSet::new(),
            due: Due {
                services: BTreeSet::new(),
                strangers: false,
                at: None,
                sweep: now,
                without_files: 0,
            },
            began: now,
            catching_up: Some("while no agent was looking"),
        }
    }

    /// Watches until the shutdown.
    ///
    /// # Errors
    ///
    /// None; tasks return a result.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        // What the shutdown cuts off, the next agent sees again.
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch() => {}
        }
        Ok(())
    }

    async fn watch(&mut self) {
        if let Err(error) = self.remember().await {
            tracing::error!(error = %Chain(&error), "what was last seen is lost");
        }
        let mut lost = false;
        loop {
            match self.tools.engine.manager().watch_units().await {
                Ok(watch) => {
                    if std::mem::take(&mut lost) {
                        let back =
                            Event::of_node(EventKind::SystemdBack, "the user's systemd is back");
                        self.tools.events.record(back).await;
                    }
                    let error = self.watched(watch).await;
                    tracing::warn!(error = %Chain(&error), "the user's systemd cannot be watched; trying again");
                    let gone =
                        matches!(error, SystemdError::Disconnected | SystemdError::Connect { .. });
                    if gone && !std::mem::replace(&mut lost, true) {
                        self.catching_up = Some("with the user's systemd");
                        let event = Event::of_node(
                            EventKind::SystemdLost,
                            "the user's systemd went away, and with it all that it runs",
                        );
                        self.tools.events.record(event).await;
                    }
                }
                Err(error) => tracing::debug!(error = %Chain(&error), "no user manager to watch"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Watches as long as the connection holds; returns why it did not.
    async fn watched(&mut self, mut watch: UnitWatch) -> SystemdError {
        let mut changes = self.tools.engine.changes();
        let mut files = self.files();
        self.due.services.extend(self.tools.engine.all().iter().map(|a| a.row.name.clone()));
        self.due.strangers = true;
        self.due.soon();
        if let Err(error) = self.start(&mut watch).await {
            return error;
        }
        loop {
            if let Err(error) = self.wait(&mut watch, &mut files, &mut changes).await {
                return error;
            }
        }
    }

    async fn start(&mut self, watch: &mut UnitWatch) -> Result<(), SystemdError> {
        watch.set(self.follow()).await?;
        self.look_at_all().await?;
        self.catching_up = None;
        Ok(())
    }

    /// Waits for one thing and does what it asks for.
    async fn wait(
        &mut self,
        watch: &mut UnitWatch,
        files: &mut Option<Files>,
        changes: &mut watch::Receiver<u64>,
    ) -> Result<(), SystemdError> {
        let next = self.next_due();
        // Every arm may be cancelled: a change stays noted until it is taken,
        // and the rest are points in time.
        tokio::select! {
            change = watch.next() => match change? {
                Change::Units(units) => {
                    self.look(&units).await?;
                    self.look_at_schedules(&units).await?;
                }
                Change::All => {
                    self.look_at_all().await?;
                    self.all_due();
                }
            },
            paths = changed(files) => self.files_changed(&paths).await?,
            _ = changes.changed() => {
                watch.set(self.follow()).await?;
                self.look_at_all().await?;
                self.all_due();
            }
            Ok(()) = self.tools.settings.changed() => {}
            Some(healed) = self.heals.join_next() => self.healed(healed).await,
            () = tokio::time::sleep_until(next) => self.on_time(files).await?,
        }
        Ok(())
    }

    /// Does what is due by now.
    async fn on_time(&mut self, files: &mut Option<Files>) -> Result<(), SystemdError> {
        let now = Instant::now();
        self.end_flapping().await;
        if self.due.at.is_some_and(|at| at <= now) {
            self.due.at = None;
            self.find_differences().await?;
        }
        if self.due.sweep <= now {
            self.due.sweep = now + self.settings().interval.get();
            let with_files = self.due.is_with_files(files.as_ref());
            if let Some(files) = files.as_mut().filter(|_| with_files) {
                files.rescan();
            }
            self.sweep(with_files).await?;
        }
        self.heal();
        Ok(())
    }

    fn next_due(&self) -> Instant {
        let flapping = self.flaps.next(self.settings().limits()).map(|at| self.began + at);
        let others = [self.due.at, flapping, self.next_heal()];
        others.into_iter().flatten().fold(self.due.sweep, Instant::min)
    }

    /// Has the drift of every service looked for soon.
    pub(super) fn all_due(&mut self) {
        self.due.services.extend(self.tools.engine.all().iter().map(|a| a.row.name.clone()));
        // Of those that are gone as well.
        self.due.services.extend(self.known.services());
        self.due.strangers = true;
        self.due.soon();
    }

    /// Has the containers of no service looked for soon.
    pub(super) fn strangers_due(&mut self) {
        self.due.strangers = true;
        self.due.soon();
    }

    /// Returns the time since the monitor began, which only goes forward.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the moment of such a time.
    pub(super) fn moment(&self, at: Duration) -> Instant {
        self.began + at
    }

    pub(super) fn settings(&self) -> Arc<MonitorSettings> {
        Arc::clone(&self.tools.settings.borrow())
    }

    fn files(&self) -> Option<Files> {
        let whole = |path: PathBuf| Root { path, whole: true };
        let mut roots = vec![
            whole(self.tools.config.join("containers/systemd")),
            whole(self.tools.config.join("systemd")),
            whole(self.tools.runtime.join("containers/systemd")),
            whole(self.tools.runtime.join("systemd/user")),
        ];
        if let Some(store) = images::own_store(|name| std::env::var_os(name)) {
            roots.push(Root { path: containers::directory(&store), whole: false });
            roots.push(Root { path: images::directory(&store), whole: false });
        }
        roots.push(Root { path: exits::directory(&self.tools.runtime), whole: false });
        Files::watch(roots)
            .inspect_err(|error| {
                tracing::error!(%error, "the unit directories cannot be watched; each sweep looks at them");
            })
            .ok()
    }

    async fn files_changed(&mut self, paths: &BTreeSet<PathBuf>) -> Result<(), SystemdError> {
        let exits = exits::directory(&self.tools.runtime);
        let (ends, paths): (BTreeSet<PathBuf>, BTreeSet<PathBuf>) =
            paths.iter().cloned().partition(|path| path.starts_with(&exits));
        self.ended(&ends).await?;
        if paths.is_empty() {
            return Ok(());
        }
        let (config, runtime) = (&self.tools.config, &self.tools.runtime);
        let ours = config.join("containers/systemd/mcp");
        let of_units = [config.join("containers/systemd"), config.join("systemd")];
        let images =
            images::own_store(|name| std::env::var_os(name)).map(|store| images::directory(&store));
        let of_run = [runtime.join("containers/systemd"), runtime.join("systemd")];
        for path in &paths {
            if let Some(service) = service_of(path, &ours) {
                self.due.services.insert(service);
            } else if of_units
                .iter()
                .chain(&of_run)
                .chain(&images)
                .any(|root| path.starts_with(root))
            {
                let all = self.tools.engine.all();
                self.due.services.extend(all.iter().map(|a| a.row.name.clone()));
            } else {
                self.due.strangers = true;
            }
        }
        self.due.soon();
        Ok(())
    }
}

/// Waits for changes of files; for ever where they cannot be watched.
async fn changed(files: &mut Option<Files>) -> BTreeSet<PathBuf> {
    if let Some(watched) = files {
        match watched.changed().await {
            Ok(paths) => return paths,
            Err(error) => {
                tracing::error!(%error, "the unit directories cannot be watched any more");
                *files = None;
            }
        }
    }
    std::future::pending().await
}

/// Returns the service in whose directory a path is.
fn service_of(path: &Path, root: &Path) -> Option<ServiceName> {
    path.strip_prefix(root).ok()?.iter().next()?.to_str()?.parse().ok()
}
