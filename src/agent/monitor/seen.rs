//! A component as it is seen, and what has happened between two looks.

use std::fmt;
use std::str::FromStr;

use super::kind::EventKind;

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
    /// Ended well, as it is to; its unit counts as up.
    Done,
    /// systemd knows no such unit.
    Missing,
}

impl ComponentState {
    const ALL: [Self; 8] = [
        Self::Running,
        Self::Starting,
        Self::Stopping,
        Self::Stopped,
        Self::Restarting,
        Self::Failed,
        Self::Done,
        Self::Missing,
    ];

    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for ComponentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is no state of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a component")]
pub struct UnknownState;

impl FromStr for ComponentState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// A component at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its state.
    pub state: ComponentState,
    /// The number of its run; empty when it is down.
    pub invocation: String,
    /// How often systemd restarted it by itself.
    pub restarts: u32,
    /// How it ended, where it failed, in words.
    pub ended: String,
}

impl Seen {
    /// Tells whether systemd has not noticed yet that a run has ended which is
    /// known to have: its next one has another number (`InvocationID`,
    /// org.freedesktop.systemd1(5)).
    pub fn is_behind(&self, known: &Self) -> bool {
        use ComponentState::{Failed, Restarting, Running};
        self.state == Running
            && matches!(known.state, Restarting | Failed)
            && self.invocation == known.invocation
    }

    /// A component that nobody has seen yet.
    pub const NEVER: Self = Self {
        state: ComponentState::Missing,
        invocation: String::new(),
        restarts: 0,
        ended: String::new(),
    };
}

/// Something that a component did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// What.
    pub kind: EventKind,
    /// More of it, in words; may be empty.
    pub reason: String,
}

/// Says what a component has done between the last time that it was up or
/// down, and now. On its way from one to the other it has done nothing yet.
pub fn turn(before: &Seen, now: &Seen) -> Option<Turn> {
    use ComponentState::{Done, Failed, Missing, Restarting, Running, Starting, Stopped, Stopping};
    let kind = match (before.state, now.state) {
        (_, Starting | Stopping) | (Stopped | Missing, Stopped | Missing) | (Failed, Failed) => {
            return None;
        }
        // The same run, or the same end: each attempt of one that never comes
        // up has an invocation of its own.
        (Running, Running) | (Restarting, Restarting) | (Done, Done)
            if before.invocation == now.invocation =>
        {
            return None;
        }
        (_, Restarting | Failed) => EventKind::Failed,
        (_, Stopped | Missing) | (Running, Done) => EventKind::Stopped,
        (Running | Failed | Restarting | Done, Running) | (Failed | Restarting | Done, Done) => {
            EventKind::Restarted
        }
        (Stopped | Missing | Starting | Stopping, Running | Done) => EventKind::Started,
    };
    Some(Turn { kind, reason: reason(before, now) })
}

impl Turn {
    /// Tells whether it was a start that somebody cut off: for systemd that has
    /// failed, with nothing that went wrong, until it is told to forget it.
    pub fn is_cut_off(&self, now: &Seen) -> bool {
        self.kind == EventKind::Failed && now.ended.is_empty()
    }
}

/// Returns the end that nobody saw, between two looks at a component that was up
/// at both: systemd counts what it starts again (`NRestarts`,
/// org.freedesktop.systemd1(5)), so there was one.
pub fn unseen_end(before: &Seen, now: &Seen) -> Option<Seen> {
    let up = before.state == ComponentState::Running && now.state == ComponentState::Running;
    let ended = up && before.invocation != now.invocation && now.restarts > before.restarts;
    ended.then(|| Seen {
        state: ComponentState::Restarting,
        ended: "it ended between two looks".to_owned(),
        ..before.clone()
    })
}

fn reason(before: &Seen, now: &Seen) -> String {
    match now.state {
        ComponentState::Restarting => format!("{}; systemd starts it again", ended(now)),
        ComponentState::Failed => format!("{}; systemd does not start it again", ended(now)),
        ComponentState::Running if now.restarts > before.restarts && now.restarts == 1 => {
            "systemd has restarted it once".to_owned()
        }
        ComponentState::Running if now.restarts > before.restarts => {
            format!("systemd has restarted it {} times", now.restarts)
        }
        ComponentState::Missing => "systemd does not know its unit any more".to_owned(),
        ComponentState::Done => "it has done its work".to_owned(),
        ComponentState::Running
        | ComponentState::Stopped
        | ComponentState::Starting
        | ComponentState::Stopping => String::new(),
    }
}

fn ended(now: &Seen) -> &str {
    if now.ended.is_empty() { "it ended" } else { &now.ended }
}

/// Tells whether a component is up or down, and not between the two.
pub fn is_settled(state: ComponentState) -> bool {
    !matches!(state, ComponentState::Starting | ComponentState::Stopping)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: ComponentState, invocation: &str, restarts: u32) -> Seen {
        let ended = "exit code 1".to_owned();
        Seen { state, invocation: invocation.to_owned(), restarts, ended }
    }

    #[test]
    fn a_component_comes_goes_and_comes_again() {
        use ComponentState::*;
        let kind = |a: &Seen, b: &Seen| turn(a, b).map(|t| t.kind.as_str());
        let up = seen(Running, "1", 0);
        for (before, now, expected) in [
            (Seen::NEVER, seen(Starting, "1", 0), None),
            (Seen::NEVER, up.clone(), Some("started")),
            (up.clone(), up.clone(), None),
            (up.clone(), seen(Stopping, "1", 0), None),
            (up.clone(), seen(Stopped, "", 0), Some("stopped")),
            (seen(Stopped, "", 0), seen(Missing, "", 0), None),
            (up.clone(), seen(Restarting, "1", 0), Some("failed")),
            (seen(Restarting, "1", 0), seen(Restarting, "1", 1), None),
            (seen(Restarting, "1", 1), seen(Restarting, "2", 2), Some("failed")),
            (seen(Restarting, "1", 1), seen(Failed, "1", 1), Some("failed")),
            (seen(Failed, "", 0), seen(Failed, "", 0), None),
            (seen(Restarting, "1", 1), seen(Running, "2", 2), Some("restarted")),
            (up.clone(), seen(Running, "2", 0), Some("restarted")),
            (seen(Stopped, "", 0), seen(Done, "1", 0), Some("started")),
            (seen(Done, "1", 0), seen(Done, "1", 0), None),
            (seen(Done, "1", 0), seen(Done, "2", 0), Some("restarted")),
            (seen(Failed, "1", 0), seen(Done, "2", 0), Some("restarted")),
            (seen(Done, "1", 0), seen(Stopped, "", 0), Some("stopped")),
        ] {
            assert_eq!(kind(&before, &now), expected, "{before:?} -> {now:?}");
        }
    }

    #[test]
    fn a_run_that_has_ended_does_not_run_again() {
        use ComponentState::*;
        let behind = |now: &Seen, known: &Seen| now.is_behind(known);
        let up = seen(Running, "1", 0);
        assert!(behind(&up, &seen(Restarting, "1", 0)));
        assert!(behind(&up, &seen(Failed, "1", 0)));
        assert!(!behind(&seen(Running, "2", 1), &seen(Restarting, "1", 0)));
        assert!(!behind(&seen(Restarting, "1", 0), &seen(Restarting, "1", 0)));
        assert!(!behind(&up, &up));
        assert!(!behind(&up, &seen(Stopped, "", 0)));
    }

    #[test]
    fn a_failure_says_whether_systemd_goes_on() {
        let up = seen(ComponentState::Running, "1", 0);
        let reason = |now: &Seen| turn(&up, now).unwrap().reason;
        let again = reason(&seen(ComponentState::Restarting, "1", 0));
        assert_eq!(again, "exit code 1; systemd starts it again");
        assert!(reason(&seen(ComponentState::Failed, "", 0)).contains("does not start it again"));
        let twice = reason(&seen(ComponentState::Running, "2", 2));
        assert_eq!(twice, "systemd has restarted it 2 times");
    }

    #[test]
    fn an_end_between_two_looks_is_one_where_systemd_counted_it() {
        let up = seen(ComponentState::Running, "1", 0);
        let end = unseen_end(&up, &seen(ComponentState::Running, "2", 1)).unwrap();
        let told = turn(&up, &end).unwrap();
        assert_eq!(told.kind, EventKind::Failed);
        assert_eq!(told.reason, "it ended between two looks; systemd starts it again");
        // Somebody restarted it; it is the same run; it was seen to be down.
        for (before, now) in [
            (up.clone(), seen(ComponentState::Running, "2", 0)),
            (up.clone(), up.clone()),
            (seen(ComponentState::Restarting, "1", 0), seen(ComponentState::Running, "2", 1)),
        ] {
            assert_eq!(unseen_end(&before, &now), None, "{before:?} -> {now:?}");
        }
    }

    #[test]
    fn words_lead_back_to_states() {
        for state in ComponentState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
