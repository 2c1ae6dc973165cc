//! Why a component did not become ready, in words.

use super::Engine;
use crate::agent::explain::cause::command;
use crate::agent::progress::Failure;
use crate::deployment::{Container, Readiness};
use crate::names::UnitName;
use crate::systemd::UnitState;

/// How many lines of the journal go with a failure.
const LINES: u32 = 15;

/// Explains a failed start from the job's result, the unit's, and the journal
/// of that invocation.
pub(super) async fn explain(engine: &Engine, container: &Container, result: &str) -> Failure {
    let unit = container.name.unit();
    let (state, journal) = last_run(engine, &unit).await;
    Failure {
        component: container.spec.name.to_string(),
        unit: unit.to_string(),
        result: result.to_owned(),
        explanation: words(container, result, state.as_ref(), &journal),
        journal,
    }
}

/// Reads the state of a unit that has failed, as far as systemd tells it, and
/// what its last run wrote: nothing of the runs before.
pub(super) async fn last_run(engine: &Engine, unit: &UnitName) -> (Option<UnitState>, Vec<String>) {
    let state = match engine.manager().unit_states(std::slice::from_ref(unit)).await {
        Ok(states) => states.into_iter().next(),
        Err(error) => {
            tracing::warn!(%unit, %error, "a failed unit's state cannot be read");
            None
        }
    };
    let invocation = state.as_ref().and_then(|s| s.invocation_id.as_deref());
    let said = match engine.manager().last_lines(unit, invocation, LINES).await {
        Ok(entries) => entries.into_iter().map(|e| e.message).collect(),
        Err(error) => vec![crate::telemetry::Chain(&error).to_string()],
    };
    (state, said)
}

fn words(
    container: &Container,
    result: &str,
    state: Option<&UnitState>,
    said: &[String],
) -> String {
    let ended = state.and_then(|s| s.ended.as_ref());
    let cause = ended.map_or(result, |e| if e.result == "success" { result } else { &e.result });
    let status = ended.map_or(0, |e| e.status);
    match cause {
        "timeout" => {
            let seconds = container.start_timeout().as_secs();
            match container.readiness {
                Readiness::Started => format!("it did not start within {seconds} s"),
                Readiness::Ended { .. } => format!("it did not end within {seconds} s"),
                Readiness::Command { .. } | Readiness::Probe { .. } => {
                    format!("its health check did not succeed within {seconds} s")
                }
            }
        }
        "exit-code" => match (status, &container.readiness) {
            (0, Readiness::Command { .. } | Readiness::Probe { .. }) => {
                "its health check did not succeed in time".to_owned()
            }
            (0, _) => "it ended before it was ready".to_owned(),
            (125, _) => "podman could not make the container (exit status 125)".to_owned(),
            (126 | 127, _) => not_run(status, said),
            (code, _) => format!("it ended with exit status {code}"),
        },
        "signal" | "core-dump" => format!("it was killed by signal {status}"),
        "oom-kill" => "it was killed because memory ran out".to_owned(),
        "dependency" => "something that it requires did not start".to_owned(),
        "canceled" => "somebody stopped it meanwhile".to_owned(),
        "protocol" => "it ended without ever telling that it runs".to_owned(),
        other => format!("systemd says {other}"),
    }
}

/// Says what podman's exit status 126 or 127 means, which is not always about
/// the command.
fn not_run(status: i32, said: &[String]) -> String {
    let error = said.iter().rev().find(|line| line.starts_with("Error: "));
    match (error.and_then(|said| command::in_set_up(said)), status) {
        (Some(about), _) => {
            format!("its container cannot be set up (exit status {status}): {about}")
        }
        (None, 127) => "its command was not found (exit status 127)".to_owned(),
        (None, _) => format!("its command cannot be run (exit status {status})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_command_is_told_as_that() {
        let told = |status, said: &str| not_run(status, &[said.to_owned()]);
        let limit = "Error: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied";
        assert!(told(126, limit).contains("cannot be set up (exit status 126): an ulimit"));
        let nope = "Error: crun: executable file `/nope` not found: No such file or directory: OCI runtime attempted to invoke a command that was not found";
        assert_eq!(told(127, nope), "its command was not found (exit status 127)");
        assert_eq!(told(126, "sh: x"), "its command cannot be run (exit status 126)");
    }
}
