//! Checks of health: docker's and podman's times to a definition's.

use std::time::Duration;

use super::values::duration_text;
use crate::definition::model::{Command, Health};

/// What docker and podman take where a check says nothing
/// (<https://docs.docker.com/reference/dockerfile/#healthcheck>).
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const RETRIES: u32 = 3;

/// The times of a check as docker and podman mean them.
pub(super) struct Times {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) start_period: Option<Duration>,
}

impl Times {
    /// Returns how long docker waits until it gives a component up: as long
    /// it is given here to become ready.
    fn patience(&self) -> Duration {
        let day = Duration::from_secs(24 * 3600);
        let checks = self.interval.saturating_mul(self.retries.max(1));
        self.start_period.unwrap_or_default().saturating_add(checks).min(day)
    }

    pub(super) fn remark(&self) -> String {
        format!(
            "It has {} to become ready: its start_period and retries * interval.",
            duration_text(self.patience())
        )
    }
}

/// Makes a check of a command.
pub(super) fn health(command: Command, times: &Times) -> Health {
    let text = |time: Duration, least: u64| {
        let time = time.clamp(Duration::from_secs(least), Duration::from_secs(24 * 3600));
        Some(duration_text(time))
    };
    Health {
        cmd: Some(command),
        interval: text(times.interval, 2),
        timeout: text(times.timeout, 1),
        retries: Some(times.retries.clamp(1, 1000)),
        start_period: Some(duration_text(times.patience())),
        ..Health::default()
    }
}

/// Reads a command of a check as podman does: a list in JSON, or a line for a
/// shell; `CMD` before it is one that no shell sees.
pub(super) fn check_words(command: &str) -> Command {
    let list: Vec<String> = serde_json::from_str(command).unwrap_or_default();
    match list.split_first() {
        Some((first, rest)) if first == "CMD" && !rest.is_empty() => Command::Words(rest.to_vec()),
        Some((first, rest)) if first == "CMD-SHELL" => Command::Shell(rest.join(" ")),
        Some((line, [])) => Command::Shell(line.clone()),
        Some(_) => Command::Words(list),
        None => match command.split_once(' ') {
            Some(("CMD-SHELL", line)) => Command::Shell(line.to_owned()),
            Some(("CMD", line)) if !line.trim().is_empty() => {
                Command::Words(line.split_whitespace().map(str::to_owned).collect())
            }
            _ => Command::Shell(command.to_owned()),
        },
    }
}

/// What podman does to an unhealthy container that a definition does not.
pub(super) const KILL: &str = "kill";
/// What it becomes.
pub(super) const KILL_IS: &str =
    "it is restarted, with its stop signal first, whatever its restart policy is";

/// What becomes of a check of its own until a container is ready.
pub(super) const STARTUP_IS: &str = "until it is ready, a component is checked every 2 seconds";

/// Reads what becomes of an unhealthy container. Killing it means that systemd
/// starts it again.
pub(super) fn on_failure(action: Option<&str>) -> Option<String> {
    match action? {
        "restart" | "kill" => Some("restart".to_owned()),
        "stop" => Some("stop".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_podman_reads_them() {
        let words = |words: &[&str]| Command::Words(words.iter().map(|w| (*w).into()).collect());
        let shell = |line: &str| Command::Shell(line.to_owned());
        for (command, is) in [
            (r#"["CMD", "/agent", "health"]"#, words(&["/agent", "health"])),
            (r#"["/agent", "health"]"#, words(&["/agent", "health"])),
            (r#"["CMD-SHELL", "a | b"]"#, shell("a | b")),
            (r#"["a | b"]"#, shell("a | b")),
            ("CMD /agent  health", words(&["/agent", "health"])),
            ("CMD-SHELL a || exit 1", shell("a || exit 1")),
            ("CMDS a", shell("CMDS a")),
            ("curl -f http://x", shell("curl -f http://x")),
        ] {
            assert_eq!(check_words(command), is, "{command}");
        }
    }
}
