//! Ends of containers before systemd knows of them: it waits for podman to
//! tidy up, which takes longer than telling should.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::seen::{ComponentState, Seen};
use super::watch::Monitor;
use crate::agent::engine::status::component_state;
use crate::definition::service::Restart;
use crate::names::UnitName;
use crate::podman::exits;
use crate::systemd::{SystemdError, UnitState};

impl Monitor {
    /// Takes exit files that have come.
    pub(super) async fn ended(&mut self, paths: &BTreeSet<PathBuf>) -> Result<(), SystemdError> {
        for (number, code) in paths.iter().filter_map(|path| exits::read(path)) {
            let of = |t: &super::look::Tracked| t.container.as_deref() == Some(number.as_str());
            let unit = self.tracked.iter().find(|(_, tracked)| of(tracked));
            if let Some(unit) = unit.map(|(unit, _)| unit.clone()) {
                self.died(&unit, code).await?;
            }
        }
        Ok(())
    }

    /// Tells that a container has ended, unless somebody is stopping it, or it
    /// may end well.
    async fn died(&mut self, unit: &UnitName, code: Option<i32>) -> Result<(), SystemdError> {
        let Some(tracked) = self.tracked.get_mut(unit) else { return Ok(()) };
        tracked.container = None;
        let (service, restart) = (tracked.service.clone(), tracked.restart);
        let run = tracked.settled.invocation.clone();
        if code == Some(0) && restart != Restart::Always {
            return Ok(());
        }
        let states = self.tools.engine.manager().unit_states(std::slice::from_ref(unit)).await?;
        let Some(state) = states.first() else { return Ok(()) };
        let stopping = state.job.is_some() || self.tools.engine.under_way(&service).is_some();
        // The next run may be up by now: its look finds that this one ended.
        let is_next = state.invocation_id.as_deref() != Some(run.as_str());
        if stopping || is_next || component_state(state) != ComponentState::Running {
            return Ok(());
        }
        let rows = self.saw(state, dead(state, restart, code)).await;
        self.keep(rows.into_iter().collect()).await;
        Ok(())
    }
}

/// Returns what systemd will see in a moment.
fn dead(state: &UnitState, restart: Restart, code: Option<i32>) -> Seen {
    Seen {
        state: match restart {
            Restart::Always | Restart::OnFailure => ComponentState::Restarting,
            Restart::No => ComponentState::Failed,
        },
        invocation: state.invocation_id.clone().unwrap_or_default(),
        restarts: state.restarts,
        ended: code.map_or_else(String::new, |code| format!("it ended with exit code {code}")),
    }
}
