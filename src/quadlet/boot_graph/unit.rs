//! One unit as systemd will have it: its file, its drop-ins, its links.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::found::{Content, Found, Pull, Source};
use super::time_span::{self, Limit};
use crate::quadlet::unit_file::{self, Directive};

/// Longest way of links from one name to the next.
const HOPS: usize = 8;

/// Whether a unit can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It can.
    Loaded,
    /// It is masked.
    Masked,
    /// There is no such unit.
    Missing,
    /// Its file cannot be read.
    Unreadable(String),
}

/// A unit as systemd will have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its own name.
    pub name: String,
    /// All of its names.
    pub names: BTreeSet<String>,
    /// Whether it can be started.
    pub state: State,
    /// The file that counts; `None`: there is none.
    pub path: Option<PathBuf>,
    /// Its drop-ins, in the order in which they are read.
    pub drop_ins: Vec<PathBuf>,
    /// Units that it starts and does without.
    pub wants: BTreeSet<String>,
    /// Units that it starts and cannot do without.
    pub requires: BTreeSet<String>,
    /// Units that it starts after.
    pub after: BTreeSet<String>,
    /// Units that it starts before.
    pub before: BTreeSet<String>,
    /// Whether systemd adds dependencies of its own.
    pub default_dependencies: bool,
    /// How long its start may take; `None`: as the manager has it.
    pub start_limit: Option<Limit>,
    /// How long its stop may take; `None`: as the manager has it.
    pub stop_limit: Option<Limit>,
    /// How long its job may wait and run.
    pub job_limit: Option<Limit>,
    /// Its `Type=`, empty when not said.
    pub kind: String,
    /// The last `ExecStartPost=`.
    pub start_post: Option<String>,
}

impl Loaded {
    /// Loads a unit by any of its names.
    pub fn load(found: &Found, name: &str) -> Self {
        let (name, source) = resolve(found, name);
        let names = names(found, &name);
        let mut unit = Self {
            state: match source.map(|source| &source.content) {
                Some(Content::Text(_)) => State::Loaded,
                Some(Content::Masked) => State::Masked,
                Some(Content::Unreadable(why)) => State::Unreadable(why.clone()),
                Some(Content::Alias(_)) | None => State::Missing,
            },
            path: source.map(|source| source.path.clone()),
            drop_ins: Vec::new(),
            wants: BTreeSet::new(),
            requires: BTreeSet::new(),
            after: BTreeSet::new(),
            before: BTreeSet::new(),
            default_dependencies: true,
            start_limit: None,
            stop_limit: None,
            job_limit: None,
            kind: String::new(),
            start_post: None,
            names,
            name,
        };
        if let Some(Source { content: Content::Text(text), .. }) = source {
            unit.read(text);
            unit.read_drop_ins(found);
        }
        for pull in found.pulls.iter().filter(|pull| unit.names.contains(&pull.by)) {
            match pull.pull {
                Pull::Wants => unit.wants.insert(pull.unit.clone()),
                Pull::Requires => unit.requires.insert(pull.unit.clone()),
            };
        }
        unit.add_defaults();
        unit
    }

    fn read_drop_ins(&mut self, found: &Found) {
        let directories: Vec<String> =
            self.names.iter().flat_map(|name| drop_in_names(name)).collect();
        // By the name of the file, whichever directory it is in; of two with
        // one name that of the more special directory counts.
        let mut chosen = std::collections::BTreeMap::new();
        for directory in directories {
            for (file, drop_in) in found.drop_ins.get(&directory).into_iter().flatten() {
                chosen.entry(file.clone()).or_insert(drop_in);
            }
        }
        for drop_in in chosen.into_values() {
            self.read(&drop_in.text);
            self.drop_ins.push(drop_in.path.clone());
        }
    }

    /// Takes what one file says. An empty value takes back what was said of a
    /// list before; of the other settings the last counts.
    fn read(&mut self, text: &str) {
        let (name, instance) = (self.name.clone(), instance(&self.name).map(str::to_owned));
        let units = |value: &str| -> Vec<String> {
            value
                .split_whitespace()
                .map(|unit| specifiers(unit, &name, instance.as_deref()))
                .collect()
        };
        for Directive { section, key, value, line: _ } in unit_file::directives(text) {
            let list = match (section.as_str(), key.as_str()) {
                ("Unit", "Wants" | "Upholds") => &mut self.wants,
                ("Unit", "Requires" | "BindsTo") => &mut self.requires,
                ("Unit", "After") => &mut self.after,
                ("Unit", "Before") => &mut self.before,
                ("Unit", "DefaultDependencies") => {
                    self.default_dependencies =
                        matches!(value.as_str(), "yes" | "true" | "on" | "1");
                    continue;
                }
                ("Unit", "JobTimeoutSec" | "JobRunningTimeoutSec") => {
                    self.job_limit = time_span::limit(&value);
                    continue;
                }
                ("Service", "TimeoutSec") => {
                    self.start_limit = time_span::limit(&value);
                    self.stop_limit = self.start_limit;
                    continue;
                }
                ("Service", "TimeoutStartSec") => {
                    self.start_limit = time_span::limit(&value);
                    continue;
                }
                ("Service", "TimeoutStopSec") => {
                    self.stop_limit = time_span::limit(&value);
                    continue;
                }
                ("Service", "Type") => {
                    self.kind = value;
                    continue;
                }
                ("Service", "ExecStartPost") => {
                    self.start_post = (!value.is_empty()).then_some(value);
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() {
                list.clear();
            }
            list.extend(units(&value));
        }
    }

    /// Adds what systemd adds to services (`systemd.service(5)`, "Default
    /// Dependencies"). What it adds to targets depends on other units: see
    /// [`super::graph`].
    fn add_defaults(&mut self) {
        let service = [".service", ".socket", ".timer", ".path"];
        if self.default_dependencies
            && self.state == State::Loaded
            && service.iter().any(|suffix| self.name.ends_with(suffix))
        {
            if self.name.ends_with(".service") {
                self.after.insert("basic.target".to_owned());
            }
            self.requires.insert("basic.target".to_owned());
        }
    }

    /// Returns whether it is a target.
    pub fn is_target(&self) -> bool {
        self.name.ends_with(".target")
    }
}

/// Follows links to the unit that a name stands for, and returns its file.
fn resolve<'a>(found: &'a Found, name: &str) -> (String, Option<&'a Source>) {
    let mut name = name.to_owned();
    for _ in 0..HOPS {
        let own = found.sources.get(&name).and_then(|all| all.first());
        let template = || {
            let file = template(&name)?;
            found.sources.get(&file).and_then(|all| all.first())
        };
        match own.or_else(template) {
            Some(Source { content: Content::Alias(target), .. }) if *target != name => {
                name.clone_from(target);
            }
            other => return (name, other),
        }
    }
    (name, None)
}

/// Returns all names of a unit.
fn names(found: &Found, name: &str) -> BTreeSet<String> {
    let aliases = found
        .sources
        .keys()
        .filter(|other| alias(found, other).is_some() && resolve(found, other).0 == name);
    aliases.cloned().chain([name.to_owned()]).collect()
}

fn alias<'a>(found: &'a Found, name: &str) -> Option<&'a str> {
    match found.sources.get(name)?.first()?.content {
        Content::Alias(ref target) => Some(target),
        Content::Text(_) | Content::Masked | Content::Unreadable(_) => None,
    }
}

/// Returns the names whose `.d` directories add to a unit: `a-b.service`,
/// `a-.service`, `service`, the most special first.
fn drop_in_names(name: &str) -> Vec<String> {
    let Some((stem, suffix)) = name.rsplit_once('.') else { return Vec::new() };
    let mut names = vec![name.to_owned()];
    names.extend(template(name));
    let mut rest = stem;
    while let Some((front, _)) = rest.trim_end_matches('-').rsplit_once('-') {
        names.push(format!("{front}-.{suffix}"));
        rest = front;
    }
    names.push(suffix.to_owned());
    names
}

/// Returns the file of an instance: `a@.service` for `a@b.service`.
fn template(name: &str) -> Option<String> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let (front, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{front}@.{suffix}"))
}

fn instance(name: &str) -> Option<&str> {
    let (stem, _) = name.rsplit_once('.')?;
    stem.split_once('@').map(|(_, instance)| instance)
}

/// Replaces the specifiers that names of units use.
fn specifiers(text: &str, name: &str, instance: Option<&str>) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let prefix = stem.split_once('@').map_or(stem, |(front, _)| front);
    text.replace("%i", instance.unwrap_or_default())
        .replace("%p", prefix)
        .replace("%N", stem)
        .replace("%n", name)
}

#[cfg(test)]
mod tests {
    use super::super::found::DropIn;
    use super::*;

    pub(in super::super) fn source(path: &str, text: &str) -> Source {
        let content = match text {
            "" => Content::Masked,
            text if text.starts_with("-> ") => Content::Alias(text.split_at(3).1.to_owned()),
            text => Content::Text(text.to_owned()),
        };
        Source { path: path.into(), content }
    }

    #[test]
    fn the_stronger_file_counts_and_drop_ins_add_to_it() {
        let mut found = Found::default();
        found.add_source(
            "a-b.service",
            source("/strong", "[Unit]\nAfter=x.service y.service\n[Service]\nTimeoutStartSec=5\n"),
        );
        found.add_source("a-b.service", source("/weak", "[Unit]\nAfter=z.service\n"));
        let drop_in = |path: &str, text: &str| DropIn { path: path.into(), text: text.to_owned() };
        found.add_drop_in(
            "service",
            "10.conf",
            drop_in("/all", "[Service]\nTimeoutStopSec=1min\n"),
        );
        found.add_drop_in(
            "a-.service",
            "20.conf",
            drop_in("/a", "[Unit]\nAfter=\nAfter=%N.socket\n"),
        );
        found.add_drop_in("a-b.service", "10.conf", drop_in("/own", "[Unit]\nWants=w.service\n"));
        let unit = Loaded::load(&found, "a-b.service");
        assert_eq!(unit.state, State::Loaded);
        assert_eq!(unit.path, Some("/strong".into()));
        assert_eq!(unit.drop_ins, [PathBuf::from("/own"), PathBuf::from("/a")]);
        let after: Vec<&str> = unit.after.iter().map(String::as_str).collect();
        assert_eq!(after, ["a-b.socket", "basic.target"]);
        assert!(unit.wants.contains("w.service"));
        assert_eq!(unit.start_limit.and_then(Limit::time).map(|t| t.as_secs()), Some(5));
        assert_eq!(unit.stop_limit, None);
    }

    #[test]
    fn names_lead_to_the_unit_and_masks_to_none() {
        let mut found = Found::default();
        found.add_source("default.target", source("/d", "-> main.target"));
        found.add_source("main.target", source("/m", "[Unit]\n"));
        found.add_source("off.service", source("/off", ""));
        found.add_source("t@.service", source("/t", "[Unit]\nAfter=%i.service\n"));
        found.pulls.push(super::super::PullIn {
            by: "default.target".to_owned(),
            pull: Pull::Wants,
            unit: "mcp.target".to_owned(),
            path: "/link".into(),
        });
        let unit = Loaded::load(&found, "default.target");
        assert_eq!(unit.name, "main.target");
        assert!(unit.wants.contains("mcp.target"));
        assert_eq!(Loaded::load(&found, "off.service").state, State::Masked);
        assert_eq!(Loaded::load(&found, "none.service").state, State::Missing);
        let instance = Loaded::load(&found, "t@x.service");
        assert!(instance.after.contains("x.service"), "{instance:?}");
        found.add_source("loop.service", source("/l", "-> loop.service"));
        assert_eq!(Loaded::load(&found, "loop.service").state, State::Missing);
    }
}
