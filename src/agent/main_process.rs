//! The main process of the unit on whose behalf a probe runs.

use std::io;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until a process has ended (`pidfd_open(2)`); for ever without one.
///
/// systemd waits for `ExecStartPost=` even when the main process is gone, so
/// a probe that did not look would keep a dead container "starting" until its
/// own deadline.
pub async fn ended(pid: Option<i32>) {
    let Some(pid) = pid.and_then(Pid::from_raw) else { return std::future::pending().await };
    match watch(pid).await {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
        Err(error) => {
            tracing::debug!(%error, "the main process cannot be watched");
            std::future::pending().await
        }
    }
}

async fn watch(pid: Pid) -> io::Result<()> {
    let process = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    AsyncFd::with_interest(process, Interest::READABLE)?.readable().await?.retain_ready();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen_at_once() {
        let mut child = tokio::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        tokio::select! {
            () = ended(Some(pid)) => {}
            _ = async { child.start_kill().unwrap(); std::future::pending::<()>().await } => {}
        }
        child.wait().await.unwrap();
        // Gone already.
        ended(Some(pid)).await;
    }
}
