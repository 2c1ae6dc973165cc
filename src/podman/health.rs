//! How podman's own checks of a container went, from the file that it keeps.
//!
//! Measured with podman 5.4: the main process of a unit is conmon, whose
//! argument `-c` is the container's number and whose `-p` a file below the
//! directory of the container's run, where `healthcheck.log` holds the
//! results. Reading the two costs microseconds where `podman inspect` costs
//! 40 ms. The log is rewritten in place, so it can be seen half-written.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::command::{PodmanError, failed, run};

/// What the checks said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// They succeed.
    Healthy,
    /// They failed as often as the definition allows.
    Unhealthy,
    /// None has succeeded yet.
    Starting,
    /// There is no result to be read.
    Unknown,
}

impl Health {
    /// Returns podman's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Starting => "starting",
            Self::Unknown => "unknown",
        }
    }
}

/// What the checks said last, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// The verdict.
    pub health: Health,
    /// Why the last check failed, one short line that the container may have
    /// written; empty: it did not fail.
    pub reason: String,
}

impl Checks {
    const UNKNOWN: Self = Self { health: Health::Unknown, reason: String::new() };
}

/// The file, as podman writes it.
#[derive(Deserialize)]
struct Log {
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "Log", default)]
    runs: Option<Vec<Run>>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(rename = "ExitCode", default)]
    exit_code: i32,
    #[serde(rename = "Output", default)]
    output: String,
}

/// Longest reason, in characters.
const LONGEST: usize = 300;

/// Makes one line of what a container wrote: no control characters, and not
/// too long.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_control() || c == ' ').filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Reads the health of the container whose unit has this main process.
pub fn read(main_pid: u32) -> Checks {
    file_of(main_pid).map_or(Checks::UNKNOWN, |file| in_file(&file))
}

/// Returns the file with the results of the container whose unit has this
/// main process; it is there once a check has been made.
pub fn file_of(main_pid: u32) -> Option<PathBuf> {
    file(&std::fs::read(format!("/proc/{main_pid}/cmdline")).unwrap_or_default())
}

/// Asks podman for the health of the container whose unit has this main
/// process: where its results are in another place (`--health-log-destination`
/// of `podman-run(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn ask(main_pid: u32) -> Result<Checks, PodmanError> {
    let arguments = std::fs::read(format!("/proc/{main_pid}/cmdline")).unwrap_or_default();
    let Some(number) = container_of(&arguments) else { return Ok(Checks::UNKNOWN) };
    let verb = "container inspect";
    let format = "{{.State.Health.Status}}";
    let output = run(verb, &["container", "inspect", "--format", format, "--", number]).await?;
    if !output.status.success() {
        return Err(failed(verb, &output));
    }
    let word = String::from_utf8_lossy(&output.stdout);
    Ok(Checks { health: verdict(word.trim()).unwrap_or(Health::Unknown), reason: String::new() })
}

/// Reads the health out of such a file.
pub fn in_file(log: &Path) -> Checks {
    // A second look, should the first have met a write.
    (0..2).find_map(|_| status(log)).unwrap_or(Checks::UNKNOWN)
}

/// Returns the file from conmon's arguments (`conmon(8)`).
fn file(arguments: &[u8]) -> Option<PathBuf> {
    let number = container_of(arguments)?;
    let directory = Path::new(value(arguments, "-p")?).parent()?.parent()?;
    directory.ends_with(number).then(|| directory.join("healthcheck.log"))
}

/// Returns the container's number from conmon's arguments (`conmon(8)`).
pub(super) fn container_of(arguments: &[u8]) -> Option<&str> {
    value(arguments, "-c").filter(|number| is_number(number))
}

fn value<'a>(arguments: &'a [u8], option: &str) -> Option<&'a str> {
    let words = arguments.split(|byte| *byte == 0);
    let mut words = words.skip_while(|word| *word != option.as_bytes());
    std::str::from_utf8(words.nth(1)?).ok()
}

/// Tells whether a text is a container's number.
pub(super) fn is_number(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn verdict(word: &str) -> Option<Health> {
    [Health::Healthy, Health::Unhealthy, Health::Starting]
        .into_iter()
        .find(|health| health.as_str() == word)
}

fn status(log: &Path) -> Option<Checks> {
    let log: Log = serde_json::from_slice(&std::fs::read(log).ok()?).ok()?;
    let health = verdict(&log.status)?;
    let last = log.runs.unwrap_or_default().pop().filter(|run| run.exit_code != 0);
    let reason = last.map(|run| match one_line(&run.output) {
        said if said.is_empty() => format!("the command ended with {}", run.exit_code),
        said => format!("the command ended with {}: {said}", run.exit_code),
    });
    Some(Checks { health, reason: reason.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_read_from_podmans_file() {
        let dir = tempfile::tempdir().unwrap();
        let number = "a1".repeat(32);
        let log = dir.path().join("containers/vfs-containers").join(&number);
        let pid_file = log.join("userdata/pidfile");
        let line = format!("conmon\0-c\0{number}\0-p\0{}\0-x\0", pid_file.display());
        let of = || in_file(&file(line.as_bytes()).unwrap());
        assert_eq!(of(), Checks::UNKNOWN);
        std::fs::create_dir_all(&log).unwrap();
        let put = |text: &[u8]| {
            crate::atomic_file::write(&log.join("healthcheck.log"), text, 0o600).unwrap();
        };
        put(br#"{"Status":"unhealthy","FailingStreak":3,"Log":[]}"#);
        assert_eq!(of(), Checks { health: Health::Unhealthy, reason: String::new() });
        put(br#"{"Status":"healthy","FailingStreak":1,"Log":[{"ExitCode":0,"Output":"x"},
            {"Start":"2026","End":"2026","ExitCode":1,"Output":"no\n\u001b[1m disk\n"}]}"#);
        let reason = "the command ended with 1: no [1m disk".to_owned();
        assert_eq!(of(), Checks { health: Health::Healthy, reason });
        put(br#"{"Status":"#);
        assert_eq!(of(), Checks::UNKNOWN);
    }

    #[test]
    fn what_a_container_says_is_short_and_of_one_line() {
        assert_eq!(one_line(" a\n\tb\u{1b}c "), "a b c");
        assert_eq!(one_line(&"\u{e9}".repeat(400)).chars().count(), LONGEST + 3);
    }

    #[test]
    fn the_container_is_conmons_argument_and_nothing_else() {
        let number = "0f".repeat(32);
        let line = format!("/usr/bin/conmon\0--api-version\01\0-c\0{number}\0-u\0x\0");
        assert_eq!(container_of(line.as_bytes()), Some(number.as_str()));
        assert_eq!(file(line.as_bytes()), None);
        let other = format!("{line}-p\0/run/{}/userdata/pidfile\0", "ab".repeat(32));
        assert_eq!(file(other.as_bytes()), None);
        for other in ["", "podman\0run\0-d\0", "conmon\0-c\0", "conmon\0-c\0../../etc\0"] {
            assert_eq!(container_of(other.as_bytes()), None);
            assert_eq!(file(other.as_bytes()), None);
        }
    }
}
