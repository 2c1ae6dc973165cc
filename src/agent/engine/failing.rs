//! Schedules whose last run failed, explained.

use std::collections::BTreeSet;

use super::explain::read_journal;
use super::status::{ComponentStatus, ServiceStatus};
use super::{Engine, EngineError};
use crate::agent::explain::journal::End;
use crate::agent::explain::{Ending, Explanation, FailedRun, schedule};
use crate::agent::gate::now_ms;
use crate::definition::service::Schedule;
use crate::names::{ComponentName, UnitName};
use crate::systemd::{ActiveState, UnitState, since_epoch_ms};

/// A schedule that fails, explained.
#[derive(Debug, Clone)]
pub struct ExplainedSchedule {
    /// Its component.
    pub component: ComponentName,
    /// What was looked at.
    pub run: FailedRun,
    /// What came of it.
    pub explanation: Explanation,
}

impl Engine {
    /// Explains the schedules of a service whose last run failed. What an
    /// operation of MCP ends is no failure, and what is not to run has none.
    pub(super) async fn failing_schedules(
        &self,
        status: &ServiceStatus,
    ) -> Result<Vec<ExplainedSchedule>, EngineError> {
        let mut found = Vec::new();
        if status.operation.is_some() {
            return Ok(found);
        }
        let told = self.registry().open_events("schedule_failed", "schedule_succeeded").await?;
        let told: BTreeSet<String> = told.into_iter().map(|event| event.unit).collect();
        for component in status.components.iter().filter(|component| component.desired) {
            let container = &component.container;
            for schedule in &container.spec.schedules {
                let unit = container.name.schedule_unit(&schedule.name);
                let looked = self.manager().unit_states(std::slice::from_ref(&unit)).await?;
                let Some(state) = looked.into_iter().next() else { continue };
                let ending = match &state.active {
                    ActiveState::Failed => Some(ending(&state)),
                    ActiveState::Activating if told.contains(unit.as_str()) => None,
                    ActiveState::Activating
                    | ActiveState::Active
                    | ActiveState::Reloading
                    | ActiveState::Refreshing
                    | ActiveState::Inactive
                    | ActiveState::Deactivating
                    | ActiveState::Maintenance
                    | ActiveState::Other(_) => continue,
                };
                let since_ms = state.since.map(since_epoch_ms);
                let run = self.failed_run(status, (component, schedule), unit).await?;
                let run = FailedRun { ending, since_ms, ..run };
                let explanation = schedule::explain(&run);
                let component = container.spec.name.clone();
                found.push(ExplainedSchedule { component, run, explanation });
            }
        }
        Ok(found)
    }

    /// Gathers what is known of a run that failed, but how it ended.
    async fn failed_run(
        &self,
        status: &ServiceStatus,
        (component, schedule): (&ComponentStatus, &Schedule),
        unit: UnitName,
    ) -> Result<FailedRun, EngineError> {
        let container = &component.container;
        let service = status.accepted.row.name.clone();
        let pair = (container.name.schedule_timer(&schedule.name), unit.clone());
        let timers = self.manager().timers(std::slice::from_ref(&pair)).await?;
        Ok(FailedRun {
            path: format!("{service}/{}", container.spec.name),
            service,
            schedule: schedule.name.clone(),
            owner: self.owner(),
            timeout: schedule.timeout,
            ending: None,
            since_ms: None,
            now_ms: now_ms(),
            next_ms: timers.first().and_then(|timer| timer.next).map(since_epoch_ms),
            journal: read_journal(self.manager(), &unit, None).await,
            unit,
        })
    }
}

/// Returns how a unit that runs a schedule ended.
pub(in crate::agent) fn ending(state: &UnitState) -> Ending {
    let ended = state.ended.as_ref();
    Ending {
        result: ended.map(|ended| ended.result.clone()).unwrap_or_default(),
        end: ended.and_then(|ended| End::of(ended.code, ended.status)),
    }
}
