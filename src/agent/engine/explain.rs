//! Gathering what explains a state. What it means is decided in
//! [`crate::agent::explain`].

use std::collections::BTreeMap;

use super::failing::ExplainedSchedule;
use super::status::{ComponentState, ComponentStatus, ServiceStatus};
use super::surroundings::{holders, mounts};
use super::{Engine, EngineError, lifecycle};
use crate::agent::explain::journal::End;
use crate::agent::explain::undeployed;
use crate::agent::explain::{
    self, Evidence, Explanation, Journal, Link, Owner, Said, Speaker, Stop, UnitFacts,
};
use crate::agent::finding::Level;
use crate::agent::gate::now_ms;
use crate::agent::host::disk;
use crate::agent::identity::Users;
use crate::deployment::{Container, Deployment};
use crate::names::{ComponentName, Generation, ServiceName, UnitName};
use crate::podman::{self, images, pause};
use crate::quadlet::UnitSet;
use crate::systemd::journal::{self, Origin};
use crate::systemd::{ActiveState, Diagnosis, LoadState, Manager, since_epoch_ms};
use crate::telemetry::Chain;

/// How many lines of a unit's journal are looked at: some runs, if short.
const LINES: u32 = 80;

/// A service, explained.
#[derive(Debug, Clone)]
pub struct ExplainedService {
    /// The service.
    pub service: ServiceName,
    /// The generation in force, if there is one.
    pub generation: Generation,
    /// Whether it is to run.
    pub active: bool,
    /// What there is to say of it as a whole.
    pub notes: Vec<Explanation>,
    /// Its components.
    pub components: Vec<ExplainedComponent>,
    /// Those of their schedules that fail.
    pub schedules: Vec<ExplainedSchedule>,
}

/// A component, explained.
#[derive(Debug, Clone)]
pub struct ExplainedComponent {
    /// What was looked at.
    pub evidence: Evidence,
    /// What came of it.
    pub explanation: Explanation,
}

impl Engine {
    /// Returns whose containers these are.
    pub fn owner(&self) -> Owner {
        let uid = rustix::process::geteuid().as_raw();
        let user = Users::load_or_empty().name(uid).map_or_else(|| uid.to_string(), str::to_owned);
        let home = std::env::var("HOME").unwrap_or_else(|_| {
            // As `~/.config` is where the units are.
            let config = self.tools().store.search_root().ancestors().nth(3);
            config.unwrap_or(&self.tools().state_dir).display().to_string()
        });
        Owner { user, uid, home }
    }

    /// Explains one service or one component of it, or all services.
    ///
    /// # Errors
    ///
    /// There is no such component, or neither systemd nor the registry answers.
    pub async fn explain(
        &self,
        service: Option<&ServiceName>,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ExplainedService>, EngineError> {
        let statuses = self.status_on_its_way(service).await?;
        if let (Some(service), []) = (service, statuses.as_slice()) {
            return Ok(vec![self.explain_absent(service).await?]);
        }
        let mut found = Vec::new();
        for mut status in statuses {
            let known = status.components.iter().map(|c| c.container.spec.name.to_string());
            let known: Vec<String> = known.collect();
            if status.operation.is_none() {
                self.add_file_drift(&mut status).await?;
            }
            if let Some(one) = component {
                status.components.retain(|c| c.container.spec.name == *one);
                if status.components.is_empty() {
                    let service = status.accepted.row.name.clone();
                    return Err(EngineError::NoComponent {
                        service,
                        component: one.clone(),
                        known,
                    });
                }
            }
            found.push(self.explain_service(&status).await?);
        }
        Ok(found)
    }

    async fn explain_service(
        &self,
        status: &ServiceStatus,
    ) -> Result<ExplainedService, EngineError> {
        let service = &status.accepted.row.name;
        let past = match status.operation {
            Some(_) => None,
            None => self.latest_of(service).await?,
        };
        let taken_back =
            past.and_then(|past| undeployed::rolled_back(service, &past, &self.owner()));
        let mut components = Vec::new();
        for component in &status.components {
            let mut evidence = self.evidence(status, component).await?;
            if evidence.has_not_begun() {
                evidence.stage = self
                    .stage_waited_for(service, &evidence.container.name.unit())
                    .await?
                    .map(|stage| stage.to_string());
                evidence.chain = self.chain(&evidence.container).await?;
            }
            let explanation = explain::explain(&evidence);
            components.push(ExplainedComponent { evidence, explanation });
        }
        // What runs since does not fail, however its deploy ended.
        let is_well = components.iter().all(|c| c.explanation.level == Level::Fine);
        let over = |note: Explanation| match note.level {
            Level::Failed if is_well => Explanation { level: Level::Warning, ..note },
            Level::Fine | Level::Warning | Level::Failed => note,
        };
        Ok(ExplainedService {
            service: service.clone(),
            generation: status.accepted.row.generation,
            active: status.accepted.row.active,
            notes: taken_back.map(over).into_iter().collect(),
            components,
            schedules: self.failing_schedules(status).await?,
        })
    }

    /// Gathers what is known of a component, but what it waits for.
    async fn evidence(
        &self,
        status: &ServiceStatus,
        component: &ComponentStatus,
    ) -> Result<Evidence, EngineError> {
        let container = component.container.clone();
        let unit = container.name.unit();
        let operation = status.operation;
        let diagnoses = self.manager().diagnoses(std::slice::from_ref(&unit)).await?;
        let service = status.accepted.row.name.clone();
        let quiet = !component.desired
            || (component.state == ComponentState::Running && component.restarts == 0);
        // What was before it is not what an operation waits for.
        let since = operation.map(|operation| operation.since_ms);
        let journal = if quiet {
            Journal::default()
        } else {
            read_journal(self.manager(), &unit, since).await
        };
        let pulling = match operation {
            Some(operation) if operation.starts => self.is_being_pulled(&container).await?,
            Some(_) | None => false,
        };
        let condition = &component.condition;
        let mut evidence = Evidence {
            desired: component.desired,
            operation,
            pulling,
            state: component.state,
            unit: facts(component, diagnoses.into_iter().next()),
            health: (condition.word, condition.reason.clone(), condition.action.clone()),
            restarts: component.restarts,
            drift: component.drift.clone(),
            journal,
            ..self.nothing_known((service, container), &status.accepted.deployment)
        };
        if !evidence.desired {
            evidence.stop = self.stopped_by(&evidence.service).await?;
        }
        let broken = !matches!(evidence.unit.load.as_str(), "loaded" | "");
        if evidence.is_troubled() || (evidence.desired && broken) {
            self.look_closer(&mut evidence).await?;
        }
        Ok(evidence)
    }

    /// Returns what is known of a component before anybody has looked.
    pub(super) fn nothing_known(
        &self,
        (service, container): (ServiceName, Container),
        deployment: &Deployment,
    ) -> Evidence {
        Evidence {
            networks: deployment.networks().into_iter().cloned().collect(),
            owner: self.owner(),
            now_ms: now_ms(),
            desired: true,
            operation: None,
            pulling: false,
            state: ComponentState::Failed,
            unit: UnitFacts::default(),
            health: ("none", String::new(), String::new()),
            restarts: 0,
            drift: Vec::new(),
            journal: Journal::default(),
            pull: Vec::new(),
            image_there: None,
            generator: Vec::new(),
            mounts: Vec::new(),
            holders: Vec::new(),
            chain: Vec::new(),
            stage: None,
            stop: None,
            full: Vec::new(),
            pause: pause::is_alive(&self.tools().runtime),
            container,
            service,
        }
    }

    async fn is_being_pulled(&self, container: &Container) -> Result<bool, EngineError> {
        let listed = self.manager().listed(&[container.name.image_unit()]).await?;
        Ok(listed.iter().any(|unit| unit.active == ActiveState::Activating))
    }

    /// Adds what costs more to find out.
    pub(super) async fn look_closer(&self, evidence: &mut Evidence) -> Result<(), EngineError> {
        let container = evidence.container.clone();
        if evidence.pause {
            // Without the pause process podman would make one, in our mount
            // namespace.
            evidence.image_there = podman::image_exists(&container.image).await.ok();
        }
        if evidence.image_there == Some(false) {
            let pulled = read_journal(self.manager(), &container.name.image_unit(), None).await;
            let failed = pulled.current.is_empty();
            let lines = pulled.failed.into_iter().filter(|said| said.speaker == Speaker::Podman);
            evidence.pull = lines.filter(|_| failed).map(|said| said.text).collect();
        }
        if evidence.unit.load == LoadState::NotFound.as_str() {
            evidence.generator = self.generator_says().await?;
        }
        let others = self.deployments();
        let storage = images::own_store(|name| std::env::var_os(name));
        let runtime = self.tools().runtime.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut disks = vec![disk::look(&runtime, "what is there until the next boot")];
            disks.extend(storage.iter().map(|path| disk::look(path, "podman's storage")));
            let full = disks.iter().map(disk::judge).filter(|f| f.level == Level::Failed);
            (mounts(&container), holders(&container, &others), full.map(|f| f.message).collect())
        });
        (evidence.mounts, evidence.holders, evidence.full) =
            looked.await.map_err(EngineError::Lost)?;
        Ok(())
    }

    /// Returns what podman's generator says against the files on disk.
    async fn generator_says(&self) -> Result<Vec<String>, EngineError> {
        let Ok(toolchain) = self.toolchain() else { return Ok(Vec::new()) };
        // No service has this name's files, so everything is read as it is.
        let Ok(nothing) = "mcp-explain".parse() else { return Ok(Vec::new()) };
        let set = UnitSet::new(nothing, false);
        let live = self.tools().store.search_root();
        let report = toolchain.generator.check_set(&set, live).await?;
        Ok(report.messages)
    }

    async fn stopped_by(&self, service: &ServiceName) -> Result<Option<Stop>, EngineError> {
        let last = self.registry().last_ended_operation(service).await?;
        Ok(last
            .filter(|row| row.kind == lifecycle::STOP)
            .map(|row| Stop { by: row.by, ago_ms: now_ms().saturating_sub(row.at_ms) }))
    }

    /// Follows what a container requires down to what is not ready for itself.
    async fn chain(&self, container: &Container) -> Result<Vec<Link>, EngineError> {
        let names = self.component_names();
        let mut at = container.name.unit();
        let mut path: Vec<(UnitName, Diagnosed)> = Vec::new();
        loop {
            let edges = self.manager().unit_edges(std::slice::from_ref(&at)).await?;
            let requires = edges.into_iter().flat_map(|edges| edges.requires);
            let mut units: Vec<UnitName> = requires
                .filter(|unit| *unit != container.name.unit())
                .filter(|unit| path.iter().all(|(known, _)| known != unit))
                .collect();
            units.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            let states = self.manager().unit_states(&units).await?;
            let broken = states.into_iter().map(Diagnosed::of).filter(|d| d.rank > 0);
            let Some(worst) = broken.max_by_key(|d| d.rank) else { break };
            at = worst.unit.clone();
            path.push((at.clone(), worst));
        }
        let mut links: Vec<Link> =
            path.into_iter().map(|(unit, diagnosed)| link(&names, &unit, &diagnosed)).collect();
        if let Some(last) = links.last_mut() {
            self.explain_link(last, &at).await?;
        }
        Ok(links)
    }

    /// Says why the last link is as it is.
    async fn explain_link(&self, link: &mut Link, unit: &UnitName) -> Result<(), EngineError> {
        if link.component {
            let path = link.name.split_once('/').and_then(|(service, component)| {
                Some((service.parse::<ServiceName>().ok()?, component.to_owned()))
            });
            let Some((service, component)) = path else { return Ok(()) };
            let statuses = self.status(Some(&service)).await?;
            for mut status in statuses {
                if status.operation.is_none() {
                    self.add_file_drift(&mut status).await?;
                }
                let found = status.components.iter();
                let mut found = found.filter(|c| c.container.spec.name.as_str() == component);
                if let Some(found) = found.next() {
                    let explained = explain::explain(&self.evidence(&status, found).await?);
                    link.why = explained.reason;
                    link.mend = explained.mend;
                }
            }
            return Ok(());
        }
        let journal = read_journal(self.manager(), unit, None).await;
        journal.last_words().unwrap_or_default().clone_into(&mut link.why);
        let owner = self.owner();
        link.mend = vec![
            owner.systemctl(&format!("status {unit}")),
            owner.systemctl(&format!("restart {unit}")),
        ];
        Ok(())
    }

    /// Returns the components by their units.
    pub(super) fn component_names(&self) -> BTreeMap<UnitName, String> {
        let mut names = BTreeMap::new();
        for deployment in self.deployments() {
            for container in &deployment.containers {
                let name = format!("{}/{}", deployment.service, container.spec.name);
                names.insert(container.name.unit(), name);
            }
        }
        names
    }
}

/// A unit, and how much it is in the way.
struct Diagnosed {
    unit: UnitName,
    state: String,
    /// 0: not at all.
    rank: u8,
}

impl Diagnosed {
    fn of(state: crate::systemd::UnitState) -> Self {
        let rank = match super::status::component_state(&state) {
            ComponentState::Running | ComponentState::Done => 0,
            ComponentState::Stopping => 1,
            ComponentState::Stopped => 2,
            ComponentState::Starting => 3,
            ComponentState::Missing => 4,
            ComponentState::Failed => 5,
            ComponentState::Restarting => 6,
        };
        let word = super::status::component_state(&state).as_str();
        let word = if state.load == LoadState::Masked { "masked" } else { word };
        Self { unit: state.name, state: word.to_owned(), rank }
    }
}

fn link(names: &BTreeMap<UnitName, String>, unit: &UnitName, diagnosed: &Diagnosed) -> Link {
    let name = names.get(unit);
    Link {
        name: name.cloned().unwrap_or_else(|| unit.to_string()),
        component: name.is_some(),
        state: diagnosed.state.clone(),
        why: String::new(),
        mend: Vec::new(),
    }
}

/// Reads what was written about a unit lately, since a moment if one is given,
/// in milliseconds since the Unix epoch. That it cannot be read is told
/// by the doctor; here it only leaves less to go by.
pub(super) async fn read_journal(
    manager: &Manager,
    unit: &UnitName,
    since_ms: Option<i64>,
) -> Journal {
    let earliest = since_ms.and_then(|ms| u64::try_from(ms.saturating_mul(1000)).ok());
    let in_time = |entry: &journal::Entry| earliest.is_none_or(|us| entry.written_us >= us);
    let said = |entry: journal::Entry| Said {
        speaker: match entry.origin {
            Origin::Container => Speaker::Container,
            Origin::Helper => Speaker::Podman,
            Origin::Systemd => Speaker::Systemd,
        },
        text: entry.message,
    };
    match manager.last_lines(unit, None, LINES).await {
        Ok(entries) => Journal::of(entries.into_iter().filter(in_time).map(said).collect()),
        Err(error) => {
            tracing::warn!(%unit, error = %Chain(&error), "a unit is explained without its journal");
            Journal::default()
        }
    }
}

fn facts(component: &ComponentStatus, found: Option<Diagnosis>) -> UnitFacts {
    let Some(found) = found else { return UnitFacts::default() };
    let changed = found.changed.map(since_epoch_ms);
    let delay = found.restart_delay.and_then(|d| i64::try_from(d.as_millis()).ok());
    let waits = component.state == ComponentState::Restarting;
    UnitFacts {
        load: found.unit.load.as_str().to_owned(),
        sub: found.unit.sub,
        end: End::of(found.ended.code, found.ended.status),
        result: found.ended.result,
        drop_ins: found.drop_ins,
        failed_command: found.failed_command,
        started_ms: found.started.map(since_epoch_ms),
        since_ms: component.since.map(since_epoch_ms),
        next_try_ms: changed.zip(delay).filter(|_| waits).map(|(at, delay)| at + delay),
    }
}
