//! Which cause it is: they are asked in order, and the first that fits wins.

use super::cause::{
    command, disk, drop_in, edited, ended, health, image, lacking, path, podman, port, running,
    start_limit, stopped, unit_file, waiting,
};
use super::evidence::span;
use super::{Cause, Evidence, Explanation, Operation};
use crate::agent::finding::Level;
use crate::agent::monitor::seen::ComponentState;

type Judge = fn(&Evidence) -> Option<Explanation>;

/// What is so whatever it did last.
const FIRST: [Judge; 3] = [stopped::on_purpose, unit_file::judge, start_limit::judge];

/// Why what should run does not, or does not stay up: the surroundings, then
/// what it needs, then itself.
const TROUBLES: [Judge; 6] =
    [waiting::judge, disk::judge, podman::judge, by_its_unit, stopped::by_itself, by_its_end];

/// What its unit says, and cannot be had or done.
const BY_ITS_UNIT: [Judge; 7] = [
    lacking::judge,
    image::judge,
    port::judge,
    path::judge,
    drop_in::judge,
    command::judge,
    health::not_ready,
];

/// What is not in trouble.
const REST: [Judge; 4] = [waiting::judge, health::starting, health::unhealthy, running::judge];

/// Explains a component.
pub fn explain(evidence: &Evidence) -> Explanation {
    match &evidence.operation {
        Some(operation) => meanwhile(evidence, operation),
        None => by_itself(evidence),
    }
}

/// Explains a component with which nobody does anything.
fn by_itself(evidence: &Evidence) -> Explanation {
    let troubled = evidence.is_troubled();
    let asked = FIRST
        .iter()
        .chain(TROUBLES.iter().filter(|_| troubled))
        // What flaps runs, and still is in trouble.
        .chain(REST.iter().filter(|_| !troubled));
    asked.into_iter().find_map(|judge| judge(evidence)).unwrap_or_else(|| ended::unknown(evidence))
}

/// Explains the last run of a component, whatever became of it since; none: it
/// did not fail.
pub fn of_its_last_run(evidence: &Evidence) -> Option<Explanation> {
    let judges: [Judge; 4] = [disk::judge, podman::judge, by_its_unit, by_its_end];
    let failed = !evidence.journal.failed.is_empty();
    failed.then(|| judges.iter().find_map(|judge| judge(evidence))).flatten()
}

/// Explains a component while an operation of MCP goes on: what that waits for.
fn meanwhile(evidence: &Evidence, operation: &Operation) -> Explanation {
    use ComponentState::{Done, Failed, Missing, Restarting, Running, Starting, Stopped, Stopping};
    let service = &evidence.service;
    let word = operation.word;
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "An" } else { "A" };
    let since = span(evidence.now_ms.saturating_sub(operation.since_ms));
    let way_out = if operation.gives_way {
        format!("; mcp stop {service} gives it up")
    } else {
        String::new()
    };
    let what = if operation.recovers {
        format!(
            "The agent ended in the middle of an operation on {service}, which is being finished or undone ({since} so far)."
        )
    } else {
        format!("{article} {word} of {service} is under way ({since} so far{way_out}).")
    };
    let alone = |more: &str| {
        Explanation::warning(Cause::Operation, format!("{what}{more}"))
            .mend(format!("mcp status {service}"))
    };
    if !operation.starts || !evidence.desired {
        return alone("");
    }
    if evidence.pulling {
        return alone(&format!(" The image {} is being pulled.", evidence.container.image));
    }
    let found = match evidence.state {
        Starting | Restarting | Failed => Some(by_itself(evidence)),
        Stopped | Missing => of_its_last_run(evidence),
        Running | Done | Stopping => None,
    };
    let Some(mut found) = found else { return alone("") };
    // Those are refused until it has ended.
    let refused = ["mcp start ", "mcp restart ", "mcp deploy ", "mcp reconcile "];
    found.mend.retain(|command| !refused.iter().any(|begin| command.starts_with(begin)));
    Explanation { level: Level::Warning, reason: format!("{what} {}", found.reason), ..found }
}

fn by_its_unit(evidence: &Evidence) -> Option<Explanation> {
    let found = BY_ITS_UNIT.iter().find_map(|judge| judge(evidence))?;
    Some(edited::told(evidence, found))
}

fn by_its_end(evidence: &Evidence) -> Option<Explanation> {
    ended::judge(evidence).map(|found| edited::told(evidence, found))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
pub(super) mod tests;

#[cfg(test)]
#[path = "set_up_tests.rs"]
mod set_up_tests;

#[cfg(test)]
#[path = "under_way_tests.rs"]
mod under_way_tests;
