//! What was stopped only because something that it requires was.

use std::time::{Duration, SystemTime};

use super::status::{ComponentStatus, ServiceStatus, component_state};
use super::{Engine, EngineError};
use crate::agent::monitor::drift::{self, DriftKind};
use crate::names::UnitName;

/// What systemd takes between the ends of two units that it stops together, on
/// top of the time that the second takes to stop.
const TOGETHER: Duration = Duration::from_secs(10);

impl Engine {
    /// Says of components that seem to be stopped by hand with what they were
    /// stopped, if it is that.
    pub(super) async fn name_what_stopped(
        &self,
        statuses: &mut [ServiceStatus],
    ) -> Result<(), EngineError> {
        let is_it = |c: &&mut ComponentStatus| {
            c.drift.iter().any(|drift| drift.kind == DriftKind::StoppedByHand)
        };
        for status in statuses {
            let service = status.accepted.row.name.clone();
            for component in status.components.iter_mut().filter(is_it) {
                let Some((required, state)) = self.went_down_with(component).await? else {
                    continue;
                };
                let unit = component.container.name.unit();
                let told =
                    drift::of_stopped_with(service.as_str(), unit.as_str(), &required, state);
                component.drift.retain(|drift| drift.kind != DriftKind::StoppedByHand);
                component.drift.push(told);
            }
        }
        Ok(())
    }

    /// Returns what a component requires that went down together with it, and
    /// its state now.
    async fn went_down_with(
        &self,
        component: &ComponentStatus,
    ) -> Result<Option<(String, &'static str)>, EngineError> {
        let (container, unit) = (&component.container, component.container.name.unit());
        let states = self.manager().unit_states(&container.requires).await?;
        let mut units = container.requires.clone();
        units.push(unit.clone());
        let left = self.manager().left_at(&units).await?;
        // What requires goes first, and the other when that is down. What was
        // required may be up again since.
        let patience = TOGETHER + container.spec.stop_timeout;
        let together = |other: &UnitName| {
            let (Some(one), Some(other)) = (left.get(&unit), left.get(other)) else {
                return false;
            };
            are_together(*one, *other, patience)
        };
        let with = states.into_iter().find(|state| together(&state.name));
        Ok(with.map(|state| (self.called(&state.name), component_state(&state).as_str())))
    }

    /// Returns what people call a unit: its component, else its own name.
    fn called(&self, unit: &UnitName) -> String {
        self.component_names().remove(unit).unwrap_or_else(|| unit.to_string())
    }
}

fn are_together(one: SystemTime, other: SystemTime, patience: Duration) -> bool {
    let apart = other.duration_since(one).or_else(|_| one.duration_since(other));
    apart.is_ok_and(|apart| apart <= patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_are_one_stop_if_they_are_near_in_any_order() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let near = |one, other| are_together(at(one), at(other), Duration::from_secs(20));
        assert!(near(100, 100) && near(100, 120) && near(120, 100));
        assert!(!near(100, 121) && !near(121, 100));
    }
}
