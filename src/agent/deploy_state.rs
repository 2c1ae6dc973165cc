//! How far a deploy has come: saved before each step, so that after a crash
//! the next agent knows where to go on, or what to undo.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::names::{ComponentName, UnitName};

/// How far a deploy has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DeployState {
    /// Nothing is touched. A crash here: forgotten.
    Planned,
    /// Image units of the new generation are beside the old units. A crash
    /// here: taken away again.
    Pulling,
    /// Components that are gone are being stopped, files swapped and systemd
    /// reloaded. A crash here: done again, it is idempotent.
    Installing,
    /// Components are being started. A crash here: gone on with, for those
    /// that are not ready and still have their old invocation.
    Starting {
        /// The components to start or restart.
        wanted: BTreeSet<ComponentName>,
        /// Invocation of each unit before it was touched; none: it was down.
        before: BTreeMap<UnitName, Option<String>>,
        /// Components that are ready.
        ready: BTreeSet<ComponentName>,
    },
    /// The old generation is being put back. A crash here: done again.
    RollingBack {
        /// Invocation of each unit before it was touched; a unit with
        /// another one by now runs, or tried to run, the new generation.
        before: BTreeMap<UnitName, Option<String>>,
        /// Why.
        reason: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeployEvent {
    /// Images are missing and must be pulled.
    ImagesMissing,
    /// Every image is there.
    ImagesThere,
    /// Files are in place and systemd has read them.
    Installed {
        /// The components to start or restart.
        wanted: BTreeSet<ComponentName>,
        /// Invocation of each unit.
        before: BTreeMap<UnitName, Option<String>>,
    },
    /// A component is ready.
    Ready(ComponentName),
    /// The deploy has failed.
    Failed(String),
}

/// An event that cannot happen in a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a deploy that is {state:?} cannot go on with {event:?}")]
pub struct IllegalTransition {
    state: Box<DeployState>,
    event: Box<DeployEvent>,
}

impl DeployState {
    /// Returns the state after an event.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`]
    pub fn next(self, event: DeployEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Planned, DeployEvent::ImagesMissing) => Ok(Self::Pulling),
            (Self::Planned | Self::Pulling, DeployEvent::ImagesThere) => Ok(Self::Installing),
            (Self::Installing, DeployEvent::Installed { wanted, before }) => {
                Ok(Self::Starting { wanted, before, ready: BTreeSet::new() })
            }
            (Self::Starting { wanted, before, mut ready }, DeployEvent::Ready(component)) => {
                ready.insert(component);
                Ok(Self::Starting { wanted, before, ready })
            }
            (Self::Planned | Self::Pulling | Self::Installing, DeployEvent::Failed(reason)) => {
                Ok(Self::RollingBack { before: BTreeMap::new(), reason })
            }
            (Self::Starting { before, .. }, DeployEvent::Failed(reason)) => {
                Ok(Self::RollingBack { before, reason })
            }
            (state, event) => {
                Err(IllegalTransition { state: Box::new(state), event: Box::new(event) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deploy_goes_forward_or_back_and_survives_storing() {
        let component: ComponentName = "a".parse().unwrap();
        let wanted = BTreeSet::from([component.clone()]);
        let mut state = DeployState::Planned;
        for event in [
            DeployEvent::ImagesMissing,
            DeployEvent::ImagesThere,
            DeployEvent::Installed {
                wanted: wanted.clone(),
                before: BTreeMap::from([(UnitName::everything(), None)]),
            },
            DeployEvent::Ready(component.clone()),
        ] {
            state = state.next(event).unwrap();
            let stored = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<DeployState>(&stored).unwrap(), state);
        }
        let back = state.next(DeployEvent::Failed("x".to_owned())).unwrap();
        let before = BTreeMap::from([(UnitName::everything(), None)]);
        assert_eq!(back, DeployState::RollingBack { before, reason: "x".to_owned() });
        assert!(back.next(DeployEvent::ImagesThere).is_err());
        assert!(DeployState::Planned.next(DeployEvent::Ready(component)).is_err());
    }
}
