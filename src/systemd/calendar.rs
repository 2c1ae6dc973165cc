//! Calendar expressions, as systemd itself reads them.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Asks `systemd-analyze(1)` whether it takes a calendar expression; returns
/// what it says if it does not.
///
/// # Errors
///
/// It cannot be asked.
pub async fn refused(expression: &str) -> std::io::Result<Option<String>> {
    let mut command = Command::new("systemd-analyze");
    command.args(["calendar", "--", expression]).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Some(said.trim().chars().filter(|c| !c.is_control()).collect()))
}
