//! What runs now, as systemd says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use super::accepted::container_units;
use super::checks::Condition;
use super::{Accepted, Engine, EngineError};
use crate::agent::plan::{self, FileChangeKind};
use crate::deployment::Container;
use crate::names::{ServiceName, UnitName};
use crate::quadlet::render;
use crate::systemd::{ActiveState, LoadState, UnitState};

/// A service, desired and observed.
#[derive(Debug, Clone)]
pub struct ServiceStatus {
    /// What is desired.
    pub accepted: Arc<Accepted>,
    /// Its components.
    pub components: Vec<ComponentStatus>,
    /// What is under way.
    pub operation: Option<&'static str>,
}

/// A component as it is.
#[derive(Debug, Clone)]
pub struct ComponentStatus {
    /// What it should be.
    pub container: Container,
    /// Whether it should run.
    pub desired: bool,
    /// In one word.
    pub state: ComponentState,
    /// What its checks say.
    pub condition: Condition,
    /// How it ended, where it failed.
    pub result: Option<String>,
    /// Since when.
    pub since: Option<SystemTime>,
    /// Automatic restarts: systemd's, and those for being unhealthy.
    pub restarts: u32,
    /// systemd's finer state.
    pub sub: String,
    /// How it differs from what it should be, each with its reason.
    pub drift: Vec<String>,
}

/// A component's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentState {
    /// Up, and ready once.
    Running,
    /// On its way up.
    Starting,
    /// On its way down.
    Stopping,
    /// Down.
    Stopped,
    /// Ended, and waits to be started again.
    Restarting,
    /// Ended badly.
    Failed,
    /// systemd knows no such unit.
    Missing,
}

impl ComponentState {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::Missing => "missing",
        }
    }
}

/// Tells whether a unit is up, or being restarted by somebody.
pub(super) fn is_up(active: &ActiveState, sub: &str) -> bool {
    matches!(active, ActiveState::Active | ActiveState::Reloading)
        || (*active == ActiveState::Activating && !sub.starts_with("auto-restart"))
}

impl Engine {
    /// Adds to a status how the files on disk differ from those in force.
    ///
    /// # Errors
    ///
    /// The unit directories cannot be read.
    pub async fn add_file_drift(&self, status: &mut ServiceStatus) -> Result<(), EngineError> {
        let accepted = &status.accepted;
        let disk = self.on_disk(&accepted.row.name).await?;
        let changes = plan::files(disk.as_ref(), &accepted.set);
        for component in &mut status.components {
            let unit = component.container.name.unit();
            let checks = component.container.check_units();
            let is_ours =
                |made: &str| unit.as_str() == made || checks.iter().any(|c| c.as_str() == made);
            let ours = changes.iter().filter(|c| is_ours(&render::unit_of(&c.name)));
            component.drift.extend(ours.map(|change| {
                let what = match change.kind {
                    FileChangeKind::Added => "was removed",
                    FileChangeKind::Changed => "was edited",
                    FileChangeKind::Removed => "is not ours",
                };
                format!(
                    "{} {what} by hand; deploy the service again to undo that, or use a drop-in: systemctl --user edit {unit}",
                    change.name
                )
            }));
        }
        Ok(())
    }

    /// Looks at one service, or at all.
    ///
    /// # Errors
    ///
    /// The service is not deployed, or systemd does not answer.
    pub async fn status(
        &self,
        service: Option<&ServiceName>,
    ) -> Result<Vec<ServiceStatus>, EngineError> {
        let wanted = match service {
            Some(name) => vec![self.accepted(name)?],
            None => self.all(),
        };
        let units: Vec<_> = wanted.iter().flat_map(|a| container_units(&a.deployment)).collect();
        let timers = self.running_timers(&wanted).await?;
        let mut states = self.manager().unit_states(&units).await?.into_iter();
        Ok(wanted
            .into_iter()
            .map(|accepted| {
                let components = accepted
                    .deployment
                    .containers
                    .iter()
                    .zip(states.by_ref())
                    .map(|(container, state)| self.component(&accepted, container, state, &timers))
                    .collect();
                ServiceStatus {
                    components,
                    operation: self.under_way(&accepted.row.name),
                    accepted,
                }
            })
            .collect())
    }

    fn component(
        &self,
        accepted: &Accepted,
        container: &Container,
        unit: UnitState,
        timers: &BTreeSet<UnitName>,
    ) -> ComponentStatus {
        let state = component_state(&unit);
        let service = &accepted.row.name;
        let condition = self.condition(service, container, (state, &unit), timers);
        let drift = drift(accepted.row.active, state, &unit, &condition);
        ComponentStatus {
            container: container.clone(),
            desired: accepted.row.active,
            state,
            result: unit.ended.map(|e| e.result).filter(|r| r != "success"),
            since: unit.since,
            restarts: unit.restarts.saturating_add(condition.restarts),
            condition,
            sub: unit.sub,
            drift,
        }
    }
}

fn component_state(unit: &UnitState) -> ComponentState {
    match &unit.active {
        ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing => {
            ComponentState::Running
        }
        ActiveState::Activating if unit.sub.starts_with("auto-restart") => {
            ComponentState::Restarting
        }
        ActiveState::Activating => ComponentState::Starting,
        ActiveState::Deactivating => ComponentState::Stopping,
        ActiveState::Failed => ComponentState::Failed,
        ActiveState::Inactive if unit.load == LoadState::NotFound => ComponentState::Missing,
        ActiveState::Inactive | ActiveState::Maintenance | ActiveState::Other(_) => {
            ComponentState::Stopped
        }
    }
}

fn drift(
    desired: bool,
    state: ComponentState,
    unit: &UnitState,
    condition: &Condition,
) -> Vec<String> {
    let mut drift = Vec::new();
    let service = unit.name.as_str();
    match (desired, state) {
        (true, ComponentState::Stopped | ComponentState::Failed)
            if !condition.action.is_empty() =>
        {
            drift.push(format!("{}; {}", condition.reason, condition.action));
        }
        (true, ComponentState::Stopped) => {
            drift.push(format!("it is down and should run; systemctl --user start {service}"));
        }
        (true, ComponentState::Failed) => {
            drift.push(format!("it failed and should run; systemctl --user status {service}"));
        }
        (true, ComponentState::Missing) => {
            drift.push("systemd does not know its unit; deploy the service again".to_owned());
        }
        (
            false,
            ComponentState::Running | ComponentState::Starting | ComponentState::Restarting,
        ) => {
            drift.push(format!("it runs and should not; systemctl --user stop {service}"));
        }
        (true | false, _) => {}
    }
    if unit.load == LoadState::NotFound && state == ComponentState::Running {
        drift.push("it runs, but its unit file is gone; deploy the service again".to_owned());
    }
    drift
}
