//! Its check does not succeed.

use crate::agent::explain::evidence::span;
use crate::agent::explain::{Cause, Evidence, Explanation, Said, Speaker};
use crate::agent::monitor::seen::ComponentState;
use crate::deployment::Readiness;
use crate::deployment::model::Probe;

/// Explains a component that does not come up because its check fails.
pub fn not_ready(evidence: &Evidence) -> Option<Explanation> {
    let checked = match &evidence.container.readiness {
        Readiness::Started | Readiness::Ended { .. } => return None,
        Readiness::Command { .. } | Readiness::Probe { .. } => {
            evidence.journal.is_check_failed() || evidence.result() == "timeout"
        }
    };
    if !checked {
        return None;
    }
    let said = probe_said(&evidence.journal.failed);
    let last = evidence.journal.last_words().map(str::to_owned);
    let follows = match evidence.state {
        ComponentState::Restarting | ComponentState::Starting => "stops it and tries again",
        ComponentState::Running => "stopped it. It was started again, and runs for now",
        ComponentState::Stopping
        | ComponentState::Stopped
        | ComponentState::Failed
        | ComponentState::Done
        | ComponentState::Missing => "stopped it",
    };
    let reason = format!(
        "It starts, but {} did not succeed in time (it has {}), so systemd {follows}.",
        check(evidence),
        span(window(evidence))
    );
    Some(
        Explanation::failed(Cause::NotReady, reason)
            .shown_by(said.or(last).unwrap_or_default())
            .mend(evidence.logs())
            .mend(by_hand(evidence)),
    )
}

/// Explains a component that is being started.
pub fn starting(evidence: &Evidence) -> Option<Explanation> {
    if evidence.state != ComponentState::Starting || evidence.is_troubled() {
        return None;
    }
    let window = window(evidence);
    let begun = evidence.unit.started_ms.map(|at| evidence.now_ms.saturating_sub(at));
    let begun = begun.map(|ms| format!(" {} ago", span(ms))).unwrap_or_default();
    let reason = match evidence.container.readiness {
        Readiness::Started => format!("It was started{begun}, and is not up yet."),
        Readiness::Ended { .. } => format!(
            "It was started{begun}, and is at work; it has {} to end, and what depends on it waits.",
            span(window)
        ),
        Readiness::Command { .. } | Readiness::Probe { .. } => format!(
            "It was started{begun}, and {} has not succeeded yet; it has {} for that.",
            check(evidence),
            span(window)
        ),
    };
    let current = &evidence.journal.current;
    let said = probe_said(current).or_else(|| container_said(current));
    Some(
        Explanation::warning(Cause::OnItsWay, reason)
            .shown_by(said.unwrap_or_default())
            .mend(evidence.logs()),
    )
}

/// Explains a component that runs and is not well.
pub fn unhealthy(evidence: &Evidence) -> Option<Explanation> {
    let (word, why, action) = &evidence.health;
    if evidence.state != ComponentState::Running || *word != "unhealthy" {
        return None;
    }
    let follows = if action.is_empty() { String::new() } else { format!("; {action}") };
    let reason = format!("It runs, but {} fails{follows}.", check(evidence));
    Some(
        Explanation::failed(Cause::Unhealthy, reason)
            .shown_by(why.as_str())
            .mend(evidence.logs())
            .mend(by_hand(evidence))
            .mend(evidence.restart()),
    )
}

/// Returns how long it has to become ready, or to end, in milliseconds: for
/// what has a check that check's own time, which is less than the unit's.
fn window(evidence: &Evidence) -> i64 {
    let window = match &evidence.container.readiness {
        Readiness::Started | Readiness::Ended { .. } => evidence.container.start_timeout(),
        Readiness::Command { timing, .. } | Readiness::Probe { timing, .. } => timing.window(),
    };
    i64::try_from(window.as_millis()).unwrap_or(i64::MAX)
}

/// Names the check.
fn check(evidence: &Evidence) -> String {
    match &evidence.container.readiness {
        Readiness::Started | Readiness::Ended { .. } => "its check".to_owned(),
        Readiness::Command { words, .. } => {
            // Podman's word for what a shell reads (`podman-run(1)`, `--health-cmd`).
            let words = words.strip_prefix(&["CMD-SHELL".to_owned()]).unwrap_or(words);
            format!("its check, the command {},", words.join(" "))
        }
        Readiness::Probe { probe, .. } => format!("its check, {},", target(probe)),
    }
}

fn target(probe: &Probe) -> String {
    match probe {
        Probe::Tcp { address, .. } => format!("a connection to {address}"),
        Probe::Http { address, path, tls, .. } => {
            format!("http{}://{address}{path}", if *tls { "s" } else { "" })
        }
        Probe::Grpc { address, .. } => format!("gRPC health at {address}"),
    }
}

/// Returns the command that makes the check by hand, on the node.
fn by_hand(evidence: &Evidence) -> String {
    match &evidence.container.readiness {
        Readiness::Probe { probe: Probe::Http { address, path, tls, .. }, .. } => {
            let url = format!("http{}://{address}{path}", if *tls { "s" } else { "" });
            format!("curl -v {}", crate::agent::finding::shell_word(&url))
        }
        Readiness::Command { .. } => {
            evidence.owner.run(&format!("podman healthcheck run {}", evidence.container.name))
        }
        Readiness::Probe {
            probe: Probe::Tcp { address, .. } | Probe::Grpc { address, .. },
            ..
        } => {
            format!("nc -vz {} {}", address.ip(), address.port())
        }
        Readiness::Started | Readiness::Ended { .. } => evidence.logs(),
    }
}

/// Returns what the probe said last: `waiting for URL: why`.
fn probe_said(run: &[Said]) -> Option<String> {
    let said = run.iter().rev().filter(|said| said.speaker == Speaker::Podman);
    let waiting = |text: &str| text.starts_with("waiting for ") || text.contains("was not ready");
    said.map(|said| said.text.trim()).find(|text| waiting(text)).map(str::to_owned)
}

/// Returns what the container itself said last.
fn container_said(run: &[Said]) -> Option<String> {
    let said = run.iter().rev().find(|said| said.speaker == Speaker::Container);
    said.map(|said| said.text.trim().to_owned())
}
