//! How a command is brought to its end.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::processes::{self, Family};
use super::task::{Reach, Task};

/// How often what is to end is looked at.
pub const PACE: Duration = Duration::from_millis(100);
/// How long podman may take to notice that the command has ended.
const PODMAN: Duration = Duration::from_secs(5);

/// A command that is to end: it is asked once, killed when its time is over,
/// and then podman too.
#[derive(Debug)]
pub struct Ending {
    since: Instant,
    grace: Duration,
    signal: Signal,
    reach: Reach,
    /// Who was asked: a process whose parent has ended is found no more.
    asked: Vec<i32>,
}

impl Ending {
    /// Begins to end the command of a task.
    pub fn new(task: &Task) -> Self {
        Self {
            since: Instant::now(),
            grace: task.grace,
            signal: Signal::from_named_raw(task.stop_signal).unwrap_or(Signal::TERM),
            reach: task.reach,
            asked: Vec::new(),
        }
    }

    /// Does what is due now; to be called at [`PACE`].
    pub fn step(&mut self, podman: Option<u32>) {
        let waited = self.since.elapsed();
        let family = match processes::list() {
            Ok(all) => Family::of(own_pid(), all),
            Err(error) => {
                tracing::error!(%error, "the command's processes cannot be found");
                return;
            }
        };
        if self.asked.is_empty() && waited < self.grace {
            // There is none yet while podman makes it.
            self.asked = family.command(self.reach);
            processes::signal(&self.asked, self.signal);
        }
        if waited >= self.grace {
            let mut all = family.command(Reach::All);
            all.append(&mut self.asked);
            processes::signal(&all, Signal::KILL);
        }
        if waited >= self.grace + PODMAN {
            let podman = podman.and_then(|pid| i32::try_from(pid).ok());
            processes::signal(&podman.into_iter().collect::<Vec<_>>(), Signal::KILL);
        }
    }

    /// Leaves the command no more time.
    pub fn hurry(&mut self) {
        self.grace = Duration::ZERO;
    }
}

/// Returns the number of this process.
pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}
