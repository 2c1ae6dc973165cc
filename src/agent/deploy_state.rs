//! How far a deploy has come: saved before each step, so that after a crash
//! the next agent knows where to go on, or what to undo.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::deployment::Images;
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
    /// Components that are gone are being stopped, the new files put where
    /// they are tried, and systemd reloaded. A crash here: done again, it is
    /// idempotent. A reboot: undone.
    Installing {
        /// How the generation is tried.
        #[serde(default)]
        trial: Trial,
    },
    /// Components are being started. A crash here: gone on with, for those
    /// that are not ready and still have their old invocation. A reboot:
    /// undone.
    Starting {
        /// The components to start or restart.
        wanted: BTreeSet<ComponentName>,
        /// Invocation of each unit before it was touched; none: it was down.
        before: BTreeMap<UnitName, Option<String>>,
        /// Components that are ready.
        ready: BTreeSet<ComponentName>,
        /// How the generation is tried.
        #[serde(default)]
        trial: Trial,
    },
    /// All is ready, and the new files become those that a boot reads. A
    /// crash here: done again. A reboot: done again if it booted them.
    Promoting {
        /// Invocation of each unit before it was touched.
        before: BTreeMap<UnitName, Option<String>>,
        /// How the generation was tried.
        trial: Trial,
    },
    /// The old generation is being put back. A crash here: done again.
    RollingBack {
        /// Invocation of each unit before it was touched; a unit with
        /// another one by now runs, or tried to run, the new generation.
        before: BTreeMap<UnitName, Option<String>>,
        /// Why.
        reason: String,
        /// How the new generation was tried.
        #[serde(default)]
        trial: Trial,
    },
}

/// How a new generation is tried until it is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The boot in which it is tried, in the runtime directory, which ends
    /// with it. None: podman does not look there, and the files of the
    /// generation in force are replaced at once.
    pub boot: Option<String>,
    /// Images that get their names when the generation is promoted.
    #[serde(default)]
    pub images: Images,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeployEvent {
    /// Images are missing and must be pulled.
    ImagesMissing,
    /// Every image is there; the generation is to be tried like this.
    ImagesThere(Trial),
    /// Files are in place and systemd has read them.
    Installed {
        /// The components to start or restart.
        wanted: BTreeSet<ComponentName>,
        /// Invocation of each unit.
        before: BTreeMap<UnitName, Option<String>>,
    },
    /// A component is ready.
    Ready(ComponentName),
    /// Every component is ready.
    AllReady,
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
            (Self::Planned | Self::Pulling, DeployEvent::ImagesThere(trial)) => {
                Ok(Self::Installing { trial })
            }
            (Self::Installing { trial }, DeployEvent::Installed { wanted, before }) => {
                Ok(Self::Starting { wanted, before, ready: BTreeSet::new(), trial })
            }
            (
                Self::Starting { wanted, before, mut ready, trial },
                DeployEvent::Ready(component),
            ) => {
                ready.insert(component);
                Ok(Self::Starting { wanted, before, ready, trial })
            }
            (Self::Starting { before, trial, .. }, DeployEvent::AllReady) => {
                Ok(Self::Promoting { before, trial })
            }
            (Self::Planned | Self::Pulling, DeployEvent::Failed(reason)) => {
                Ok(Self::RollingBack { before: BTreeMap::new(), reason, trial: Trial::default() })
            }
            (Self::Installing { trial }, DeployEvent::Failed(reason)) => {
                Ok(Self::RollingBack { before: BTreeMap::new(), reason, trial })
            }
            (
                Self::Starting { before, trial, .. } | Self::Promoting { before, trial },
                DeployEvent::Failed(reason),
            ) => Ok(Self::RollingBack { before, reason, trial }),
            (state, event) => {
                Err(IllegalTransition { state: Box::new(state), event: Box::new(event) })
            }
        }
    }

    /// Returns how the new generation is tried; none before that is known.
    pub fn trial(&self) -> Option<&Trial> {
        match self {
            Self::Planned | Self::Pulling => None,
            Self::Installing { trial }
            | Self::Starting { trial, .. }
            | Self::Promoting { trial, .. }
            | Self::RollingBack { trial, .. } => Some(trial),
        }
    }

    /// Tells whether the trial is over although it was not ended: the boot in
    /// which it was begun is, or what was tried is not there any more.
    pub fn has_lost_its_trial(&self, boot: &str, is_there: bool) -> bool {
        let other_boot = self.trial().and_then(|t| t.boot.as_deref()).is_some_and(|b| b != boot);
        match self {
            // What is to be started is tried; nothing to start, nothing to try.
            Self::Starting { wanted, trial, .. } => {
                other_boot || (trial.boot.is_some() && !wanted.is_empty() && !is_there)
            }
            Self::Planned
            | Self::Pulling
            | Self::Installing { .. }
            | Self::Promoting { .. }
            | Self::RollingBack { .. } => other_boot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        Trial { boot: Some("b1".to_owned()), images: Images::new() }
    }

    fn starting() -> DeployState {
        let wanted = BTreeSet::from(["a".parse().unwrap()]);
        let before = BTreeMap::from([(UnitName::everything(), None)]);
        let installed = DeployEvent::Installed { wanted, before };
        let installing = DeployState::Planned.next(DeployEvent::ImagesThere(trial())).unwrap();
        installing.next(installed).unwrap()
    }

    #[test]
    fn a_deploy_goes_forward_or_back_and_survives_storing() {
        let component: ComponentName = "a".parse().unwrap();
        let wanted = BTreeSet::from([component.clone()]);
        let before = BTreeMap::from([(UnitName::everything(), None)]);
        let mut state = DeployState::Planned;
        for event in [
            DeployEvent::ImagesMissing,
            DeployEvent::ImagesThere(trial()),
            DeployEvent::Installed { wanted: wanted.clone(), before: before.clone() },
            DeployEvent::Ready(component.clone()),
            DeployEvent::AllReady,
        ] {
            state = state.next(event).unwrap();
            let stored = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<DeployState>(&stored).unwrap(), state);
        }
        assert_eq!(state, DeployState::Promoting { before: before.clone(), trial: trial() });
        let back = state.next(DeployEvent::Failed("x".to_owned())).unwrap();
        let reason = "x".to_owned();
        assert_eq!(back, DeployState::RollingBack { before, reason, trial: trial() });
        assert!(back.next(DeployEvent::AllReady).is_err());
        assert!(DeployState::Planned.next(DeployEvent::Ready(component)).is_err());
    }

    #[test]
    fn what_an_older_agent_saved_is_read_as_a_deploy_without_a_trial() {
        for text in [
            r#"{"state":"installing"}"#,
            r#"{"state":"starting","wanted":["a"],"before":{},"ready":[]}"#,
            r#"{"state":"rolling_back","before":{},"reason":"x"}"#,
        ] {
            let state: DeployState = serde_json::from_str(text).unwrap();
            assert_eq!(state.trial(), Some(&Trial::default()));
            assert!(!state.has_lost_its_trial("b2", false), "{text}");
        }
    }

    #[test]
    fn a_trial_is_lost_with_its_boot_or_its_directory() {
        assert!(!starting().has_lost_its_trial("b1", true));
        assert!(starting().has_lost_its_trial("b2", true));
        assert!(starting().has_lost_its_trial("b1", false));
        let installing = DeployState::Installing { trial: trial() };
        assert!(!installing.has_lost_its_trial("b1", false));
        assert!(installing.has_lost_its_trial("b2", false));
        assert!(!DeployState::Pulling.has_lost_its_trial("b2", false));
        let mut nothing = starting();
        if let DeployState::Starting { wanted, .. } = &mut nothing {
            wanted.clear();
        }
        assert!(!nothing.has_lost_its_trial("b1", false));
    }
}
