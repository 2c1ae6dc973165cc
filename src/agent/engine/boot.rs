//! The boot order on disk: kept as the configuration and the services want
//! it.
//!
//! ```text
//!  configuration --start, SIGHUP--> wanted --check--> in force --render--> gates, stages
//!  deploy, stop, undeploy ----------- services ---------^                  (units of the node)
//! ```
//!
//! What cannot be in force leaves the sequence before it there. Writing these
//! units starts and stops nothing: they only matter when a boot starts them.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::{Accepted, Engine, EngineError, Tools};
use crate::deployment::{Deployment, Sequence, Stage};
use crate::names::{ServiceName, StageName, UnitName};
use crate::quadlet::boot_units::Services;
use crate::quadlet::render::{container_file, node_units};
use crate::quadlet::{Place, UnitSet};
use crate::systemd::{ActiveState, UnitState};
use crate::telemetry::Chain;
use crate::units::Installed;

/// Causes of problems that the boot order has.
const REFUSED: &str = "boot_sequence";
const UNKNOWN: &str = "boot_services";
const HEALTH: &str = "boot_health";
const UNORDERED: &str = "boot_units";

/// How podman is called by the node's own unit.
pub(super) const PODMAN: &str = "/usr/bin/env podman";

/// The boot sequence that is wanted, and the one on disk.
#[derive(Debug)]
pub(super) struct BootOrder {
    wanted: Arc<Sequence>,
    in_force: Arc<Sequence>,
    /// What was written last; empty: not known.
    written: Vec<(String, String)>,
}

/// What an installation means to the boot order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Boots<'a> {
    /// Nothing: the service boots as before.
    Before,
    /// The service boots as this deployment from now on.
    As(&'a Deployment),
    /// The service is gone.
    Gone(&'a ServiceName),
}

/// How far a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageState {
    /// Its services were ready.
    Reached,
    /// It is waited for.
    Waiting,
    /// It is waited for, longer than its `timeout`.
    Late,
    /// This boot knows nothing of it.
    Inactive,
}

impl StageState {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Waiting => "waiting",
            Self::Late => "late",
            Self::Inactive => "inactive",
        }
    }
}

impl BootOrder {
    /// Reads which sequence is on disk.
    pub(super) async fn load(tools: &Tools) -> Result<Self, EngineError> {
        let store = tools.store.clone();
        let record = tokio::task::spawn_blocking(move || store.read_boot_record())
            .await
            .map_err(EngineError::Lost)??;
        let in_force = match record.as_deref().map(serde_json::from_str::<Sequence>) {
            None => Sequence::default(),
            Some(Ok(sequence)) => sequence,
            Some(Err(error)) => {
                tracing::warn!(%error, "the record of the boot order cannot be read; it is made anew");
                Sequence::default()
            }
        };
        let (wanted, in_force) = (Arc::clone(&tools.boot), Arc::new(in_force));
        Ok(Self { wanted, in_force, written: Vec::new() })
    }
}

impl Engine {
    /// Returns the boot sequence in force.
    pub fn boot_sequence(&self) -> Arc<Sequence> {
        Arc::clone(&self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner).in_force)
    }

    /// Returns the units of the boot order as they were written last; none
    /// when they were not.
    pub(super) fn boot_files(&self) -> Vec<(String, String)> {
        self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner).written.clone()
    }

    /// Returns the targets of the stages in force.
    pub(super) fn boot_targets(&self) -> Vec<UnitName> {
        self.boot_sequence().stages.iter().map(|stage| UnitName::stage(&stage.name)).collect()
    }

    /// Puts a boot sequence in force, if it can be; else the problem is told.
    ///
    /// # Errors
    ///
    /// The unit directories cannot be changed, or systemd does not answer.
    pub async fn want_boot(&self, wanted: Arc<Sequence>) -> Result<(), EngineError> {
        self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner).wanted = wanted;
        self.arrange_boot_again().await
    }

    /// Brings the boot order up to date with the services.
    pub(super) async fn arrange_boot_again(&self) -> Result<(), EngineError> {
        let one_at_a_time = self.inner.units.lock().await;
        if self.arrange_boot(Boots::Before).await? {
            self.manager().reload().await?;
        }
        drop(one_at_a_time);
        Ok(())
    }

    /// Writes the units of the boot order, and tells whether any changed:
    /// systemd has to read them then. The caller holds the lock of the units.
    pub(super) async fn arrange_boot(&self, boots: Boots<'_>) -> Result<bool, EngineError> {
        let Ok(toolchain) = self.toolchain() else { return Ok(false) };
        let known = self.boot_deployments(boots);
        let store = self.tools().store.clone();
        let mut on_disk = tokio::task::spawn_blocking(move || store.services_with_targets())
            .await
            .map_err(EngineError::Lost)??;
        if let Boots::Gone(service) = boots {
            on_disk.retain(|present| present != service);
        }
        let sequence = self.choose_boot(&known, &on_disk);
        let find = |service: &ServiceName| known.iter().find(|d| d.service == *service);
        let services: Services<'_> =
            on_disk.iter().map(|service| (service.clone(), find(service))).collect();
        let files = toolchain.renderer.boot(&sequence, &services)?;
        {
            let boot = self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner);
            if boot.in_force == sequence && boot.written == files && !files.is_empty() {
                return Ok(false);
            }
        }
        let changed = self.write_boot(&sequence, files.clone()).await?;
        let mut boot = self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner);
        if boot.in_force != sequence {
            tracing::info!(stages = sequence.stages.len(), "the boot sequence is in force");
        }
        (boot.in_force, boot.written) = (sequence, files);
        Ok(changed)
    }

    async fn write_boot(
        &self,
        sequence: &Arc<Sequence>,
        files: Vec<(String, String)>,
    ) -> Result<bool, EngineError> {
        let stages: Vec<UnitName> =
            sequence.stages.iter().map(|stage| UnitName::stage(&stage.name)).collect();
        let record = serde_json::to_string_pretty(&**sequence).map_err(EngineError::BootRecord)?;
        let store = self.tools().store.clone();
        let written = move || {
            let mut changed = store.install_boot_units(&files)? != Installed::Unchanged;
            let node = store.install_node_units(&node_units(PODMAN, &stages))?;
            changed |= node != Installed::Unchanged;
            store.write_boot_record(&record)?;
            Ok(changed)
        };
        let written = tokio::task::spawn_blocking(written).await.map_err(EngineError::Lost)?;
        written.map_err(|error: crate::units::UnitsError| error.into())
    }

    /// Returns what runs or is to run, with one service as it will be.
    fn boot_deployments(&self, boots: Boots<'_>) -> Vec<Deployment> {
        let mut known: Vec<Deployment> = self.all().iter().map(|a| a.deployment.clone()).collect();
        // A first deploy that is under way is on disk and not yet accepted.
        let coming = self.inner.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let new = coming.values().filter(|d| self.find(&d.service).is_none());
        known.extend(new.cloned());
        drop(coming);
        match boots {
            Boots::Before => {}
            Boots::Gone(service) => known.retain(|d| d.service != *service),
            Boots::As(deployment) => {
                known.retain(|d| d.service != deployment.service);
                known.push(deployment.clone());
            }
        }
        known
    }

    /// Chooses the wanted sequence where it can be, else that in force, and
    /// tells what is wrong with it.
    fn choose_boot(&self, known: &[Deployment], on_disk: &[ServiceName]) -> Arc<Sequence> {
        let problems = &self.tools().problems;
        let tell = |cause: &str, text: String| {
            if text.is_empty() {
                problems.clear(cause);
            } else if problems.set(cause, text.clone()) {
                tracing::warn!("{text}");
            }
        };
        let (wanted, in_force) = {
            let boot = self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&boot.wanted), Arc::clone(&boot.in_force))
        };
        let all: Vec<&Deployment> = known.iter().collect();
        let (sequence, refused) = match wanted.check(&all, None) {
            Ok(()) => (wanted, String::new()),
            Err(error) => {
                let text = format!(
                    "The boot sequence of the configuration is not in force, that before it is: {}. Correct [[boot.sequence]] and reload the agent, or correct the services.",
                    Chain(&error)
                );
                (in_force, text)
            }
        };
        tell(REFUSED, refused);
        tell(UNKNOWN, sequence.told_unknown(on_disk));
        let health =
            known.iter().filter(|d| d.active).filter_map(|d| sequence.check_health(d).err());
        tell(HEALTH, health.map(|e| format!("{}.", Chain(&e))).collect::<Vec<_>>().join(" "));
        let unordered = self.all();
        let unordered = unordered.iter().filter(|a| is_unordered(a, &sequence));
        let unordered: Vec<&str> = unordered.map(|a| a.row.name.as_str()).collect();
        let text = format!(
            "These services were deployed before there were boot stages, and do not wait for any; deploy them again: {}.",
            unordered.join(", ")
        );
        tell(UNORDERED, if unordered.is_empty() { String::new() } else { text });
        sequence
    }

    /// Returns the wanted sequence where what is deployed can be in it, else
    /// that in force.
    fn possible_boot(&self) -> Arc<Sequence> {
        let known = self.boot_deployments(Boots::Before);
        let boot = self.inner.boot.lock().unwrap_or_else(PoisonError::into_inner);
        let possible = boot.wanted.check(&known.iter().collect::<Vec<_>>(), None).is_ok();
        Arc::clone(if possible { &boot.wanted } else { &boot.in_force })
    }

    /// Refuses a deployment that the boot sequence in force has no place for.
    pub(super) fn check_boot(
        &self,
        deployment: &Deployment,
        neighbours: &[Deployment],
    ) -> Result<(), EngineError> {
        // At a start the wanted one may not be on disk yet.
        let sequence = self.possible_boot();
        let all: Vec<&Deployment> = neighbours.iter().chain([deployment]).collect();
        sequence.check(&all, Some(&deployment.service))?;
        sequence.check_health(deployment)?;
        Ok(())
    }

    /// Returns how far each stage of this boot is.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn boot_states(&self) -> Result<Vec<(Stage, StageState)>, EngineError> {
        let sequence = self.boot_sequence();
        let units: Vec<UnitName> =
            sequence.stages.iter().map(|stage| UnitName::stage_check(&stage.name)).collect();
        let states = self.manager().unit_states(&units).await?;
        let now = SystemTime::now();
        let state = |stage: &Stage| {
            let unit = UnitName::stage_check(&stage.name);
            let found = states.iter().find(|state| state.name == unit);
            found.map_or(StageState::Inactive, |unit| stage_state(stage, unit, now))
        };
        Ok(sequence.stages.iter().map(|stage| (stage.clone(), state(stage))).collect())
    }

    /// Returns the stages before a service that are not ready, and that the
    /// boot does not go on without.
    pub(super) async fn blocking_stages(
        &self,
        service: &ServiceName,
    ) -> Result<Vec<StageName>, EngineError> {
        if self.boot_sequence().before(service).is_empty() {
            return Ok(Vec::new());
        }
        let states = self.boot_states().await?;
        let place = self.boot_sequence().position(service);
        let waits = |state: &StageState| matches!(state, StageState::Waiting | StageState::Late);
        let before = states.into_iter().take(place);
        let blocking = before.filter(|(stage, state)| stage.required && waits(state));
        Ok(blocking.map(|(stage, _)| stage.name).collect())
    }

    /// Returns the stage that keeps a unit from being started, if one does.
    pub(super) async fn stage_waited_for(
        &self,
        service: &ServiceName,
        unit: &UnitName,
    ) -> Result<Option<StageName>, EngineError> {
        let listed = self.manager().listed(std::slice::from_ref(unit)).await?;
        if listed.iter().all(|unit| unit.active != ActiveState::Inactive) {
            return Ok(None);
        }
        Ok(self.blocking_stages(service).await?.into_iter().next())
    }

    /// Tells, in full sentences, of stages that are late.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn late_stages(&self) -> Result<Vec<String>, EngineError> {
        let late = self.boot_states().await?.into_iter().filter(|(_, s)| *s == StageState::Late);
        Ok(late
            .map(|(stage, _)| {
                let what = if stage.required {
                    "what comes after it waits"
                } else {
                    "the boot went on without it"
                };
                format!(
                    "The boot stage {} is not ready after {} s and {what}; see which of its services is not: mcp ps, and systemctl --user status {}.",
                    stage.name,
                    stage.timeout.as_secs(),
                    UnitName::stage_check(&stage.name)
                )
            })
            .collect())
    }
}

fn stage_state(stage: &Stage, unit: &UnitState, now: SystemTime) -> StageState {
    let since = unit.since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
    match unit.active {
        ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing => {
            StageState::Reached
        }
        ActiveState::Activating if since > stage.timeout => StageState::Late,
        ActiveState::Activating => StageState::Waiting,
        ActiveState::Inactive if unit.job.is_some() => StageState::Waiting,
        ActiveState::Inactive
        | ActiveState::Deactivating
        | ActiveState::Failed
        | ActiveState::Maintenance
        | ActiveState::Other(_) => StageState::Inactive,
    }
}

/// Tells whether a service should wait for a stage, and has units that do
/// not.
pub fn is_unordered(accepted: &Accepted, sequence: &Sequence) -> bool {
    let Accepted { row, deployment, set, .. } = accepted;
    !sequence.before(&row.name).is_empty()
        && deployment
            .containers
            .iter()
            .any(|c| !knows_gate(set, &row.name, &container_file(&c.name)))
}

fn knows_gate(set: &UnitSet, service: &ServiceName, file: &str) -> bool {
    let text = set.files.get(&(Place::Quadlet, file.to_owned()));
    text.is_none_or(|text| text.contains(UnitName::gate(service).as_str()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::systemd::LoadState;

    #[test]
    fn a_stage_is_late_only_while_it_is_waited_for() {
        let stage = Stage {
            name: "core".parse().unwrap(),
            services: Vec::new(),
            timeout: Duration::from_secs(10),
            health: None,
            required: true,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let unit = |active: &str, job: Option<&str>, ago: u64| UnitState {
            name: UnitName::stage_check(&stage.name),
            load: LoadState::Loaded,
            active: active.into(),
            sub: String::new(),
            job: job.map(str::to_owned),
            since: Some(now - Duration::from_secs(ago)),
            moved: None,
            invocation_id: None,
            restarts: 0,
            main_pid: None,
            ended: None,
            by_itself: false,
        };
        for (active, job, ago, state) in [
            ("active", None, 100, StageState::Reached),
            ("activating", Some("start"), 9, StageState::Waiting),
            ("activating", None, 11, StageState::Late),
            ("inactive", Some("start"), 100, StageState::Waiting),
            ("inactive", None, 100, StageState::Inactive),
        ] {
            assert_eq!(stage_state(&stage, &unit(active, job, ago), now), state, "{active} {ago}");
        }
    }
}
