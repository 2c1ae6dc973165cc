//! Who waits for whom: cycles and order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Returns a shortest way from `from` over `to` back to `from`, ends
/// included, if there is one.
pub fn cycle<N: Ord + Clone>(from: &N, to: &N, edges: &BTreeMap<N, Vec<N>>) -> Option<Vec<N>> {
    let mut visited = BTreeSet::new();
    let mut trails = VecDeque::from([vec![from.clone(), to.clone()]]);
    while let Some(trail) = trails.pop_front() {
        let last = trail.last()?;
        if last == from {
            return Some(trail);
        }
        if visited.insert(last.clone()) {
            let next = edges.get(last).into_iter().flatten();
            trails.extend(next.map(|n| [trail.as_slice(), std::slice::from_ref(n)].concat()));
        }
    }
    None
}

/// Groups nodes so that each one's dependencies are in earlier groups; edges
/// to nodes that are not keys are ignored. Nodes of a cycle come in one last
/// group.
pub fn layers<N: Ord + Clone>(edges: &BTreeMap<N, Vec<N>>) -> Vec<Vec<N>> {
    let mut left: BTreeMap<&N, BTreeSet<&N>> = edges
        .iter()
        .map(|(n, to)| (n, to.iter().filter(|t| edges.contains_key(t)).collect()))
        .collect();
    let mut layers = Vec::new();
    while !left.is_empty() {
        let mut ready: Vec<&N> =
            left.iter().filter(|(_, waits)| waits.is_empty()).map(|(n, _)| *n).collect();
        if ready.is_empty() {
            ready = left.keys().copied().collect();
        }
        for node in &ready {
            left.remove(node);
        }
        for waits in left.values_mut() {
            for node in &ready {
                waits.remove(node);
            }
        }
        layers.push(ready.into_iter().cloned().collect());
    }
    layers
}

/// Shows a cycle as `a -> b -> a`.
pub fn arrow<N: std::fmt::Display>(trail: &[N]) -> String {
    trail.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edges(list: &[(u8, Vec<u8>)]) -> BTreeMap<u8, Vec<u8>> {
        list.iter().cloned().collect()
    }

    #[test]
    fn finds_the_way_round() {
        let e = edges(&[(1, vec![2]), (2, vec![3]), (3, vec![1])]);
        assert_eq!(cycle(&1, &2, &e), Some(vec![1, 2, 3, 1]));
        assert_eq!(cycle(&1, &2, &edges(&[(1, vec![2]), (2, vec![])])), None);
        let two_ways = edges(&[(1, vec![2]), (2, vec![1, 3]), (3, vec![1])]);
        assert_eq!(cycle(&1, &2, &two_ways), Some(vec![1, 2, 1]));
        assert_eq!(arrow(&[1, 2, 1]), "1 -> 2 -> 1");
    }

    proptest! {
        #[test]
        fn every_node_comes_after_what_it_waits_for(list in prop::collection::btree_map(0u8..20, prop::collection::vec(0u8..20, 0..4), 0..20)) {
            // Edges to smaller numbers only: no cycle.
            let e: BTreeMap<u8, Vec<u8>> = list.iter().map(|(n, to)| (*n, to.iter().copied().filter(|t| t < n).collect())).collect();
            let layers = layers(&e);
            let place = |n: &u8| layers.iter().position(|l| l.contains(n));
            prop_assert_eq!(layers.iter().map(Vec::len).sum::<usize>(), e.len());
            for (n, to) in &e {
                for t in to.iter().filter(|t| e.contains_key(t)) {
                    prop_assert!(place(t) < place(n));
                }
            }
        }
    }
}
