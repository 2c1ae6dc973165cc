//! Containers that others have made with podman, while they are taken over:
//! they are stopped and renamed, and come back if that goes wrong.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::command::{PodmanError, failed, run, run_within};
use crate::names::ServiceName;

/// Longest time for the data of a volume to be copied.
const COPY: Duration = Duration::from_secs(3600);
/// What a container gets for its end and for podman's own work beyond its
/// stop timeout.
const MARGIN: Duration = Duration::from_secs(60);

/// Lists the names of all containers of the user, running or not
/// (`podman-ps(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn names() -> Result<Vec<String>, PodmanError> {
    let output = run("ps", &["ps", "--all", "--format", "{{.Names}}"]).await?;
    if !output.status.success() {
        return Err(failed("ps", &output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Tells whether a container is there, running or not
/// (`podman-container-exists(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn exists(name: &str) -> Result<bool, PodmanError> {
    there("container exists", &["container", "exists", "--", name]).await
}

async fn there(verb: &'static str, arguments: &[&str]) -> Result<bool, PodmanError> {
    let output = run(verb, arguments).await?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        Some(_) | None => Err(failed(verb, &output)),
    }
}

/// Stops a container (`podman-stop(1)`); one that is down, or not there, is
/// fine.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn stop(name: &str, timeout: Duration) -> Result<(), PodmanError> {
    let arguments = ["stop", "--ignore", "--", name];
    let output = run_within("stop", &arguments, b"", timeout + MARGIN).await?;
    if output.status.success() { Ok(()) } else { Err(failed("stop", &output)) }
}

/// Starts a container that is there (`podman-start(1)`); one that runs is
/// fine.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn start(name: &str) -> Result<(), PodmanError> {
    done("start", &["start", "--", name]).await
}

/// Gives a container another name (`podman-rename(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn rename(from: &str, to: &str) -> Result<(), PodmanError> {
    done("rename", &["rename", "--", from, to]).await
}

/// Has podman start a container at a boot, or not (`podman-update(1)`, 5.1
/// and newer).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn restart_policy(name: &str, policy: &str) -> Result<(), PodmanError> {
    done("update", &["update", "--restart", policy, "--", name]).await
}

/// Tells whether a volume is there (`podman-volume-exists(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn volume_exists(name: &str) -> Result<bool, PodmanError> {
    there("volume exists", &["volume", "exists", "--", name]).await
}

/// Removes a container, its volumes not; one that is not there is fine.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn remove(name: &str) -> Result<(), PodmanError> {
    let arguments = ["rm", "--force", "--ignore", "--", name];
    // podman 5.4 fails once where conmon was killed, and only takes that down.
    if done("rm", &arguments).await.is_ok() {
        return Ok(());
    }
    done("rm", &arguments).await
}

/// Copies what is in a volume into a new one of a service (`podman-volume-export(1)`,
/// `podman-volume-import(1)`): podman cannot rename volumes, and those without
/// a name go with the containers that use them.
///
/// # Errors
///
/// [`PodmanError`]: the new volume is there already; or it is there then, with
/// a part of the data.
pub async fn copy_volume(service: &ServiceName, from: &str, to: &str) -> Result<(), PodmanError> {
    let label = format!("mcp.service={service}");
    done("volume create", &["volume", "create", "--label", &label, "--", to]).await?;
    let piped = async {
        let mut export =
            podman(&["volume", "export", "--", from]).stdout(Stdio::piped()).spawn()?;
        let data: Stdio = match export.stdout.take() {
            Some(data) => data.try_into()?,
            None => Stdio::null(),
        };
        let import = podman(&["volume", "import", "--", to, "-"]).stdin(data).spawn()?;
        tokio::try_join!(export.wait_with_output(), import.wait_with_output())
    };
    let (export, import) = tokio::time::timeout(COPY, piped)
        .await
        .map_err(|_| PodmanError::Deadline { verb: "volume import", seconds: COPY.as_secs() })?
        .map_err(PodmanError::Run)?;
    if !import.status.success() {
        return Err(failed("volume import", &import));
    }
    if export.status.success() { Ok(()) } else { Err(failed("volume export", &export)) }
}

/// Returns a call of podman that ends with the one who asks.
fn podman(arguments: &[&str]) -> Command {
    let mut command = Command::new("podman");
    command.args(arguments).current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[derive(Deserialize)]
struct Changes {
    #[serde(default)]
    added: Option<Vec<String>>,
    #[serde(default)]
    changed: Option<Vec<String>>,
    #[serde(default)]
    deleted: Option<Vec<String>>,
}

/// Returns the paths that a container has changed in itself, outside of what
/// is mounted into it at `mounts` (`podman-diff(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn changes(name: &str, mounts: &[&str]) -> Result<Vec<String>, PodmanError> {
    let output = run("diff", &["diff", "--format", "json", "--", name]).await?;
    if !output.status.success() {
        return Err(failed("diff", &output));
    }
    let read: Changes = serde_json::from_slice(&output.stdout)
        .map_err(|source| PodmanError::Unread { verb: "diff", source })?;
    let all: Vec<String> =
        [read.added, read.changed, read.deleted].into_iter().flatten().flatten().collect();
    Ok(worth_telling(&all, mounts))
}

/// Leaves out the directories above what has changed, and what podman and
/// programs make anew at each start.
fn worth_telling(all: &[String], mounts: &[&str]) -> Vec<String> {
    const ANEW: &[&str] = &["/run", "/tmp", "/var/run", "/var/tmp", "/dev", "/proc", "/sys"];
    const PODMANS: &[&str] = &[
        "/etc",
        "/etc/group",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/mtab",
        "/etc/passwd",
        "/etc/resolv.conf",
    ];
    let below = |path: &str, above: &str| {
        path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    all.iter()
        .filter(|path| !ANEW.iter().any(|own| below(path, own)))
        .filter(|path| !PODMANS.contains(&path.as_str()))
        // podman makes the directories that it mounts on.
        .filter(|path| !mounts.iter().any(|mount| below(mount, path)))
        .filter(|path| !all.iter().any(|other| other != *path && below(other, path)))
        .cloned()
        .collect()
}

async fn done(verb: &'static str, arguments: &[&str]) -> Result<(), PodmanError> {
    let output = run(verb, arguments).await?;
    if output.status.success() { Ok(()) } else { Err(failed(verb, &output)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_start_makes_anew_is_not_told() {
        let all = [
            "/etc",
            "/etc/hosts",
            "/run",
            "/run/.containerenv",
            "/tmp/x",
            "/app",
            "/app/cache",
            "/app/cache/a",
            "/runner",
            "/srv",
            "/srv/data",
        ];
        let all: Vec<String> = all.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(worth_telling(&all, &["/srv/data"]), ["/app/cache/a", "/runner"]);
    }
}
