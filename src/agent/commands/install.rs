//! `mcp-agent install --user`: the agent as a service of the user who runs
//! this, through the user's own systemd.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::StreamExt as _;
use zbus::OwnedObjectPath;

use super::args::{CommandError, Output};
use crate::agent::environment::Environment;
use crate::agent::identity::Users;
use crate::atomic_file;

/// The unit's name.
const UNIT: &str = "mcp-agent.service";

/// The arguments of `mcp-agent install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Install for this user; the system's service comes with the package
    #[arg(long, required = true)]
    pub user: bool,
    /// Stop and remove the service; containers keep running
    #[arg(long)]
    pub uninstall: bool,
}

/// Says why the service could not be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Where the user's units are is not known.
    #[error("neither XDG_CONFIG_HOME nor HOME is set")]
    NoHome,
    /// Where this program is, is not known.
    #[error("cannot tell where this program is")]
    NoProgram(#[source] io::Error),
    /// The path of this program cannot stand in a unit.
    #[error("the path {} has characters that a unit cannot hold plainly; move the program", path.display())]
    OddProgram {
        /// The path.
        path: PathBuf,
    },
    /// The unit could not be written or removed.
    #[error("cannot change {}", path.display())]
    Unit {
        /// The unit.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The user's systemd did not do as asked.
    #[error("the user's systemd could not {action}")]
    Systemd {
        /// What it was asked for.
        action: &'static str,
        /// Why.
        #[source]
        source: zbus::Error,
    },
    /// The agent did not start.
    #[error("the agent did not start ({result}); see `journalctl --user -u mcp-agent`")]
    NotStarted {
        /// What systemd says of the job.
        result: String,
    },
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Vec<(String, String, String)>)>;
    fn disable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
    ) -> zbus::Result<Vec<(String, String, String)>>;
    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

/// Installs or removes the service of this user.
///
/// # Errors
///
/// The unit cannot be written, or the user's systemd refuses.
pub async fn run(
    args: &InstallArgs,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let path = unit_path(environment)?;
    if args.uninstall {
        uninstall(&path).await?;
        writeln!(output.words, "removed {}; containers keep running", path.display())?;
        return Ok(());
    }
    let program = std::env::current_exe().map_err(InstallError::NoProgram)?;
    install(&path, &unit_text(&program)?).await?;
    writeln!(output.words, "installed and started {}", path.display())?;
    let name = Users::load_or_empty().name(environment.uid).unwrap_or_default().to_owned();
    if !Path::new("/var/lib/systemd/linger").join(&name).exists() {
        writeln!(
            output.words,
            "hint: it ends with your last session; `sudo loginctl enable-linger {name}` keeps it, and starts it at boot"
        )?;
    }
    Ok(())
}

fn unit_path(environment: &Environment) -> Result<PathBuf, InstallError> {
    let config = match (&environment.xdg_config_home, &environment.home) {
        (Some(config), _) => config.clone(),
        (None, Some(home)) => home.join(".config"),
        (None, None) => return Err(InstallError::NoHome),
    };
    Ok(config.join("systemd/user").join(UNIT))
}

/// Writes the unit. A path with characters that mean something to systemd is
/// refused instead of escaped (`systemd.service(5)`, "Command lines").
fn unit_text(program: &Path) -> Result<String, InstallError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'+');
    let program = program
        .to_str()
        .filter(|text| text.bytes().all(plain))
        .ok_or_else(|| InstallError::OddProgram { path: program.to_owned() })?;
    Ok(format!(
        "# Made by `mcp-agent install --user`; a drop-in (`systemctl --user edit mcp-agent`)
# is the place for changes.
[Unit]
Description=MCP agent, deploys and looks after containers
StartLimitIntervalSec=0

[Service]
Type=notify
# One heap for its few threads: a megabyte less, and nothing slower.
Environment=MALLOC_ARENA_MAX=1
ExecStart={program} server
ExecReload=/bin/kill -HUP $MAINPID
# A mistake in the configuration is not cured by another start.
RestartPreventExitStatus=2
Restart=always
RestartSec=2
WatchdogSec=60
TimeoutStopSec=20
RuntimeDirectory=mcp
RuntimeDirectoryMode=0755
# podman's pause process may be among our children; containers need it.
KillMode=process

[Install]
WantedBy=default.target
"
    ))
}

async fn manager() -> Result<ManagerProxy<'static>, InstallError> {
    let failed = |source| InstallError::Systemd { action: "be reached", source };
    let connection = zbus::Connection::session().await.map_err(failed)?;
    ManagerProxy::new(&connection).await.map_err(failed)
}

async fn install(path: &Path, text: &str) -> Result<(), InstallError> {
    let manager = manager().await?;
    let unwritten = |source| InstallError::Unit { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(unwritten)?;
    }
    atomic_file::write(path, text.as_bytes(), 0o644).map_err(unwritten)?;
    let failed = |action| move |source| InstallError::Systemd { action, source };
    manager.reload().await.map_err(failed("read its units again"))?;
    let enabled = manager.enable_unit_files(&[UNIT], false, true).await;
    enabled.map_err(failed("enable the agent"))?;
    // Listen before asking: the job can end before the reply.
    manager.subscribe().await.map_err(failed("tell about jobs"))?;
    let mut removed = manager.receive_job_removed().await.map_err(failed("tell about jobs"))?;
    let job = manager.restart_unit(UNIT, "replace").await.map_err(failed("start the agent"))?;
    while let Some(signal) = removed.next().await {
        let signal = signal.args().map_err(failed("tell about jobs"))?;
        if *signal.job() == job {
            return match signal.result().as_str() {
                "done" => Ok(()),
                result => Err(InstallError::NotStarted { result: result.to_owned() }),
            };
        }
    }
    Err(InstallError::NotStarted { result: "systemd has gone".to_owned() })
}

async fn uninstall(path: &Path) -> Result<(), InstallError> {
    let manager = manager().await?;
    let failed = |action| move |source| InstallError::Systemd { action, source };
    if path.exists() {
        manager.stop_unit(UNIT, "replace").await.map_err(failed("stop the agent"))?;
        let disabled = manager.disable_unit_files(&[UNIT], false).await;
        disabled.map_err(failed("disable the agent"))?;
        fs::remove_file(path)
            .map_err(|source| InstallError::Unit { path: path.to_owned(), source })?;
    }
    manager.reload().await.map_err(failed("read its units again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_odd_path_is_refused() {
        let text = unit_text(Path::new("/home/k/.cargo/bin/mcp-agent")).unwrap();
        assert!(text.contains("\nExecStart=/home/k/.cargo/bin/mcp-agent server\n"), "{text}");
        for odd in ["/a b/x", "/a%n/x", "/a\nb", "/$HOME/x", "/a\"b"] {
            assert!(unit_text(Path::new(odd)).is_err(), "{odd}");
        }
    }
}
