//! Whether everything has the time that it may need: units for their checks,
//! jobs for what they wait for, the user's systemd for stopping it all.

use std::time::Duration;

use crate::agent::finding::{Finding, shell_word};
use crate::deployment::{Container, Readiness};
use crate::quadlet::boot_graph::time_span::Limit;
use crate::quadlet::boot_graph::{Found, Graph, Loaded, State, order};

const START: &str = "start-limit";
const STOP: &str = "stop-limit";
/// How long the unit that pulls an image may take, as MCP writes it.
const PULL: Duration = Duration::from_secs(900);

/// What units may take that do not say so; `None`: as long as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// To start.
    pub start: Option<Duration>,
    /// To stop.
    pub stop: Option<Duration>,
}

/// Judges the limit of a container's start against the time that its check
/// allows, and the limit of the unit that pulls its image.
pub fn start(found: &Found, container: &Container, defaults: Defaults) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = container.name.unit();
    let unit = Loaded::load(found, name.as_str());
    let needed = match &container.readiness {
        Readiness::Started => Duration::ZERO,
        Readiness::Ended { timeout } => *timeout,
        Readiness::Command { timing, .. } | Readiness::Probe { timing, .. } => timing.window(),
    };
    if unit.state == State::Loaded
        && let Some(limit) = start_limit(&unit, defaults)
        && limit < needed
    {
        let message = format!(
            "{name} may take {} s to start, but {} {} s to become ready: systemd will stop it \
             while it still may.",
            limit.as_secs(),
            if container.spec.oneshot.is_some() { "it is given" } else { "its check allows" },
            needed.as_secs()
        );
        let finding = Finding::failed(START, name.as_str(), message);
        findings.push(finding.mend(mend(found, &unit, "TimeoutStartSec")));
    }
    let image = container.name.image_unit();
    let unit = Loaded::load(found, image.as_str());
    if unit.state == State::Loaded
        && let Some(limit) = start_limit(&unit, defaults)
        && limit < PULL
    {
        let message = format!(
            "{image} may take {} s to pull the image, less than the {} s that MCP gives it.",
            limit.as_secs(),
            PULL.as_secs()
        );
        let finding = Finding::warning(START, image.as_str(), message);
        findings.push(finding.mend(mend(found, &unit, "TimeoutStartSec")));
    }
    findings
}

fn start_limit(unit: &Loaded, defaults: Defaults) -> Option<Duration> {
    match unit.start_limit {
        Some(limit) => limit.time(),
        // Of a oneshot the start is all that there is (`systemd.service(5)`).
        None if unit.kind == "oneshot" => None,
        None => defaults.start,
    }
}

/// Returns the command that takes a drop-in away which sets a key; the
/// service's own files are judged elsewhere.
fn mend(found: &Found, unit: &Loaded, key: &str) -> String {
    let sets = |text: &str| text.lines().any(|line| line.trim_start().starts_with(key));
    let all = found.drop_ins.values().flat_map(|files| files.values());
    let mut guilty =
        all.filter(|drop_in| unit.drop_ins.contains(&drop_in.path) && sets(&drop_in.text));
    guilty
        .next()
        .map(|drop_in| {
            let path = shell_word(&drop_in.path.to_string_lossy());
            format!("rm {path} && systemctl --user daemon-reload")
        })
        .unwrap_or_default()
}

/// Judges limits of jobs: a job waits for all that comes before it.
pub fn jobs(found: &Found, graph: &Graph, defaults: Defaults) -> Vec<Finding> {
    graph
        .units()
        // A stage that is not required has such a limit on purpose.
        .filter(|unit| !unit.name.starts_with("mcp-") || !unit.name.ends_with("-check.service"))
        .filter_map(|unit| {
            let limit = unit.job_limit.and_then(Limit::time)?;
            let chain = order::longest_to(graph, &unit.name, |unit| {
                if unit.is_target() {
                    return Duration::ZERO;
                }
                // Without a limit of its own it counts as short.
                start_limit(unit, defaults)
                    .filter(|_| unit.start_limit.is_some())
                    .unwrap_or_default()
            });
            (chain.total > limit).then(|| {
                let message = format!(
                    "The job of {} is given up after {} s, but what it waits for may take {} s: \
                     {}.",
                    unit.name,
                    limit.as_secs(),
                    chain.total.as_secs(),
                    chain.units.join(" -> ")
                );
                Finding::failed(START, unit.name.as_str(), message).mend(mend(found, unit, "Job"))
            })
        })
        .collect()
}

/// Judges the time that the user's systemd has to stop everything; `limit` is
/// that of `user@UID.service`.
///
/// Units stop one after the other along the order of their start, the other
/// way round. The sum of a chain's limits is what it takes at the very worst.
pub fn stops(graph: &Graph, user: u32, limit: Option<Duration>) -> Vec<Finding> {
    let Some(limit) = limit else { return Vec::new() };
    let cost = |unit: &Loaded| unit.stop_limit.and_then(Limit::time).unwrap_or_default();
    let mut findings = Vec::new();
    let longer = |needed: Duration| {
        let seconds = needed.as_secs() + 10;
        format!(
            "sudo mkdir -p /etc/systemd/system/user@{user}.service.d && printf \
             '[Service]\\nTimeoutStopSec={seconds}\\n' | sudo tee \
             /etc/systemd/system/user@{user}.service.d/zz-mcp-stop.conf && sudo systemctl \
             daemon-reload"
        )
    };
    let slowest = graph.units().max_by_key(|unit| cost(unit));
    let mut chains: Vec<_> =
        graph.units().map(|unit| order::longest_to(graph, &unit.name, cost)).collect();
    chains.sort_by_key(|chain| chain.total);
    let Some(longest) = chains.pop() else { return findings };
    if let Some(unit) = slowest
        && cost(unit) > limit
    {
        let message = format!(
            "{} may take {} s to stop, but the user's systemd is killed after {} s at a shutdown.",
            unit.name,
            cost(unit).as_secs(),
            limit.as_secs()
        );
        findings
            .push(Finding::failed(STOP, unit.name.as_str(), message).mend(longer(longest.total)));
    } else if longest.total > limit {
        let message = format!(
            "What stops one after the other may take {} s, but the user's systemd is killed after \
             {} s at a shutdown: {}.",
            longest.total.as_secs(),
            limit.as_secs(),
            longest.units.join(" -> ")
        );
        let last = longest.units.last().map(String::as_str).unwrap_or_default();
        findings.push(Finding::warning(STOP, last, message).mend(longer(longest.total)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;
    use crate::quadlet::boot_graph::{Content, DropIn, Source};

    const DEFAULTS: Defaults =
        Defaults { start: Some(Duration::from_secs(90)), stop: Some(Duration::from_secs(90)) };

    fn found(units: &[(&str, &str)]) -> Found {
        let mut found = Found::default();
        for (name, text) in units {
            let content = Content::Text((*text).to_owned());
            found.add_source(name, Source { path: format!("/u/{name}").into(), content });
        }
        found
    }

    #[test]
    fn a_start_needs_the_time_of_its_check() {
        let text = "name = \"web\"\n[[components]]\nname = \"web\"\nimage = \"r.example.net/web:1\"\nhealth = { cmd = [\"/h\"], start_period = \"60s\" }\n";
        let service = crate::definition::load(text).unwrap();
        let web =
            resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(1)).unwrap();
        let container = &web.containers[0];
        let mut units = found(&[
            ("web.service", "[Service]\nTimeoutStartSec=120\n"),
            ("web-image.service", "[Service]\nType=oneshot\nTimeoutStartSec=900\n"),
        ]);
        assert!(start(&units, container, DEFAULTS).is_empty());
        let drop_in = |path: &str| DropIn {
            path: path.into(),
            text: "[Service]\nTimeoutStartSec=20\n".to_owned(),
        };
        units.add_drop_in("web.service", "x.conf", drop_in("/u/web.service.d/x.conf"));
        units.add_drop_in("web-image.service", "y.conf", drop_in("/u/web-image.service.d/y.conf"));
        let short = start(&units, container, DEFAULTS);
        let levels: Vec<Level> = short.iter().map(|f| f.level).collect();
        assert_eq!(levels, [Level::Failed, Level::Warning]);
        assert_eq!(short[0].mend, "rm /u/web.service.d/x.conf && systemctl --user daemon-reload");
        assert!(short[0].message.starts_with("web.service may take 20 s to start"), "{short:?}");
    }

    #[test]
    fn a_job_needs_the_time_of_all_before_it() {
        let text = |limit: u32| {
            found(&[
                ("default.target", "[Unit]\nWants=b.service\n"),
                ("a.service", "[Service]\nTimeoutStartSec=60\n"),
                (
                    "b.service",
                    &format!(
                        "[Unit]\nRequires=a.service\nAfter=a.service\nJobTimeoutSec={limit}\n[Service]\nTimeoutStartSec=60\n"
                    ),
                ),
            ])
        };
        let judged = |limit| {
            let found = text(limit);
            jobs(&found, &Graph::of_boot(&found, &[]), DEFAULTS)
        };
        assert!(judged(120).is_empty());
        let short = judged(100);
        assert_eq!(short.len(), 1);
        assert!(short[0].message.contains("may take 120 s: a.service -> b.service"), "{short:?}");
    }

    #[test]
    fn stopping_needs_the_time_of_the_longest_chain() {
        let found = found(&[
            ("default.target", "[Unit]\nWants=b.service c.service\n"),
            ("a.service", "[Service]\nTimeoutStopSec=25\n"),
            (
                "b.service",
                "[Unit]\nRequires=a.service\nAfter=a.service\n[Service]\nTimeoutStopSec=25\n",
            ),
            ("c.service", "[Service]\nTimeoutStopSec=40\n"),
        ]);
        let graph = Graph::of_boot(&found, &[]);
        let judged = |seconds| stops(&graph, 850, Some(Duration::from_secs(seconds)));
        assert!(judged(50).is_empty());
        assert!(stops(&graph, 850, None).is_empty());
        let chain = judged(45);
        assert_eq!(chain[0].level, Level::Warning);
        assert!(chain[0].message.contains("a.service -> b.service"), "{chain:?}");
        assert!(chain[0].mend.contains("TimeoutStopSec=60"), "{chain:?}");
        let one = judged(30);
        assert_eq!((one[0].level, one[0].subject.as_str()), (Level::Failed, "c.service"));
    }
}
