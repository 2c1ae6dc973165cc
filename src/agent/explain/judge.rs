//! Which cause it is: they are asked in order, and the first that fits wins.

use super::cause::{
    command, disk, drop_in, edited, ended, health, image, lacking, path, podman, port, running,
    start_limit, stopped, unit_file, waiting,
};
use super::{Cause, Evidence, Explanation};

type Judge = fn(&Evidence) -> Option<Explanation>;

/// What is so whatever it did last.
const FIRST: [Judge; 4] = [operation, stopped::on_purpose, unit_file::judge, start_limit::judge];

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
    let troubled = evidence.is_troubled();
    let asked = FIRST
        .iter()
        .chain(TROUBLES.iter().filter(|_| troubled))
        // What flaps runs, and still is in trouble.
        .chain(REST.iter().filter(|_| !troubled));
    asked.into_iter().find_map(|judge| judge(evidence)).unwrap_or_else(|| ended::unknown(evidence))
}

fn by_its_unit(evidence: &Evidence) -> Option<Explanation> {
    let found = BY_ITS_UNIT.iter().find_map(|judge| judge(evidence))?;
    Some(edited::told(evidence, found))
}

fn by_its_end(evidence: &Evidence) -> Option<Explanation> {
    ended::judge(evidence).map(|found| edited::told(evidence, found))
}

/// An operation of MCP explains everything while it goes on.
fn operation(evidence: &Evidence) -> Option<Explanation> {
    let operation = evidence.operation?;
    let reason = format!("A {operation} of {} is under way.", evidence.service);
    Some(
        Explanation::warning(Cause::Operation, reason)
            .mend(format!("mcp status {}", evidence.service)),
    )
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "set_up_tests.rs"]
mod set_up_tests;
