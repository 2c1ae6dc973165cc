//! The file type to the domain type: every rule of a definition, and every
//! breach told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use super::diagnostic::{Diagnostic, Invalid};
use super::parse::Source;
use super::service::{Component, Service, Snapshot, SnapshotMethod, Tier};
use super::{MAX_COMPONENTS, graph, model, suggest, values};
use crate::names::{ComponentName, ContainerName, ServiceName};

mod component;
mod deploy;
mod extra;
mod health;
mod network;
mod oneshot;
mod schedule;
mod things;

pub use extra::whose_key;

/// Checks a definition and returns the service it describes.
pub(super) fn validate(definition: model::Definition, source: &Source) -> Result<Service, Invalid> {
    let mut check = Checker { source, found: Vec::new() };
    let service = check.service(definition);
    match service {
        Some(service) if check.found.is_empty() => Ok(service),
        Some(_) | None => Err(Invalid::new(check.found)),
    }
}

/// Collects mistakes while values are read.
pub(super) struct Checker<'a> {
    source: &'a Source,
    found: Vec<Diagnostic>,
}

impl Checker<'_> {
    /// Notes that something is missing.
    fn miss(&mut self, path: &str, message: impl Display) {
        self.complain(path, message);
        if let Some(last) = self.found.last_mut() {
            last.absent = true;
        }
    }

    fn complain(&mut self, path: &str, message: impl Display) {
        // "what; how to mend it" is how the small grammars put it.
        let text = message.to_string();
        let (message, help) = match text.split_once("; ") {
            Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
            None => (text, None),
        };
        self.found.push(Diagnostic { span: self.source.span(path), message, help, absent: false });
    }

    /// Notes a refusal and goes on without the value.
    fn keep<T, E: Display>(&mut self, path: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.complain(path, error)).ok()
    }

    fn name<T: FromStr<Err: Display>>(&mut self, path: &str, value: Option<String>) -> Option<T> {
        if let Some(text) = value {
            let parsed = text.parse();
            self.keep(path, parsed)
        } else {
            let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
            self.miss(
                parent,
                format!(
                    "the {} has no `{key}`; add one",
                    if parent.is_empty() { "service" } else { "component" }
                ),
            );
            None
        }
    }

    fn list<T, E: Display>(
        &mut self,
        path: &str,
        items: Option<Vec<String>>,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        items
            .unwrap_or_default()
            .iter()
            .enumerate()
            .filter_map(|(index, item)| self.keep(&format!("{path}[{index}]"), read(item)))
            .collect()
    }

    fn choice<T: Copy>(
        &mut self,
        path: &str,
        value: Option<&str>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let value = value?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == value) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let help = suggest::closest(value, words.iter().copied()).map_or_else(
            || format!("one of {}", words.join(", ")),
            |likely| format!("did you mean {likely:?}?"),
        );
        self.complain(path, format!("{value:?} is not known here; {help}"));
        None
    }

    fn plain(&mut self, path: &str, value: Option<String>) -> Option<String> {
        let value = value?;
        self.keep(path, values::plain(&value)).map(|()| value)
    }

    fn service(&mut self, d: model::Definition) -> Option<Service> {
        let name: Option<ServiceName> = self.name("name", d.name);
        let node = d.node.and_then(|node| self.keep("node", node.parse()));
        let tiers = [("core", Tier::Core), ("worker", Tier::Worker), ("edge", Tier::Edge)];
        let tier = self.choice("tier", d.tier.as_deref(), &tiers).unwrap_or_default();
        let depends_on: Vec<ServiceName> = self.list("depends_on", d.depends_on, str::parse);
        if let Some(name) = &name
            && let Some(index) = depends_on.iter().position(|other| other == name)
        {
            self.complain(
                &format!("depends_on[{index}]"),
                format!("the service depends on itself: {name} -> {name}"),
            );
        }
        let version = self.plain("version", d.version);
        if let Some(version) = &version {
            let _: Option<()> = self.keep("version", values::word(version, "a version", "._-"));
        }
        let comment = self.plain("comment", d.comment);
        let path = self.plain("path", d.path);
        let build = d.build.unwrap_or_default();
        let snapshot = d.snapshot.and_then(|snapshot| self.snapshot(snapshot));
        let deploy = self.deploy(d.deploy);
        let networks = self.network_specs(d.networks);
        let volumes = self.volume_specs(d.volumes);
        let components = self.components(d.components, name.as_ref(), version.is_some());
        self.blue_green(deploy, &components);
        Some(Service {
            name: name?,
            node,
            tier,
            active: d.active.unwrap_or(true),
            heal: d.heal.unwrap_or_default(),
            comment,
            path,
            version,
            depends_on: unique(depends_on),
            images: build.images.unwrap_or_default(),
            snapshot,
            deploy,
            networks,
            volumes,
            components: components.into_iter().map(|(_, component)| component).collect(),
        })
    }

    fn snapshot(&mut self, s: model::Snapshot) -> Option<Snapshot> {
        let method = match s.method.as_deref() {
            None | Some("") => SnapshotMethod::Default,
            Some("full") => SnapshotMethod::Full,
            Some("grpc") => SnapshotMethod::Grpc,
            Some("cli") => SnapshotMethod::Cli,
            Some(other) => match other.strip_prefix("exec:").map(str::trim) {
                Some(command) if !command.is_empty() => SnapshotMethod::Exec(command.to_owned()),
                _ => {
                    self.complain("snapshot.method", format!("{other:?} is not a way to save data; one of full, grpc, cli, or \"exec: COMMAND\""));
                    return None;
                }
            },
        };
        if s.exclude.is_some() && s.excludes.is_some() {
            self.complain("snapshot.excludes", "`exclude` and `excludes` mean the same; keep one");
        }
        Some(Snapshot { method, exclude: s.exclude.or(s.excludes).unwrap_or_default() })
    }

    fn components(
        &mut self,
        list: Option<Vec<model::Component>>,
        service: Option<&ServiceName>,
        has_version: bool,
    ) -> Vec<(usize, Component)> {
        let list = list.unwrap_or_default();
        if list.is_empty() {
            self.miss("components", "the service has no components; add a [[components]] table");
        }
        if list.len() > MAX_COMPONENTS {
            self.complain(
                "components",
                format!(
                    "a service has at most {MAX_COMPONENTS} components, this one {}",
                    list.len()
                ),
            );
            return Vec::new();
        }
        let mut seen = BTreeMap::new();
        let mut components = Vec::new();
        for (index, item) in list.into_iter().enumerate() {
            let at = format!("components[{index}]");
            if let Some(component) = self.component(&at, item, has_version) {
                if seen.insert(component.name.clone(), index).is_some() {
                    self.complain(
                        &format!("{at}.name"),
                        format!("there are two components named {:?}", component.name.as_str()),
                    );
                }
                components.push((index, component));
            }
        }
        if let Some(service) = service {
            follow_holders(service, &mut components);
        }
        self.dependencies(&components);
        self.published(&components);
        components
    }

    /// Refuses dependencies on what is not there, and cycles, with the cycle.
    fn dependencies(&mut self, components: &[(usize, Component)]) {
        let edges: BTreeMap<ComponentName, Vec<ComponentName>> =
            components.iter().map(|(_, c)| (c.name.clone(), c.depends_on.clone())).collect();
        for (index, component) in components {
            for (at, dependency) in component.depends_on.iter().enumerate() {
                let path = format!("components[{index}].depends_on[{at}]");
                if !edges.contains_key(dependency) {
                    let likely = suggest::closest(
                        dependency.as_str(),
                        edges.keys().map(ComponentName::as_str),
                    )
                    .map_or_else(
                        || "services go into the service's own depends_on".to_owned(),
                        |l| format!("did you mean {l:?}?"),
                    );
                    self.complain(
                        &path,
                        format!("there is no component named {:?}; {likely}", dependency.as_str()),
                    );
                } else if let Some(cycle) = graph::cycle(&component.name, dependency, &edges) {
                    self.complain(
                        &path,
                        format!("the components wait for each other: {}", graph::arrow(&cycle)),
                    );
                }
            }
        }
    }

    /// Refuses two publications of one port of the node.
    fn published(&mut self, components: &[(usize, Component)]) {
        let mut taken: BTreeMap<_, Vec<Option<IpAddr>>> = BTreeMap::new();
        for (index, component) in components {
            for (at, port) in component.ports.iter().enumerate() {
                let others = taken.entry((port.protocol, port.host)).or_default();
                let any = |a: &Option<IpAddr>| a.is_none_or(|a| a.is_unspecified());
                let clash = others
                    .iter()
                    .any(|other| any(other) || any(&port.address) || *other == port.address);
                if clash {
                    self.complain(
                        &format!("components[{index}].ports[{at}]"),
                        format!("port {} of the node is published twice", port.host),
                    );
                }
                others.push(port.address);
            }
        }
    }
}

/// Makes what lives in the network of another component depend on that one,
/// without which podman cannot start it.
fn follow_holders(service: &ServiceName, components: &mut [(usize, Component)]) {
    let names: Vec<ComponentName> = components.iter().map(|(_, c)| c.name.clone()).collect();
    for (_, component) in components {
        for name in names.iter().filter(|name| **name != component.name) {
            let joins = component.joins(&ContainerName::new(service, name));
            if joins && !component.depends_on.contains(name) {
                component.depends_on.push(name.clone());
            }
        }
    }
}

/// Drops repetitions, keeping the first of each.
fn unique<T: Ord + Clone>(items: Vec<T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| seen.insert(item.clone())).collect()
}
