//! `mcp-agent install --user`: the agent as a service of the user who runs
//! this, through the user's own systemd.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::StreamExt as _;
use zbus::OwnedObjectPath;

use super::args::{CommandError, Output};
use super::purge::{Purge, PurgeError};
use crate::agent::environment::Environment;
use crate::agent::identity::Users;
use crate::atomic_file;

/// The unit's name.
const UNIT: &str = "mcp-agent.service";
/// What makes copies of the registry.
const COPY: &str = "mcp-agent-snapshot.service";
/// What starts that, once a day.
const TIMER: &str = "mcp-agent-snapshot.timer";
const TIMER_TEXT: &str = include_str!("../../../deploy/debian/mcp-agent-snapshot.timer");

/// The arguments of `mcp-agent install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Install for this user; the system's service comes with the package
    #[arg(long, required = true)]
    pub user: bool,
    /// Stop and remove the service; containers keep running
    #[arg(long)]
    pub uninstall: bool,
    /// Remove the agent's state and the units of the node as well; refused
    /// while a service is deployed
    #[arg(long, requires = "uninstall")]
    pub purge: bool,
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
    /// Nothing may be purged, or it could not be.
    #[error(transparent)]
    Purge(#[from] PurgeError),
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
        let purge = args.purge.then(|| Purge::prepare(environment)).transpose();
        let purge = purge.map_err(InstallError::from)?;
        uninstall(&path, purge.as_ref()).await?;
        writeln!(output.words, "removed {}; containers keep running", path.display())?;
        if let Some(purge) = purge {
            let state = purge.state_dir().display();
            writeln!(output.words, "removed {state} and the units of the node")?;
        }
        return Ok(());
    }
    let program = std::env::current_exe().map_err(InstallError::NoProgram)?;
    let program = plain(&program)?;
    let files =
        [(UNIT, unit_text(program)), (COPY, copy_text(program)), (TIMER, TIMER_TEXT.to_owned())];
    install(&path, &files).await?;
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

/// Returns the program's path as a unit can hold it. One with characters that
/// mean something to systemd is refused instead of escaped
/// (`systemd.service(5)`, "Command lines").
fn plain(program: &Path) -> Result<&str, InstallError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'+');
    program
        .to_str()
        .filter(|text| text.bytes().all(plain))
        .ok_or_else(|| InstallError::OddProgram { path: program.to_owned() })
}

fn copy_text(program: &str) -> String {
    format!(
        "# Made by `mcp-agent install --user`.
[Unit]
Description=Copy of the MCP agent's registry

[Service]
Type=oneshot
ExecStart={program} snapshot
Nice=10
"
    )
}

fn unit_text(program: &str) -> String {
    format!(
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
RestartPreventExitStatus=78
Restart=always
RestartSec=2
WatchdogSec=120
TimeoutStopSec=20
RuntimeDirectory=mcp
RuntimeDirectoryMode=0755
# podman's pause process may be among our children; containers need it.
KillMode=process

[Install]
WantedBy=default.target
"
    )
}

async fn manager() -> Result<ManagerProxy<'static>, InstallError> {
    let failed = |source| InstallError::Systemd { action: "be reached", source };
    let connection = zbus::Connection::session().await.map_err(failed)?;
    ManagerProxy::new(&connection).await.map_err(failed)
}

/// Writes the units beside `path`, and has systemd start what they are for.
async fn install(path: &Path, files: &[(&str, String)]) -> Result<(), InstallError> {
    let manager = manager().await?;
    for (name, text) in files {
        let path = path.with_file_name(name);
        let write = |path: &Path| {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            atomic_file::write(path, text.as_bytes(), 0o644)
        };
        write(&path).map_err(|source| InstallError::Unit { path: path.clone(), source })?;
    }
    let failed = |action| move |source| InstallError::Systemd { action, source };
    manager.reload().await.map_err(failed("read its units again"))?;
    let enabled = manager.enable_unit_files(&[UNIT, TIMER], false, true).await;
    enabled.map_err(failed("enable the agent"))?;
    manager
        .restart_unit(TIMER, "replace")
        .await
        .map_err(failed("start the timer of the registry's copies"))?;
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

async fn uninstall(path: &Path, purge: Option<&Purge>) -> Result<(), InstallError> {
    let manager = manager().await?;
    let failed = |action| move |source| InstallError::Systemd { action, source };
    if path.exists() {
        manager.stop_unit(UNIT, "replace").await.map_err(failed("stop the agent"))?;
        let timer = path.with_file_name(TIMER);
        // An agent that was installed by an earlier version has none.
        if timer.exists() {
            let stopped = manager.stop_unit(TIMER, "replace").await;
            stopped.map_err(failed("stop the timer of the registry's copies"))?;
        }
        let disabled = manager.disable_unit_files(&[UNIT, TIMER], false).await;
        disabled.map_err(failed("disable the agent"))?;
        for path in [path.to_owned(), path.with_file_name(COPY), timer] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(InstallError::Unit { path, source });
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    if let Some(purge) = purge {
        for unit in purge.units() {
            match manager.stop_unit(unit.as_str(), "replace").await {
                Err(error) if !is_not_loaded(&error) => {
                    return Err(failed("stop the units of the node")(error));
                }
                Ok(_) | Err(_) => {}
            }
        }
        purge.run()?;
    }
    manager.reload().await.map_err(failed("read its units again"))
}

fn is_not_loaded(error: &zbus::Error) -> bool {
    const NOT_LOADED: &str = "org.freedesktop.systemd1.NoSuchUnit";
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == NOT_LOADED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_odd_path_is_refused() {
        let text = unit_text(plain(Path::new("/home/k/.cargo/bin/mcp-agent")).unwrap());
        assert!(text.contains("\nExecStart=/home/k/.cargo/bin/mcp-agent server\n"), "{text}");
        for odd in ["/a b/x", "/a%n/x", "/a\nb", "/$HOME/x", "/a\"b"] {
            assert!(plain(Path::new(odd)).is_err(), "{odd}");
        }
    }
}
