//! The journal of our units, read through `journalctl`.
//!
//! Below uid 1000 journald writes no journal of the user's own: all is in the
//! system journal, which only the group `systemd-journal` may read
//! (`journald.conf(5)`, `SplitMode=`).
//!
//! Fields, as measured with podman 5.4 and systemd 257: what the container
//! wrote comes from conmon, with `CONTAINER_NAME`, `_SYSTEMD_USER_UNIT` and
//! `_SYSTEMD_INVOCATION_ID`; podman's own messages have the last two; the
//! manager's words about a unit have `USER_UNIT` and `USER_INVOCATION_ID`.
//!
//! journald looks up whose a line is when it reads it, in `/proc`. Of a process
//! that is gone by then, as podman is when it refuses something, there is but
//! its number and its user: [`super::last_words`] finds its words by that.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::invocation::MainProcess;
use crate::names::UnitName;

/// Longest time for reading the last lines of a unit.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is kept of a journalctl that complains without end.
const STDERR_LIMIT: u64 = 4096;

const FIELDS: &str = "MESSAGE,PRIORITY,CONTAINER_NAME,USER_UNIT,_SYSTEMD_USER_UNIT,PODMAN_EVENT,\
                      _PID,_SOURCE_REALTIME_TIMESTAMP";

/// Says why the journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The user may not read the system journal.
    #[error(
        "user {user} may not read the journal; run as root: usermod -aG systemd-journal {user}, \
         then restart the agent"
    )]
    Unreadable {
        /// The own user, `$USER` or the number.
        user: String,
    },
    /// journalctl could not be started.
    #[error("cannot run journalctl")]
    Start(#[source] std::io::Error),
    /// Reading from journalctl failed.
    #[error("cannot read from journalctl")]
    Read(#[source] std::io::Error),
    /// journalctl ended with an error.
    #[error("journalctl failed ({status}): {stderr}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote, one line.
        stderr: String,
    },
    /// journalctl took too long.
    #[error("journalctl did not answer within {seconds} s")]
    Deadline {
        /// How long we waited.
        seconds: u64,
    },
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The container, through conmon.
    Container,
    /// podman, conmon or the readiness probe: the other processes of the unit.
    Helper,
    /// systemd about the unit.
    Systemd,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When journald got it, in microseconds since 1970.
    pub time_us: u64,
    /// When it was written, as far as that is known: journald takes the lines
    /// of several writers in no certain order when it is behind.
    pub written_us: u64,
    /// The unit that it is about.
    pub unit: UnitName,
    /// The text. Control characters but the tab are shown as `\x1b`, so that
    /// a container cannot talk to the reader's terminal, nor fake a line.
    pub message: String,
    /// 0 emergency to 7 debug (`syslog(3)`); conmon gives 6 for stdout and 3
    /// for stderr.
    pub priority: u8,
    /// Who wrote it.
    pub origin: Origin,
}

impl Entry {
    /// Tells whether systemd wrote the line.
    pub fn from_systemd(&self) -> bool {
        self.origin == Origin::Systemd
    }
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// At most that many of the newest lines; all of them with `None`.
    pub lines: Option<u32>,
    /// Nothing older than this, in microseconds since 1970.
    pub since_us: Option<u64>,
    /// Whether to go on with new lines as they come.
    pub follow: bool,
}

/// Whose lines are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Of<'a> {
    /// The units.
    pub units: &'a [UnitName],
    /// One run of them alone.
    pub invocation_id: Option<&'a str>,
    /// The main process of the first of the units: what it wrote is wanted
    /// even if journald did not know its unit any more.
    pub main: Option<&'a MainProcess>,
}

/// Reads the newest `count` lines about units, not older than `since_us`
/// (microseconds since 1970).
///
/// # Errors
///
/// [`JournalError`]; no line at all is an empty list.
pub async fn newest(
    of: Of<'_>,
    since_us: Option<u64>,
    count: u32,
) -> Result<Vec<Entry>, JournalError> {
    // Some of what is read is podman's noise, which is then dropped: a second
    // look goes further back.
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    let mut read = count.saturating_mul(2).saturating_add(20);
    loop {
        let query = LogQuery { lines: Some(read), since_us, follow: false };
        let mut entries = all(start(of, &query)?).await?;
        let noise = usize::try_from(read).unwrap_or(usize::MAX);
        if entries.entries.len() >= wanted || entries.read < noise {
            let surplus = entries.entries.len().saturating_sub(wanted);
            entries.entries.drain(..surplus);
            return Ok(entries.entries);
        }
        read = read.saturating_mul(8);
    }
}

/// Everything that journalctl wrote.
struct All {
    entries: Vec<Entry>,
    /// Lines read, noise included.
    read: usize,
}

async fn all(mut follow: Follow) -> Result<All, JournalError> {
    let reading = async {
        let mut entries = Vec::new();
        while let Some(entry) = follow.next().await? {
            entries.push(entry);
        }
        Ok(All { entries, read: follow.read })
    };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .map_err(|_| JournalError::Deadline { seconds: DEADLINE.as_secs() })?
}

/// Reads lines about several units, in the order of time.
///
/// # Errors
///
/// [`JournalError::Start`]; the rest comes out of [`Follow::next`].
pub fn follow(units: &[UnitName], query: &LogQuery) -> Result<Follow, JournalError> {
    start(Of { units, ..Of::default() }, query)
}

fn arguments(of: Of<'_>, query: &LogQuery) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["--output=json", "--no-pager", "--quiet"].map(OsString::from).into();
    arguments.push(format!("--output-fields={FIELDS}").into());
    arguments.push(match query.lines {
        Some(lines) => format!("--lines={lines}").into(),
        None => "--lines=all".into(),
    });
    if let Some(us) = query.since_us {
        let (seconds, us) = (us / 1_000_000, us % 1_000_000);
        arguments.push(format!("--since=@{seconds}.{us:06}").into());
    }
    if query.follow {
        arguments.push("--follow".into());
    }
    // Matches of one field are alternatives, of several fields all hold, and
    // `+` separates whole groups (journalctl(1)). The uid keeps out the units
    // of other users that are named alike.
    let uid = rustix::process::getuid().as_raw();
    for (unit_field, invocation_field) in
        [("_SYSTEMD_USER_UNIT", "_SYSTEMD_INVOCATION_ID"), ("USER_UNIT", "USER_INVOCATION_ID")]
    {
        if unit_field == "USER_UNIT" {
            arguments.push("+".into());
        }
        arguments.extend(of.units.iter().map(|unit| format!("{unit_field}={unit}").into()));
        arguments.push(format!("_UID={uid}").into());
        arguments.extend(of.invocation_id.map(|id| format!("{invocation_field}={id}").into()));
    }
    if let Some(main) = of.main {
        arguments.push("+".into());
        arguments.extend(main.matches().map(OsString::from));
    }
    arguments
}

fn start(of: Of<'_>, query: &LogQuery) -> Result<Follow, JournalError> {
    // Without a match journalctl would show the whole machine.
    let running = match of.units {
        [] => None,
        [_, ..] => Some(Running::start(arguments(of, query))?),
    };
    let main = of.units.first().cloned().zip(of.main.cloned());
    Ok(Follow { running, main, read: 0 })
}

/// Lines as they come. Dropping it kills journalctl.
#[derive(Debug)]
pub struct Follow {
    running: Option<Running>,
    /// A unit, and its main process.
    main: Option<(UnitName, MainProcess)>,
    /// Lines read so far, noise included.
    read: usize,
}

/// journalctl, and what it writes. Dropping it kills journalctl.
#[derive(Debug)]
pub(super) struct Running {
    lines: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
    child: Child,
}

impl Running {
    /// Starts journalctl.
    pub(super) fn start(arguments: Vec<OsString>) -> Result<Self, JournalError> {
        let mut command = Command::new("journalctl");
        command
            .args(arguments)
            // Without a pager, without colours, and with messages that we know.
            .env("LC_ALL", "C.UTF-8")
            .env_remove("SYSTEMD_LOG_LEVEL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(JournalError::Start)?;
        match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), Some(stderr)) => {
                Ok(Self { lines: BufReader::new(stdout).lines(), stderr, child })
            }
            // Both are pipes, as asked for above.
            _ => Err(JournalError::Start(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Returns the next line; `None` after the last. May be cancelled: nothing
    /// is lost.
    pub(super) async fn line(&mut self) -> Result<Option<String>, JournalError> {
        match self.lines.next_line().await.map_err(JournalError::Read)? {
            Some(line) => Ok(Some(line)),
            None => self.end().await.map(|()| None),
        }
    }

    /// Finds out why journalctl ended.
    async fn end(&mut self) -> Result<(), JournalError> {
        let mut stderr = Vec::new();
        (&mut self.stderr)
            .take(STDERR_LIMIT)
            .read_to_end(&mut stderr)
            .await
            .map_err(JournalError::Read)?;
        let status = self.child.wait().await.map_err(JournalError::Read)?;
        let stderr = String::from_utf8_lossy(&stderr);
        if is_unreadable(&stderr) {
            return Err(JournalError::Unreadable { user: own_user() });
        }
        if status.success() {
            return Ok(());
        }
        Err(JournalError::Failed { status, stderr: visible(stderr.trim()) })
    }
}

impl Follow {
    /// Returns the next line; `None` after the last, when not following.
    ///
    /// May be cancelled: nothing is lost.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unreadable`] when the group is missing, and the rest.
    pub async fn next(&mut self) -> Result<Option<Entry>, JournalError> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let ended = loop {
            match running.line().await {
                Ok(Some(line)) => {
                    self.read += 1;
                    match parse(&line, self.main.as_ref()) {
                        Parsed::Entry(entry) => return Ok(Some(entry)),
                        Parsed::Noise => {}
                        Parsed::Unreadable => {
                            tracing::debug!("journalctl wrote a line that cannot be read");
                        }
                    }
                }
                Ok(None) => break Ok(None),
                Err(error) => break Err(error),
            }
        };
        self.running = None;
        ended
    }
}

/// journalctl says so and ends with 0 or 1, as of its version.
fn is_unreadable(stderr: &str) -> bool {
    stderr.contains("No journal files were opened due to insufficient permissions")
}

fn own_user() -> String {
    std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string())
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Entry(Entry),
    /// podman's events, the container's number that it prints, and what another
    /// process wrote that had the number of the one asked for.
    Noise,
    Unreadable,
}

#[derive(serde::Deserialize)]
struct Fields {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: Option<String>,
    #[serde(rename = "MESSAGE", default)]
    message: serde_json::Value,
    #[serde(rename = "PRIORITY", default)]
    priority: serde_json::Value,
    #[serde(rename = "CONTAINER_NAME", default)]
    container: serde_json::Value,
    #[serde(rename = "USER_UNIT", default)]
    about: serde_json::Value,
    #[serde(rename = "_SYSTEMD_USER_UNIT", default)]
    by: serde_json::Value,
    #[serde(rename = "PODMAN_EVENT", default)]
    event: serde_json::Value,
    #[serde(rename = "_PID", default)]
    pid: serde_json::Value,
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP", default)]
    sent: serde_json::Value,
}

/// Parses one line of `journalctl -o json` (`systemd.io/JOURNAL_EXPORT_FORMATS`,
/// "JSON"). A line without a unit is one of the main process that was asked
/// for.
fn parse(line: &str, main: Option<&(UnitName, MainProcess)>) -> Parsed {
    let Ok(fields) = serde_json::from_str::<Fields>(line) else { return Parsed::Unreadable };
    let Some(time_us) = fields.time.and_then(|time| time.parse().ok()) else {
        return Parsed::Unreadable;
    };
    let (about, by) = (text(&fields.about), text(&fields.by));
    let origin = match (about.is_some(), fields.container.is_null()) {
        (true, _) => Origin::Systemd,
        (false, false) => Origin::Container,
        (false, true) => Origin::Helper,
    };
    let unit = match (about.or(by).map(UnitName::from_systemd), main) {
        (Some(unit), Some((wanted, _))) if unit != *wanted => return Parsed::Noise,
        (Some(unit), _) => unit,
        (None, Some((unit, main))) if main.may_have_written(time_us) => unit.clone(),
        (None, _) => return Parsed::Unreadable,
    };
    let message = text(&fields.message).unwrap_or_else(|| "[too long to be shown]".to_owned());
    let message = message.trim_end_matches(['\n', '\r']);
    let is_event = !fields.event.is_null();
    if origin == Origin::Helper && (is_event || is_container_id(message)) {
        return Parsed::Noise;
    }
    let priority = text(&fields.priority).and_then(|p| p.parse().ok()).unwrap_or(6);
    let of_main = main.filter(|(_, main)| text(&fields.pid) == Some(main.pid.to_string()));
    let sent_us = text(&fields.sent).and_then(|sent| sent.parse().ok()).unwrap_or(time_us);
    let written_us = of_main.map_or(sent_us, |(_, main)| main.ended_us().min(sent_us));
    Parsed::Entry(Entry { time_us, written_us, unit, message: visible(message), priority, origin })
}

/// Returns the text of a field: a string; an array of bytes, if it was no
/// UTF-8; an array of such, if the field came twice; null, if it was long.
pub(super) fn text(value: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> =
                items.iter().map(|i| i.as_u64().and_then(|n| u8::try_from(n).ok())).collect();
            match bytes {
                Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                None => items.first().and_then(text),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn is_container_id(message: &str) -> bool {
    message.len() == 64 && message.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Shows control characters, and those that turn the direction of writing.
pub(super) fn visible(message: &str) -> String {
    use std::fmt::Write as _;
    let mut shown = String::with_capacity(message.len());
    for c in message.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let written = match c {
            '\t' => {
                shown.push(c);
                Ok(())
            }
            '\n' => {
                shown.push_str("\\n");
                Ok(())
            }
            c if c.is_control() => write!(shown, "\\x{:02x}", u32::from(c)),
            c if turns => write!(shown, "\\u{{{:x}}}", u32::from(c)),
            c => {
                shown.push(c);
                Ok(())
            }
        };
        // Writing to a String cannot fail.
        debug_assert!(written.is_ok());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::invocation::LATE_MS;
    use super::*;

    fn entry(line: &str) -> Entry {
        match parse(line, None) {
            Parsed::Entry(entry) => entry,
            other @ (Parsed::Noise | Parsed::Unreadable) => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_of_a_container_podman_and_systemd() {
        let line = r#"{"__REALTIME_TIMESTAMP":"1763692897702672","MESSAGE":"start: mode=web\n","PRIORITY":"6","CONTAINER_NAME":"web","_SYSTEMD_USER_UNIT":"web.service"}"#;
        let e = entry(line);
        assert_eq!(
            (e.time_us, e.priority, e.origin),
            (1_763_692_897_702_672, 6, Origin::Container)
        );
        assert_eq!((e.unit.as_str(), e.message.as_str()), ("web.service", "start: mode=web"));

        let e = entry(
            r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":"Started web.service.","USER_UNIT":"web.service","_SYSTEMD_USER_UNIT":"init.scope"}"#,
        );
        assert!(e.from_systemd());
        assert_eq!(e.unit.as_str(), "web.service");

        let e = entry(
            r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":"Error: no such image","PRIORITY":"3","_SYSTEMD_USER_UNIT":"web.service"}"#,
        );
        assert_eq!((e.origin, e.priority), (Origin::Helper, 3));
    }

    #[test]
    fn podmans_noise_is_dropped() {
        let id = "c".repeat(64);
        for line in [
            format!(r#"{{"__REALTIME_TIMESTAMP":"1","MESSAGE":"{id}","_SYSTEMD_USER_UNIT":"w.service"}}"#),
            r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":"container create","PODMAN_EVENT":"create","_SYSTEMD_USER_UNIT":"w.service"}"#.to_owned(),
        ] {
            assert_eq!(parse(&line, None), Parsed::Noise);
        }
        for line in ["", "{", "[]", "{}", r#"{"__REALTIME_TIMESTAMP":"x"}"#] {
            assert_eq!(parse(line, None), Parsed::Unreadable, "{line}");
        }
    }

    #[test]
    fn messages_that_are_no_text() {
        let message = |value: &str| {
            let line = format!(
                r#"{{"__REALTIME_TIMESTAMP":"1","MESSAGE":{value},"CONTAINER_NAME":"w","_SYSTEMD_USER_UNIT":"w.service"}}"#
            );
            entry(&line).message
        };
        assert_eq!(message("[104,105,255]"), "hi\u{fffd}");
        assert_eq!(message("null"), "[too long to be shown]");
        assert_eq!(message(r#"["one","two"]"#), "one");
        assert_eq!(message("[27,91,51,49,109]"), "\\x1b[31m");
    }

    #[test]
    fn a_container_cannot_talk_to_the_terminal_or_fake_a_line() {
        assert_eq!(visible("a\tb"), "a\tb");
        assert_eq!(
            visible("\x1b]0;x\x07\u{9b}1m\r\n\u{202e}é"),
            "\\x1b]0;x\\x07\\x9b1m\\x0d\\n\\u{202e}é"
        );
    }

    #[test]
    fn arguments_match_the_output_and_the_words_about_it() {
        let units = [UnitName::from_systemd("a.service"), UnitName::from_systemd("b.service")];
        let query = LogQuery { lines: Some(5), since_us: Some(1_000_007), follow: true };
        let uid = rustix::process::getuid().as_raw();
        let of = Of { units: &units, invocation_id: Some("1af2"), main: None };
        let words = |of: Of<'_>| {
            let arguments = arguments(of, &query).into_iter().map(|a| a.into_string().unwrap());
            arguments.collect::<Vec<_>>().join(" ")
        };
        let expected = format!(
            "--output=json --no-pager --quiet --output-fields={FIELDS} --lines=5 --since=@1.000007 \
             --follow _SYSTEMD_USER_UNIT=a.service _SYSTEMD_USER_UNIT=b.service _UID={uid} \
             _SYSTEMD_INVOCATION_ID=1af2 + USER_UNIT=a.service USER_UNIT=b.service _UID={uid} \
             USER_INVOCATION_ID=1af2"
        );
        assert_eq!(words(of), expected);
        let main = main_process();
        let expected = format!("{expected} + _PID=526 _UID={uid} _BOOT_ID=089c432b1920");
        assert_eq!(words(Of { main: Some(&main), ..of }), expected);
    }

    fn main_process() -> MainProcess {
        MainProcess {
            pid: 526,
            boot_id: "089c432b-1920".to_owned(),
            began_ms: 1_000,
            ended_ms: 2_000,
        }
    }

    #[test]
    fn words_of_a_process_that_was_gone_are_its_units_and_nobody_elses() {
        let main = (UnitName::from_systemd("a.service"), main_process());
        let read = |time_us: u64, more: &str| {
            let line = format!(
                r#"{{"__REALTIME_TIMESTAMP":"{time_us}","MESSAGE":"Error: denied","PRIORITY":"6"{more}}}"#
            );
            parse(&line, Some(&main))
        };
        let late = 1_000 * (2_000 + u64::try_from(LATE_MS).unwrap());
        for time_us in [1_000_000, 2_500_000, late] {
            let Parsed::Entry(entry) = read(time_us, "") else { panic!("{time_us}") };
            assert_eq!((entry.unit.as_str(), entry.origin), ("a.service", Origin::Helper));
        }
        // Another process had the number before, or has it by now.
        for time_us in [999_999, late + 1_000] {
            assert_eq!(read(time_us, ""), Parsed::Unreadable, "{time_us}");
        }
        let other = r#","_SYSTEMD_USER_UNIT":"b.service""#;
        assert_eq!(read(1_500_000, other), Parsed::Noise);
        // What came late was written before the end of the process.
        let late = |more: &str| match read(2_500_000, more) {
            Parsed::Entry(entry) => entry.written_us,
            other @ (Parsed::Noise | Parsed::Unreadable) => panic!("{other:?}"),
        };
        assert_eq!(late(r#","_PID":"526""#), 2_000_000);
        assert_eq!(late(r#","_PID":"527","_SOURCE_REALTIME_TIMESTAMP":"1700000""#), 1_700_000);
        assert_eq!(late(""), 2_500_000);
        let own = r#","_SYSTEMD_USER_UNIT":"a.service""#;
        assert!(matches!(read(1, own), Parsed::Entry(_)));
    }

    #[test]
    fn the_error_says_how_to_mend_it() {
        let stderr = "Hint: You are currently not seeing messages from other users and the system.\n\
                      No journal files were opened due to insufficient permissions.\n";
        assert!(is_unreadable(stderr));
        let text = JournalError::Unreadable { user: "mcp".to_owned() }.to_string();
        assert!(text.contains("usermod -aG systemd-journal mcp"), "{text}");
    }
}
