//! What decided when the last unit was ready, and what broke first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::timeline::{Outcome, Timeline};
use crate::names::UnitName;

/// A unit is told to begin some moments after what it waited for was ready.
const SLACK: Duration = Duration::from_millis(20);

/// Which units each unit waits for.
pub type Edges = BTreeMap<UnitName, Vec<UnitName>>;

/// One link of the critical chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The unit.
    pub unit: UnitName,
    /// When it began to start.
    pub begun: Duration,
    /// When it was ready.
    pub ready: Duration,
    /// How long after the link before was ready it began.
    pub gap: Duration,
}

/// The first unit that broke, and what waited for it in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The unit.
    pub unit: UnitName,
    /// When it failed first.
    pub at: Option<Duration>,
    /// Those that were not ready because of it, directly or through others.
    pub waited: Vec<UnitName>,
}

/// Returns the chain that decided when the last of `ends` was ready, the
/// first link first: each link waited for the one before it. `awaits` are
/// units that others wait for after they have begun, as the check of a stage
/// does for its services.
pub fn critical(
    lines: &[Timeline],
    ends: &BTreeSet<UnitName>,
    after: &Edges,
    awaits: &Edges,
) -> Vec<Link> {
    let by_unit: BTreeMap<&UnitName, &Timeline> =
        lines.iter().map(|line| (&line.unit, line)).collect();
    let mut chain: Vec<Link> = Vec::new();
    let mut next = lines.iter().filter(|l| ends.contains(&l.unit)).max_by_key(|l| l.ready);
    while let Some(line) = next {
        let (Some(begun), Some(ready)) = (line.begun(), line.ready) else { break };
        if chain.iter().any(|link| link.unit == line.unit) {
            break;
        }
        let until = |edges: &'_ Edges, latest: Duration| -> Vec<&Timeline> {
            let waited_for = edges.get(&line.unit).into_iter().flatten();
            let lines = waited_for.filter_map(|unit| by_unit.get(unit).copied());
            lines.filter(|other| other.ready.is_some_and(|at| at <= latest + SLACK)).collect()
        };
        let before = until(after, begun).into_iter().chain(until(awaits, ready));
        let before = before.max_by_key(|other| (other.ready, other.begun()));
        let gap = before.and_then(|b| b.ready).map_or(begun, |at| begun.saturating_sub(at));
        chain.push(Link { unit: line.unit.clone(), begun, ready, gap });
        next = before;
    }
    chain.reverse();
    chain
}

/// Returns the unit that failed first and was not ready in the end; else one
/// that others wait for and that was itself waiting for nothing. `after` is
/// who is ordered after whom, `requires` who cannot do without whom.
pub fn broken(lines: &[Timeline], after: &Edges, requires: &Edges) -> Option<Broken> {
    let missing: Vec<&Timeline> = lines.iter().filter(|line| line.is_missing()).collect();
    let failed_at = |line: &Timeline| {
        let failed = |a: &&super::Attempt| matches!(a.ended, super::Ended::Failed { .. });
        line.attempts.iter().find(failed).and_then(|attempt| attempt.to)
    };
    let is_missing = |unit: &UnitName| missing.iter().any(|line| line.unit == *unit);
    let waits = |line: &Timeline| after.get(&line.unit).into_iter().flatten().any(is_missing);
    let first = missing
        .iter()
        .filter(|line| failed_at(line).is_some())
        .min_by_key(|line| failed_at(line))
        .or_else(|| missing.iter().find(|l| l.outcome == Outcome::Starting && !waits(l)))
        .or_else(|| missing.iter().find(|l| !waits(l)))?;
    let reached = behind(&first.unit, lines, after, requires);
    let waited = missing.iter().filter(|line| reached.contains(&line.unit));
    let waited = waited.map(|line| line.unit.clone()).filter(|unit| *unit != first.unit).collect();
    Some(Broken { unit: first.unit.clone(), at: failed_at(first), waited })
}

/// Returns a unit and all that cannot start before it has, units of which the
/// boot says nothing included.
fn behind(
    unit: &UnitName,
    lines: &[Timeline],
    after: &Edges,
    requires: &Edges,
) -> BTreeSet<UnitName> {
    let ready: BTreeSet<&UnitName> =
        lines.iter().filter(|line| !line.is_missing()).map(|line| &line.unit).collect();
    let mut reached = BTreeSet::from([unit.clone()]);
    loop {
        let held = |edges: &Edges, unit: &UnitName| {
            edges.get(unit).into_iter().flatten().any(|other| reached.contains(other))
        };
        let more: Vec<UnitName> = after
            .keys()
            .filter(|unit| !reached.contains(*unit) && !ready.contains(unit))
            .filter(|unit| held(after, unit) && held(requires, unit))
            .cloned()
            .collect();
        if more.is_empty() {
            return reached;
        }
        reached.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::timeline::tests::{lines, unit};
    use super::*;

    fn edges(list: &[(&str, &[&str])]) -> Edges {
        list.iter().map(|(from, to)| (unit(from), to.iter().map(|t| unit(t)).collect())).collect()
    }

    #[test]
    fn the_chain_goes_back_along_what_was_waited_for_last() {
        let lines = lines(
            "0 base.service starting
             100 base.service job done
             105 db.service starting
             110 quick.service starting
             120 quick.service job done
             900 db.service job done
             950 web.service starting
             1500 web.service job done
             1200 other.service job done",
            &[],
        );
        let after = edges(&[
            ("web.service", &["quick.service", "db.service", "unknown.service"]),
            ("db.service", &["base.service"]),
        ]);
        let ends = [unit("web.service"), unit("other.service")].into();
        let chain = critical(&lines, &ends, &after, &Edges::new());
        let shown: Vec<_> = chain
            .iter()
            .map(|l| (l.unit.as_str(), l.begun.as_millis(), l.ready.as_millis(), l.gap.as_millis()))
            .collect();
        assert_eq!(
            shown,
            [
                ("base.service", 0, 100, 0),
                ("db.service", 105, 900, 5),
                ("web.service", 950, 1500, 50)
            ]
        );
        assert_eq!(critical(&lines, &BTreeSet::new(), &after, &Edges::new()), []);
    }

    #[test]
    fn the_chain_goes_through_what_was_awaited_after_the_beginning() {
        let lines = lines(
            "0 check.service starting
             10 db.service starting
             900 db.service job done
             910 check.service job done
             920 web.service job done",
            &[],
        );
        let after = edges(&[("web.service", &["check.service"])]);
        let awaits = edges(&[("check.service", &["db.service"])]);
        let chain = critical(&lines, &[unit("web.service")].into(), &after, &awaits);
        let names: Vec<&str> = chain.iter().map(|link| link.unit.as_str()).collect();
        assert_eq!(names, ["db.service", "check.service", "web.service"]);
    }

    #[test]
    fn a_circle_of_edges_ends_the_chain() {
        let lines = lines("0 a.service job done\n0 b.service job done", &[]);
        let after = edges(&[("a.service", &["b.service"]), ("b.service", &["a.service"])]);
        assert_eq!(critical(&lines, &[unit("a.service")].into(), &after, &Edges::new()).len(), 2);
    }

    #[test]
    fn the_first_broken_link_and_what_waited_for_it() {
        let lines = lines(
            "0 db.service starting
             10 other.service starting
             50 db.service failed exit-code
             60 other.service failed timeout
             70 flaky.service starting
             75 flaky.service failed exit-code
             80 flaky.service starting
             90 flaky.service job done
             100 fine.service job done",
            &["web.service", "deaf.service"],
        );
        let after = edges(&[
            ("db-ready.target", &["db.service"]),
            ("web.service", &["db-ready.target"]),
            ("deaf.service", &["db.service"]),
            ("fine.service", &["db.service"]),
        ]);
        let requires =
            edges(&[("db-ready.target", &["db.service"]), ("web.service", &["db-ready.target"])]);
        let broken = broken(&lines, &after, &requires).unwrap();
        assert_eq!((broken.unit, broken.at), (unit("db.service"), Some(Duration::from_millis(50))));
        assert_eq!(broken.waited, [unit("web.service")]);
    }

    #[test]
    fn nothing_is_broken_when_all_is_ready_and_a_hanging_start_is_a_link_too() {
        let fine = lines("0 a.service job done", &["a.service"]);
        assert_eq!(broken(&fine, &Edges::new(), &Edges::new()), None);
        let hanging = lines("0 a.service starting", &["a.service", "b.service"]);
        let needs = edges(&[("b.service", &["a.service"])]);
        let broken = broken(&hanging, &needs, &needs).unwrap();
        assert_eq!((broken.unit, broken.at), (unit("a.service"), None));
        assert_eq!(broken.waited, [unit("b.service")]);
    }
}
