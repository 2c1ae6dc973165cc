//! What the journal has of one run of a service, system or user, by systemd's
//! number of it.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::journal::JournalError;

/// Longest time for reading it.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long after the end of a process its words may still arrive: journald
/// notes when it read them, not when they were written.
pub const LATE_MS: i64 = 10_000;

/// The main process of a run that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MainProcess {
    /// Its number.
    pub pid: u32,
    /// The boot that it was in, as the kernel writes it (`random(4)`).
    pub boot_id: String,
    /// When it began, in milliseconds since the Unix epoch: what is older is
    /// passed over.
    pub began_ms: i64,
    /// When it had ended for certain, likewise.
    pub ended_ms: i64,
}

impl MainProcess {
    /// Tells whether it may have written a line that journald got at a time, in
    /// microseconds since 1970; outside of it another process has the number.
    pub(super) fn may_have_written(&self, time_us: u64) -> bool {
        let at_ms = i64::try_from(time_us / 1_000).unwrap_or(i64::MAX);
        (self.began_ms..=self.ended_ms.saturating_add(LATE_MS)).contains(&at_ms)
    }

    /// Returns when it began, in microseconds since 1970.
    pub(super) fn began_us(&self) -> u64 {
        microseconds(self.began_ms)
    }

    /// Returns when it had ended, in microseconds since 1970.
    pub(super) fn ended_us(&self) -> u64 {
        microseconds(self.ended_ms)
    }

    /// Returns the fields that its words have, whatever journald knew of its
    /// unit; only journald itself can write them.
    pub(super) fn matches(&self) -> [String; 3] {
        let uid = rustix::process::getuid().as_raw();
        let boot_id = self.boot_id.replace('-', "");
        [format!("_PID={}", self.pid), format!("_UID={uid}"), format!("_BOOT_ID={boot_id}")]
    }
}

fn microseconds(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or_default().saturating_mul(1_000)
}

/// Returns the number of this boot; empty if the kernel does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Reads the last lines of one run: what the service wrote, and what systemd
/// said of it (`systemd.journal-fields(7)`). Control characters are as they
/// were written.
///
/// Of a user's service that soon ends the words are found by its process
/// alone, if one is given: journald looks the unit up in `/proc` when it reads
/// the first line, and when the process is gone by then, there is none. For a
/// system's service the manager tells it beforehand.
///
/// # Errors
///
/// [`JournalError`]; no line at all is an empty list.
pub async fn lines_of(
    invocation: &str,
    main: Option<&MainProcess>,
    count: u32,
) -> Result<Vec<String>, JournalError> {
    let reading = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--output=cat"])
        .args(arguments(invocation, main, count))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, reading)
        .await
        .map_err(|_elapsed| JournalError::Deadline { seconds: DEADLINE.as_secs() })?
        .map_err(JournalError::Start)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).lines().collect::<Vec<_>>().join(" ");
        return Err(JournalError::Failed { status: output.status, stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Matches of several fields all hold, and `+` separates alternatives
/// (`journalctl(1)`).
fn arguments(invocation: &str, main: Option<&MainProcess>, count: u32) -> Vec<String> {
    let mut arguments = vec![format!("--lines={count}")];
    if let Some(MainProcess { began_ms, ended_ms, .. }) = main {
        arguments.push(format!("--since={}", at(*began_ms)));
        arguments.push(format!("--until={}", at(ended_ms.saturating_add(LATE_MS))));
    }
    arguments.push(format!("_SYSTEMD_INVOCATION_ID={invocation}"));
    for field in ["INVOCATION_ID", "USER_INVOCATION_ID"] {
        arguments.extend(["+".to_owned(), format!("{field}={invocation}")]);
    }
    if let Some(main) = main {
        arguments.push("+".to_owned());
        arguments.extend(main.matches());
    }
    arguments
}

/// Writes a time as `systemd.time(7)` reads it.
fn at(ms: i64) -> String {
    let (seconds, ms) = (ms.div_euclid(1_000), ms.rem_euclid(1_000));
    format!("@{seconds}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_its_number_and_by_its_process() {
        let of_run = "_SYSTEMD_INVOCATION_ID=1af2 + INVOCATION_ID=1af2 + USER_INVOCATION_ID=1af2";
        assert_eq!(arguments("1af2", None, 5).join(" "), format!("--lines=5 {of_run}"));

        let main = MainProcess {
            pid: 526,
            boot_id: "089c432b-1920".to_owned(),
            began_ms: 1_796_026_777_007,
            ended_ms: 1_796_026_779_400,
        };
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(
            arguments("1af2", Some(&main), 5).join(" "),
            format!(
                "--lines=5 --since=@1796026777.007 --until=@1796026789.400 {of_run} + _PID=526 \
                 _UID={uid} _BOOT_ID=089c432b1920"
            )
        );
    }
}
