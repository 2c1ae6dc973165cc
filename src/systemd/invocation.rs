//! What the journal has of one run of a service, system or user, by systemd's
//! number of it.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::journal::JournalError;

/// Longest time for reading it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads the last lines of one run: what the service wrote, and what systemd
/// said of it (`systemd.journal-fields(7)`). Control characters are as they
/// were written.
///
/// # Errors
///
/// [`JournalError`]; no line at all is an empty list.
pub async fn lines_of(invocation: &str, count: u32) -> Result<Vec<String>, JournalError> {
    let own = format!("_SYSTEMD_INVOCATION_ID={invocation}");
    let of_system = format!("INVOCATION_ID={invocation}");
    let of_user = format!("USER_INVOCATION_ID={invocation}");
    let reading = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--output=cat", "--lines"])
        .arg(count.to_string())
        .args([&own, "+", &of_system, "+", &of_user])
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
