//! It ended: exit codes and signals with their meaning.

use crate::agent::explain::journal::End;
use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::monitor::seen::ComponentState;

const SIGKILL: i32 = 9;

/// Explains a component that ended.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    let result = evidence.result();
    let end = evidence.end();
    let explained = match (result, end) {
        ("oom-kill", _) => oom(evidence),
        ("timeout", _) => timeout(evidence),
        (_, Some(End::Killed(SIGKILL) | End::Exited(137))) => killed(evidence),
        ("signal" | "core-dump" | "watchdog", _) | (_, Some(End::Killed(_))) => signal(evidence),
        (_, Some(End::Exited(code @ 129..=159))) => by_signal(evidence, code - 128),
        (_, Some(End::Exited(0))) => ended_well(evidence),
        (_, Some(End::Exited(code))) => exit_code(evidence, code),
        (_, None) => return None,
    };
    Some(again(evidence, explained))
}

/// Says what is known where nothing fits.
pub fn unknown(evidence: &Evidence) -> Explanation {
    let word = match evidence.result() {
        "" => evidence.state.as_str(),
        result => result,
    };
    let reason = format!("systemd says no more than {word:?} ({}).", evidence.unit.sub);
    let unit = evidence.container.name.unit();
    again(
        evidence,
        Explanation::failed(Cause::Unknown, reason)
            .shown_by(evidence.journal.last_words().unwrap_or_default())
            .mend(evidence.logs())
            .mend(evidence.owner.systemctl(&format!("status {unit}"))),
    )
}

/// Says in a few words how it ended; none: it did not.
pub fn how(evidence: &Evidence) -> Option<String> {
    Some(match (evidence.result(), evidence.end()) {
        ("oom-kill", _) => "memory ran out".to_owned(),
        ("timeout", _) => "it was not ready in time".to_owned(),
        (_, Some(End::Exited(code))) => format!("it ended with exit status {code}"),
        (_, Some(End::Killed(signal))) => format!("{} ended it", name(signal)),
        _ => return None,
    })
}

/// Adds that what ended is up again, or about to be; how often and when is
/// told beside the state.
fn again(evidence: &Evidence, mut explained: Explanation) -> Explanation {
    explained.reason.push_str(match evidence.state {
        ComponentState::Running => " It was started again, and runs for now.",
        ComponentState::Starting => " It is being started again.",
        ComponentState::Stopping
        | ComponentState::Stopped
        | ComponentState::Restarting
        | ComponentState::Failed
        | ComponentState::Done
        | ComponentState::Missing => "",
    });
    explained
}

fn said(evidence: &Evidence, explained: Explanation) -> Explanation {
    explained.shown_by(evidence.journal.last_words().unwrap_or_default())
}

fn oom(evidence: &Evidence) -> Explanation {
    let limit = evidence.container.spec.resources.memory.is_some();
    let reason = if limit {
        "Memory ran out within its limit, and the kernel killed it."
    } else {
        "Memory ran out on this node, and the kernel killed it."
    };
    let edit = format!("mcp service edit {}", evidence.service);
    let explained = Explanation::failed(Cause::OutOfMemory, reason).mend("mcp top --sort memory");
    said(evidence, if limit { explained.mend(edit) } else { explained.mend("free -h") })
}

fn timeout(evidence: &Evidence) -> Explanation {
    let verb = if evidence.container.spec.oneshot.is_some() { "end" } else { "start" };
    let seconds = evidence.container.start_timeout().as_secs();
    let reason = format!("It did not {verb} within {seconds} s.");
    said(evidence, Explanation::failed(Cause::StartTimeout, reason).mend(evidence.logs()))
}

fn killed(evidence: &Evidence) -> Explanation {
    const SLOW: &[&str] = &["failed to stop container", "resorting to sigkill"];
    let slow = evidence.journal.podman(SLOW);
    let slow = slow.or_else(|| evidence.journal.systemd(&["timed out. Killing"]));
    if let Some(slow) = slow {
        let reason = format!(
            "It did not stop within its {} s, and was killed (SIGKILL, 137): it does not heed its stop signal.",
            evidence.container.spec.stop_timeout.as_secs()
        );
        return Explanation::failed(Cause::StopTimeout, reason)
            .shown_by(slow)
            .mend(format!("mcp service edit {}", evidence.service));
    }
    let reason =
        "SIGKILL ended it (137): somebody killed it, or memory ran out and the kernel did.";
    said(evidence, Explanation::failed(Cause::Signal, reason))
        .mend("sudo journalctl -k -g 'oom|killed process' -n 5")
        .mend(evidence.logs())
}

fn signal(evidence: &Evidence) -> Explanation {
    match evidence.end() {
        Some(End::Killed(number)) => by_signal(evidence, number),
        Some(End::Exited(_)) | None => {
            said(evidence, Explanation::failed(Cause::Signal, "A signal ended it."))
                .mend(evidence.logs())
        }
    }
}

fn by_signal(evidence: &Evidence, number: i32) -> Explanation {
    let meaning = match number {
        4 => "it ran an instruction that this processor does not know",
        6 => "it gave up on a mistake of its own",
        7 | 11 => "it used memory that it does not have, a mistake of its own",
        15 => "it was asked to end, and not by systemd",
        1..=3 => "somebody asked it to end",
        _ => "somebody sent it, or it did so itself",
    };
    let reason = format!("{} ended it ({}): {meaning}.", name(number), number + 128);
    said(evidence, Explanation::failed(Cause::Signal, reason)).mend(evidence.logs())
}

fn ended_well(evidence: &Evidence) -> Explanation {
    let reason = if evidence.comes_back() {
        "It ends by itself without an error, and its definition has it started again (restart = \"always\"): is it a job, or is its command wrong?"
    } else {
        "It ended by itself, without an error."
    };
    said(evidence, Explanation::failed(Cause::Ended, reason))
        .mend(evidence.logs())
        .mend(format!("mcp service edit {}", evidence.service))
}

fn exit_code(evidence: &Evidence, code: i32) -> Explanation {
    let reason = match code {
        1 => "It ended with exit code 1, an error of its own; what it said last is the best hint."
            .to_owned(),
        2 => "It ended with exit code 2, most often a wrong argument or configuration.".to_owned(),
        code => format!("It ended with exit code {code}, an error of its own."),
    };
    said(evidence, Explanation::failed(Cause::ExitCode, reason)).mend(evidence.logs())
}

/// Returns a signal's name (`signal(7)`).
pub fn name(number: i32) -> String {
    const NAMES: [(i32, &str); 13] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (SIGKILL, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (31, "SIGSYS"),
    ];
    let found = NAMES.iter().find(|(n, _)| *n == number);
    found.map_or_else(|| format!("Signal {number}"), |(_, name)| (*name).to_owned())
}
