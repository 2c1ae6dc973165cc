//! Its command cannot be run, or the container cannot be made: the exit
//! statuses of podman's own (`podman-run(1)`, "Exit Status").

use crate::agent::explain::journal::End;
use crate::agent::explain::{Cause, Evidence, Explanation};

/// Explains a command that did not come to run.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    let End::Exited(status) = evidence.end()? else { return None };
    let runtime = |words: &[&str]| evidence.journal.podman(words);
    match status {
        127 => {
            let said = runtime(&["executable file", "attempted to invoke a command"]);
            Some(named(evidence, Cause::CommandNotFound, said, "is not in the image (127)"))
        }
        126 => {
            let said = runtime(&["is not executable", "permission denied", "exec format error"]);
            Some(named(evidence, Cause::CommandNotExecutable, said, "cannot be run (126)"))
        }
        // Programs use it as well; then podman has said nothing.
        125 => runtime(&["Error"]).map(|said| {
            let reason = "Podman could not make the container (exit status 125).";
            Explanation::failed(Cause::Podman, reason)
                .shown_by(said)
                .mend("mcp doctor")
                .mend(evidence.logs())
        }),
        _ => None,
    }
}

fn named(evidence: &Evidence, cause: Cause, said: Option<&str>, what: &str) -> Explanation {
    let spec = &evidence.container.spec;
    let first = spec.entrypoint.iter().flatten().chain(&spec.cmd).next();
    let quoted = said.and_then(|said| said.split('`').nth(1));
    let reason = match (said, quoted.or(first.map(String::as_str))) {
        // The program in the container says so itself: a shell, say.
        (None, _) => format!("Its command started, and something that it runs {what}."),
        (Some(said), _) if said.to_lowercase().contains("exec format error") => {
            "Its image is for another kind of processor than this node has.".to_owned()
        }
        (Some(_), Some(word)) => format!("Its command {word} {what}: entrypoint or cmd is wrong."),
        (Some(_), None) => format!("The image's own command {what}: give it entrypoint and cmd."),
    };
    let said = said.or_else(|| evidence.journal.last_words()).unwrap_or_default();
    Explanation::failed(cause, reason)
        .shown_by(said)
        .mend(format!("mcp service edit {}", evidence.service))
        .mend(format!("mcp deploy {}", evidence.service))
}
