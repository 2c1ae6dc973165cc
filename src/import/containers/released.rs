//! What MCP has released comes back as it was: what MCP writes into every
//! unit is no part of a definition, and a check is one again.

use std::time::Duration;

use super::LiveUnit;
use crate::definition::model::{
    GrpcCheck, GrpcTable, Health, HttpCheck, HttpTable, OneOrMany, Oneshot, PortName,
};
use crate::deployment::model::{CREATION, Timing};
use crate::import::sheet::Part;
use crate::import::values::{duration, duration_text};
use crate::quadlet::released::{Checked, agent_words, essence, is_ours};
use crate::quadlet::unit_file;

/// What a check takes where a definition says nothing.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
const START_PERIOD: Duration = Duration::from_secs(30);
/// How long a component that has no check may take to start.
const UNCHECKED: Duration = Duration::from_secs(30);

/// Takes up what the unit of a released component says of its check, and
/// returns the unit without what MCP writes into each; none: it is another's.
pub(super) fn taken_in(part: &mut Part, unit: &LiveUnit) -> Option<LiveUnit> {
    if !unit.is_quadlet || !is_ours(&unit.text) {
        return None;
    }
    let lines = unit_file::directives(&unit.text);
    let probe = unit_file::values(&lines, "Service", "ExecStartPost")
        .find_map(|line| agent_words(line, "probe"));
    let check = unit.check.as_deref().and_then(|text| {
        let lines = unit_file::directives(text);
        unit_file::values(&lines, "Service", "ExecStart")
            .find_map(|line| agent_words(line, "check"))
    });
    let mut said = Checked::ByItsLines;
    if let Some(health) = probe.and_then(|probe| health(part, &probe, check.as_deref())) {
        part.component.health = Some(health);
        said = Checked::Otherwise;
    }
    let window = part.component.health.as_ref().and_then(window).unwrap_or(UNCHECKED);
    let text = essence(&unit.text, unit.stem(), CREATION + window, said);
    Some(LiveUnit { text, ..unit.clone() })
}

/// Takes out what a definition means where it says nothing.
pub(super) fn without_defaults(part: &mut Part) {
    let c = &mut part.component;
    if c.oneshot.is_none() {
        c.restart.take_if(|restart| restart == "always");
    }
    if let Some(Oneshot::Full(table)) = &c.oneshot
        && table.timeout.as_deref().and_then(duration) == Some(Duration::from_secs(3600))
    {
        c.oneshot = Some(Oneshot::Flag(true));
    }
    c.log.take_if(|log| log.driver.as_deref() == Some("journald") && log.options.is_none());
    c.stop_timeout.take_if(|time| duration(time) == Some(Duration::from_secs(10)));
    if let Some(health) = &mut c.health {
        let usual = |time: &mut Option<String>, usual| {
            time.take_if(|time| duration(time) == Some(usual));
        };
        usual(&mut health.interval, INTERVAL);
        usual(&mut health.timeout, TIMEOUT);
        usual(&mut health.start_period, START_PERIOD);
        health.retries.take_if(|retries| *retries == RETRIES);
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
    let interval = looks.map_or(Some(INTERVAL), |looks| time(looks, "interval"))?;
    let timeout = time(words, "timeout")?;
    let retries = looks.and_then(|looks| option(looks, "retries"));
    let retries = retries.map_or(Some(RETRIES), |text| text.parse().ok())?;
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

/// Returns how long a component with a check may take to become ready.
fn window(health: &Health) -> Option<Duration> {
    let time = |text: &Option<String>| text.as_deref().and_then(duration);
    let timing = Timing {
        interval: time(&health.interval)?,
        timeout: time(&health.timeout)?,
        retries: health.retries?,
        start_period: time(&health.start_period)?,
    };
    Some(timing.window())
}
