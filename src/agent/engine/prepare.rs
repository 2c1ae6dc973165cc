//! From a definition to a plan that is proved: everything that can be known
//! before anything is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Accepted, Engine, EngineError, ImageWish, accepted, component, preflight, pulling};
use crate::agent::plan::{self, ImageState, Plan, Present, Side};
use crate::definition::service::{ExtraKey, Restart};
use crate::definition::{self, Service};
use crate::deployment::{Container, Deployment, Leases, NodeFacts, ports, resolve};
use crate::names::{ComponentName, ContainerName, ServiceName, UnitName};
use crate::quadlet::{UnitSet, proof};
use crate::systemd::calendar;
use crate::units::GeneratorReport;

/// What a deploy is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Text of the definition.
    pub definition: String,
    /// Name of its file, for messages and headings.
    pub file_name: String,
    /// The only component to deploy.
    pub component: Option<ComponentName>,
    /// Which images it is to run.
    pub images: ImageWish,
    /// Who asks.
    pub by: String,
}

/// A deploy that can begin.
#[derive(Debug)]
pub struct Prepared {
    /// What was asked for; the definition is the whole new one.
    pub request: Request,
    /// The generation in force.
    pub old: Option<Arc<Accepted>>,
    /// Its files, as they are on disk.
    pub disk: Option<UnitSet>,
    /// What will run.
    pub deployment: Deployment,
    /// Its files.
    pub set: UnitSet,
    /// The way there.
    pub plan: Plan,
    /// What podman's generator made of the new files; none if they are the
    /// old ones.
    pub report: Option<GeneratorReport>,
    /// What drop-ins and `extra` keys add to what the definition means.
    pub additions: Vec<String>,
    /// What to know of the images.
    pub notes: Vec<String>,
}

/// What is assumed to have been done before a deploy is prepared: a plan of
/// several operations looks at each as if those before it were over.
#[derive(Debug, Default)]
pub struct Assumed {
    /// Services that have been deployed.
    pub deployed: Vec<Deployment>,
    /// Services that have been taken away.
    pub gone: BTreeSet<ServiceName>,
    /// What others run that has been put aside.
    pub aside: Aside,
}

/// What others run that is put aside for a service.
#[derive(Debug, Default)]
pub struct Aside {
    /// Units that are stopped.
    pub stopped: BTreeSet<UnitName>,
    /// Ports of the node that are free then, UDP or not.
    pub ports: BTreeSet<(u16, bool)>,
    /// Unit files that are gone then.
    pub files: BTreeSet<PathBuf>,
    /// Files of networks, volumes and images that stay, as is told.
    pub stay: BTreeSet<PathBuf>,
}

impl Assumed {
    /// Returns what the services of the node will be then.
    pub(super) fn among(&self, services: Vec<Deployment>) -> Vec<Deployment> {
        let stays = |d: &Deployment| !self.gone.contains(&d.service) && !self.replaces(&d.service);
        services.into_iter().filter(stays).chain(self.deployed.iter().cloned()).collect()
    }

    fn replaces(&self, service: &ServiceName) -> bool {
        self.deployed.iter().any(|d| d.service == *service)
    }

    /// Returns those services of today that will not be as they are.
    pub(super) fn outdated(&self, services: Vec<Deployment>) -> Vec<Deployment> {
        let goes = |d: &Deployment| self.gone.contains(&d.service) || self.replaces(&d.service);
        services.into_iter().filter(goes).collect()
    }
}

/// Files that podman's generator reads as they are meant.
#[derive(Debug, Default)]
pub(super) struct Proved {
    report: GeneratorReport,
    additions: Vec<String>,
}

impl Proved {
    /// Returns the units that the generator made, by name.
    pub(super) fn units(self) -> BTreeMap<String, String> {
        self.report.units
    }
}

impl Prepared {
    /// Tells whether the deploy would change nothing but the words of the
    /// definition.
    pub fn changes_nothing(&self) -> bool {
        let pulls = self.request.images == ImageWish::PullAgain;
        let same = |old: &Accepted| {
            // What only the agent acts on is in no file.
            old.set == self.set && old.deployment.heal == self.deployment.heal
        };
        !pulls && self.plan.is_empty() && self.old.as_deref().is_some_and(same)
    }

    /// Returns what is odd about the deploy, for people.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for container in &self.deployment.containers {
            let component = &container.spec.name;
            if container.image.version() == "latest" {
                warnings.push(format!(
                    "component {component}: {} can mean another image tomorrow; write a tag or a digest",
                    container.image
                ));
            }
            if !container.spec.extra.is_empty() {
                warnings.push(unchecked(&format!("component {component}"), &container.spec.extra));
            }
        }
        let networks = self.deployment.network_specs.iter();
        let networks = networks.map(|(name, spec)| (format!("network {name}"), &spec.extra));
        let volumes = self.deployment.volume_specs.iter();
        let volumes = volumes.map(|(name, spec)| (format!("volume {name}"), &spec.extra));
        for (what, extra) in networks.chain(volumes).filter(|(_, extra)| !extra.is_empty()) {
            warnings.push(unchecked(&what, extra));
        }
        warnings.extend(self.notes.iter().cloned());
        warnings.extend(self.additions.iter().map(|a| format!("beside the definition: {a}")));
        let noise = |m: &&String| !m.contains("Loading source ");
        warnings.extend(self.report.iter().flat_map(|r| r.messages.iter().filter(noise).cloned()));
        warnings
    }
}

impl Engine {
    /// Returns what podman's generator makes of the generation in force, by
    /// unit; nothing if a prepared deploy changes no file.
    ///
    /// # Errors
    ///
    /// The generator cannot be asked.
    pub async fn generated(
        &self,
        prepared: &Prepared,
    ) -> Result<BTreeMap<String, String>, EngineError> {
        let before = prepared.disk.as_ref().or(prepared.old.as_ref().map(|o| &o.set));
        let (Some(before), Some(_)) = (before, &prepared.report) else {
            return Ok(BTreeMap::new());
        };
        let _quiet = self.inner.units.lock().await;
        let live = self.tools().store.search_root();
        Ok(self.toolchain()?.generator.check_set(before, live).await?.units)
    }

    /// Prepares a deploy: checks the definition, resolves it, leases ports,
    /// renders, and has podman's generator prove the result. Changes nothing.
    ///
    /// # Errors
    ///
    /// Whatever stands against the deploy.
    pub async fn prepare(&self, request: Request) -> Result<Prepared, EngineError> {
        self.prepare_after(request, &Assumed::default()).await
    }

    /// As [`Engine::prepare`], as if other operations had been done before.
    ///
    /// # Errors
    ///
    /// Whatever stands against the deploy.
    pub async fn prepare_after(
        &self,
        mut request: Request,
        assumed: &Assumed,
    ) -> Result<Prepared, EngineError> {
        let mut service = parse(&request)?;
        let old = self.find(&service.name);
        if let Some(component) = request.component.clone() {
            request.definition =
                component::only(&request, &component, &service.name, old.as_deref())?;
            service = parse(&request)?;
        }
        let toolchain = self.toolchain()?;
        let neighbours = assumed.among(self.neighbours(&service.name));
        let leases = self.lease(&service, old.as_deref(), &neighbours).await?;
        let next = match &old {
            Some(old) => old.row.generation.next(),
            None => self.registry().next_generation(&service.name).await?,
        };
        let present: Vec<Deployment> =
            neighbours.iter().chain(old.as_ref().map(|o| &o.deployment)).cloned().collect();
        let deployment = resolve(&service, &self.facts(), &leases, Some(&present), next)
            .map_err(EngineError::Resolve)?;
        self.check_boot(&deployment, &neighbours)?;
        let taken = self.check_present(&deployment, &present).await?;
        let mut set = toolchain.renderer.render(&deployment, &request.file_name)?;
        let disk = self.on_disk(&service.name).await?;
        for before in old.iter().map(|o| &o.set).chain(&disk) {
            plan::keep_unchanged(before, &mut set);
        }
        let mut up = self.up_of_either(old.as_deref(), &deployment).await?;
        up.retain(|unit| !assumed.aside.stopped.contains(unit));
        let accepted = old.as_ref().map(|o| Side { deployment: &o.deployment, set: &o.set });
        let recorded = old.as_ref().map(|o| o.images.clone()).unwrap_or_default();
        self.check_images(&deployment, &request.images).await?;
        let images = self.image_states_of(&deployment, &recorded, &request.images).await?;
        let present = Present { accepted, disk: disk.as_ref(), up: &up, images: &images };
        let done = self.done(accepted).await?;
        let mut plan =
            plan::plan_around(present, &done, Side { deployment: &deployment, set: &set });
        if !self.can_stand_in() {
            plan.without_switches();
        }
        let mut holders = assumed.outdated(self.neighbours(&service.name));
        holders.extend(old.iter().map(|o| o.deployment.clone()));
        let before =
            preflight::Before { old: old.as_deref(), holders: &holders, aside: &assumed.aside };
        // Before the proof, which fails too where somebody else's file makes a
        // unit of ours, and cannot say so.
        let goes_on =
            |c: &Container| up.contains(&c.name.unit()) && same_image(old.as_deref(), c, &plan);
        let lacking = lacking(&deployment, &images, goes_on);
        preflight::check(self, before, (&deployment, &plan), &lacking).await?;
        let left_out = &assumed.aside.files;
        let proved = if plan.files.is_empty() {
            None
        } else {
            Some(self.prove_without(&deployment, &set, left_out).await?)
        };
        let (report, additions) = proved.map(|p| (p.report, p.additions)).unzip();
        let additions = additions.unwrap_or_default();
        let mut notes = self.notes(&request, &deployment);
        notes.extend(taken);
        Ok(Prepared { request, old, disk, deployment, set, plan, report, additions, notes })
    }

    /// Returns what cannot be planned of the images, for people.
    fn notes(&self, request: &Request, deployment: &Deployment) -> Vec<String> {
        if request.images == ImageWish::PullAgain {
            let again = |c: &&Container| pulling::may_move(c, request.component.as_ref());
            return deployment
                .containers
                .iter()
                .filter(again)
                .map(|c| {
                    format!(
                        "component {}: {} is pulled; if it has become another image, the component is restarted",
                        c.spec.name, c.image
                    )
                })
                .collect();
        }
        self.shares_names(deployment, &request.images)
    }

    fn facts(&self) -> NodeFacts {
        let node = &self.tools().node;
        NodeFacts {
            node: Some(node.name.clone()),
            address: node.address,
            image_registry: node.image_registry.clone(),
        }
    }

    async fn lease(
        &self,
        service: &Service,
        old: Option<&Accepted>,
        neighbours: &[Deployment],
    ) -> Result<Leases, EngineError> {
        let had = old.map(Accepted::leases).unwrap_or_default();
        let address = self.tools().node.address;
        let range = self.tools().node.ports.first()..=self.tools().node.ports.last();
        let mut taken: BTreeSet<u16> = self
            .registry()
            .leases()
            .await?
            .into_iter()
            .filter(|l| l.service != service.name)
            .map(|l| l.port)
            .collect();
        for container in neighbours.iter().flat_map(|d| &d.containers) {
            taken.extend(container.occupied().iter().map(|p| p.host));
            taken.extend(container.leases().map(|(_, port)| port));
        }
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let is_free = |port| preflight::is_free(address, port) && preflight::is_free(local, port);
        Ok(ports::lease(service, &had, &taken, &range, is_free)?)
    }

    /// Returns the units of a generation in force that have done their work.
    pub(super) async fn done(
        &self,
        accepted: Option<Side<'_>>,
    ) -> Result<BTreeSet<UnitName>, EngineError> {
        let Some(old) = accepted.filter(|old| old.deployment.active) else {
            return Ok(BTreeSet::new());
        };
        let ends = |c: &&Container| c.spec.restart != Restart::Always;
        let units: Vec<UnitName> =
            old.deployment.containers.iter().filter(ends).map(|c| c.name.unit()).collect();
        let states = self.manager().unit_states(&units).await?;
        Ok(states.into_iter().filter(|state| state.by_itself).map(|state| state.name).collect())
    }

    /// Returns which of the old and new containers' units run.
    async fn up_of_either(
        &self,
        old: Option<&Accepted>,
        new: &Deployment,
    ) -> Result<BTreeSet<UnitName>, EngineError> {
        let mut units = accepted::container_units(new);
        units.extend(old.map(|o| accepted::container_units(&o.deployment)).unwrap_or_default());
        units.sort();
        units.dedup();
        self.up(&units).await
    }

    pub(super) async fn prove(
        &self,
        deployment: &Deployment,
        set: &UnitSet,
    ) -> Result<Proved, EngineError> {
        self.prove_without(deployment, set, &BTreeSet::new()).await
    }

    /// As [`Self::prove`], as if some files of others were gone.
    async fn prove_without(
        &self,
        deployment: &Deployment,
        set: &UnitSet,
        left_out: &BTreeSet<PathBuf>,
    ) -> Result<Proved, EngineError> {
        let toolchain = self.toolchain()?;
        let (generator, agent) = (&toolchain.generator, toolchain.renderer.agent());
        // Files of another service must not change while they are copied.
        let _quiet = self.inner.units.lock().await;
        let report =
            generator.check_set_without(set, self.tools().store.search_root(), left_out).await?;
        let refused = report.refused(set);
        if !refused.is_empty() || !report.fatal().is_empty() {
            let more = refused.into_iter().map(|file| format!("{file} makes no unit"));
            let messages = report.messages.iter().cloned().chain(more).collect();
            return Err(EngineError::Proof { messages });
        }
        let shown = |found: Vec<proof::Mismatch>| -> Vec<String> {
            found.iter().map(ToString::to_string).collect()
        };
        let mut wrong = shown(proof::compare_checks(deployment, agent, set));
        wrong.extend(refused_schedules(deployment).await);
        if !wrong.is_empty() {
            return Err(EngineError::Proof { messages: wrong });
        }
        let additions = shown(proof::compare(deployment, agent, &report.units));
        if deployment.active && self.can_try() {
            let root = self.tools().store.search_root();
            let tried = generator.check_trial(set, root, left_out).await?;
            let odd = shown(proof::compare(deployment, agent, &tried.units));
            if odd != additions || !tried.refused(set).is_empty() || !tried.fatal().is_empty() {
                let told = |when: &str, lines: &[String], others: &[String]| -> Vec<String> {
                    let only = lines.iter().filter(|line| !others.contains(line));
                    only.map(|line| format!("{when}: {line}")).collect()
                };
                let mut messages = tried.messages;
                messages.extend(told("while it is tried", &odd, &additions));
                messages.extend(told("once it is promoted", &additions, &odd));
                return Err(EngineError::Proof { messages });
            }
        }
        if additions.is_empty() {
            return Ok(Proved { report, additions });
        }
        // A person's drop-ins and `extra` keys may add to what is meant;
        // without them nothing may differ.
        let bare = deployment.without_extra();
        let bare_set = toolchain.renderer.render(&bare, "")?;
        let alone = generator.check_alone(&bare_set, self.tools().store.search_root()).await?;
        let messages = shown(proof::compare(&bare, agent, &alone.units));
        if messages.is_empty() {
            Ok(Proved { report, additions })
        } else {
            Err(EngineError::Proof { messages })
        }
    }
}

fn unchecked(what: &str, extra: &[ExtraKey]) -> String {
    let keys: Vec<&str> = extra.iter().map(|e| e.key.as_str()).collect();
    format!("{what}: taken over as written, unchecked: {}", keys.join(", "))
}

/// Returns the containers that are to run and whose image only this node could
/// have, and has not; those that go on need none.
fn lacking<'a>(
    deployment: &'a Deployment,
    images: &BTreeMap<ContainerName, ImageState>,
    goes_on: impl Fn(&Container) -> bool,
) -> Vec<&'a Container> {
    let named = |c: &Container| images.get(&c.name).is_some_and(|image| image.named.is_some());
    let lacks = |c: &&Container| !named(c) && c.image.is_local() && !goes_on(c);
    deployment.containers.iter().filter(|_| deployment.active).filter(lacks).collect()
}

/// Tells whether a container that runs goes on with the image that it has.
fn same_image(old: Option<&Accepted>, container: &Container, plan: &Plan) -> bool {
    let component = &container.spec.name;
    let before = old.and_then(|old| old.deployment.container(component));
    before.is_some_and(|before| before.image == container.image)
        && plan.effects.iter().all(|effect| effect.component != *component)
}

/// Returns what this node's systemd says against calendar expressions.
async fn refused_schedules(deployment: &Deployment) -> Vec<String> {
    let mut refused = Vec::new();
    for container in &deployment.containers {
        for schedule in &container.spec.schedules {
            for expression in &schedule.on_calendar {
                let said = match calendar::refused(expression).await {
                    Ok(None) => continue,
                    Ok(Some(said)) => said,
                    Err(error) => format!("systemd-analyze cannot be asked: {error}"),
                };
                let (component, name) = (&container.spec.name, &schedule.name);
                refused.push(format!(
                    "component {component}, schedule {name}, {expression:?}: {said}"
                ));
            }
        }
    }
    refused
}

/// Reads a definition.
pub(super) fn parse(request: &Request) -> Result<Service, EngineError> {
    definition::load(&request.definition).map_err(|invalid| EngineError::Invalid {
        lines: invalid.lines(&request.file_name, &request.definition),
    })
}
