//! The container cannot be made as its unit says, or its command cannot be run:
//! the exit statuses of podman's own (`podman-run(1)`, "Exit Status"). What
//! they are about is in podman's words: 126 and 127 are what is left of an
//! error of the OCI runtime, whatever it was at.

use crate::agent::explain::journal::End;
use crate::agent::explain::{Cause, Evidence, Explanation, Journal, Speaker};

/// What crun and runc say of a command, and of nothing else.
const OF_COMMAND: &[&str] = &[
    "executable file",
    "is not executable",
    "is not a regular file",
    "exec format error",
    "open executable",
    "exec container process",
    "exec: \"",
    "no command or entrypoint",
];

/// What they say of what is made before the command is run, and what it is
/// about.
const OF_SET_UP: &[(&str, &str)] = &[
    ("address already in use", "a port that it publishes is taken"),
    ("workdir", "its working directory cannot be used"),
    ("chdir", "its working directory cannot be used"),
    (
        "setrlimit",
        "an ulimit of it is more than this user may have (the hard limits of its systemd)",
    ),
    ("mount `tmpfs`", "a tmpfs of it has an option that the kernel does not take"),
    ("not a directory", "it mounts a file where the image has a directory, or the other way round"),
    ("/proc/sys/", "a sysctl of it is not there, or may not be set in a container"),
    ("mounting volume", "a volume of it cannot be mounted"),
    ("mount", "a mount of it cannot be made"),
    ("unable to find user", "the image has no such user"),
    ("unable to find group", "the image has no such group"),
    ("unknown user", "the node has no such user"),
    ("cdi device", "a device of it is not there"),
];

/// Explains a command that did not come to run.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    let End::Exited(status) = evidence.end()? else { return None };
    match status {
        126 | 127 => Some(not_run(evidence, status)),
        // Programs use it as well; then podman has said nothing.
        125 => evidence.journal.podman(&["Error"]).map(|said| {
            let reason = "Podman could not make the container (exit status 125).";
            Explanation::failed(Cause::Podman, reason)
                .shown_by(said)
                .mend("mcp doctor")
                .mend(evidence.logs())
        }),
        _ => None,
    }
}

fn not_run(evidence: &Evidence, status: i32) -> Explanation {
    let said = podmans(&evidence.journal);
    let explained = match (said, said.and_then(in_set_up)) {
        (Some(said), Some(about)) => {
            let reason = format!("Its container cannot be set up ({status}): {about}.");
            Explanation::failed(Cause::SetUp, reason).shown_by(said)
        }
        (Some(said), None) => of_command(evidence, status, said),
        (None, _) => by_itself(evidence, status),
    };
    explained
        .mend(format!("mcp service edit {}", evidence.service))
        .mend(format!("mcp deploy {}", evidence.service))
}

/// The program in the container says so itself: a shell, say.
fn by_itself(evidence: &Evidence, status: i32) -> Explanation {
    let reason =
        format!("Its command started, and something that it runs {} ({status}).", what(status));
    Explanation::failed(of_status(status), reason)
        .shown_by(evidence.journal.last_words().unwrap_or_default())
}

fn what(status: i32) -> &'static str {
    if status == 127 { "is not in the image" } else { "cannot be run" }
}

/// Returns what podman said of it at last, else what conmon had of the runtime.
fn podmans(journal: &Journal) -> Option<&str> {
    let of_podman = journal.failed.iter().filter(|said| said.speaker == Speaker::Podman);
    let error = of_podman.map(|said| said.text.trim()).rfind(|said| said.starts_with("Error: "));
    error.or_else(|| journal.podman(&["runtime stderr: "]))
}

fn of_status(status: i32) -> Cause {
    if status == 127 { Cause::CommandNotFound } else { Cause::CommandNotExecutable }
}

fn of_command(evidence: &Evidence, status: i32, said: &str) -> Explanation {
    let spec = &evidence.container.spec;
    let first = spec.entrypoint.iter().flatten().chain(&spec.cmd).next();
    let what = what(status);
    let reason = match said.split('`').nth(1).or(first.map(String::as_str)) {
        _ if has(said, "exec format error") => {
            "Its image is for another kind of processor than this node has.".to_owned()
        }
        Some(word) => {
            format!("Its command {word} {what} ({status}): entrypoint or cmd is wrong.")
        }
        None => {
            format!("The image's own command {what} ({status}): give it entrypoint and cmd.")
        }
    };
    Explanation::failed(of_status(status), reason).shown_by(said)
}

/// Says what in the making of a container failed, from what podman said of
/// exit status 126 or 127; none: it is about the command.
pub fn in_set_up(said: &str) -> Option<&'static str> {
    if OF_COMMAND.iter().any(|words| has(said, words)) {
        return None;
    }
    let about = OF_SET_UP.iter().find(|(words, _)| has(said, words)).map(|(_, about)| *about);
    Some(about.unwrap_or("the OCI runtime refuses something in it"))
}

fn has(said: &str, words: &str) -> bool {
    said.to_lowercase().contains(words)
}
