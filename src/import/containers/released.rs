//! What MCP has released comes back as it was: what MCP would write itself is
//! no part of a definition, and a check is one again. What it would not write
//! to the letter is a person's, and stays.

use std::collections::BTreeMap;

use super::LiveUnit;
use crate::definition;
use crate::definition::model::{
    Component, Definition, GrpcCheck, GrpcTable, Health, HttpCheck, HttpTable, OneOrMany, Oneshot,
    PortName,
};
use crate::definition::service::Service;
use crate::definition::write::{Draft, write};
use crate::deployment::model::Timing;
use crate::deployment::{Leases, NodeFacts, resolve};
use crate::import::note::{NoteKind, Notes, Place as At};
use crate::import::sheet::Part;
use crate::import::values::{duration, duration_text};
use crate::names::{Generation, ServiceName};
use crate::quadlet::released::{agent_words, essence, is_ours, released};
use crate::quadlet::unit_file::{self, Directive, body};
use crate::quadlet::{Place, PodmanVersion, Renderer};

/// Where the agent is, for a unit that does not say so.
const AGENT: &str = "/usr/bin/mcp-agent";

/// What the unit of a released component says of its own.
pub(super) struct Own {
    /// The unit without what MCP writes into it anyway.
    pub(super) unit: LiveUnit,
    /// Whether its check is in the definition, and the units beside it that
    /// check it while it runs are made again.
    pub(super) is_checked: bool,
}

/// Takes up what the unit of a released component says of its check; none: it
/// is another's.
pub(super) fn taken_in(
    (part, service, notes): (&mut Part, &ServiceName, &mut Notes),
    unit: &LiveUnit,
) -> Option<Own> {
    if !unit.is_quadlet || !is_ours(&unit.text) {
        return None;
    }
    let lines = unit_file::directives(&unit.text);
    let own = Released { service, unit, lines: &lines };
    let health = own.health(part);
    let is_checked = health.is_some();
    match health {
        Some(health) => part.component.health = Some(health),
        None => own.tell_check(part, notes),
    }
    let made = own.made(part, part.component.health.clone())?;
    let text = essence(&unit.text, &made.container);
    Some(Own { unit: LiveUnit { text, ..unit.clone() }, is_checked })
}

/// Takes out what a definition means where it says nothing.
pub(super) fn without_defaults(part: &mut Part, service: &ServiceName) {
    let Some(means) = meaning(service, part.component.clone()) else { return };
    let health = |c: &mut Component, less: fn(&mut Health)| c.health.iter_mut().for_each(less);
    let less: [&dyn Fn(&mut Component); 8] = [
        &|c| c.restart = None,
        &|c| c.log = None,
        &|c| c.stop_timeout = None,
        &|c| c.oneshot = c.oneshot.take().map(|_| Oneshot::Flag(true)),
        &|c| health(c, |health| health.interval = None),
        &|c| health(c, |health| health.timeout = None),
        &|c| health(c, |health| health.retries = None),
        &|c| health(c, |health| health.start_period = None),
    ];
    for less in less {
        let mut shorter = part.component.clone();
        less(&mut shorter);
        if meaning(service, shorter.clone()).as_ref() == Some(&means) {
            part.component = shorter;
        }
    }
}

/// Returns what a component means by itself, in a service of its own.
fn meaning(service: &ServiceName, component: Component) -> Option<Service> {
    let alone = Component { depends_on: None, ..component };
    let definition = Definition {
        name: Some(service.to_string()),
        components: Some(vec![alone]),
        ..Definition::default()
    };
    let text = write(&Draft { definition, ..Draft::default() }).ok()?;
    definition::load(&text).ok()
}

/// What MCP would write.
struct Made {
    /// The container's file.
    container: String,
    /// The files of the units that check it while it runs, by name, without
    /// what heads them.
    checks: BTreeMap<String, String>,
}

/// A unit that was released.
struct Released<'a> {
    service: &'a ServiceName,
    unit: &'a LiveUnit,
    lines: &'a [Directive],
}

impl Released<'_> {
    /// Returns what has a command of the agent wait for the check.
    fn probe(&self) -> Option<&Directive> {
        let is_probe = |line: &&Directive| {
            line.section == "Service"
                && line.key == "ExecStartPost"
                && agent_words(&line.value, "probe").is_some()
        };
        self.lines.iter().find(is_probe)
    }

    /// Returns what a definition would have to say for all of the check to be
    /// as it is, to the letter; none: none can.
    fn health(&self, part: &Part) -> Option<Health> {
        let waits = agent_words(&self.probe()?.value, "probe")?;
        let name = format!("{}-check.service", self.unit.stem());
        let looks = self.unit.checks.get(&name).and_then(|text| {
            let lines = unit_file::directives(text);
            unit_file::values(&lines, "Service", "ExecStart")
                .find_map(|line| agent_words(line, "check"))
        });
        let health = health(part, &waits, looks.as_deref())?;
        let made = self.made(part, Some(health.clone()))?;
        let lines = unit_file::directives(&made.container);
        let first = |lines: &[Directive]| {
            let mut all = unit_file::values(lines, "Service", "ExecStartPost");
            all.next().map(str::to_owned)
        };
        let is_held =
            |timer| unit_file::values(self.lines, "Unit", "Upholds").any(|own| own == timer);
        let there = self.unit.checks.iter().map(|(name, text)| (name.as_str(), body(text)));
        let is_same = first(&lines) == first(self.lines)
            && unit_file::values(&lines, "Unit", "Upholds").all(is_held)
            && made.checks.iter().map(|(name, text)| (name.as_str(), body(text))).eq(there);
        is_same.then_some(health)
    }

    /// Returns what MCP would write for a component that is checked like that,
    /// as it would be once it is released.
    fn made(&self, part: &Part, health: Option<Health>) -> Option<Made> {
        let last = |key| unit_file::values(self.lines, "Service", key).last();
        let c = &part.component;
        let alone = Component {
            name: c.name.clone(),
            image: c.image.clone(),
            ports: c.ports.clone(),
            network: c.network.clone(),
            stop_timeout: c.stop_timeout.clone(),
            stop_signal: c.stop_signal.clone(),
            oneshot: (last("Type") == Some("oneshot")).then_some(Oneshot::Flag(true)),
            restart: last("Restart").map(str::to_owned),
            health,
            ..Component::default()
        };
        let service = meaning(self.service, alone)?;
        let (facts, none) = (NodeFacts::default(), Leases::new());
        let deployment = resolve(&service, &facts, &none, None, Generation::default()).ok()?;
        let agent = self.probe().and_then(|line| line.value.split(' ').next()).unwrap_or(AGENT);
        let renderer = Renderer::new(PodmanVersion::USUAL, agent, &[]).ok()?;
        let set = renderer.render(&deployment, "").ok()?;
        let stem = self.unit.stem();
        let container = set.files.get(&(Place::Quadlet, format!("{stem}.container")))?;
        let check = format!("{stem}-check.");
        let checks = set.of(Place::Systemd).filter(|(name, _)| name.starts_with(&check));
        Some(Made {
            container: released(container, self.service),
            checks: checks
                .map(|(name, text)| (name.to_owned(), released(text, self.service)))
                .collect(),
        })
    }

    /// Tells of a check that no definition can say: it stays as it is.
    fn tell_check(&self, part: &mut Part, notes: &mut Notes) {
        let stem = self.unit.stem();
        let timer = format!("{stem}-check.timer");
        let is_held = |line: &&Directive| line.key == "Upholds" && line.value == timer;
        let held = self.lines.iter().find(is_held);
        for line in self.probe().into_iter().chain(held) {
            let Directive { key, value, .. } = line;
            let message = format!(
                "{key}={value} stays in `extra`, for MCP writes that check otherwise; `health` can take its place"
            );
            self.tell(part, notes, line.line, message);
        }
        if !self.unit.checks.is_empty() {
            let names: Vec<&str> = self.unit.checks.keys().map(String::as_str).collect();
            let message = format!(
                "the files of {} stay as they are, and yours, for MCP writes that check otherwise; with a `health` in their place, remove them",
                names.join(" and ")
            );
            self.tell(part, notes, 1, message);
        }
        if part.component.health.is_some() && self.probe().is_none() {
            let message =
                "its start waits for its health check again, which no line of the unit had it do"
                    .to_owned();
            self.tell(part, notes, 1, message);
        }
    }

    fn tell(&self, part: &mut Part, notes: &mut Notes, line: usize, message: String) {
        let place = At { file: self.unit.path.clone(), line, column: 1 };
        part.tell(notes, NoteKind::Todo, (&place, "health"), message);
    }
}

/// Reads a check of what waits for it, and of what looks while the component
/// runs.
fn health(part: &Part, waits: &[String], looks: Option<&[String]>) -> Option<Health> {
    let (kind, words) = waits.split_first()?;
    let on_failure = looks.and_then(|looks| option(looks, "on-failure"));
    let on_failure = on_failure.filter(|action| *action != "none").map(str::to_owned);
    if kind == "podman" {
        return Some(Health { on_failure, ..part.component.health.clone()? });
    }
    let time = |words: &[String], name| option(words, name).and_then(duration);
    let looks = looks?;
    let interval = time(looks, "interval")?;
    let timeout = time(words, "timeout")?;
    let retries = option(looks, "retries")?.parse().ok()?;
    let tries = interval.min(Timing::STARTING).saturating_add(timeout).saturating_mul(retries);
    let start_period = time(words, "deadline")?.checked_sub(tries)?;
    Some(Health {
        interval: Some(duration_text(interval)),
        timeout: Some(duration_text(timeout)),
        retries: Some(retries),
        start_period: Some(duration_text(start_period)),
        on_failure,
        ..asked(part, kind, words)?
    })
}

/// Reads what is asked, and where.
fn asked(part: &Part, kind: &str, words: &[String]) -> Option<Health> {
    let number = match option(words, "listens") {
        Some(number) => number.parse().ok()?,
        None => inner(part, words.first()?)?,
    };
    let at = PortName::Number(number);
    let text = |name| option(words, name).map(str::to_owned);
    let tls = words.iter().any(|word| word == "--tls").then_some(true);
    let mut found = Health::default();
    match kind {
        "tcp" => found.tcp = Some(at),
        "http" => {
            let only = part.component.ports.as_ref().is_some_and(|all| all.len() == 1);
            let (path, host) = (words.get(1)?.clone(), text("host"));
            found.http = Some(if only && tls.is_none() && host.is_none() {
                HttpCheck::Path(path)
            } else {
                HttpCheck::Full(HttpTable { port: Some(at), path: Some(path), tls, host })
            });
        }
        "grpc" => {
            let service = text("service");
            found.grpc = Some(if tls.is_none() && service.is_none() {
                GrpcCheck::Port(at)
            } else {
                GrpcCheck::Full(GrpcTable { port: Some(at), service, tls })
            });
        }
        _ => return None,
    }
    Some(found)
}

fn option<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
}

/// Returns the port in the container that is reached at an address of the node.
fn inner(part: &Part, address: &str) -> Option<u16> {
    let outer = address.rsplit_once(':')?.1;
    let published = part.component.ports.iter().flatten().find_map(|published| {
        let pair = published.strip_suffix("/tcp").unwrap_or(published);
        let (host, inner) = pair.rsplit_once(':')?;
        (host.rsplit(':').next()? == outer).then(|| inner.parse().ok())?
    });
    let in_its_network = matches!(&part.component.network, Some(OneOrMany::One(n)) if n == "host");
    published.or_else(|| in_its_network.then(|| outer.parse().ok())?)
}
