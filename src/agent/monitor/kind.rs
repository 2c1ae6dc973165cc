//! The kinds of events: a closed list with documented names.

use std::fmt;
use std::str::FromStr;

/// What kind of thing happened (`docs/events.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A component came up, and is ready where it has a check.
    Started,
    /// A component went down without a failure.
    Stopped,
    /// A component ended badly, or did not come up.
    Failed,
    /// A component came up again after it had ended.
    Restarted,
    /// A check of a component that runs succeeds again.
    Healthy,
    /// A check of a component that runs fails.
    Unhealthy,
    /// A command that runs by the calendar fails.
    ScheduleFailed,
    /// It succeeds again.
    ScheduleSucceeded,
    /// Something is not as it was deployed.
    Drift,
    /// It is again.
    DriftSettled,
    /// A component comes and goes; it is told once.
    Flapping,
    /// It has been quiet for a while.
    FlappingEnded,
    /// A generation is in force.
    Deployed,
    /// A deploy failed, and the generation before is in force again.
    RolledBack,
    /// A deploy was given up, because somebody stopped the service.
    GivenUp,
    /// A deploy failed, and what was before is not in force either.
    DeployFailed,
    /// A service was taken off the node.
    Undeployed,
    /// A service was handed over to the user, and runs on.
    Released,
    /// A service was brought back to what was deployed, as somebody asked.
    Reconciled,
    /// The agent did so by itself.
    Healed,
    /// The agent tried, and it did not work.
    HealFailed,
    /// The node has booted.
    Booted,
    /// The agent has started.
    AgentStarted,
    /// The user's systemd went away, and with it all that runs.
    SystemdLost,
    /// It is back.
    SystemdBack,
    /// Somebody tried the alerts.
    Test,
}

/// What an event is to somebody who is not looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// How components come and go.
    Life,
    /// Checks.
    Health,
    /// Commands that run by the calendar.
    Schedule,
    /// Drift.
    Drift,
    /// Flapping.
    Flapping,
    /// Deploys, by whomever.
    Deploy,
    /// The node and its agent.
    Node,
}

/// What alerts do about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// A person should know.
    Bad,
    /// What was bad is over.
    Over,
    /// Nothing.
    Plain,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 26] = [
        Self::Started,
        Self::Stopped,
        Self::Failed,
        Self::Restarted,
        Self::Healthy,
        Self::Unhealthy,
        Self::ScheduleFailed,
        Self::ScheduleSucceeded,
        Self::Drift,
        Self::DriftSettled,
        Self::Flapping,
        Self::FlappingEnded,
        Self::Deployed,
        Self::RolledBack,
        Self::GivenUp,
        Self::DeployFailed,
        Self::Undeployed,
        Self::Released,
        Self::Reconciled,
        Self::Healed,
        Self::HealFailed,
        Self::Booted,
        Self::AgentStarted,
        Self::SystemdLost,
        Self::SystemdBack,
        Self::Test,
    ];

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Restarted => "restarted",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::ScheduleFailed => "schedule_failed",
            Self::ScheduleSucceeded => "schedule_succeeded",
            Self::Drift => "drift",
            Self::DriftSettled => "drift_settled",
            Self::Flapping => "flapping",
            Self::FlappingEnded => "flapping_ended",
            Self::Deployed => "deployed",
            Self::RolledBack => "rolled_back",
            Self::GivenUp => "given_up",
            Self::DeployFailed => "deploy_failed",
            Self::Undeployed => "undeployed",
            Self::Released => "released",
            Self::Reconciled => "reconciled",
            Self::Healed => "healed",
            Self::HealFailed => "heal_failed",
            Self::Booted => "booted",
            Self::AgentStarted => "agent_started",
            Self::SystemdLost => "systemd_lost",
            Self::SystemdBack => "systemd_back",
            Self::Test => "test",
        }
    }

    /// Returns the class, which has a cooldown of its own.
    pub fn class(self) -> Class {
        match self {
            Self::Started | Self::Stopped | Self::Failed | Self::Restarted => Class::Life,
            Self::Healthy | Self::Unhealthy => Class::Health,
            Self::ScheduleFailed | Self::ScheduleSucceeded => Class::Schedule,
            Self::Drift | Self::DriftSettled => Class::Drift,
            Self::Flapping | Self::FlappingEnded => Class::Flapping,
            Self::Deployed
            | Self::RolledBack
            | Self::GivenUp
            | Self::DeployFailed
            | Self::Undeployed
            | Self::Released
            | Self::Reconciled
            | Self::Healed
            | Self::HealFailed => Class::Deploy,
            Self::Booted
            | Self::AgentStarted
            | Self::SystemdLost
            | Self::SystemdBack
            | Self::Test => Class::Node,
        }
    }

    /// Returns what alerts do about it.
    pub fn tone(self) -> Tone {
        match self {
            Self::Failed
            | Self::Unhealthy
            | Self::ScheduleFailed
            | Self::Drift
            | Self::Flapping
            | Self::RolledBack
            | Self::DeployFailed
            | Self::HealFailed
            | Self::SystemdLost
            | Self::Test => Tone::Bad,
            Self::Restarted
            | Self::Healthy
            | Self::ScheduleSucceeded
            | Self::DriftSettled
            | Self::FlappingEnded
            | Self::Deployed
            | Self::SystemdBack => Tone::Over,
            Self::Started
            | Self::Stopped
            | Self::GivenUp
            | Self::Undeployed
            | Self::Released
            | Self::Reconciled
            | Self::Healed
            | Self::Booted
            | Self::AgentStarted => Tone::Plain,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of event; there are {all}", all = names())]
pub struct UnknownKind(String);

fn names() -> String {
    EventKind::ALL.map(EventKind::as_str).join(", ")
}

impl FromStr for EventKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_kinds() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("nothing".parse::<EventKind>().unwrap_err().to_string().contains("started"));
    }
}
