//! What the user's systemd wrote to the journal while it booted.
//!
//! Trusted are only messages of the manager itself: `_SYSTEMD_USER_UNIT` is
//! set by journald from the sender's cgroup, and `init.scope` holds nothing
//! but the manager. A container could write the other fields, not this one.
//!
//! Times are monotonic, for the clock may be set in the middle of a boot.
//! journald stamps a message when it gets it, which on a busy machine is some
//! milliseconds late; the sender's own time is only told in wall time, so the
//! difference of the two is taken off.

use std::ffi::OsString;
use std::time::Duration;

use super::journal::{JournalError, Running, text, visible};
use crate::names::UnitName;

/// Longest time for reading a boot.
const DEADLINE: Duration = Duration::from_secs(60);
/// Most messages that are read of one boot that does not end.
const MOST: usize = 50_000;
/// A message that lay longer than this was not late: the clock was set.
const LATEST: u64 = 10_000_000;

const FIELDS: &str = "MESSAGE,MESSAGE_ID,USER_UNIT,USER_INVOCATION_ID,JOB_TYPE,JOB_RESULT,\
                      UNIT_RESULT,COMMAND,_PID,_BOOT_ID,_SOURCE_REALTIME_TIMESTAMP";

/// `MESSAGE_ID` of what systemd says (`sd-messages.h`).
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
const JOB_FAILED: &str = "be02cf6855d2428ba40df7e9d022f03d";
const SKIPPED: &str = "0e4284a0caca4bfc81c0bb6786972673";
const FAILED: &str = "d9b373ed55a64feb8242e02dbe79a49c";
const EXITED: &str = "98e322203f7a4ed290d09fe03c09fe15";
const RESTARTING: &str = "5eb03494b6584870a536b337290809b3";
const STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";
const FINISHED: &str = "eed00a68ffd84e31882105fd973abdd1";

/// Something that the user's systemd said of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEvent {
    /// When, since the machine started, in microseconds.
    pub at_us: u64,
    /// Of which unit.
    pub unit: UnitName,
    /// Of which run of it.
    pub invocation_id: Option<String>,
    /// What.
    pub kind: BootEventKind,
}

/// What the user's systemd said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootEventKind {
    /// It begins to start the unit.
    Starting,
    /// Its job to start the unit ended: `done`, `failed`, `dependency`,
    /// `timeout`, `canceled`, `skipped`...
    JobEnded {
        /// How.
        result: String,
    },
    /// The unit failed: `exit-code`, `timeout`...
    Failed {
        /// How.
        result: String,
    },
    /// A process of the unit exited.
    Exited {
        /// Which directive ran it, such as `ExecStart`.
        command: String,
        /// In systemd's words, control characters shown.
        words: String,
    },
    /// The unit will be started once more.
    RestartScheduled,
    /// The unit was stopped.
    Stopped,
    /// A start job was thrown away, because the order went round in a circle.
    ThrownOut {
        /// In systemd's words.
        words: String,
    },
}

/// What was read of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootJournal {
    /// The number of the boot, 32 hexadecimal digits.
    pub boot_id: String,
    /// When the machine's first message of this boot was written, on the
    /// clock of [`BootEvent::at_us`].
    pub machine_us: u64,
    /// When the user's systemd said its first word, on the same clock.
    pub began_us: u64,
    /// The same in wall time, microseconds since 1970.
    pub began_at_us: u64,
    /// When the manager had nothing more to start; `None`: not yet, or it
    /// ended before.
    pub finished_us: Option<u64>,
    /// When the last message was written that was read.
    pub last_us: u64,
    /// What was said, in the order of time.
    pub events: Vec<BootEvent>,
    /// Whether the manager was started anew before it had finished; what the
    /// new one did is not in here.
    pub interrupted: bool,
    /// Whether there was more than is read of one boot.
    pub cut: bool,
}

/// Says why a boot could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BootJournalError {
    /// The journal has no such boot.
    #[error("the journal holds no boot {boot}; run on the node: journalctl --list-boots")]
    NoSuchBoot {
        /// As it was asked for.
        boot: i32,
    },
    /// The user's systemd said nothing in that boot.
    #[error("the journal holds no word of the user's systemd in boot {boot}")]
    Silent {
        /// As it was asked for.
        boot: i32,
    },
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Reads what the user's systemd did in a boot: 0 is the present one, -1 the
/// one before, 1 the first that the journal holds (`journalctl(1)`,
/// `--boot=`).
///
/// # Errors
///
/// [`BootJournalError`]
pub async fn read(boot: i32) -> Result<BootJournal, BootJournalError> {
    let reading = async {
        let mut journal = BootJournal::default();
        let mut manager = None;
        let mut running = Running::start(arguments(boot, true))?;
        while let Some(line) = running.line().await.map_err(|e| absent(boot, e))? {
            let Some(line) = Line::parse(&line) else { continue };
            match take(&mut journal, &mut manager, line) {
                Taken::More if journal.events.len() < MOST => {}
                Taken::More => {
                    journal.cut = true;
                    break;
                }
                Taken::Enough => break,
            }
        }
        if manager.is_none() {
            return Err(BootJournalError::Silent { boot });
        }
        let mut running = Running::start(arguments(boot, false))?;
        let first = running.line().await.map_err(|e| absent(boot, e))?;
        journal.machine_us =
            first.as_deref().and_then(Line::parse).map_or(journal.began_us, |line| line.at_us);
        Ok(journal)
    };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .map_err(|_| JournalError::Deadline { seconds: DEADLINE.as_secs() })?
}

fn arguments(boot: i32, of_the_manager: bool) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["--output=json", "--no-pager", "--quiet"].map(OsString::from).into();
    arguments.push(format!("--output-fields={FIELDS}").into());
    arguments.push(format!("--boot={boot}").into());
    if of_the_manager {
        arguments.push(format!("_UID={}", rustix::process::getuid().as_raw()).into());
        arguments.push("_SYSTEMD_USER_UNIT=init.scope".into());
    }
    arguments
}

/// journalctl says that there is no such boot, in words that changed, and
/// ends with 1.
fn absent(boot: i32, error: JournalError) -> BootJournalError {
    match error {
        JournalError::Failed { stderr, .. }
            if stderr.contains("specified boot") || stderr.contains("no persistent journal") =>
        {
            BootJournalError::NoSuchBoot { boot }
        }
        other => BootJournalError::Journal(other),
    }
}

enum Taken {
    More,
    Enough,
}

/// Adds a line to what is known; tells whether more is wanted.
fn take(journal: &mut BootJournal, manager: &mut Option<String>, line: Line) -> Taken {
    let Line { at_us, wall_us, pid, boot_id, message_id, unit, kind, invocation_id } = line;
    if manager.as_ref().is_some_and(|first| *first != pid) {
        journal.interrupted = true;
        return Taken::Enough;
    }
    if manager.is_none() {
        *manager = Some(pid);
        journal.boot_id = boot_id;
        journal.began_us = at_us;
        journal.began_at_us = wall_us;
    }
    journal.last_us = at_us;
    if message_id == FINISHED {
        journal.finished_us = Some(at_us);
        return Taken::Enough;
    }
    if let (Some(unit), Some(kind)) = (unit, kind) {
        journal.events.push(BootEvent { at_us, unit, invocation_id, kind });
    }
    Taken::More
}

#[derive(serde::Deserialize)]
struct Fields {
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    monotonic: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: String,
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP", default)]
    source: serde_json::Value,
    #[serde(rename = "_PID", default)]
    pid: serde_json::Value,
    #[serde(rename = "_BOOT_ID", default)]
    boot_id: serde_json::Value,
    #[serde(rename = "MESSAGE", default)]
    message: serde_json::Value,
    #[serde(rename = "MESSAGE_ID", default)]
    message_id: serde_json::Value,
    #[serde(rename = "USER_UNIT", default)]
    unit: serde_json::Value,
    #[serde(rename = "USER_INVOCATION_ID", default)]
    invocation_id: serde_json::Value,
    #[serde(rename = "JOB_TYPE", default)]
    job_type: serde_json::Value,
    #[serde(rename = "JOB_RESULT", default)]
    job_result: serde_json::Value,
    #[serde(rename = "UNIT_RESULT", default)]
    unit_result: serde_json::Value,
    #[serde(rename = "COMMAND", default)]
    command: serde_json::Value,
}

/// One line of the journal, read.
struct Line {
    at_us: u64,
    wall_us: u64,
    pid: String,
    boot_id: String,
    message_id: String,
    unit: Option<UnitName>,
    kind: Option<BootEventKind>,
    invocation_id: Option<String>,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let fields: Fields = serde_json::from_str(line).ok()?;
        let monotonic: u64 = fields.monotonic.parse().ok()?;
        let realtime: u64 = fields.realtime.parse().ok()?;
        let source = text(&fields.source).and_then(|t| t.parse().ok()).unwrap_or(realtime);
        let late = realtime.saturating_sub(source);
        let late = if late > LATEST { 0 } else { late };
        let message_id = text(&fields.message_id).unwrap_or_default();
        let kind = kind(&fields, &message_id);
        Some(Self {
            at_us: monotonic.saturating_sub(late),
            wall_us: realtime - late,
            pid: text(&fields.pid).unwrap_or_default(),
            boot_id: text(&fields.boot_id).unwrap_or_default(),
            unit: text(&fields.unit).map(UnitName::from_systemd),
            invocation_id: text(&fields.invocation_id),
            message_id,
            kind,
        })
    }
}

fn kind(fields: &Fields, message_id: &str) -> Option<BootEventKind> {
    let job = text(&fields.job_type);
    let starts = job.as_deref().is_none_or(|job| matches!(job, "start" | "restart"));
    let result = || text(&fields.job_result).unwrap_or_else(|| "done".to_owned());
    let words = || visible(text(&fields.message).unwrap_or_default().trim());
    match message_id {
        STARTING if starts => Some(BootEventKind::Starting),
        STARTED | JOB_FAILED | SKIPPED if starts => {
            Some(BootEventKind::JobEnded { result: result() })
        }
        FAILED => {
            let result = text(&fields.unit_result).unwrap_or_else(|| "failed".to_owned());
            Some(BootEventKind::Failed { result: visible(&result) })
        }
        EXITED => {
            let command = text(&fields.command).unwrap_or_default();
            Some(BootEventKind::Exited { command: visible(&command), words: words() })
        }
        RESTARTING => Some(BootEventKind::RestartScheduled),
        STOPPED => Some(BootEventKind::Stopped),
        _ => {
            let words = words();
            words
                .contains("deleted to break ordering cycle")
                .then_some(BootEventKind::ThrownOut { words })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, pid: u32, rest: &str) -> Line {
        let line = format!(
            r#"{{"__MONOTONIC_TIMESTAMP":"{at}","__REALTIME_TIMESTAMP":"{}","_PID":"{pid}","_BOOT_ID":"b0"{rest}}}"#,
            at + 1_000_000_000
        );
        Line::parse(&line).unwrap()
    }

    fn about(unit: &str, message_id: &str, rest: &str) -> String {
        format!(r#","USER_UNIT":"{unit}","MESSAGE_ID":"{message_id}"{rest}"#)
    }

    #[test]
    fn a_boot_ends_with_the_managers_word_or_with_the_next_manager() {
        let (mut journal, mut manager) = (BootJournal::default(), None);
        let mut say = |line: Line| matches!(take(&mut journal, &mut manager, line), Taken::More);
        assert!(say(line(10, 7, r#","MESSAGE":"Queued start job""#)));
        assert!(say(line(20, 7, &about("a.service", STARTING, r#","JOB_TYPE":"start""#))));
        let ended = r#","JOB_TYPE":"start","JOB_RESULT":"done""#;
        assert!(say(line(30, 7, &about("a.service", STARTED, ended))));
        assert!(say(line(35, 7, &about("a.service", STARTED, r#","JOB_TYPE":"reload""#))));
        assert!(!say(line(40, 7, &about("x", FINISHED, ""))));
        assert_eq!((journal.began_us, journal.finished_us), (10, Some(40)));
        assert_eq!(journal.boot_id, "b0");
        let said: Vec<_> = journal.events.iter().map(|e| (e.at_us, e.kind.clone())).collect();
        let done = BootEventKind::JobEnded { result: "done".to_owned() };
        assert_eq!(said, [(20, BootEventKind::Starting), (30, done)]);

        let (mut journal, mut manager) = (BootJournal::default(), None);
        take(&mut journal, &mut manager, line(10, 7, ""));
        take(&mut journal, &mut manager, line(20, 8, &about("a.service", STARTING, "")));
        assert!(journal.interrupted);
        assert!(journal.events.is_empty());
    }

    #[test]
    fn what_journald_got_late_is_put_back_in_time() {
        let late = line(500, 1, r#","_SOURCE_REALTIME_TIMESTAMP":"1000000200""#);
        assert_eq!((late.at_us, late.wall_us), (200, 1_000_000_200));
        // The clock was set in between: no word on the time is right.
        let jumped = line(20_000_000, 1, r#","_SOURCE_REALTIME_TIMESTAMP":"1""#);
        assert_eq!(jumped.at_us, 20_000_000);
    }

    #[test]
    fn failures_are_told_in_systemds_words() {
        let failed = line(1, 1, &about("a.service", FAILED, r#","UNIT_RESULT":"exit-code""#));
        assert_eq!(failed.kind, Some(BootEventKind::Failed { result: "exit-code".to_owned() }));
        let exited = about(
            "a.service",
            EXITED,
            r#","COMMAND":"ExecStart","MESSAGE":"Main process exited\u001b[31m""#,
        );
        let words = "Main process exited\\x1b[31m".to_owned();
        let command = "ExecStart".to_owned();
        assert_eq!(line(1, 1, &exited).kind, Some(BootEventKind::Exited { command, words }));
        let said = r#","USER_UNIT":"a.target","MESSAGE":"a.target: Job b.service/start deleted to break ordering cycle starting with a.target/start""#;
        assert!(matches!(line(1, 1, said).kind, Some(BootEventKind::ThrownOut { .. })));
    }

    #[test]
    fn a_boot_that_is_not_there_is_told_apart() {
        let status = std::os::unix::process::ExitStatusExt::from_raw(256);
        for words in [
            "No journal boot entry found for the specified boot (-9).",
            "Data from the specified boot (-1) is not available: No such boot ID in journal",
            "Specifying boot ID or boot offset has no effect, no persistent journal was found.",
        ] {
            let error = JournalError::Failed { status, stderr: words.to_owned() };
            assert!(matches!(absent(-9, error), BootJournalError::NoSuchBoot { boot: -9 }));
        }
        let error = JournalError::Failed { status, stderr: "other".to_owned() };
        assert!(matches!(absent(-9, error), BootJournalError::Journal(_)));
    }
}
