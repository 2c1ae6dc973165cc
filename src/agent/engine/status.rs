//! What runs now, as systemd says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::accepted::container_units;
use super::checks::Condition;
use super::one_off::OneOffStatus;
use super::{Accepted, Engine, EngineError};
use crate::agent::explain::Operation;
use crate::agent::monitor::drift::{self, Drift, UnitFile};
pub use crate::agent::monitor::seen::ComponentState;
use crate::definition::service::Restart;
use crate::deployment::Container;
use crate::names::{ScheduleName, ServiceName, UnitName};
use crate::registry::UndoneRow;
use crate::systemd::{ActiveState, LoadState, TimerState, UnitState};

/// A service, desired and observed.
#[derive(Debug, Clone)]
pub struct ServiceStatus {
    /// What is desired.
    pub accepted: Arc<Accepted>,
    /// Its components.
    pub components: Vec<ComponentStatus>,
    /// What is under way.
    pub operation: Option<Operation>,
    /// How the service as a whole differs from what it should be.
    pub drift: Vec<Drift>,
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
    /// The number of its run.
    pub invocation: Option<String>,
    /// How it differs from what it should be.
    pub drift: Vec<Drift>,
    /// What runs in it by the calendar, and how that went.
    pub schedules: Vec<(ScheduleName, TimerState)>,
    /// The one-offs that run with its spec.
    pub one_offs: Vec<OneOffStatus>,
}

impl Engine {
    /// Returns the deploys that were cut off and undone, and after which
    /// nothing was done to their service.
    ///
    /// # Errors
    ///
    /// The registry does not answer.
    pub async fn undone(&self) -> Result<Vec<UndoneRow>, EngineError> {
        Ok(self.registry().undone().await?)
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
        let look = || match service {
            Some(name) => self.accepted(name).map(|accepted| vec![accepted]),
            None => Ok(self.all()),
        };
        let (wanted, operations) = self.with_operations(look);
        self.status_of(wanted?, &operations).await
    }

    /// Looks at what is in force, or on its way: a deploy's new generation, so
    /// that what it waits for can be told.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn status_on_its_way(
        &self,
        service: Option<&ServiceName>,
    ) -> Result<Vec<ServiceStatus>, EngineError> {
        let (wanted, operations) = self.with_operations(|| self.wanted(service));
        self.status_of(wanted, &operations).await
    }

    /// As [`Self::status`]; a service that is being deployed for the first
    /// time is looked at as it is to be.
    ///
    /// # Errors
    ///
    /// The service is not deployed, or systemd does not answer.
    pub async fn status_as_known(
        &self,
        service: Option<&ServiceName>,
    ) -> Result<Vec<ServiceStatus>, EngineError> {
        let in_force = self.status(service).await;
        let Err(EngineError::NotDeployed { .. }) = in_force else { return in_force };
        let coming = self.status_on_its_way(service).await?;
        if coming.is_empty() { in_force } else { Ok(coming) }
    }

    fn wanted(&self, service: Option<&ServiceName>) -> Vec<Arc<Accepted>> {
        let coming = self.inner.coming.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: BTreeMap<ServiceName, Arc<Accepted>> =
            self.all().into_iter().map(|a| (a.row.name.clone(), a)).collect();
        for (name, deployment) in coming {
            let before = all.get(&name).map(|accepted| Accepted::clone(accepted));
            all.insert(name, Arc::new(Accepted::on_its_way(deployment, before)));
        }
        all.retain(|name, _| service.is_none_or(|service| service == name));
        all.into_values().collect()
    }

    /// Looks at services as they are to be.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    async fn status_of(
        &self,
        wanted: Vec<Arc<Accepted>>,
        operations: &BTreeMap<ServiceName, Operation>,
    ) -> Result<Vec<ServiceStatus>, EngineError> {
        let units: Vec<_> = wanted.iter().flat_map(|a| container_units(&a.deployment)).collect();
        let timers = self.running_timers(&wanted).await?;
        let mut states = self.manager().unit_states(&units).await?.into_iter();
        let deployments = wanted.iter().map(|a| &a.deployment);
        let closed = self.closed_ports(deployments).await?;
        let mut statuses: Vec<ServiceStatus> = wanted
            .into_iter()
            .map(|accepted| {
                let components = accepted
                    .deployment
                    .containers
                    .iter()
                    .zip(states.by_ref())
                    .map(|(container, state)| {
                        let mut component = self.component(&accepted, container, state, &timers);
                        let told: Vec<Drift> =
                            closed.iter().filter_map(|u| closed_drift(&component, u)).collect();
                        component.drift.extend(told);
                        component.drift.extend(self.left_over(&component, &accepted.row.name));
                        component
                    })
                    .collect();
                ServiceStatus {
                    components,
                    operation: operations.get(&accepted.row.name).copied(),
                    drift: Vec::new(),
                    accepted,
                }
            })
            .collect();
        self.name_what_stopped(&mut statuses).await?;
        Ok(statuses)
    }

    /// Adds how the schedules of a service go.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn add_schedules(&self, status: &mut ServiceStatus) -> Result<(), EngineError> {
        for component in &mut status.components {
            let container = &component.container;
            let names = container.spec.schedules.iter().map(|schedule| &schedule.name);
            let units =
                |name| (container.name.schedule_timer(name), container.name.schedule_unit(name));
            let pairs: Vec<_> = names.clone().map(units).collect();
            let timers = self.manager().timers(&pairs).await?;
            component.schedules = names.cloned().zip(timers).collect();
        }
        Ok(())
    }

    /// Says that a hand-over was never finished.
    fn left_over(&self, component: &ComponentStatus, service: &ServiceName) -> Option<Drift> {
        let container = &component.container;
        let idle = self.under_way(service).is_none();
        (idle && self.has_stand_in(service, container)).then(|| {
            let path = format!("{service}/{}", container.spec.name);
            drift::of_left_over(container.name.stand_in().as_str(), &path)
        })
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
        let drift = unit_drift(accepted, container, (state, &unit), &condition);
        ComponentStatus {
            container: container.clone(),
            desired: accepted.row.active,
            state,
            invocation: unit.invocation_id,
            result: unit.ended.map(|e| e.result).filter(|r| r != "success"),
            since: unit.moved.or(unit.since),
            restarts: unit.restarts.saturating_add(condition.restarts),
            condition,
            sub: unit.sub,
            drift,
            schedules: Vec::new(),
            one_offs: Vec::new(),
        }
    }
}

/// Says that a component that runs cannot be reached.
fn closed_drift(component: &ComponentStatus, unit: &UnitName) -> Option<Drift> {
    let ours = component.container.port_units().contains(unit);
    (ours && component.desired && component.state == ComponentState::Running)
        .then(|| drift::of_closed_port(unit.as_str()))
}

/// Returns a unit's state in one word.
pub(in crate::agent) fn component_state(unit: &UnitState) -> ComponentState {
    let coming = matches!(unit.job.as_deref(), Some("start" | "restart"));
    match &unit.active {
        ActiveState::Active if unit.sub == "exited" => ComponentState::Done,
        ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing => {
            ComponentState::Running
        }
        ActiveState::Activating if unit.waits_to_be_tried() => ComponentState::Restarting,
        ActiveState::Activating => ComponentState::Starting,
        ActiveState::Deactivating => ComponentState::Stopping,
        ActiveState::Failed => ComponentState::Failed,
        // It waits for what comes before it, say a boot stage.
        ActiveState::Inactive if coming => ComponentState::Starting,
        ActiveState::Inactive if unit.load == LoadState::NotFound => ComponentState::Missing,
        ActiveState::Inactive | ActiveState::Maintenance | ActiveState::Other(_) => {
            ComponentState::Stopped
        }
    }
}

/// Says how a unit ended, in words; empty: it did not, or ended well.
pub(in crate::agent) fn how_it_ended(unit: &UnitState) -> String {
    let Some(ended) = &unit.ended else { return String::new() };
    match (ended.result.as_str(), ended.code) {
        ("success", _) => String::new(),
        ("exit-code", Some(1)) => format!("it ended with exit code {}", ended.status),
        ("signal" | "core-dump", Some(2 | 3)) => {
            format!("it was ended by signal {}", ended.status)
        }
        ("timeout", _) => "it was not ready, or not down, in time (timeout)".to_owned(),
        (result, _) => format!("it ended ({result})"),
    }
}

fn unit_drift(
    accepted: &Accepted,
    container: &Container,
    (state, unit): (ComponentState, &UnitState),
    condition: &Condition,
) -> Vec<Drift> {
    let stopped_at = unit.since.map(at_the_node);
    drift::of_component(&drift::Component {
        service: accepted.row.name.as_str(),
        unit: unit.name.as_str(),
        desired: accepted.row.active,
        state,
        file: match unit.load {
            LoadState::NotFound => UnitFile::Unknown,
            LoadState::Masked => UnitFile::Masked,
            LoadState::Loaded
            | LoadState::BadSetting
            | LoadState::Error
            | LoadState::Merged
            | LoadState::Other(_) => UnitFile::Known,
        },
        ended: &how_it_ended(unit),
        stopped_at: stopped_at.as_deref(),
        sick: Some(condition.reason.as_str()).filter(|reason| !reason.is_empty()),
        always: container.spec.restart == Restart::Always,
        by_itself: unit.by_itself,
    })
}

/// Returns a time as the node's clock shows it.
fn at_the_node(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(
        |_| "an unknown time".to_owned(),
        |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T %Z").to_string(),
    )
}
