//! The units that systemd starts at boot, and who brings in whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::found::Found;
use super::unit::{Loaded, State};

/// The unit that a user's systemd starts.
pub const ROOT: &str = "default.target";

/// The units that will be started, by name.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    units: BTreeMap<String, Loaded>,
    /// Who brought in each unit first; the root is missing.
    brought_in_by: BTreeMap<String, String>,
    /// Who is ordered after whom, among those that are started.
    after: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Follows what `default.target` brings in. `waits` are units of which
    /// the first starts the second while it starts itself, and waits for it:
    /// a stage's check does so, and systemd does not know.
    pub fn of_boot(found: &Found, waits: &[(String, String)]) -> Self {
        let mut graph = Self::default();
        let mut queue = VecDeque::from([(ROOT.to_owned(), None)]);
        while let Some((name, by)) = queue.pop_front() {
            let mut unit = Loaded::load(found, &name);
            for (_, other) in waits.iter().filter(|(waiting, _)| unit.names.contains(waiting)) {
                unit.wants.insert(other.clone());
                unit.after.insert(other.clone());
            }
            // What is masked or missing is not started.
            if unit.state != State::Loaded || graph.units.contains_key(&unit.name) {
                continue;
            }
            if let Some(by) = by {
                graph.brought_in_by.insert(unit.name.clone(), by);
            }
            for next in unit.wants.iter().chain(&unit.requires) {
                queue.push_back((next.clone(), Some(unit.name.clone())));
            }
            graph.units.insert(unit.name.clone(), unit);
        }
        graph.after = graph.order();
        graph
    }

    /// Returns a unit that will be started, by any of its names.
    pub fn unit(&self, name: &str) -> Option<&Loaded> {
        self.units.get(name).or_else(|| self.units.values().find(|u| u.names.contains(name)))
    }

    /// Returns all units that will be started, by name.
    pub fn units(&self) -> impl Iterator<Item = &Loaded> {
        self.units.values()
    }

    /// Returns whether a unit will be started.
    pub fn starts(&self, name: &str) -> bool {
        self.unit(name).is_some()
    }

    /// Returns the way by which a unit is brought in, from `default.target` to
    /// itself; empty: it is not.
    pub fn way_to(&self, name: &str) -> Vec<&str> {
        let Some(mut unit) = self.unit(name) else { return Vec::new() };
        let mut way = vec![unit.name.as_str()];
        while let Some(by) = self.brought_in_by.get(&unit.name).and_then(|by| self.units.get(by)) {
            way.push(by.name.as_str());
            unit = by;
        }
        way.reverse();
        way
    }

    /// Returns who is ordered after whom.
    pub fn after(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.after
    }

    fn order(&self) -> BTreeMap<String, BTreeSet<String>> {
        let known: BTreeMap<&str, &str> = self
            .units
            .values()
            .flat_map(|unit| unit.names.iter().map(|n| (n.as_str(), unit.name.as_str())))
            .collect();
        let started = |names: &'_ BTreeSet<String>| -> Vec<String> {
            names.iter().filter_map(|n| known.get(n.as_str())).map(|n| (*n).to_owned()).collect()
        };
        let mut after: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for unit in self.units.values() {
            after.entry(unit.name.clone()).or_default().extend(started(&unit.after));
            for later in started(&unit.before) {
                after.entry(later).or_default().insert(unit.name.clone());
            }
        }
        // A target is reached after what it brings in, unless one of the two
        // says otherwise (`systemd.target(5)`, "Default Dependencies").
        for target in self.units.values().filter(|u| u.is_target() && u.default_dependencies) {
            let brought = started(&target.wants).into_iter().chain(started(&target.requires));
            for member in brought.filter_map(|name| self.units.get(&name)) {
                let waits = after.get(&member.name).is_some_and(|a| a.contains(&target.name));
                if member.default_dependencies && !waits {
                    after.entry(target.name.clone()).or_default().insert(member.name.clone());
                }
            }
        }
        for (unit, before) in &mut after {
            before.remove(unit);
        }
        after
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::found::{Content, Source};
    use super::*;

    /// Reads `name: line; line`, one unit a line; each gets a section [Unit].
    pub(in super::super) fn found(text: &str) -> Found {
        let mut found = Found::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, body) = line.split_once(": ").unwrap_or((line, ""));
            let content = match body {
                "masked" => Content::Masked,
                body => {
                    let section = if name.ends_with(".service") { "[Service]\n" } else { "" };
                    let (limits, unit): (Vec<&str>, Vec<&str>) =
                        body.split("; ").partition(|d| d.starts_with("Timeout"));
                    Content::Text(format!(
                        "[Unit]\n{}\n{section}{}\n",
                        unit.join("\n"),
                        limits.join("\n")
                    ))
                }
            };
            found.add_source(name, Source { path: format!("/u/{name}").into(), content });
        }
        found
    }

    #[test]
    fn what_is_masked_missing_or_not_wanted_is_not_started() {
        let found = found(
            "default.target: Wants=mcp.target gone.target off.service
             mcp.target: Requires=a.service
             a.service: Wants=b.service
             b.service
             basic.target
             off.service: masked
             idle.service",
        );
        let graph = Graph::of_boot(&found, &[]);
        let names: Vec<&str> = graph.units().map(|u| u.name.as_str()).collect();
        assert_eq!(
            names,
            ["a.service", "b.service", "basic.target", "default.target", "mcp.target"]
        );
        assert_eq!(
            graph.way_to("b.service"),
            ["default.target", "mcp.target", "a.service", "b.service"]
        );
        assert_eq!(graph.way_to("idle.service"), [""; 0]);
    }

    #[test]
    fn a_target_waits_for_what_it_brings_in_unless_that_waits_for_it() {
        let found = found(
            "default.target: Wants=a.service early.service late.service
             a.service
             early.service: DefaultDependencies=no
             late.service: After=default.target
             basic.target",
        );
        let graph = Graph::of_boot(&found, &[]);
        let before = |unit: &str| graph.after()[unit].iter().cloned().collect::<Vec<_>>();
        assert_eq!(before("default.target"), ["a.service"]);
        assert_eq!(before("late.service"), ["basic.target", "default.target"]);
        assert!(before("early.service").is_empty());
    }
}
