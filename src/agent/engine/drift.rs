//! What a look at the disk and at podman's store adds to a status. What it
//! means is decided in [`crate::agent::monitor::drift`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::status::ServiceStatus;
use super::{Accepted, Engine, EngineError};
use crate::agent::monitor::drift::{self, Drift, FileDrift};
use crate::agent::plan::{self, FileChangeKind};
use crate::deployment::Container;
use crate::names::{BEFORE, UnitName, family};
use crate::podman::containers::{self, Stored};
use crate::podman::images;
use crate::quadlet::shadowed::unsaid;
use crate::quadlet::{Place, render, unit_file};
use crate::systemd::LoadState;
use crate::telemetry::Chain;
use crate::units::search::SearchPath;

impl Engine {
    /// Adds to a status how the files on disk differ from those in force.
    ///
    /// # Errors
    ///
    /// The unit directories cannot be read, or systemd does not answer.
    pub async fn add_file_drift(&self, status: &mut ServiceStatus) -> Result<(), EngineError> {
        let accepted = Arc::clone(&status.accepted);
        let service = accepted.row.name.as_str();
        let disk = self.on_disk(&accepted.row.name).await?;
        let on_disk = disk.as_ref().is_some_and(|set| set.wanted);
        for change in plan::files(disk.as_ref(), &accepted.set) {
            let what = match change.kind {
                FileChangeKind::Added => FileDrift::Removed,
                FileChangeKind::Changed => FileDrift::Edited,
                FileChangeKind::Removed => FileDrift::Added,
            };
            let unit = match change.place {
                Place::Quadlet => render::unit_of(&change.name),
                Place::Systemd => change.name.clone(),
            };
            put(status, &unit, drift::of_file(service, &change.name, what));
        }
        if on_disk != accepted.row.active {
            status.drift.push(drift::of_boot_link(service, accepted.row.active));
        }
        for (unit, drift) in self.shadows(&accepted).await? {
            put(status, &unit, drift);
        }
        let units: Vec<UnitName> = units(status);
        for path in self.drop_ins(status).await? {
            let unit = path.parent().map(unit_of_directory).unwrap_or_default();
            put(status, &unit, drift::of_drop_in(&path.display().to_string()));
        }
        for (container, state) in self.image_states(&accepted.row.name).await? {
            let runs = state.running.or(state.recorded);
            let (Some(runs), Some(named)) = (runs, state.named) else { continue };
            let unit = container.unit();
            let name = accepted.deployment.containers.iter().find(|c| c.name == container);
            if let Some(name) = name.filter(|_| runs != named).map(|c| c.image.as_str()) {
                let drift = drift::of_image(service, name, runs.short(), named.short());
                put(status, unit.as_str(), drift);
            }
        }
        for files in self.manager().unit_files(&units).await? {
            if files.need_daemon_reload {
                put(status, files.name.as_str(), drift::of_unread(files.name.as_str()));
            }
        }
        Ok(())
    }

    /// Finds the files that podman's generator reads in the place of those of
    /// a service, each with the unit that it makes.
    async fn shadows(&self, accepted: &Arc<Accepted>) -> Result<Vec<(String, Drift)>, EngineError> {
        let (store, trial) = (self.tools().store.clone(), self.trial().clone());
        let accepted = Arc::clone(accepted);
        let look = move || {
            let files: BTreeMap<&str, &str> = accepted.set.of(Place::Quadlet).collect();
            let names = files.keys().copied().collect();
            let ours = (store.quadlet_root(), trial.root());
            let path = SearchPath::own(store.search_root());
            let judge = |(name, path): (String, PathBuf)| {
                let ours = *files.get(name.as_str())?;
                // What is gone by now is read no more.
                let theirs = std::fs::read_to_string(&path).ok()?;
                let unsaid = unsaid(ours, &theirs);
                let differs = if name.ends_with(".container") {
                    unit_file::body(ours) != unit_file::body(&theirs)
                } else {
                    !unsaid.is_empty()
                };
                let drift = drift::of_shadow(&name, &path.to_string_lossy(), &unsaid);
                differs.then(|| (render::unit_of(&name), drift))
            };
            let found = path.before(ours, &names).map_err(EngineError::LoadPath)?;
            Ok(found.into_iter().filter_map(judge).collect())
        };
        tokio::task::spawn_blocking(look).await.map_err(EngineError::Lost)?
    }

    /// Finds the drop-ins of a service: podman's beside its Quadlet files, and
    /// systemd's for its units.
    async fn drop_ins(&self, status: &ServiceStatus) -> Result<Vec<PathBuf>, EngineError> {
        let store = self.tools().store.clone();
        let service = status.accepted.row.name.clone();
        let mut units: Vec<String> = units(status).iter().map(ToString::to_string).collect();
        units.push(UnitName::service_target(&service).to_string());
        let runtime = self.tools().runtime.join("systemd/user");
        tokio::task::spawn_blocking(move || store.drop_ins(&service, &units, &runtime))
            .await
            .map_err(EngineError::Lost)?
            .map_err(EngineError::from)
    }

    /// Returns the containers of the user that belong to no service, ours or
    /// a person's own, such as one that was released.
    pub async fn strangers(&self) -> Vec<Drift> {
        let Some(store) = images::own_store(|name| std::env::var_os(name)) else {
            return Vec::new();
        };
        let listed = tokio::task::spawn_blocking(move || containers::list(&store)).await;
        let found = match listed {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::debug!(%error, "podman's list of containers cannot be read");
                return Vec::new();
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "a look at podman's containers was lost");
                return Vec::new();
            }
        };
        let mut strangers = self.without_components(found);
        if strangers.is_empty() {
            return Vec::new();
        }
        let deployments = self.deployments();
        let ours = |name: &str| {
            deployments.iter().any(|d| {
                d.containers.iter().any(|c| c.name.is_one_off(name))
                    || (family::is_of(d.service.as_str(), name)
                        && self.lately(&d.service).is_some())
            })
        };
        strangers.retain(|c| !ours(&c.name));
        if !strangers.is_empty() {
            let held = self.held_by_units(strangers.iter().map(|c| c.name.as_str())).await;
            strangers.retain(|c| !held.contains(&c.name));
        }
        let names: Vec<&str> =
            strangers.iter().map(|c| c.name.as_str()).filter(|n| !n.ends_with(BEFORE)).collect();
        let services = |name: &str| deployments.iter().any(|d| d.service.as_str() == name);
        let beginnings = family::beginnings(&names, services);
        let beginnings: BTreeMap<&str, &String> = names.into_iter().zip(&beginnings).collect();
        let beginning = |name: &str| beginnings.get(name).map(|beginning| beginning.as_str());
        strangers
            .iter()
            .map(|c| drift::of_container(&c.name, &c.image, beginning(&c.name)))
            .collect()
    }

    /// Drops the containers that are called as a component's: on most nodes
    /// all are, and each sweep looks at every one.
    fn without_components(&self, mut containers: Vec<Stored>) -> Vec<Stored> {
        let coming = self.inner.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.all();
        let deployments = in_force.iter().map(|a| &a.deployment).chain(coming.values());
        let names: BTreeSet<&str> =
            deployments.flat_map(|d| &d.containers).map(|c| c.name.as_str()).collect();
        containers.retain(|c| !names.contains(c.name.as_str()));
        containers
    }

    /// Returns those of these containers that a unit of the same name runs, or
    /// one whose Quadlet file gives no name (`podman-systemd.unit(5)`,
    /// `ContainerName=`): somebody has made it, and means it.
    async fn held_by_units<'a>(&self, names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        let mut of_units: BTreeMap<UnitName, Vec<&str>> = BTreeMap::new();
        for name in names {
            holders(name).for_each(|unit| of_units.entry(unit).or_default().push(name));
        }
        let units: Vec<UnitName> = of_units.keys().cloned().collect();
        match self.manager().listed(&units).await {
            Ok(listed) => listed
                .into_iter()
                .filter(|u| u.load == LoadState::Loaded && u.is_up())
                .filter_map(|u| of_units.get(&u.name))
                .flatten()
                .map(|name| (*name).to_owned())
                .collect(),
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "which units hold containers is not known");
                BTreeSet::new()
            }
        }
    }
}

/// Returns the units that may run a container, by its name.
fn holders(container: &str) -> impl Iterator<Item = UnitName> {
    BTreeSet::from([container, family::plain(container)])
        .into_iter()
        .map(|name| UnitName::from_systemd(format!("{name}.service")))
}

fn units(status: &ServiceStatus) -> Vec<UnitName> {
    let of_one = |c: &Container| std::iter::once(c.name.unit()).chain(c.side_units());
    status.components.iter().flat_map(|c| of_one(&c.container)).collect()
}

/// Returns the unit that a directory of drop-ins changes.
fn unit_of_directory(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".d").unwrap_or(&name);
    if [".service", ".target", ".timer"].iter().any(|suffix| name.ends_with(suffix)) {
        name.to_owned()
    } else {
        render::unit_of(name)
    }
}

/// Tells whether a unit runs a container, checks it, or runs something in it.
fn is_of_component(container: &Container, unit: &str) -> bool {
    container.name.unit().as_str() == unit
        || container.side_units().iter().any(|side| side.as_str() == unit)
}

/// Gives a drift to the component that it is about, else to the service.
fn put(status: &mut ServiceStatus, unit: &str, drift: Drift) {
    let component = status.components.iter_mut().find(|c| is_of_component(&c.container, unit));
    match component {
        Some(component) => component.drift.push(drift),
        None => status.drift.push(drift),
    }
}
