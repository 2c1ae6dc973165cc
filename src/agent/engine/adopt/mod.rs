//! Taking over what others run: containers made by hand, by units that
//! podman once generated, or by Quadlet files of the user.
//!
//! ```text
//!  containers --find--> Found --definition, prepare, difference--> Adoption
//!                                                                     |
//!   journal <- put aside: stop, rename, copy volumes, unit files <----+
//!      |                                  |
//!      |                               deploy
//!      +--> settle: it is in force, or everything is put back
//! ```
//!
//! What runs under the very unit that it will have, as it will be, is not
//! touched: only its files are exchanged.

mod find;
mod journal;
mod put_aside;
mod thing_files;
mod things;

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::prepare::Aside;
use super::{Assumed, Engine, EngineError, ImageWish, Prepared, Request};
use crate::agent::progress::Progress;
use crate::deployment::{Container, Deployment, Image, Images};
use crate::import::containers::{Difference, Live, Taken, VolumeCopy, difference, import};
use crate::import::{Files, Note};
use crate::names::{BEFORE, ComponentName, ServiceName, UnitName};
use crate::podman::predecessor;
use crate::quadlet::proof;
use find::Found;
use journal::Journal;
use thing_files::ThingFiles;

/// The kind of the operation, for people.
pub(super) const ADOPT: &str = "adopt";

/// A takeover that can begin.
#[derive(Debug)]
pub struct Adoption {
    /// What there is to tell of the definition.
    pub notes: Vec<Note>,
    /// The containers, in the order in which they are started.
    pub predecessors: Vec<Predecessor>,
    /// Containers of that name that do not run, and stay as they are.
    pub left_alone: Vec<String>,
    /// The deploy of the definition.
    pub prepared: Prepared,
    /// Stands for all of it: another plan has another one.
    pub fingerprint: String,
    files: ThingFiles,
}

/// A container that is taken over.
#[derive(Debug)]
pub struct Predecessor {
    /// The name that it has.
    pub container: String,
    /// The component that it becomes.
    pub component: ComponentName,
    /// The unit that looks after it.
    pub unit: Option<UnitName>,
    /// Why it is restarted; empty: it is not.
    pub restarts: Vec<String>,
    /// How what would run differs from what runs.
    pub difference: Difference,
    /// What it has changed in itself, outside of its volumes.
    pub changes: Vec<String>,
    /// The volumes that get a name.
    pub volumes: Vec<VolumeCopy>,
    live: Live,
}

impl Engine {
    /// Plans the takeover of the containers `<service>` and `<service>-*`.
    /// Changes nothing.
    ///
    /// # Errors
    ///
    /// There are none, the service is ours already, or something stands
    /// against it.
    pub async fn plan_adoption(
        &self,
        service: &ServiceName,
        by: &str,
    ) -> Result<Adoption, EngineError> {
        if self.find(service).is_some() {
            return Err(EngineError::IsOurs { service: service.clone() });
        }
        self.check_settled(service)?;
        let Found { live, left_alone, images, mut files } = self.find_containers(service).await?;
        if live.is_empty() {
            return Err(EngineError::NothingRuns { service: service.clone(), left_alone });
        }
        let things = self.things_of(service, &live).await?;
        let made =
            import(service, &live, &things, &mut NodeFiles).map_err(EngineError::NotAdoptable)?;
        for (live, _) in live.iter().zip(&made.taken).filter(|(_, taken)| taken.is_checked) {
            files.add_checks(live, self.tools().store.systemd_root());
        }
        let request = Request {
            definition: made.imported.text.clone(),
            file_name: format!("{service}.toml"),
            component: None,
            images: wish(&made.taken, &images),
            by: by.to_owned(),
        };
        let mut predecessors: Vec<Predecessor> = live
            .into_iter()
            .zip(made.taken)
            .map(|(live, taken)| Predecessor::new(live, taken))
            .collect();
        // Whoever can stay up is known once it is known what would run.
        let all: Vec<&Predecessor> = predecessors.iter().collect();
        let prepared = self.prepare_after(request.clone(), &assumed(&all, &all, &files)).await?;
        for predecessor in &mut predecessors {
            predecessor.compare(&prepared)?;
        }
        let restarted: Vec<&Predecessor> =
            predecessors.iter().filter(|p| !p.restarts.is_empty()).collect();
        let all: Vec<&Predecessor> = predecessors.iter().collect();
        let prepared = if restarted.len() < all.len() {
            self.prepare_after(request, &assumed(&restarted, &all, &files)).await?
        } else {
            prepared
        };
        self.check_room(&predecessors, &prepared.deployment).await?;
        for predecessor in predecessors.iter_mut().filter(|p| !p.restarts.is_empty()) {
            let container = &predecessor.live.container;
            let mounts = container.mounts.iter().map(|m| m.destination.as_str());
            let tmpfs = container.host_config.tmpfs.keys().map(String::as_str);
            let mounts: Vec<&str> = mounts.chain(tmpfs).collect();
            let changes = predecessor::changes(&predecessor.container, &mounts).await?;
            predecessor.changes = changes;
        }
        in_order(&mut predecessors, &prepared.deployment);
        let fingerprint = fingerprint(&predecessors, &files, &prepared);
        let notes = [made.imported.notes, files.notes(&prepared.set)].concat();
        Ok(Adoption { notes, predecessors, left_alone, prepared, fingerprint, files })
    }

    /// Carries a takeover out that has been planned; its events come through
    /// `progress`, the last one its outcome. It goes on when nobody listens
    /// any more.
    ///
    /// # Errors
    ///
    /// As [`Self::plan_adoption`], the service is busy, or the plan is another
    /// one by now: nothing has changed then.
    pub async fn adopt(
        &self,
        service: &ServiceName,
        fingerprint: &str,
        by: &str,
        progress: Progress,
    ) -> Result<(), EngineError> {
        let busy = self.take(service, ADOPT)?;
        let step = progress.step("check", service.as_str()).await;
        let adoption = self.plan_adoption(service, by).await?;
        if adoption.fingerprint != fingerprint {
            return Err(EngineError::Overtaken { service: service.clone() });
        }
        step.done().await;
        let Adoption { predecessors, prepared, files, .. } = adoption;
        let journal = Journal::new(&predecessors, &files, self.tools().store.systemd_root())?;
        self.reserve(&prepared.deployment)?;
        // Before the deploy begins: whatever undoes it has to know what was
        // there.
        self.write_journal(service, &journal)?;
        let engine = self.clone();
        let (tell, begun) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            match engine.begin(prepared).await {
                Ok(deploy) => {
                    drop(tell.send(Ok(())));
                    let aside = engine.put_aside(&deploy.service, journal, &progress).await;
                    engine.finish_after(aside, deploy, busy, progress).await;
                }
                Err(error) => {
                    let forgotten = engine.forget_journal(&busy.service);
                    drop(tell.send(Err(forgotten.err().unwrap_or(error))));
                }
            }
        });
        begun.await.unwrap_or(Ok(()))
    }

    /// Refuses to put anything where something is already: nobody knows what.
    async fn check_room(
        &self,
        predecessors: &[Predecessor],
        deployment: &Deployment,
    ) -> Result<(), EngineError> {
        let mut problems = Vec::new();
        for copy in predecessors.iter().flat_map(|p| &p.volumes) {
            if predecessor::volume_exists(&copy.to).await? {
                problems.push(format!(
                    "the volume at {} has no name, and would be copied to {}, which is there already: podman volume inspect {2}, podman volume rm {2}",
                    copy.target, copy.to, copy.to
                ));
            }
        }
        for p in predecessors.iter().filter(|p| !p.restarts.is_empty()) {
            let before = format!("{}{BEFORE}", p.container);
            if predecessor::exists(&before).await? {
                problems.push(format!(
                    "{before} is there from an earlier takeover; once it is not needed: podman rm {before}"
                ));
            }
            let container = &p.live.container;
            let nameless: Vec<&str> =
                container.anonymous_volumes().map(|v| v.destination.as_str()).collect();
            if container.host_config.auto_remove && !nameless.is_empty() {
                problems.push(format!(
                    "{} has to be restarted, and what is at {} goes with each of its ends, for its volume has no name: give it one first",
                    p.container,
                    nameless.join(" and ")
                ));
            }
        }
        for container in &deployment.containers {
            let name = container.name.as_str();
            let is_taken = predecessors.iter().any(|p| p.container == name);
            if !is_taken && predecessor::exists(name).await? {
                problems.push(format!(
                    "there is another container {name}, which the new one would replace: podman rename {name} {name}-old"
                ));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(EngineError::Preflight { problems }) }
    }
}

impl Predecessor {
    /// Makes one that nothing is known of yet but what it becomes.
    fn new(live: Live, taken: Taken) -> Self {
        Self {
            container: taken.container,
            component: taken.component,
            unit: live.unit.as_ref().map(|unit| UnitName::from_systemd(unit.name.clone())),
            restarts: Vec::new(),
            difference: Difference::default(),
            changes: Vec::new(),
            volumes: taken.volumes,
            live,
        }
    }

    /// Finds out how it differs from what would run, and whether it can stay
    /// up.
    fn compare(&mut self, prepared: &Prepared) -> Result<(), EngineError> {
        let Some(container) = prepared.deployment.container(&self.component) else {
            self.restarts = vec!["the definition has no such component".to_owned()];
            return Ok(());
        };
        let unit = container.name.unit();
        let text = prepared.report.as_ref().and_then(|report| report.units.get(unit.as_str()));
        let words = text.and_then(|text| proof::exec_start(text)).unwrap_or_default();
        self.difference = difference(&self.live, &words).map_err(EngineError::NotAdoptable)?;
        self.restarts = self.why_restarted(container, &unit);
        Ok(())
    }

    fn why_restarted(&self, container: &Container, unit: &UnitName) -> Vec<String> {
        let mut why = Vec::new();
        match (&self.unit, &self.live.unit) {
            (None, _) | (_, None) => {
                why.push("podman runs it, and systemd takes over no process that runs".to_owned());
            }
            (Some(own), Some(live)) if own != unit => {
                why.push(format!("its unit is {own} ({}), and becomes {unit}", live.path));
            }
            (Some(own), Some(live)) if !live.is_quadlet => {
                why.push(format!(
                    "{own} comes from {}, and systemd cannot exchange the kind of a unit that runs",
                    live.path
                ));
            }
            (Some(_), Some(_)) => {}
        }
        if self.container != container.name.as_str() {
            why.push(format!("it is called {}, and becomes {}", self.container, container.name));
        }
        if !self.difference.is_empty() {
            why.push("what would run differs from what runs".to_owned());
        }
        why
    }
}

/// Returns what is put aside: those that are stopped, and the files of all.
fn assumed(stopped: &[&Predecessor], all: &[&Predecessor], things: &ThingFiles) -> Assumed {
    let of_things = things.aside.iter().map(|thing| thing.path.clone());
    let aside = Aside {
        stopped: stopped.iter().filter_map(|p| p.unit.clone()).collect(),
        ports: stopped.iter().flat_map(|p| p.live.container.node_ports()).collect(),
        files: all
            .iter()
            .filter_map(|p| Some(PathBuf::from(&p.live.unit.as_ref()?.path)))
            .chain(of_things)
            .collect(),
        stay: things.stay.iter().map(|(thing, _)| thing.path.clone()).collect(),
    };
    Assumed { aside, ..Assumed::default() }
}

/// Has every component run the very image that it runs.
fn wish(taken: &[Taken], images: &[Image]) -> ImageWish {
    let by_component = taken.iter().map(|t| t.component.clone()).zip(images.iter().cloned());
    ImageWish::Exactly(by_component.collect::<Images>())
}

/// Sorts containers as their components are started.
fn in_order(predecessors: &mut [Predecessor], deployment: &Deployment) {
    let order: Vec<ComponentName> = deployment.layers().into_iter().flatten().collect();
    predecessors.sort_by_key(|p| order.iter().position(|component| *component == p.component));
}

fn fingerprint(predecessors: &[Predecessor], things: &ThingFiles, prepared: &Prepared) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    add(&prepared.request.definition);
    for p in predecessors {
        add(&p.live.container.id);
        for text in p.restarts.iter().chain(&p.difference.gone).chain(&p.difference.new) {
            add(text);
        }
        if let Some(unit) = &p.live.unit {
            add(&unit.path);
            add(&unit.text);
        }
    }
    for thing in &things.aside {
        add(&thing.path.to_string_lossy());
        add(&thing.text);
    }
    for (thing, other) in &things.stay {
        add(&thing.path.to_string_lossy());
        add(&other.to_string_lossy());
    }
    let digest = hash.finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The node's files, as an import asks for them.
struct NodeFiles;

impl Files for NodeFiles {
    fn text(&mut self, _: &str) -> Result<Option<String>, String> {
        // What a file held when the container was made is in the container.
        Ok(None)
    }

    fn exists(&self, path: &str) -> bool {
        std::path::Path::new(path).exists()
    }
}
