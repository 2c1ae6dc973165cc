//! What this machine has to have, and the programs that are asked.

use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::cli::environment::Environment;
use crate::cli::error::{CliError, ErrorKind};
use crate::names::ImageRef;

/// The first port that is tried, and how many after it.
const PORTS: std::ops::RangeInclusive<u16> = 8080..=8179;

/// Says why this machine or this user cannot have a quickstart.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Root has no user session, and containers are to be rootless.
    #[error("this is for an ordinary user, and you are root")]
    Root,
    /// There is an agent of the system for this user.
    #[error("this user has the system's agent; `mcp deploy` talks to it")]
    System,
    /// Nothing that a login makes is there.
    #[error("there is no session of this user: {what}")]
    NoSession {
        /// What is missing.
        what: String,
    },
    /// The agent's program is not there.
    #[error("there is no mcp-agent beside {}", beside.display())]
    NoAgent {
        /// This program.
        beside: PathBuf,
    },
    /// A program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program did not do what it was asked for.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// What was run.
        command: String,
        /// The end of what it said.
        said: String,
    },
    /// The answer is none.
    #[error(
        "`mcp-agent doctor` gave no answer that this mcp understands; both are to be of one version"
    )]
    Doctor {
        /// Why.
        source: serde_json::Error,
    },
    /// Something that containers need is missing.
    #[error("{0}")]
    Missing(String),
    /// All ports are taken.
    #[error("every port from {} to {} of 127.0.0.1 is taken", PORTS.start(), PORTS.end())]
    NoPort,
    /// The port is taken.
    #[error("port {0} of 127.0.0.1 is taken")]
    Port(u16),
}

/// What `mcp-agent doctor --json` says of one thing.
#[derive(Debug, Deserialize)]
struct Finding {
    check: String,
    level: String,
    message: String,
    mend: String,
}

/// The machine, as far as a quickstart has to do with it.
#[derive(Debug)]
pub struct Host {
    agent: PathBuf,
}

impl Host {
    /// Looks for what there has to be before anything is asked.
    ///
    /// # Errors
    ///
    /// [`HostError`], as a mistake of the caller.
    pub fn find(environment: &Environment) -> Result<Self, CliError> {
        let refused = |error, hint: &str| CliError::usage(error).hint(hint);
        if environment.uid == 0 {
            return Err(refused(
                HostError::Root,
                "log in as the user who is to own the containers",
            ));
        }
        if environment.home.as_deref() == Some(Path::new("/srv/mcp")) {
            return Err(refused(HostError::System, "mcp node list"));
        }
        let login = "log in at the console or by ssh: `su` and `sudo -u` make no session (`machinectl shell USER@` does)";
        let session = |what: &str| refused(HostError::NoSession { what: what.to_owned() }, login);
        let runtime = environment.runtime_dir.as_ref();
        let runtime = runtime.ok_or_else(|| session("XDG_RUNTIME_DIR is not set"))?;
        if !runtime.join("systemd/private").exists() || !runtime.join("bus").exists() {
            let what = format!("systemd and its bus are not in {}", runtime.display());
            return Err(session(&what));
        }
        let mcp = environment.program.clone().unwrap_or_default();
        let agent = mcp.with_file_name("mcp-agent");
        if !agent.exists() {
            let error = HostError::NoAgent { beside: mcp };
            return Err(refused(error, "install mcp-agent into the same directory"));
        }
        Ok(Self { agent })
    }

    /// Asks the agent's program whether containers can run here; returns what
    /// to know, if they can.
    ///
    /// # Errors
    ///
    /// They cannot; the hints are the commands that mend it.
    pub fn check(&self) -> Result<Vec<(String, String)>, CliError> {
        let output = output(Command::new(&self.agent).args(["doctor", "--json"]))?;
        let findings: Vec<Finding> = serde_json::from_slice(&output.stdout)
            .map_err(|source| CliError::failed(HostError::Doctor { source }))?;
        let (mut notes, mut missing) = (Vec::new(), Vec::new());
        for Finding { check, level, message, mend } in findings {
            match (level.as_str(), check.as_str()) {
                ("ok", _) => {}
                // It runs until the last logout, which is told.
                ("failed", "linger") => notes.push((
                    "The agent and the service end with your last session, and are not started at boot.".to_owned(),
                    mend,
                )),
                ("failed", _) => missing.push((message, mend)),
                _ => notes.push((message, mend)),
            }
        }
        if missing.is_empty() {
            return Ok(notes);
        }
        let said: Vec<&str> = missing.iter().map(|(message, _)| message.as_str()).collect();
        let error = HostError::Missing(said.join(" "));
        let hints = missing.iter().map(|(_, mend)| mend).filter(|mend| !mend.is_empty());
        Err(hints.fold(CliError::failed(error), |error, mend| error.hint(mend.clone())))
    }

    /// Installs the agent's service, or takes it away.
    ///
    /// # Errors
    ///
    /// It says why it could not.
    pub fn install(&self, more: &[&str]) -> Result<(), CliError> {
        run(Command::new(&self.agent).args(["install", "--user"]).args(more))
    }
}

/// Tells whether podman has an image.
///
/// # Errors
///
/// It cannot be asked.
pub fn has_image(image: &ImageRef) -> Result<bool, CliError> {
    let asked = output(Command::new("podman").args(["image", "exists", image.as_str()]))?;
    Ok(asked.status.success())
}

/// Removes an image that nothing uses.
///
/// # Errors
///
/// Something does, or podman cannot be asked.
pub fn remove_image(image: &ImageRef) -> Result<(), CliError> {
    run(Command::new("podman").args(["image", "rm", "--", image.as_str()]))
}

/// Returns a port that nobody listens on, or the one that was asked for.
///
/// # Errors
///
/// It is taken, or all are.
pub fn free_port(asked: Option<u16>) -> Result<u16, CliError> {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    match asked {
        Some(port) if is_free(&port) => Ok(port),
        Some(port) => {
            Err(CliError::failed(HostError::Port(port)).hint(format!("ss -ltnp 'sport = {port}'")))
        }
        None => PORTS.into_iter().find(is_free).ok_or_else(|| CliError::failed(HostError::NoPort)),
    }
}

fn output(command: &mut Command) -> Result<std::process::Output, CliError> {
    let program = name(command.get_program());
    command.stdin(std::process::Stdio::null()).output().map_err(|source| {
        let hint = (program == "podman").then_some("sudo apt install podman");
        let error = CliError::new(ErrorKind::Failed, HostError::Run { program, source });
        hint.into_iter().fold(error, CliError::hint)
    })
}

fn run(command: &mut Command) -> Result<(), CliError> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(());
    }
    let words = command.get_args().map(OsStr::to_string_lossy);
    let shown: Vec<_> = std::iter::once(name(command.get_program()).into()).chain(words).collect();
    let said = String::from_utf8_lossy(&output.stderr).lines().collect::<Vec<_>>().join(" ");
    let said = said.trim_start_matches("error: ").to_owned();
    Err(CliError::failed(HostError::Failed { command: shown.join(" "), said }))
}

fn name(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_session_or_an_agent_it_is_said_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let bare = Environment { uid: 1000, ..Environment::default() };
        let told = |environment: &Environment| {
            let error = Host::find(environment).unwrap_err();
            format!("{} {}", error.message(), error.hints.join(" "))
        };
        assert!(told(&Environment::default()).contains("you are root"));
        assert!(told(&bare).contains("XDG_RUNTIME_DIR is not set"));
        let empty = Environment { runtime_dir: Some(dir.path().into()), ..bare.clone() };
        assert!(told(&empty).contains("machinectl shell"));
        std::fs::create_dir(dir.path().join("systemd")).unwrap();
        for made in ["systemd/private", "bus"] {
            crate::atomic_file::write(&dir.path().join(made), b"", 0o600).unwrap();
        }
        let without = Environment { program: Some(dir.path().join("mcp")), ..empty.clone() };
        assert!(told(&without).contains("no mcp-agent beside"));
        let system = Environment { home: Some("/srv/mcp".into()), ..empty };
        assert!(told(&system).contains("system's agent"));
    }

    #[test]
    fn a_port_that_is_taken_is_not_used() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(free_port(Some(port)).unwrap_err().message().contains("is taken"));
        drop(taken);
        assert_eq!(free_port(Some(port)).unwrap(), port);
    }
}
