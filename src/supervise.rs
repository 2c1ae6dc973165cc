//! Long-running tasks: named, owned, and ended together.
//!
//! systemd is our supervisor. A task that returns or panics while the daemon
//! is to run ends the daemon, which systemd starts again; containers never
//! notice.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long tasks may take to end after they were asked to.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a failed task gives as its reason.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// Owns the long-running tasks of a daemon.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), TaskError>>,
    names: HashMap<Id, &'static str>,
    shutdown: CancellationToken,
    deadline: Duration,
}

/// Says which task ended the daemon.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// A task returned although the daemon was to run.
    #[error("the task {name} ended by itself")]
    Ended {
        /// The task.
        name: &'static str,
    },
    /// A task failed.
    #[error("the task {name} failed")]
    Failed {
        /// The task.
        name: &'static str,
        /// Why.
        #[source]
        source: TaskError,
    },
    /// A task panicked.
    #[error("the task {name} panicked")]
    Panicked {
        /// The task.
        name: &'static str,
        /// What is known of it.
        #[source]
        source: JoinError,
    },
    /// Tasks did not end in time.
    #[error("{} did not end in time", names.join(", "))]
    Stuck {
        /// The tasks.
        names: Vec<&'static str>,
    },
}

impl Supervisor {
    /// Makes a supervisor that ends when `shutdown` is cancelled.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), shutdown, deadline: DEADLINE }
    }

    /// Returns the token that every task has to watch.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task, which runs until the token is cancelled.
    pub fn spawn<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskError>,
    {
        let handle = self.tasks.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Waits for the shutdown or for the first task that ends, then asks all
    /// to end and waits for them, ten seconds at most.
    ///
    /// # Errors
    ///
    /// A task ended early, failed or panicked, or some did not end in time.
    pub async fn run(mut self) -> Result<(), SuperviseError> {
        // Both may be cancelled: what `join_next_with_id` has not given yet,
        // the next call gives.
        let early = tokio::select! {
            () = self.shutdown.cancelled() => None,
            Some(ended) = self.tasks.join_next_with_id() => Some(ended),
        };
        let asked = self.shutdown.is_cancelled();
        let mut verdict = early.and_then(|ended| self.judge(ended, asked));
        self.shutdown.cancel();
        let deadline = tokio::time::Instant::now() + self.deadline;
        loop {
            match tokio::time::timeout_at(deadline, self.tasks.join_next_with_id()).await {
                Ok(Some(ended)) => verdict = verdict.or(self.judge(ended, true)),
                Ok(None) => break,
                Err(_elapsed) => {
                    self.tasks.abort_all();
                    let names = self.names.into_values().collect();
                    return Err(verdict.unwrap_or(SuperviseError::Stuck { names }));
                }
            }
        }
        verdict.map_or(Ok(()), Err)
    }

    /// Says what was wrong with the end of a task, if anything was.
    fn judge(
        &mut self,
        ended: Result<(Id, Result<(), TaskError>), JoinError>,
        asked: bool,
    ) -> Option<SuperviseError> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let name = self.names.remove(&id).unwrap_or("without a name");
        match ended {
            Ok((_, Ok(()))) if asked => None,
            Ok((_, Ok(()))) => Some(SuperviseError::Ended { name }),
            Ok((_, Err(source))) => Some(SuperviseError::Failed { name, source }),
            Err(source) => Some(SuperviseError::Panicked { name, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn supervisor() -> (Supervisor, CancellationToken) {
        let shutdown = CancellationToken::new();
        let mut supervisor = Supervisor::new(shutdown.clone());
        let token = supervisor.shutdown();
        supervisor.spawn("good", async move {
            token.cancelled().await;
            Ok::<(), Infallible>(())
        });
        (supervisor, shutdown)
    }

    #[tokio::test]
    async fn a_shutdown_ends_all_tasks_in_peace() {
        let (supervisor, shutdown) = supervisor();
        shutdown.cancel();
        supervisor.run().await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_ends_fails_or_panics_ends_the_daemon() {
        let (mut ending, shutdown) = supervisor();
        ending.spawn("short", async { Ok::<(), Infallible>(()) });
        let error = ending.run().await.unwrap_err();
        assert!(matches!(error, SuperviseError::Ended { name: "short" }), "{error:?}");
        assert!(shutdown.is_cancelled());

        let (mut failing, _) = supervisor();
        failing.spawn("bad", async { Err::<(), TaskError>("why".into()) });
        let error = failing.run().await.unwrap_err();
        assert!(matches!(error, SuperviseError::Failed { name: "bad", .. }), "{error:?}");

        let (mut panicking, _) = supervisor();
        panicking.spawn("wild", async { panic!("on purpose") as Result<(), Infallible> });
        let error = panicking.run().await.unwrap_err();
        assert!(matches!(error, SuperviseError::Panicked { name: "wild", .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_named() {
        let (mut supervisor, shutdown) = supervisor();
        supervisor.deadline = Duration::from_millis(20);
        supervisor.spawn("deaf", async {
            std::future::pending::<()>().await;
            Ok::<(), Infallible>(())
        });
        shutdown.cancel();
        let error = supervisor.run().await.unwrap_err();
        assert_eq!(error.to_string(), "deaf did not end in time");
    }
}
