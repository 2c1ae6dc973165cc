//! One line a unit: its attempts to start, and when it was ready.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::names::UnitName;

/// Something that happened to a unit; the time counts from the manager's
/// first word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// To which unit.
    pub unit: UnitName,
    /// In which run of it.
    pub invocation_id: Option<String>,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The unit began to start.
    Starting,
    /// The job that starts it ended so.
    JobEnded {
        /// systemd's word: `done`, `failed`, `dependency`...
        result: String,
    },
    /// It failed.
    Failed {
        /// systemd's word: `exit-code`, `timeout`...
        result: String,
    },
    /// A process of it exited.
    Exited {
        /// What systemd said.
        words: String,
    },
    /// It was stopped.
    Stopped,
    /// Its start was given up, because the order went round in a circle.
    ThrownOut {
        /// What systemd said.
        words: String,
    },
}

/// One try to start a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub from: Duration,
    /// When it ended; `None`: it had not.
    pub to: Option<Duration>,
    /// How it ended.
    pub ended: Ended,
    /// The run of the unit that it was.
    pub invocation_id: Option<String>,
}

/// How a try to start a unit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The unit was ready.
    Ready,
    /// It was not.
    Failed {
        /// systemd's word for it.
        result: String,
    },
    /// It was stopped on the way.
    Stopped,
    /// It had not ended.
    Open,
}

/// How the start of a unit went in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The unit was ready.
    Ready,
    /// It failed, and was not to be tried again.
    Failed {
        /// systemd's word for it.
        result: String,
    },
    /// It failed, and was to be tried again.
    Retrying {
        /// systemd's word for the last failure.
        result: String,
    },
    /// It was on its way.
    Starting,
    /// Something that it cannot do without failed.
    Blocked,
    /// It was to be started and was not.
    Waiting,
    /// It was stopped, or its job given up.
    Stopped,
    /// A condition kept it from starting, as it is meant to.
    Skipped,
}

/// The start of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// The unit.
    pub unit: UnitName,
    /// How it went.
    pub outcome: Outcome,
    /// Its tries up to the first success, in order.
    pub attempts: Vec<Attempt>,
    /// When it was ready.
    pub ready: Option<Duration>,
    /// When it failed although it had been ready.
    pub fell: Option<Duration>,
    /// What systemd said of the last failure; empty: nothing.
    pub said: String,
}

impl Timeline {
    /// Returns when the unit first began to start.
    pub fn begun(&self) -> Option<Duration> {
        self.attempts.first().map(|attempt| attempt.from)
    }

    /// Returns how long it took from its first try until it was ready.
    pub fn took(&self) -> Option<Duration> {
        Some(self.ready?.saturating_sub(self.begun()?))
    }

    /// Returns how many tries failed.
    pub fn failures(&self) -> usize {
        self.attempts.iter().filter(|a| matches!(a.ended, Ended::Failed { .. })).count()
    }

    /// Tells whether it was not ready and should have been.
    pub fn is_missing(&self) -> bool {
        match self.outcome {
            Outcome::Ready | Outcome::Skipped => false,
            Outcome::Failed { .. }
            | Outcome::Retrying { .. }
            | Outcome::Starting
            | Outcome::Blocked
            | Outcome::Waiting
            | Outcome::Stopped => true,
        }
    }
}

/// Makes one line a unit out of the events of a boot, in the order in which
/// they began. `expected` are the units that were to be started: one without
/// an event is waiting.
pub fn timelines(events: &[Event], expected: &BTreeSet<UnitName>) -> Vec<Timeline> {
    let mut building: BTreeMap<&UnitName, Building> = BTreeMap::new();
    for event in events {
        building.entry(&event.unit).or_default().add(event);
    }
    let mut lines: Vec<Timeline> =
        building.into_iter().map(|(unit, building)| building.finish(unit)).collect();
    let silent = expected.iter().filter(|unit| !lines.iter().any(|line| line.unit == **unit));
    let waiting: Vec<Timeline> = silent.map(|unit| Building::default().finish(unit)).collect();
    lines.extend(waiting);
    lines
        .sort_by_key(|line| (line.begun().unwrap_or(Duration::MAX), line.ready, line.unit.clone()));
    lines
}

/// A line under way.
#[derive(Debug, Default)]
struct Building {
    attempts: Vec<Attempt>,
    ready: Option<Duration>,
    fell: Option<Duration>,
    said: String,
    /// Whether a process of the present try has exited.
    exited: bool,
    job: Option<String>,
}

impl Building {
    fn add(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Starting if self.ready.is_none() => {
                self.close(event.at, Ended::Stopped);
                self.attempts.push(Attempt {
                    from: event.at,
                    to: None,
                    ended: Ended::Open,
                    invocation_id: event.invocation_id.clone(),
                });
                self.job = None;
                self.exited = false;
            }
            EventKind::JobEnded { result } if self.ready.is_none() => {
                if result == "done" {
                    self.become_ready(event);
                } else {
                    self.close(event.at, Ended::Failed { result: result.clone() });
                }
                self.job = Some(result.clone());
            }
            EventKind::Failed { result } if self.ready.is_none() => {
                self.close(event.at, Ended::Failed { result: result.clone() });
            }
            EventKind::Failed { .. } => self.fell = self.fell.or(Some(event.at)),
            // The first to exit takes the others down.
            EventKind::Exited { words } if self.ready.is_none() && !self.exited => {
                self.said.clone_from(words);
                self.exited = true;
            }
            EventKind::ThrownOut { words } => {
                self.said.clone_from(words);
                self.job = Some("canceled".to_owned());
            }
            EventKind::Stopped if self.ready.is_none() => self.close(event.at, Ended::Stopped),
            // After it was ready its life has begun, which is not the boot's.
            EventKind::Starting
            | EventKind::JobEnded { .. }
            | EventKind::Exited { .. }
            | EventKind::Stopped => {}
        }
    }

    fn become_ready(&mut self, event: &Event) {
        if self.attempts.last().is_none_or(|last| last.to.is_some()) {
            // A target, or a service that is ready at once: nothing says that
            // it begins.
            self.attempts.push(Attempt {
                from: event.at,
                to: None,
                ended: Ended::Open,
                invocation_id: event.invocation_id.clone(),
            });
        }
        self.close(event.at, Ended::Ready);
        self.ready = Some(event.at);
    }

    fn close(&mut self, at: Duration, ended: Ended) {
        if let Some(last) = self.attempts.last_mut()
            && last.to.is_none()
        {
            last.to = Some(at);
            last.ended = ended;
        }
    }

    fn outcome(&self) -> Outcome {
        if self.ready.is_some() {
            return Outcome::Ready;
        }
        let ended = self.attempts.last().map(|last| &last.ended);
        match (ended, self.job.as_deref()) {
            (_, Some("dependency")) => Outcome::Blocked,
            (_, Some("skipped")) => Outcome::Skipped,
            (_, Some("canceled" | "collected")) | (Some(Ended::Stopped), _) => Outcome::Stopped,
            // The job goes on while the unit is tried again.
            (Some(Ended::Failed { result }), None) => Outcome::Retrying { result: result.clone() },
            (Some(Ended::Failed { result }), Some(_)) => Outcome::Failed { result: result.clone() },
            (Some(Ended::Open | Ended::Ready), _) => Outcome::Starting,
            (None, Some(job)) => Outcome::Failed { result: job.to_owned() },
            (None, None) => Outcome::Waiting,
        }
    }

    fn finish(self, unit: &UnitName) -> Timeline {
        Timeline {
            unit: unit.clone(),
            outcome: self.outcome(),
            attempts: self.attempts,
            ready: self.ready,
            fell: self.fell,
            said: self.said,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn unit(name: &str) -> UnitName {
        UnitName::from_systemd(name)
    }

    /// Reads `100 a.service starting`, one event a line; the time in
    /// milliseconds.
    pub(in super::super) fn events(text: &str) -> Vec<Event> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let rest = words[3..].join(" ");
                let kind = match words[2] {
                    "starting" => EventKind::Starting,
                    "job" => EventKind::JobEnded { result: rest },
                    "failed" => EventKind::Failed { result: rest },
                    "exited" => EventKind::Exited { words: rest },
                    "stopped" => EventKind::Stopped,
                    "thrown" => EventKind::ThrownOut { words: rest },
                    other => panic!("{other}"),
                };
                Event {
                    at: Duration::from_millis(words[0].parse().unwrap()),
                    unit: unit(words[1]),
                    invocation_id: None,
                    kind,
                }
            })
            .collect()
    }

    pub(in super::super) fn lines(text: &str, expected: &[&str]) -> Vec<Timeline> {
        timelines(&events(text), &expected.iter().map(|name| unit(name)).collect())
    }

    fn shown(lines: &[Timeline]) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for line in lines {
            write!(text, "{} {:?}", line.unit, line.outcome).unwrap();
            for attempt in &line.attempts {
                write!(text, " [{:?}..{:?} {:?}]", attempt.from, attempt.to, attempt.ended)
                    .unwrap();
            }
            writeln!(text, " ready {:?} fell {:?} {:?}", line.ready, line.fell, line.said).unwrap();
        }
        text
    }

    #[test]
    fn each_way_a_unit_can_go_through_a_boot() {
        let text = "
            10 mcp.target job done
            20 good.service starting
            30 retried.service starting
            40 looping.service starting
            50 hopeless.service starting
            60 slow.service starting
            70 good.service job done
            75 good.service failed exit-code
            80 retried.service exited Main process exited, status=1
            80 retried.service exited Control process exited, status=1
            81 retried.service failed exit-code
            90 looping.service failed timeout
            100 hopeless.service failed exit-code
            101 hopeless.service job failed
            102 blocked.service job dependency
            103 masked-by-condition.service job skipped
            110 retried.service starting
            120 looping.service starting
            130 retried.service job done
            140 looping.service failed timeout
            150 circle.service thrown deleted to break ordering cycle
            160 stopped.service starting
            170 stopped.service stopped
            180 good.service starting";
        insta::assert_snapshot!(
            shown(&lines(text, &["good.service", "silent.service"])), @r#"
            mcp.target Ready [10ms..Some(10ms) Ready] ready Some(10ms) fell None ""
            good.service Ready [20ms..Some(70ms) Ready] ready Some(70ms) fell Some(75ms) ""
            retried.service Ready [30ms..Some(81ms) Failed { result: "exit-code" }] [110ms..Some(130ms) Ready] ready Some(130ms) fell None "Main process exited, status=1"
            looping.service Retrying { result: "timeout" } [40ms..Some(90ms) Failed { result: "timeout" }] [120ms..Some(140ms) Failed { result: "timeout" }] ready None fell None ""
            hopeless.service Failed { result: "exit-code" } [50ms..Some(100ms) Failed { result: "exit-code" }] ready None fell None ""
            slow.service Starting [60ms..None Open] ready None fell None ""
            stopped.service Stopped [160ms..Some(170ms) Stopped] ready None fell None ""
            blocked.service Blocked ready None fell None ""
            circle.service Stopped ready None fell None "deleted to break ordering cycle"
            masked-by-condition.service Skipped ready None fell None ""
            silent.service Waiting ready None fell None ""
            "#);
    }
}
