//! The one path by which units change, whoever asks.
//!
//! ```text
//!  definition --prepare--> Prepared (plan, proved by podman's generator)
//!                             |
//!           deploy / rollback / lifecycle / undeploy --> unit directories, systemd
//!                             |                                  |
//!                       registry (journal, generations) <--------+ results of jobs
//! ```
//!
//! A service has one operation at a time; installing files and the reload that
//! follows are one step, and there is one of them at a time on the node: two
//! generators that run at once were seen to corrupt their output.

pub mod accepted;
pub mod adopt;
pub mod boot;
pub mod boot_report;
pub mod boot_verify;
mod busy;
pub mod checks;
mod component;
pub mod deploy;
pub mod drift;
pub mod error;
pub mod explain;
pub mod failing;
pub mod failure;
mod ground;
pub mod history;
pub mod images;
mod installing;
pub mod lifecycle;
pub mod one_off;
mod past;
pub mod prepare;
mod promotion;
mod pulling;
pub mod purge;
pub mod reconcile;
mod record;
pub mod recovery;
pub mod release;
pub mod rescue;
pub mod rollback;
mod sockets;
pub mod starting;
pub mod status;
mod stopped_with;
mod surroundings;
mod switch;
pub mod sync;
mod things;
mod told;
pub mod toolchain;
pub mod top;
mod trial;
mod unchanged;
pub mod undeploy;
mod wishes;

mod preflight;
pub mod session;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::{Notify, watch};

pub use accepted::Accepted;
use busy::{Busy, UnderWay};
pub use error::EngineError;
pub use images::ImageWish;
pub use prepare::{Assumed, Prepared, Request};
pub use toolchain::Toolchain;

use super::gate::now_ms;
use super::monitor::Events;
use super::problems::Problems;
use super::settings::NodeSettings;
use crate::deployment::{Deployment, Sequence};
use crate::names::{ServiceName, UnitName};
use crate::quadlet::UnitSet;
use crate::registry::Registry;
use crate::systemd::Manager;
use crate::units::{Installed, TrialStore, UnitStore, UnitsError};

/// How many accepted generations of a service are kept.
const KEEP_GENERATIONS: usize = 10;

/// Changes what runs on the node, and says what does.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What an engine works with.
#[derive(Debug)]
pub struct Tools {
    /// The memory.
    pub registry: Registry,
    /// The user manager.
    pub manager: Manager,
    /// The unit directories.
    pub store: UnitStore,
    /// Podman's part; or why there is none.
    pub toolchain: Result<Toolchain, String>,
    /// The node, as deployments see it.
    pub node: NodeSettings,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime: PathBuf,
    /// Where events go.
    pub events: Events,
    /// Where the agent keeps its state.
    pub state_dir: PathBuf,
    /// The boot sequence of the configuration.
    pub boot: Arc<Sequence>,
    /// Where what keeps it from being in force is told.
    pub problems: Problems,
}

/// When systemd reads files that were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reload {
    /// Before anything else is done.
    Now,
    /// With the next files.
    Later,
}

#[derive(Debug)]
struct Inner {
    tools: Tools,
    /// Where new generations are tried.
    trial: TrialStore,
    /// The boot that this is.
    boot_id: String,
    /// Held while files are installed and systemd is reloaded.
    units: tokio::sync::Mutex<()>,
    /// Held while podman's pause process is looked for and made.
    pause: tokio::sync::Mutex<()>,
    /// What is under way, by service.
    busy: Mutex<BTreeMap<ServiceName, UnderWay>>,
    /// Whether files were changed that systemd has not read: true until the
    /// first reload, for what an earlier agent may have left.
    reload_owed: AtomicBool,
    /// What deploys under way will bring, by service.
    coming: Mutex<BTreeMap<ServiceName, Deployment>>,
    /// What was taken back last, by service.
    taken_back: Mutex<BTreeMap<ServiceName, Deployment>>,
    /// Who asked to stop what could not be undone yet, by service.
    stops: Mutex<BTreeMap<ServiceName, String>>,
    /// How it was told that a deploy could not be undone yet, by service.
    unsettled: Mutex<BTreeMap<ServiceName, told::Told>>,
    /// Held while podman's record of a service is written.
    records: tokio::sync::Mutex<()>,
    /// Whether the registry knew no service when it was opened.
    was_empty: bool,
    /// Whether nothing that was lost is left to be brought back.
    brought_back: AtomicBool,
    /// Told when an operation could be neither finished nor undone.
    stuck: Notify,
    /// What ended last, by service, and when.
    ended: Mutex<BTreeMap<ServiceName, (&'static str, Instant, SystemTime)>>,
    /// Counts whatever changes what is desired or who is busy.
    changes: watch::Sender<u64>,
    /// The generations in force, as in the registry.
    accepted: Mutex<BTreeMap<ServiceName, Arc<Accepted>>>,
    /// The boot sequence that is wanted, and the one on disk.
    boot: Mutex<boot::BootOrder>,
}

impl Engine {
    /// Makes an engine, and reads the generations in force.
    ///
    /// # Errors
    ///
    /// The registry does not answer, or what it holds cannot be read.
    pub async fn new(tools: Tools) -> Result<Self, EngineError> {
        let (store, runtime) = (tools.store.clone(), tools.runtime.clone());
        let trial = TrialStore::new(&runtime, store.clone());
        let staged = trial.clone();
        let clean = move || store.clean().and_then(|()| staged.clean());
        tokio::task::spawn_blocking(clean).await.map_err(EngineError::Lost)??;
        let accepted = accepted::load_all(&tools.registry).await?;
        let boot = boot::BootOrder::load(&tools).await?;
        let stops = wishes::load(&tools.state_dir);
        let inner = Inner {
            boot: Mutex::new(boot),
            tools,
            trial,
            boot_id: crate::systemd::invocation::boot_id(),
            units: tokio::sync::Mutex::new(()),
            pause: tokio::sync::Mutex::new(()),
            busy: Mutex::new(BTreeMap::new()),
            reload_owed: AtomicBool::new(true),
            coming: Mutex::new(BTreeMap::new()),
            taken_back: Mutex::new(BTreeMap::new()),
            stops: Mutex::new(stops),
            unsettled: Mutex::new(BTreeMap::new()),
            records: tokio::sync::Mutex::new(()),
            was_empty: accepted.is_empty(),
            brought_back: AtomicBool::new(!accepted.is_empty()),
            stuck: Notify::new(),
            ended: Mutex::new(BTreeMap::new()),
            changes: watch::Sender::new(0),
            accepted: Mutex::new(accepted),
        };
        let engine = Self { inner: Arc::new(inner) };
        let unfinished = engine.registry().unfinished_operations().await?;
        engine.end_old_trials(unfinished.into_iter().map(|row| row.service).collect()).await?;
        Ok(engine)
    }

    fn trial(&self) -> &TrialStore {
        &self.inner.trial
    }

    fn tools(&self) -> &Tools {
        &self.inner.tools
    }

    /// Returns the agent's memory.
    pub(super) fn registry(&self) -> &Registry {
        &self.inner.tools.registry
    }

    /// Returns the user manager.
    pub(super) fn manager(&self) -> &Manager {
        &self.inner.tools.manager
    }

    /// Returns podman's part.
    ///
    /// # Errors
    ///
    /// [`EngineError::Podman`] says why there is none.
    pub fn toolchain(&self) -> Result<&Toolchain, EngineError> {
        self.inner.tools.toolchain.as_ref().map_err(|why| EngineError::Podman(why.clone()))
    }

    /// Returns systemd's version.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn systemd_version(&self) -> Result<String, EngineError> {
        Ok(self.manager().version().await?.to_string())
    }

    /// Returns the generation of a service that is in force.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotDeployed`]
    pub fn accepted(&self, service: &ServiceName) -> Result<Arc<Accepted>, EngineError> {
        self.find(service).ok_or_else(|| EngineError::NotDeployed { service: service.clone() })
    }

    fn find(&self, service: &ServiceName) -> Option<Arc<Accepted>> {
        self.inner.accepted.lock().unwrap_or_else(PoisonError::into_inner).get(service).cloned()
    }

    /// Returns every generation in force, by service.
    pub fn all(&self) -> Vec<Arc<Accepted>> {
        self.inner
            .accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Reads a service's generation in force again from the registry.
    async fn refresh(&self, service: &ServiceName) -> Result<(), EngineError> {
        let found = accepted::load(self.registry(), service).await?;
        let mut all = self.inner.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(accepted) => all.insert(service.clone(), Arc::new(accepted)),
            None => all.remove(service),
        };
        drop(all);
        self.inner.changes.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Returns what wakes whoever wants to know that an operation ended, or
    /// that something else is desired than before.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Puts a unit set in place, and what the boot order has to do with it,
    /// and has systemd read it; tells whether there was anything to do.
    async fn install(
        &self,
        set: &UnitSet,
        previous: Option<&UnitSet>,
        boots: boot::Boots<'_>,
    ) -> Result<bool, EngineError> {
        let (store, set, previous) = (self.tools().store.clone(), set.clone(), previous.cloned());
        let install = move || Ok(store.install(&set, previous.as_ref())? != Installed::Unchanged);
        self.change_files(install, boots, Reload::Now).await
    }

    /// Changes files of units by `change`, which tells whether it did, and
    /// what the boot order has to do with it, and has systemd read them.
    async fn change_files(
        &self,
        change: impl FnOnce() -> Result<bool, UnitsError> + Send + 'static,
        boots: boot::Boots<'_>,
        reload: Reload,
    ) -> Result<bool, EngineError> {
        let one_at_a_time = self.inner.units.lock().await;
        // Whatever happens from here on, systemd has to read the files again.
        let owed = self.inner.reload_owed.swap(true, Ordering::SeqCst);
        let mut changed = match boots {
            // No stage may wait for what is gone.
            boot::Boots::Gone(_) => self.arrange_boot(boots).await?,
            boot::Boots::As(_) | boot::Boots::Before => false,
        };
        changed |= tokio::task::spawn_blocking(change).await.map_err(EngineError::Lost)??;
        if let boot::Boots::As(_) = boots {
            changed |= self.arrange_boot(boots).await?;
        }
        let owed = owed || changed;
        if owed && reload == Reload::Now {
            self.manager().reload().await?;
            self.drop_gone_checks().await?;
        }
        self.inner.reload_owed.store(owed && reload == Reload::Later, Ordering::SeqCst);
        drop(one_at_a_time);
        Ok(changed)
    }

    /// Has the next installation reload systemd, whatever it changes.
    fn owe_reload(&self) {
        self.inner.reload_owed.store(true, Ordering::SeqCst);
    }

    /// Returns, for each service, a number that differs when its files on
    /// disk, or the drop-ins of its units, have changed.
    ///
    /// # Errors
    ///
    /// The look was lost; that of one service may have failed by itself.
    pub async fn stamps(
        &self,
        services: &[Arc<Accepted>],
    ) -> Result<Vec<(ServiceName, Result<u64, UnitsError>)>, EngineError> {
        let store = self.tools().store.clone();
        let units = |accepted: &Accepted| -> Vec<String> {
            accepted::container_units(&accepted.deployment)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        let services: Vec<(ServiceName, Vec<String>)> =
            services.iter().map(|a| (a.row.name.clone(), units(a))).collect();
        let look = move || {
            let stamp = |(service, units): (ServiceName, Vec<String>)| {
                let stamp = store.stamp(&service, &units);
                (service, stamp)
            };
            services.into_iter().map(stamp).collect()
        };
        // One thread for all of them: each change of threads is two wake-ups.
        tokio::task::spawn_blocking(look).await.map_err(EngineError::Lost)
    }

    /// Returns every deployment: those in force, and those under way.
    pub(super) fn deployments(&self) -> Vec<Deployment> {
        let coming = self.inner.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.all();
        in_force.iter().map(|a| &a.deployment).chain(coming.values()).cloned().collect()
    }

    /// Returns the other services' deployments: those in force, and those
    /// that are under way.
    fn neighbours(&self, service: &ServiceName) -> Vec<Deployment> {
        self.deployments().into_iter().filter(|d| d.service != *service).collect()
    }

    /// Waits until an operation could be neither finished nor undone.
    pub async fn stuck(&self) {
        self.inner.stuck.notified().await;
    }

    /// Asks for an operation to be taken up again later.
    pub fn leave_for_later(&self) {
        self.inner.stuck.notify_one();
    }

    /// Reads a service's files as they are on disk.
    async fn on_disk(&self, service: &ServiceName) -> Result<Option<UnitSet>, EngineError> {
        let (store, service) = (self.tools().store.clone(), service.clone());
        let found = tokio::task::spawn_blocking(move || store.read(&service))
            .await
            .map_err(EngineError::Lost)??;
        Ok(found.map(|found| found.set))
    }

    /// Returns the units among these that systemd does not know, or that are
    /// down, with the invocation of the rest.
    async fn invocations(
        &self,
        units: &[UnitName],
    ) -> Result<BTreeMap<UnitName, Option<String>>, EngineError> {
        let states = self.manager().unit_states(units).await?;
        Ok(states
            .into_iter()
            .map(|s| {
                let up = s.is_up();
                (s.name, s.invocation_id.filter(|_| up))
            })
            .collect())
    }

    /// Returns those of these units that are up, or started by somebody. One
    /// that has failed is not, also in the moments in which systemd tries it
    /// once more.
    async fn up(&self, units: &[UnitName]) -> Result<BTreeSet<UnitName>, EngineError> {
        let states = self.manager().unit_states(units).await?;
        let up = states.into_iter().filter(|s| s.is_up() && !s.is_tried_again());
        Ok(up.map(|s| s.name).collect())
    }
}
