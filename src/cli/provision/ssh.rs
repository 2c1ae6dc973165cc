//! The machine, over the system's own `ssh(1)`: its configuration, agents,
//! jump hosts and known hosts count. One connection serves every step.

use std::io;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};

use super::scripts::command_line;
use crate::secret::Secret;

/// Lines of a failed script that are told.
const LINES: usize = 20;

/// Says why a script did not do its work on the machine.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// There is no ssh.
    #[error("cannot run ssh")]
    Run(#[source] io::Error),
    /// ssh could not connect, or lost the connection.
    #[error("no connection to {host} by ssh: {said}")]
    Connection {
        /// The machine.
        host: String,
        /// What ssh said.
        said: String,
    },
    /// The script failed.
    #[error("{step} failed on {host}: {said}")]
    Script {
        /// The machine.
        host: String,
        /// What was being done.
        step: &'static str,
        /// The end of what was printed.
        said: String,
    },
    /// It took too long.
    #[error("{step} did not end on {host} within {seconds} s")]
    Deadline {
        /// The machine.
        host: String,
        /// What was being done.
        step: &'static str,
        /// How long we waited.
        seconds: u64,
    },
    /// What should be sent could not be read or sent.
    #[error("cannot send {step} to {host}")]
    Send {
        /// The machine.
        host: String,
        /// What was being done.
        step: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// How root's rights are had.
#[derive(Debug, Clone)]
pub enum Privilege {
    /// We are root, or need not be.
    None,
    /// `sudo(8)`: without a password, or with this one at every call (`-k`:
    /// where it did not ask, the script would read the password).
    Sudo(Option<Secret<String>>),
    /// `doas(1)`, which must not ask.
    Doas,
}

/// What a script reads.
#[derive(Debug)]
pub enum Input<'a> {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A file.
    File(PathBuf),
}

/// One thing to be run.
#[derive(Debug)]
pub struct Job<'a> {
    /// What it is called in errors.
    pub step: &'static str,
    /// The script.
    pub script: &'a str,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// What it reads.
    pub input: Input<'a>,
    /// How long it may take.
    pub limit: Duration,
}

impl<'a> Job<'a> {
    /// Returns a job that reads nothing and may take half a minute.
    pub fn new(step: &'static str, script: &'a str, arguments: &'a [&'a str]) -> Self {
        Self { step, script, arguments, input: Input::Nothing, limit: Duration::from_secs(30) }
    }
}

/// A way to a machine.
#[derive(Debug)]
pub struct Ssh {
    host: String,
    privilege: Privilege,
    options: Vec<String>,
}

impl Ssh {
    /// Returns the way to a host, which is whatever ssh takes as one.
    /// `control` is a private directory for the socket of the one connection;
    /// unless `may_ask`, ssh asks nobody for anything.
    pub fn new(host: String, control: &std::path::Path, may_ask: bool) -> Self {
        let mut options = vec![
            "ConnectTimeout=15".to_owned(),
            "ServerAliveInterval=15".to_owned(),
            "ServerAliveCountMax=4".to_owned(),
            "ControlMaster=auto".to_owned(),
            "ControlPersist=60".to_owned(),
            format!("ControlPath={}/%C", control.display()),
        ];
        if !may_ask {
            options.push("BatchMode=yes".to_owned());
        }
        Self { host, privilege: Privilege::None, options }
    }

    /// Has everything from now on be run with these rights.
    pub fn become_root(&mut self, privilege: Privilege) {
        self.privilege = privilege;
    }

    /// Runs a script, and returns what it printed.
    ///
    /// # Errors
    ///
    /// [`SshError`]
    pub async fn run(&self, job: Job<'_>) -> Result<String, SshError> {
        let step = job.step;
        let output = self.output(job).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        let said = last_lines(&String::from_utf8_lossy(said));
        let host = self.host.clone();
        // ssh(1), EXIT STATUS.
        if output.status.code() == Some(255) {
            return Err(SshError::Connection { host, said });
        }
        Err(SshError::Script { host, step, said })
    }

    /// Tells whether a script succeeds.
    ///
    /// # Errors
    ///
    /// [`SshError`], but for a script that fails.
    pub async fn succeeds(&self, job: Job<'_>) -> Result<bool, SshError> {
        match self.run(job).await {
            Ok(_) => Ok(true),
            Err(SshError::Script { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn output(&self, job: Job<'_>) -> Result<Output, SshError> {
        let Job { step, script, arguments, input, limit } = job;
        let host = || self.host.clone();
        let line = command_line(script, arguments);
        let line = match &self.privilege {
            Privilege::None => line,
            Privilege::Sudo(None) => format!("sudo -n -- {line}"),
            Privilege::Sudo(Some(_)) => format!("sudo -k -S -p '' -- {line}"),
            Privilege::Doas => format!("doas -n -- {line}"),
        };
        let mut command = self.command();
        command.arg("--").arg(&self.host).arg(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(SshError::Run)?;
        let stdin = child.stdin.take();
        let work = async {
            // Output is read meanwhile: neither side waits for the other.
            let (sent, output) = tokio::join!(self.send(stdin, input), child.wait_with_output());
            let output = output.map_err(SshError::Run)?;
            match sent {
                // A script that failed has said more than a broken pipe does.
                Err(source) if output.status.success() => {
                    Err(SshError::Send { host: host(), step, source })
                }
                Ok(()) | Err(_) => Ok(output),
            }
        };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(SshError::Deadline { host: host(), step, seconds: limit.as_secs() })
        })
    }

    async fn send(&self, stdin: Option<ChildStdin>, input: Input<'_>) -> io::Result<()> {
        let Some(mut stdin) = stdin else { return Ok(()) };
        if let Privilege::Sudo(Some(password)) = &self.privilege {
            stdin.write_all(format!("{}\n", password.reveal()).as_bytes()).await?;
        }
        match input {
            Input::Nothing => {}
            Input::Bytes(bytes) => stdin.write_all(bytes).await?,
            Input::File(path) => {
                tokio::io::copy(&mut File::open(path).await?, &mut stdin).await?;
            }
        }
        stdin.shutdown().await
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Closes the connection; what goes wrong then concerns nobody.
    pub async fn close(&self) {
        let mut command = self.command();
        command.args(["-O", "exit", "--"]).arg(&self.host);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Err(error) = command.status().await {
            tracing::debug!(%error, "the ssh connection could not be closed");
        }
    }
}

/// The end of what a program printed.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n")
}
