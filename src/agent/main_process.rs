//! The main process of the unit on whose behalf a probe runs.

use std::io;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::oneshot;

/// Waits until a process has ended (`pidfd_open(2)`); for ever without one.
///
/// systemd waits for `ExecStartPost=` even when the main process is gone, so
/// a probe that did not look would keep a dead container "starting" until its
/// own deadline.
pub async fn ended(pid: Option<i32>) {
    let Some(pid) = pid.and_then(Pid::from_raw) else { return std::future::pending().await };
    let (tell, told) = oneshot::channel();
    // A thread of its own, which ends with the program.
    let watcher = std::thread::Builder::new().name("main-process".to_owned()).spawn(move || {
        // Nobody listens when the probe has its answer.
        drop(tell.send(wait(pid)));
    });
    match (watcher, told.await) {
        (Ok(_), Ok(Ok(()))) => {}
        (watcher, waited) => {
            tracing::debug!(?watcher, ?waited, "the main process cannot be watched");
            std::future::pending::<()>().await;
        }
    }
}

/// Blocks until a process has ended, or says why it cannot be watched.
fn wait(pid: Pid) -> io::Result<()> {
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        other => other?,
    };
    loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
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
            () = async { child.start_kill().unwrap(); std::future::pending::<()>().await } => {}
        }
        child.wait().await.unwrap();
        // Gone already.
        ended(Some(pid)).await;
    }
}
