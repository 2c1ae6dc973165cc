//! Commands that run by the calendar: when they begin to fail, and when they
//! succeed again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::event::Event;
use super::kind::EventKind;
use super::watch::Monitor;
use crate::agent::engine::failing::ending;
use crate::names::{ComponentName, ScheduleName, ServiceName, UnitName};
use crate::registry::RegistryError;
use crate::systemd::{ActiveState, SystemdError, UnitState};

/// Whose command a unit runs.
#[derive(Debug)]
pub(super) struct Scheduled {
    service: ServiceName,
    component: ComponentName,
    schedule: ScheduleName,
    timeout: Duration,
}

impl Monitor {
    /// Returns the units whose failure was told, and not yet its end.
    pub(super) async fn failing_schedules(&self) -> Result<BTreeSet<UnitName>, RegistryError> {
        let open = self.tools.registry.open_events("schedule_failed", "schedule_succeeded").await?;
        Ok(open.into_iter().map(|row| UnitName::from_systemd(row.unit)).collect())
    }

    /// Follows the units that run commands by the calendar; returns them.
    pub(super) fn follow_schedules(&mut self) -> BTreeSet<UnitName> {
        let mut found = BTreeMap::new();
        for deployment in self.tools.engine.deployments() {
            for container in &deployment.containers {
                for schedule in &container.spec.schedules {
                    let scheduled = Scheduled {
                        service: deployment.service.clone(),
                        component: container.spec.name.clone(),
                        schedule: schedule.name.clone(),
                        timeout: schedule.timeout,
                    };
                    found.insert(container.name.schedule_unit(&schedule.name), scheduled);
                }
            }
        }
        self.failing.retain(|unit| found.contains_key(unit));
        self.scheduled = found;
        self.scheduled.keys().cloned().collect()
    }

    /// Looks at some of these units, and tells which began to fail or succeed
    /// again.
    pub(super) async fn look_at_schedules(
        &mut self,
        units: &BTreeSet<UnitName>,
    ) -> Result<(), SystemdError> {
        let units: Vec<UnitName> =
            units.iter().filter(|unit| self.scheduled.contains_key(*unit)).cloned().collect();
        if units.is_empty() {
            return Ok(());
        }
        for state in self.tools.engine.manager().unit_states(&units).await? {
            self.saw_run(&state).await;
        }
        Ok(())
    }

    async fn saw_run(&mut self, state: &UnitState) {
        let Some(Scheduled { service, component, schedule, timeout }) =
            self.scheduled.get(&state.name)
        else {
            return;
        };
        let failed = match state.active {
            ActiveState::Failed => true,
            // Forgotten on purpose counts as well: nobody is to look after it.
            ActiveState::Inactive => false,
            ActiveState::Active
            | ActiveState::Reloading
            | ActiveState::Refreshing
            | ActiveState::Activating
            | ActiveState::Deactivating
            | ActiveState::Maintenance
            | ActiveState::Other(_) => return,
        };
        // What a stop or a restart ended is no failure.
        let during = self.tools.engine.at_it(service, state.since).is_some();
        if failed == self.failing.contains(&state.name) || (failed && during) {
            return;
        }
        let (kind, reason, mend) = if failed {
            let reason = format!("schedule {schedule}: it {}", ending(state).words(*timeout));
            (EventKind::ScheduleFailed, reason, format!("mcp logs {service}/{component}"))
        } else {
            (
                EventKind::ScheduleSucceeded,
                format!("schedule {schedule} succeeds again"),
                String::new(),
            )
        };
        let event = Event {
            component: component.to_string(),
            unit: state.name.to_string(),
            subject: state.name.to_string(),
            mend,
            ..Event::of_service(kind, service.as_str(), reason)
        };
        if failed {
            self.failing.insert(state.name.clone());
        } else {
            self.failing.remove(&state.name);
        }
        self.tools.events.record(event).await;
    }
}
