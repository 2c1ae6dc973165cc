//! Flapping: many transitions in a short time are one event, not fifty.
//!
//! Times are those of a clock that only goes forward, so that nobody who sets
//! the other one back breaks anything.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::names::UnitName;

/// When a component flaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many transitions are still normal...
    pub threshold: u32,
    /// ...within this time.
    pub window: Duration,
}

/// What to do about a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Tell it.
    Tell,
    /// Tell that it flaps, after so many transitions.
    Begin(u32),
    /// It flaps; only count.
    Count,
}

/// The transitions of all units within the window.
#[derive(Debug, Default)]
pub struct Flaps {
    units: BTreeMap<UnitName, Track>,
}

#[derive(Debug, Default)]
struct Track {
    recent: VecDeque<Duration>,
    flapping: Option<Flapping>,
}

#[derive(Debug, Clone, Copy)]
struct Flapping {
    transitions: u32,
    last: Duration,
}

impl Flaps {
    /// Takes a transition of a unit, now.
    pub fn turn(&mut self, unit: &UnitName, now: Duration, limits: Limits) -> Verdict {
        let track = self.units.entry(unit.clone()).or_default();
        if let Some(flapping) = &mut track.flapping {
            flapping.transitions = flapping.transitions.saturating_add(1);
            flapping.last = now;
            return Verdict::Count;
        }
        track.recent.push_back(now);
        while track.recent.front().is_some_and(|first| now.saturating_sub(*first) > limits.window) {
            track.recent.pop_front();
        }
        let transitions = u32::try_from(track.recent.len()).unwrap_or(u32::MAX);
        if transitions <= limits.threshold {
            return Verdict::Tell;
        }
        track.recent.clear();
        track.flapping = Some(Flapping { transitions, last: now });
        Verdict::Begin(transitions)
    }

    /// Takes up what an earlier agent had told.
    pub fn resume(&mut self, unit: UnitName, now: Duration) {
        let flapping = Some(Flapping { transitions: 0, last: now });
        self.units.insert(unit, Track { recent: VecDeque::new(), flapping });
    }

    /// Returns the units that have become quiet, with their transitions, and
    /// lets go of them.
    pub fn quiet(&mut self, now: Duration, limits: Limits) -> Vec<(UnitName, u32)> {
        let mut ended = Vec::new();
        self.units.retain(|unit, track| match track.flapping {
            Some(flapping) if now.saturating_sub(flapping.last) >= limits.window => {
                ended.push((unit.clone(), flapping.transitions));
                false
            }
            Some(_) => true,
            None => track.recent.back().is_some_and(|l| now.saturating_sub(*l) <= limits.window),
        });
        ended
    }

    /// Returns when the next unit may have become quiet.
    pub fn next(&self, limits: Limits) -> Option<Duration> {
        let last = self.units.values().filter_map(|track| track.flapping.map(|f| f.last)).min();
        last.map(|last| last.saturating_add(limits.window))
    }

    /// Tells whether a unit flaps.
    pub fn is_flapping(&self, unit: &UnitName) -> bool {
        self.units.get(unit).is_some_and(|track| track.flapping.is_some())
    }

    /// Begins anew with a unit that an operation changes: what it did before
    /// says nothing any more. Returns its transitions when it flapped.
    pub fn begin_anew(&mut self, unit: &UnitName) -> Option<u32> {
        self.units.remove(unit).and_then(|track| track.flapping).map(|f| f.transitions)
    }

    /// Forgets a unit.
    pub fn forget(&mut self, unit: &UnitName) {
        self.units.remove(unit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { threshold: 3, window: Duration::from_secs(600) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_operation_begins_anew() {
        let (mut flaps, unit) = (Flaps::default(), UnitName::everything());
        for second in 0..3 {
            assert_eq!(flaps.turn(&unit, at(second), LIMITS), Verdict::Tell);
        }
        assert_eq!(flaps.begin_anew(&unit), None);
        for second in 3..6 {
            assert_eq!(flaps.turn(&unit, at(second), LIMITS), Verdict::Tell);
        }
        assert_eq!(flaps.turn(&unit, at(6), LIMITS), Verdict::Begin(4));
        assert_eq!(flaps.begin_anew(&unit), Some(4));
        assert!(!flaps.is_flapping(&unit));
        assert_eq!(flaps.turn(&unit, at(7), LIMITS), Verdict::Tell);
    }

    #[test]
    fn fifty_crashes_are_one_flapping_and_one_end() {
        let (mut flaps, unit) = (Flaps::default(), UnitName::from_systemd("a.service"));
        let verdicts: Vec<Verdict> = (0..50).map(|n| flaps.turn(&unit, at(n), LIMITS)).collect();
        assert_eq!(verdicts[..3], [Verdict::Tell; 3]);
        assert_eq!(verdicts[3], Verdict::Begin(4));
        assert!(verdicts[4..].iter().all(|v| *v == Verdict::Count));
        assert!(flaps.is_flapping(&unit));
        assert_eq!(flaps.next(LIMITS), Some(at(649)));
        assert!(flaps.quiet(at(648), LIMITS).is_empty());
        assert_eq!(flaps.quiet(at(649), LIMITS), [(unit.clone(), 50)]);
        assert_eq!(flaps.turn(&unit, at(650), LIMITS), Verdict::Tell);
    }

    #[test]
    fn what_happens_now_and_then_is_told_each_time() {
        let (mut flaps, unit) = (Flaps::default(), UnitName::from_systemd("a.service"));
        for n in 0..50 {
            assert_eq!(flaps.turn(&unit, at(n * 300), LIMITS), Verdict::Tell);
        }
        assert!(flaps.quiet(at(1_000_000), LIMITS).is_empty());
        assert_eq!(flaps.next(LIMITS), None);
    }

    #[test]
    fn flapping_outlives_the_agent() {
        let (mut flaps, unit) = (Flaps::default(), UnitName::from_systemd("a.service"));
        flaps.resume(unit.clone(), at(0));
        assert_eq!(flaps.turn(&unit, at(1), LIMITS), Verdict::Count);
        assert_eq!(flaps.quiet(at(601), LIMITS), [(unit, 1)]);
    }
}
