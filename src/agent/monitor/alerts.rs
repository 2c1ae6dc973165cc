//! Alerts: the operator's command, and webhooks.

use std::convert::Infallible;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::backoff;
use super::cooldown::Cooldown;
use super::event::Notice;
use super::kind::{EventKind, Tone};
use super::settings::{MonitorSettings, Webhook};
use super::webhook::{self, WebhookError};
use crate::agent::finding::Finding;
use crate::agent::problems::Problems;
use crate::telemetry::Chain;

/// How long the command may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Notices that wait for a slow command or webhook.
const QUEUE: usize = 64;
/// Attempts to reach a webhook, and the pauses between them.
const ATTEMPTS: u32 = 8;
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Says why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("it did not end within {} s and was killed", DEADLINE.as_secs())]
    Deadline,
    /// It says that it failed.
    #[error("it ended with {status}: {said}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it wrote.
        said: String,
    },
    /// The notice is no JSON.
    #[error("the notice cannot be written")]
    Notice(#[source] serde_json::Error),
}

/// Takes notices to the command and to webhooks, as the settings say.
#[derive(Debug)]
pub struct Alerts {
    settings: watch::Receiver<Arc<MonitorSettings>>,
    problems: Problems,
    cooldown: Cooldown,
    command: Lane,
    webhooks: Vec<(Webhook, Lane)>,
    began: Instant,
}

/// A queue, and the task at its end.
#[derive(Debug)]
struct Lane {
    notices: mpsc::Sender<Notice>,
    _task: AbortOnDropHandle<()>,
}

impl Lane {
    fn put(&self, notice: &Notice, to: &str) {
        if let Err(error) = self.notices.try_send(notice.clone()) {
            tracing::error!(to, event = notice.id, %error, "an alert is dropped: too many wait");
        }
    }
}

impl Alerts {
    /// Makes what takes notices.
    pub fn new(settings: watch::Receiver<Arc<MonitorSettings>>, problems: Problems) -> Self {
        let (notices, queue) = mpsc::channel(QUEUE);
        let task = tokio::spawn(commands(queue, settings.clone(), problems.clone()));
        let command = Lane { notices, _task: AbortOnDropHandle::new(task) };
        let (cooldown, webhooks) = (Cooldown::default(), Vec::new());
        Self { settings, problems, cooldown, command, webhooks, began: Instant::now() }
    }

    /// Takes notices until the shutdown.
    ///
    /// # Errors
    ///
    /// None; tasks return a result.
    pub async fn run(
        mut self,
        mut notices: mpsc::Receiver<Notice>,
        shutdown: CancellationToken,
    ) -> Result<(), Infallible> {
        loop {
            // Both may be cancelled: a notice stays in the queue.
            let notice = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(notice) = notices.recv() => notice,
                else => {
                    shutdown.cancelled().await;
                    return Ok(());
                }
            };
            self.take(&notice);
        }
    }

    fn take(&mut self, notice: &Notice) {
        let settings = Arc::clone(&self.settings.borrow());
        self.follow(&settings);
        let Ok(kind) = notice.event.parse::<EventKind>() else { return };
        let about = (notice.service.as_str(), notice.component.as_str());
        let (now, pause) = (self.began.elapsed(), settings.cooldown.get());
        let alert = self.cooldown.takes(about, kind, now, pause);
        if alert && !settings.alert_command.is_empty() {
            self.command.put(notice, "alert_command");
        }
        for (webhook, lane) in &self.webhooks {
            let wanted = webhook.kinds.is_empty() || webhook.kinds.contains(&kind);
            // What is no alert comes as often as it happens, if it was asked for.
            let asked_for = !webhook.kinds.is_empty() && kind.tone() != Tone::Bad;
            if wanted && (alert || asked_for) {
                lane.put(notice, &webhook.url.to_string());
            }
        }
    }

    /// Has a lane for each webhook of the settings, and no other.
    fn follow(&mut self, settings: &MonitorSettings) {
        self.webhooks.retain(|(webhook, _)| settings.webhooks.contains(webhook));
        for webhook in &settings.webhooks {
            if self.webhooks.iter().all(|(known, _)| known != webhook) {
                let (notices, queue) = mpsc::channel(QUEUE);
                let task = tokio::spawn(posts(queue, webhook.clone(), self.problems.clone()));
                let lane = Lane { notices, _task: AbortOnDropHandle::new(task) };
                self.webhooks.push((webhook.clone(), lane));
            }
        }
    }
}

/// Runs the command for one notice after the other.
async fn commands(
    mut queue: mpsc::Receiver<Notice>,
    settings: watch::Receiver<Arc<MonitorSettings>>,
    problems: Problems,
) {
    const CAUSE: &str = "alert_command";
    let mut failed: u64 = 0;
    while let Some(notice) = queue.recv().await {
        let words = settings.borrow().alert_command.clone();
        match command(&words, &notice).await {
            Ok(()) => {
                failed = 0;
                problems.clear(CAUSE);
            }
            Err(error) => {
                failed += 1;
                let error = Chain(&error);
                tracing::error!(event = notice.id, failed, %error, "the alert command failed");
                problems.set(CAUSE, format!("The alert command has failed {failed} times in a row, the last time: {error}; mend it, then run: mcp alert-test"));
            }
        }
    }
}

/// Sends one notice after the other to a webhook.
async fn posts(mut queue: mpsc::Receiver<Notice>, webhook: Webhook, problems: Problems) {
    let cause = format!("webhook {}", webhook.url);
    let mut failed: u64 = 0;
    while let Some(notice) = queue.recv().await {
        match post(&webhook, &notice).await {
            Ok(()) => {
                failed = 0;
                problems.clear(&cause);
            }
            Err(error) => {
                failed += 1;
                let (url, error) = (&webhook.url, Chain(&error));
                tracing::error!(%url, event = notice.id, failed, %error, "a webhook did not take an event");
                problems.set(&cause, format!("The webhook {url} has not taken {failed} events in a row: {error}; mend it, then run: mcp alert-test"));
            }
        }
    }
}

/// Sends a notice to a webhook, several times if need be.
async fn post(webhook: &Webhook, notice: &Notice) -> Result<(), WebhookError> {
    let mut attempt = 1;
    loop {
        match webhook::send(webhook, notice).await {
            Ok(()) => return Ok(()),
            Err(error) if attempt < ATTEMPTS && error.is_passing() => {
                tracing::warn!(url = %webhook.url, attempt, error = %Chain(&error), "a webhook is tried again");
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(backoff::pause(attempt, FIRST, LONGEST, chance())).await;
        attempt += 1;
    }
}

fn chance() -> u8 {
    let mut octet = [128];
    // Without chance all pauses are alike, which harms nobody.
    if let Err(error) = getrandom::fill(&mut octet) {
        tracing::debug!(%error, "no random number");
    }
    let [chance] = octet;
    chance
}

/// Runs the command for a notice, and waits for it.
///
/// # Errors
///
/// [`CommandError`]
pub async fn command(words: &[String], notice: &Notice) -> Result<(), CommandError> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let json = serde_json::to_vec(notice).map_err(CommandError::Notice)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(notice.variables())
        // It is not the agent, and must not speak for it.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let failed = |source| CommandError::Run { program: program.clone(), source };
    let child = command.spawn().map_err(failed)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Ok(ended) = tokio::time::timeout(DEADLINE, ended(child, &json)).await else {
        // It, and whatever it has started.
        if let Some(group) = group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "the alert command was gone already");
        }
        return Err(CommandError::Deadline);
    };
    let Output { status, stderr, .. } = ended.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    let said: String = said.trim().chars().filter(|c| !c.is_control()).take(400).collect();
    Err(CommandError::Failed { status, said })
}

async fn ended(mut child: Child, json: &[u8]) -> std::io::Result<Output> {
    let mut stdin = child.stdin.take();
    let write = async {
        if let Some(stdin) = &mut stdin
            && let Err(error) = stdin.write_all(json).await
        {
            tracing::debug!(%error, "the alert command does not read its input");
        }
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    output
}

/// Tries the command and every webhook once with a notice, and says how that
/// went.
pub async fn test(settings: &MonitorSettings, notice: &Notice) -> Vec<Finding> {
    const CHECK: &str = "alert";
    let mut findings = Vec::new();
    if settings.alert_command.is_empty() && settings.webhooks.is_empty() {
        let message = "Nobody is told of anything: there is neither alert_command nor a webhook.";
        findings.push(Finding::warning(CHECK, "", message).mend(
            "set alert_command under [monitor] in mcp-agent.toml, then: systemctl reload mcp-agent",
        ));
    }
    if let Some(program) = settings.alert_command.first() {
        findings.push(match command(&settings.alert_command, notice).await {
            Ok(()) => Finding::fine(CHECK, program, "The command took the event."),
            Err(error) => {
                let message = format!("The command failed: {}.", Chain(&error));
                Finding::failed(CHECK, program, message).mend("journalctl -u mcp-agent -n 20")
            }
        });
    }
    for webhook in &settings.webhooks {
        let url = webhook.url.to_string();
        findings.push(match webhook::send(webhook, notice).await {
            Ok(()) => Finding::fine(CHECK, url, "The webhook took the event."),
            Err(error) => {
                let message = format!("The webhook did not take the event: {}.", Chain(&error));
                Finding::failed(CHECK, &url, message).mend(format!("curl -v {url}"))
            }
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::monitor::event::Event;

    fn notice() -> Notice {
        let event = Event::of_service(EventKind::Failed, "shop", "exit code 1");
        Notice::new("rift", event.row(1_000))
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn the_command_gets_variables_and_json_and_no_shell() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = "{ echo \"$MCP_EVENT $MCP_SERVICE $1\"; cat; } >\"$0\"";
        let argument = "$(touch /tmp/never) ; x";
        command(&words(&["sh", "-c", script, out.to_str().unwrap(), argument]), &notice())
            .await
            .unwrap();
        let text = std::fs::read_to_string(&out).unwrap();
        let (first, json) = text.split_once('\n').unwrap();
        assert_eq!(first, format!("failed shop {argument}"));
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json, serde_json::to_value(notice()).unwrap());
    }

    #[tokio::test]
    async fn a_command_that_fails_or_does_not_read_is_told() {
        let error = command(&words(&["sh", "-c", "echo no >&2; exit 3"]), &notice()).await;
        assert!(error.unwrap_err().to_string().ends_with("exit status: 3: no"));
        let error = command(&words(&["/nowhere"]), &notice()).await.unwrap_err();
        assert!(matches!(error, CommandError::Run { .. }), "{error:?}");
        command(&words(&["true"]), &notice()).await.unwrap();
        command(&[], &notice()).await.unwrap();
    }
}
