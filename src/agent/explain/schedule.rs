//! Why the last run of a command that runs by the calendar failed.
//!
//! The command is podman's, which enters the container: what the container's
//! process writes comes from the same unit as what podman says of itself, as
//! measured with podman 5.4.

use std::time::Duration;

use super::cause::{command, ended};
use super::evidence::span;
use super::journal::{End, Journal};
use super::{Cause, Explanation, Owner, Speaker};
use crate::agent::finding::Level;
use crate::names::{ScheduleName, ServiceName, UnitName};

/// What podman says where it could not run the command in the container.
const NOT_BEGUN: [&str; 5] =
    ["oci runtime", "crun:", "runc:", "unable to find user", "working directory"];

/// What conmon writes before what the runtime says.
const OF_RUNTIME: &str = "runtime stderr: ";

/// What podman says where the container goes away while the command runs in
/// it, or is not there to begin with.
const AWAY: [&str; 3] =
    ["container has already been removed", "no such container", "container state improper"];

/// The last run of a schedule, which failed.
#[derive(Debug, Clone)]
pub struct FailedRun {
    /// The service.
    pub service: ServiceName,
    /// The component, `shop/db`.
    pub path: String,
    /// The schedule.
    pub schedule: ScheduleName,
    /// Its unit.
    pub unit: UnitName,
    /// Whose it is.
    pub owner: Owner,
    /// How long a run may take.
    pub timeout: Duration,
    /// How it ended, as systemd has it; none: it runs again.
    pub ending: Option<Ending>,
    /// When it failed, or began to run again, in milliseconds since the Unix
    /// epoch.
    pub since_ms: Option<i64>,
    /// Now, likewise.
    pub now_ms: i64,
    /// When it runs next by the calendar.
    pub next_ms: Option<i64>,
    /// What was written about it lately.
    pub journal: Journal,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// systemd's word (`systemd.exec(5)`, `$SERVICE_RESULT`).
    pub result: String,
    /// How the command ended.
    pub end: Option<End>,
}

impl Ending {
    /// Says how a run ended that may take `timeout`, without its subject.
    pub fn words(&self, timeout: Duration) -> String {
        match (self.result.as_str(), self.end) {
            ("timeout", _) => format!("took longer than its timeout of {}, and was ended", {
                span(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX))
            }),
            ("oom-kill", _) => "was killed by the kernel, as memory ran out".to_owned(),
            (_, Some(End::Exited(137))) => {
                "was killed (SIGKILL, 137): memory ran out, or somebody did it".to_owned()
            }
            (_, Some(End::Exited(code @ 129..=159))) => {
                format!("was ended by {} ({code})", ended::name(code - 128))
            }
            (_, Some(End::Exited(code))) => format!("ended with exit status {code}"),
            (_, Some(End::Killed(signal))) => format!("was ended by {}", ended::name(signal)),
            (result, None) => format!("failed, and systemd says no more than {result:?}"),
        }
    }

    fn cause(&self) -> Cause {
        match (self.result.as_str(), self.end) {
            ("timeout", _) => Cause::RunTimeout,
            ("oom-kill", _) => Cause::OutOfMemory,
            (_, Some(End::Exited(129..=159) | End::Killed(_))) => Cause::Signal,
            (_, Some(End::Exited(_))) => Cause::ExitCode,
            (_, None) => Cause::Unknown,
        }
    }
}

/// Explains why a schedule fails.
pub fn explain(run: &FailedRun) -> Explanation {
    let ending = run.ending.clone().unwrap_or_else(|| Ending {
        result: run.journal.result().unwrap_or_default().to_owned(),
        end: run.journal.end(),
    });
    let ago = run.since_ms.map(|at| format!(", {} ago,", span(run.now_ms.saturating_sub(at))));
    let last = match &run.ending {
        Some(_) => format!("Its last run{}", ago.unwrap_or_default()),
        None => "The run before".to_owned(),
    };
    let mut explained = cut_off(run, &last)
        .or_else(|| not_begun(run, &ending, &last))
        .unwrap_or_else(|| itself(run, &ending, &last));
    if run.ending.is_none() {
        explained.reason.push_str(" It runs again now.");
        explained.level = Level::Warning;
    }
    explained
}

/// The container went away beneath the command, or somebody stopped that.
fn cut_off(run: &FailedRun, last: &str) -> Option<Explanation> {
    let away = run.journal.podman(&AWAY).filter(|said| said.starts_with("Error"));
    let mut of_systemd = run.journal.failed.iter().filter(|s| s.speaker == Speaker::Systemd);
    let timeout = run.journal.result() == Some("timeout");
    if timeout || !(away.is_some() || of_systemd.any(|said| said.text.starts_with("Stopped "))) {
        return None;
    }
    let what = format!(
        "{last} was cut off: its component went down or was restarted, or somebody stopped it."
    );
    let explained = Explanation::warning(Cause::CutOff, what);
    Some(explained.shown_by(away.unwrap_or_default()).mend(again(run)))
}

/// Podman could not run the command in the container.
fn not_begun(run: &FailedRun, ending: &Ending, last: &str) -> Option<Explanation> {
    let Some(End::Exited(status)) = ending.end else { return None };
    if ending.result == "timeout" {
        return None;
    }
    let mut of_podman = run.journal.failed.iter().filter(|said| said.speaker == Speaker::Podman);
    let is_it = |text: &&str| NOT_BEGUN.iter().any(|known| text.to_lowercase().contains(known));
    let error = of_podman.clone().map(|said| said.text.trim());
    let error = error.filter(|text| text.starts_with("Error")).find(is_it);
    // journald does not know whose a line is when its process was gone by the
    // time that it looked: podman's, that is, and not conmon's.
    let of_runtime = of_podman.find_map(|said| said.text.split_once(OF_RUNTIME));
    let said = error.or(of_runtime.map(|(_, text)| text))?;
    let (cause, why) = match status {
        126 | 127 if command::in_set_up(said).is_some() => {
            (Cause::SetUp, "podman could not set it up in the container")
        }
        127 => (Cause::CommandNotFound, "its command is not in the image"),
        126 => (Cause::CommandNotExecutable, "its command cannot be run"),
        125 | 255 => (Cause::Podman, "podman could not run it in the container"),
        _ => return None,
    };
    let what = format!("{last} could not begin: {why} (exit status {status}).");
    Some(
        Explanation::failed(cause, what)
            .shown_by(said)
            .mend(format!("mcp service edit {}", run.service))
            .mend(format!("mcp deploy {}", run.service)),
    )
}

/// The command ended, or was ended.
fn itself(run: &FailedRun, ending: &Ending, last: &str) -> Explanation {
    let what = format!("{last} {}.", ending.words(run.timeout));
    let cause = ending.cause();
    let mut explained = Explanation::failed(cause, what).shown_by(last_words(&run.journal));
    if cause == Cause::OutOfMemory || ending.end == Some(End::Exited(137)) {
        explained = explained.mend("sudo journalctl -k -g 'oom|killed process' -n 5");
    }
    explained = explained.mend(format!("mcp logs {}", run.path));
    if cause == Cause::RunTimeout {
        explained = explained.mend(format!("mcp service edit {}", run.service));
    }
    explained.mend(again(run))
}

/// Returns the command that runs it now.
fn again(run: &FailedRun) -> String {
    run.owner.systemctl(&format!("start {}", run.unit))
}

/// Returns what was said last in the run that failed, by whomever but conmon
/// and systemd.
fn last_words(journal: &Journal) -> &str {
    let said = journal.failed.iter().rev().filter(|said| said.speaker != Speaker::Systemd);
    let mut said = said.map(|said| said.text.trim());
    said.find(|text| !text.is_empty() && !text.starts_with("conmon ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::explain::Said;

    fn run(result: &str, status: i32, said: &[&str]) -> FailedRun {
        let line = |speaker, text: &str| Said { speaker, text: text.to_owned() };
        let mut lines = vec![line(Speaker::Systemd, "Starting shop-db-dump-schedule.service...")];
        lines.extend(said.iter().map(|text| line(Speaker::Podman, text)));
        lines.push(line(
            Speaker::Systemd,
            &format!("x: Main process exited, code=exited, status={status}/FAILURE"),
        ));
        lines.push(line(Speaker::Systemd, &format!("x: Failed with result '{result}'.")));
        FailedRun {
            service: "shop".parse().unwrap(),
            path: "shop/db".to_owned(),
            schedule: "dump".parse().unwrap(),
            unit: UnitName::from_systemd("shop-db-dump-schedule.service".to_owned()),
            owner: Owner { user: "mcp".to_owned(), uid: 850, home: "/srv/mcp".to_owned() },
            timeout: Duration::from_secs(3600),
            ending: Some(Ending { result: result.to_owned(), end: Some(End::Exited(status)) }),
            since_ms: Some(1_000_000),
            now_ms: 1_061_000,
            next_ms: None,
            journal: Journal::of(lines),
        }
    }

    const NOISE: &str = "conmon 0f <nwarn>: Failed to open cgroups file: memory.events";

    #[test]
    fn a_run_that_failed_is_told_with_when_how_and_its_last_words() {
        let told = explain(&run("exit-code", 3, &["this went wrong", NOISE]));
        assert_eq!((told.cause, told.level), (Cause::ExitCode, Level::Failed));
        assert_eq!(told.reason, "Its last run, 1 min 1 s ago, ended with exit status 3.");
        assert_eq!(told.evidence, "this went wrong");
        let again = "sudo systemctl --user -M mcp@ start shop-db-dump-schedule.service";
        assert_eq!(told.mend, ["mcp logs shop/db", again]);
    }

    const FOUND: &str = "Error: crun: executable file `/x` not found: OCI runtime attempted to invoke a command that was not found";
    const USER: &str = "Error: unable to find user nosuch: no matching entries in passwd file";
    const GONE: &str = "Error: container has already been removed";
    /// Result, status, what was said; the cause, and parts of reason and mend.
    type Case = (&'static str, i32, &'static str, Cause, &'static str, &'static str);

    const CASES: &[Case] = &[
        (
            "timeout",
            1,
            "begin",
            Cause::RunTimeout,
            "took longer than its timeout of 1 h 0 min, and was ended.",
            "mcp logs shop/db",
        ),
        ("timeout", 255, GONE, Cause::RunTimeout, "took longer", "mcp logs shop/db"),
        ("oom-kill", 0, "", Cause::OutOfMemory, "as memory ran out.", "sudo journalctl -k"),
        ("exit-code", 137, "", Cause::Signal, "(SIGKILL, 137)", "sudo journalctl -k"),
        ("exit-code", 143, "", Cause::Signal, "was ended by SIGTERM (143).", "mcp logs shop/db"),
        (
            "exit-code",
            127,
            FOUND,
            Cause::CommandNotFound,
            "not in the image",
            "mcp service edit shop",
        ),
        (
            "exit-code",
            127,
            "conmon 0f <nwarn>: runtime stderr: executable file `/x` not found: No such file or directory",
            Cause::CommandNotFound,
            "not in the image",
            "mcp service edit shop",
        ),
        // A shell says so itself.
        (
            "exit-code",
            127,
            "sh: x: not found",
            Cause::ExitCode,
            "exit status 127.",
            "mcp logs shop/db",
        ),
        (
            "exit-code",
            126,
            "Error: crun: open executable: Permission denied",
            Cause::CommandNotExecutable,
            "cannot be run",
            "mcp service edit shop",
        ),
        (
            "exit-code",
            255,
            USER,
            Cause::Podman,
            "could not run it in the container",
            "mcp service edit shop",
        ),
        // Programs use it as well.
        ("exit-code", 255, "no such host", Cause::ExitCode, "exit status 255.", "mcp logs shop/db"),
        ("exit-code", 255, GONE, Cause::CutOff, "was cut off", "sudo systemctl --user"),
    ];

    #[test]
    fn each_way_to_fail_has_its_cause_and_its_command() {
        for (result, status, said, cause, reason, mend) in CASES {
            let told = explain(&run(result, *status, &[*said]));
            assert_eq!(told.cause, *cause, "{told:?}");
            assert!(told.reason.contains(reason), "{told:?}");
            assert!(told.mend.first().is_some_and(|first| first.starts_with(mend)), "{told:?}");
            assert!(said.ends_with(&told.evidence) && told.evidence.is_empty() == said.is_empty());
        }
    }

    #[test]
    fn one_that_runs_again_is_told_from_the_journal() {
        let again = FailedRun { ending: None, ..run("timeout", 1, &["begin"]) };
        let told = explain(&again);
        assert_eq!((told.cause, told.level), (Cause::RunTimeout, Level::Warning));
        assert!(told.reason.starts_with("The run before took longer"), "{told:?}");
        assert!(told.reason.ends_with("and was ended. It runs again now."), "{told:?}");
        // A journal that is gone, or cannot be read.
        let silent = FailedRun { journal: Journal::default(), ..again };
        assert_eq!(explain(&silent).cause, Cause::Unknown);
    }

    #[test]
    fn one_that_was_stopped_is_no_failure_of_its_own() {
        let mut stopped = run("exit-code", 1, &[]);
        assert_eq!(explain(&stopped).cause, Cause::ExitCode);
        let text = "Stopped shop-db-dump-schedule.service - shop-db runs dump.".to_owned();
        stopped.journal.failed.push(Said { speaker: Speaker::Systemd, text });
        let told = explain(&stopped);
        assert_eq!((told.cause, told.level), (Cause::CutOff, Level::Warning));
    }
}
