//! How the node itself checks a component: the command that waits until it
//! is ready, and the units that look whether it still is.

use std::time::Duration;

use serde::Serialize;

use super::arguments::seconds;
use super::escape::exec_line;
use crate::deployment::model::{Probe, Timing};
use crate::deployment::{Container, Readiness};
use crate::names::{ServiceName, UnitName};

/// Shortest and longest time by which checks are spread, so that those of a
/// hundred components do not come at once.
const SPREAD: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long podman may take to begin a check, on a node that is booting.
const SLOW_PODMAN: Duration = Duration::from_secs(10);

/// What a probe of podman may take longer than the check's own time: less than
/// its unit may.
const LATEST: Duration = Duration::from_secs(25);

/// What a probe and a check ask for podman's own verdict.
pub(super) const PODMAN: &str = "podman";

/// Returns the command that waits until a container is ready.
pub(super) fn probe_words(c: &Container, agent: &str) -> Option<Vec<String>> {
    match &c.readiness {
        Readiness::Started | Readiness::Ended { .. } => None,
        // Podman has the command run; its verdict is read (ADR 0027).
        Readiness::Command { words: _, timing } => {
            // It looks when its own timer says so, and takes a while to begin.
            let late = timing.interval.min(Timing::STARTING) + timing.timeout + SLOW_PODMAN;
            let deadline = timing.window() + late.min(LATEST);
            Some(waiting(vec![PODMAN.to_owned()], timing, deadline, agent))
        }
        Readiness::Probe { probe, timing } => Some(probe_command(probe, timing, agent)),
    }
}

/// Returns the command that waits until a probe succeeds.
pub(super) fn probe_command(probe: &Probe, timing: &Timing, agent: &str) -> Vec<String> {
    let mut target = target_words(probe);
    if let Probe::Tcp { address: _, container: Some(port) } = probe {
        target.push(format!("--listens={port}"));
    }
    waiting(target, timing, timing.window(), agent)
}

fn waiting(target: Vec<String>, timing: &Timing, deadline: Duration, agent: &str) -> Vec<String> {
    let mut words = vec![agent.to_owned(), "probe".to_owned()];
    words.extend(target);
    words.push(format!("--interval={}", seconds(timing.interval.min(Timing::STARTING))));
    words.push(format!("--timeout={}", seconds(timing.timeout)));
    words.push(format!("--deadline={}", seconds(deadline)));
    words
}

/// Returns the command that looks whether a running container is still
/// healthy, and does what the definition wants if it is not.
pub(super) fn check_words(c: &Container, agent: &str) -> Option<Vec<String>> {
    let timing = timing(c).filter(|_| c.is_checked())?;
    let mut words = vec![
        agent.to_owned(),
        "check".to_owned(),
        format!("--unit={}", c.name.unit()),
        format!("--interval={}", seconds(timing.interval)),
        format!("--timeout={}", seconds(timing.timeout)),
        format!("--retries={}", timing.retries),
        format!("--on-failure={}", c.on_failure().as_str()),
    ];
    match &c.readiness {
        Readiness::Probe { probe, .. } => words.extend(target_words(probe)),
        // Podman has the command run; its verdict is read.
        Readiness::Command { .. } | Readiness::Started | Readiness::Ended { .. } => {
            words.push(PODMAN.to_owned());
        }
    }
    Some(words)
}

fn target_words(probe: &Probe) -> Vec<String> {
    let mut words = Vec::new();
    let mut tls = false;
    match probe {
        Probe::Tcp { address, container: _ } => {
            words.extend(["tcp".to_owned(), address.to_string()]);
        }
        Probe::Http { address, path, tls: with, host } => {
            words.extend(["http".to_owned(), address.to_string(), path.clone()]);
            words.extend(host.iter().map(|h| format!("--host={h}")));
            tls = *with;
        }
        Probe::Grpc { address, service, tls: with } => {
            words.extend(["grpc".to_owned(), address.to_string()]);
            words.extend((!service.is_empty()).then(|| format!("--service={service}")));
            tls = *with;
        }
    }
    words.extend(tls.then(|| "--tls".to_owned()));
    words
}

fn timing(c: &Container) -> Option<Timing> {
    match &c.readiness {
        Readiness::Started | Readiness::Ended { .. } => None,
        Readiness::Command { timing, .. } | Readiness::Probe { timing, .. } => Some(*timing),
    }
}

/// `check.service.tera` and `check.timer.tera`.
#[derive(Debug, Serialize)]
pub(super) struct CheckView {
    header: Vec<String>,
    name: String,
    unit: String,
    target: String,
    check: String,
    interval: String,
    spread: String,
    timeout: u64,
}

impl CheckView {
    /// Returns none for a container that is not checked while it runs.
    pub(super) fn new(
        service: &ServiceName,
        c: &Container,
        header: Vec<String>,
        agent: &str,
    ) -> Option<Self> {
        let timing = timing(c)?;
        let words = check_words(c, agent)?;
        // Each attempt, asking systemd, and waiting for a stop.
        let attempts = (timing.interval + timing.timeout) * timing.retries;
        let timeout = attempts + c.stop_timeout() + Duration::from_secs(60);
        Some(Self {
            header,
            name: c.name.to_string(),
            unit: c.name.unit().to_string(),
            target: UnitName::service_target(service).to_string(),
            check: exec_line(&words),
            interval: seconds(timing.interval),
            spread: seconds((timing.interval / 10).clamp(SPREAD.0, SPREAD.1)),
            timeout: timeout.as_secs(),
        })
    }
}
