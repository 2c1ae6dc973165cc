//! Circles in the order of starts, and its longest chains.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::graph::Graph;
use super::unit::Loaded;

/// Units that wait for each other, the first to start first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// The units.
    pub units: Vec<String>,
    /// What they may take together.
    pub total: Duration,
}

/// Returns the circles in the order: each as `a`, `b`, ..., `a`, where each
/// unit waits for the one after it. Each unit is in one of them at most.
pub fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut search = Search { after: graph.after(), done: BTreeSet::new(), trail: Vec::new() };
    for unit in graph.after().keys() {
        while let Some(circle) = search.from(unit) {
            search.done.extend(circle.iter().cloned());
            search.trail.clear();
            found.push(circle);
        }
    }
    found
}

struct Search<'a> {
    after: &'a BTreeMap<String, BTreeSet<String>>,
    done: BTreeSet<String>,
    trail: Vec<(&'a String, Vec<&'a String>)>,
}

impl<'a> Search<'a> {
    /// Walks on until it meets its own trail; without recursion, for a chain
    /// can be long.
    fn from(&mut self, start: &'a String) -> Option<Vec<String>> {
        self.enter(start);
        while let Some((unit, next)) = self.trail.last_mut() {
            let unit = *unit;
            let Some(to) = next.pop() else {
                self.done.insert(unit.clone());
                self.trail.pop();
                continue;
            };
            if let Some(at) = self.trail.iter().position(|(on, _)| *on == to) {
                let circle = self.trail.iter().skip(at).map(|(on, _)| (*on).clone());
                return Some(circle.chain([to.clone()]).collect());
            }
            self.enter(to);
        }
        None
    }

    fn enter(&mut self, unit: &'a String) {
        if !self.done.contains(unit) {
            let next = self.after.get(unit).into_iter().flatten().rev().collect();
            self.trail.push((unit, next));
        }
    }
}

/// Returns the chain that ends with a unit and may take longest; `cost` says
/// what one unit may take. Nothing of a circle is followed twice.
pub fn longest_to(graph: &Graph, unit: &str, cost: impl Fn(&Loaded) -> Duration) -> Chain {
    let mut best: BTreeMap<&str, Chain> = BTreeMap::new();
    // First those that a unit waits for, then itself.
    for name in in_order(graph, unit) {
        let before = graph.after().get(name).into_iter().flatten();
        let mut chain = before
            .filter_map(|before| best.get(before.as_str()))
            .max_by_key(|chain| chain.total)
            .cloned()
            .unwrap_or_default();
        let own = graph.unit(name).map_or(Duration::ZERO, &cost);
        chain.total += own;
        if !own.is_zero() {
            chain.units.push(name.to_owned());
        }
        best.insert(name, chain);
    }
    best.remove(unit).unwrap_or_default()
}

/// Returns all that a unit waits for, directly or not, and itself, each after
/// what it waits for.
fn in_order<'a>(graph: &'a Graph, unit: &str) -> Vec<&'a str> {
    let Some((start, _)) = graph.after().get_key_value(unit) else { return Vec::new() };
    let mut order = Vec::new();
    let mut seen = BTreeSet::from([start]);
    let next = |unit: &String| -> Vec<&'a String> {
        graph.after().get(unit).into_iter().flatten().collect()
    };
    let mut trail = vec![(start, next(start))];
    while let Some((unit, left)) = trail.last_mut() {
        let unit = *unit;
        match left.pop() {
            Some(to) if seen.insert(to) => trail.push((to, next(to))),
            Some(_) => {}
            None => {
                order.push(unit.as_str());
                trail.pop();
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::found;
    use super::*;

    #[test]
    fn circles_are_found_and_each_is_shown_once() {
        let graph = Graph::of_boot(
            &found(
                "default.target: Wants=a.service b.service c.service d.service e.service
             a.service: After=b.service
             b.service: After=c.service
             c.service: After=a.service
             d.service: Before=e.service; After=e.service
             e.service: After=a.service
             basic.target",
            ),
            &[],
        );
        assert_eq!(
            circles(&graph),
            [
                vec!["a.service", "b.service", "c.service", "a.service"],
                vec!["d.service", "e.service", "d.service"]
            ]
        );
        let fine =
            Graph::of_boot(&found("default.target: Wants=a.service\na.service\nbasic.target"), &[]);
        assert!(circles(&fine).is_empty());
    }

    #[test]
    fn the_longest_chain_is_by_time_and_not_by_count() {
        let graph = Graph::of_boot(&found(
            "default.target: Wants=z.service
             z.service: Wants=a.service b.service c.service; After=a.service c.service; TimeoutStopSec=1
             a.service: TimeoutStopSec=100
             b.service: TimeoutStopSec=5
             c.service: After=b.service; TimeoutStopSec=5
             basic.target",
        ), &[]);
        let cost = |unit: &Loaded| {
            unit.stop_limit.and_then(super::super::time_span::Limit::time).unwrap_or_default()
        };
        let chain = longest_to(&graph, "z.service", cost);
        assert_eq!(chain.units, ["a.service", "z.service"]);
        assert_eq!(chain.total, Duration::from_secs(101));
        assert_eq!(longest_to(&graph, "nobody.service", cost), Chain::default());
    }
}
