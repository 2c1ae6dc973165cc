//! Calls of the program `podman`: an argument vector, a deadline, and its
//! own words in the error.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::images::{self, StoredImage};
use crate::deployment::ImageId;
use crate::import::containers::MadeNetwork;
use crate::names::{ImageRef, NetworkName, ServiceName};

/// Longest wait for an answer; podman waits for locks of its own.
const DEADLINE: Duration = Duration::from_secs(60);

/// Says why podman did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PodmanError {
    /// It could not be run.
    #[error("cannot run podman")]
    Run(#[source] io::Error),
    /// It took too long.
    #[error("podman {verb} did not end within {seconds} s")]
    Deadline {
        /// What was asked.
        verb: &'static str,
        /// How long we waited.
        seconds: u64,
    },
    /// It printed something else than is known of it.
    #[error("what podman {verb} printed cannot be read")]
    Unread {
        /// What was asked.
        verb: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It refused.
    #[error("podman {verb} failed: {said}")]
    Failed {
        /// What was asked.
        verb: &'static str,
        /// The end of what it wrote.
        said: String,
    },
}

/// Tells whether an image is in the user's own store (`podman-image-exists(1)`).
///
/// # Errors
///
/// [`PodmanError`]; an image that is not there is no error.
pub async fn image_exists(image: &ImageRef) -> Result<bool, PodmanError> {
    if let Some(store) = images::own_store(|name| std::env::var_os(name))
        && images::is_listed(&store, image).await
    {
        return Ok(true);
    }
    let output = run("image exists", &["image", "exists", image.as_str()]).await?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        Some(_) | None => Err(failed("image exists", &output)),
    }
}

/// Asks podman something that needs its database and the user's namespaces.
///
/// # Errors
///
/// [`PodmanError`], with podman's words.
pub async fn answers() -> Result<(), PodmanError> {
    let output = run("ps", &["ps", "--quiet", "--last", "1"]).await?;
    if output.status.success() { Ok(()) } else { Err(failed("ps", &output)) }
}

/// Returns the image that a name or number means, as podman says
/// (`podman-image-inspect(1)`); none if it is not there.
pub(super) async fn image_inspect(image: &str) -> Result<Option<StoredImage>, PodmanError> {
    const FORMAT: &str = "{{.Id}} {{.Digest}}";
    let arguments = ["image", "inspect", "--format", FORMAT, "--", image];
    let output = run("image inspect", &arguments).await?;
    match output.status.code() {
        Some(0) => Ok(parse_image(&String::from_utf8_lossy(&output.stdout))),
        Some(_) if String::from_utf8_lossy(&output.stderr).contains("image not known") => Ok(None),
        Some(_) | None => Err(failed("image inspect", &output)),
    }
}

fn parse_image(text: &str) -> Option<StoredImage> {
    let mut words = text.split_whitespace();
    let id = words.next()?.parse().ok()?;
    Some(StoredImage { id, digest: words.next().map(str::to_owned) })
}

/// Has a name mean an image that is in the store (`podman-tag(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn tag_image(id: &ImageId, name: &ImageRef) -> Result<(), PodmanError> {
    let output = run("tag", &["tag", "--", id.as_str(), name.as_str()]).await?;
    if output.status.success() { Ok(()) } else { Err(failed("tag", &output)) }
}

/// Lists the volumes that were made for a service (`podman-volume-ls(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn volumes_of(service: &ServiceName) -> Result<Vec<String>, PodmanError> {
    let filter = format!("label=mcp.service={service}");
    let output = run("volume ls", &["volume", "ls", "--quiet", "--filter", &filter]).await?;
    if !output.status.success() {
        return Err(failed("volume ls", &output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Tells whether podman has a volume of a name (`podman-volume-exists(1)`).
///
/// # Errors
///
/// [`PodmanError`]
pub async fn volume_exists(name: &str) -> Result<bool, PodmanError> {
    let output = run("volume exists", &["volume", "exists", name]).await?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(failed("volume exists", &output)),
    }
}

/// Returns what a network is; none if there is no such network.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn network(name: &NetworkName) -> Result<Option<MadeNetwork>, PodmanError> {
    let verb = "network inspect";
    let output = run(verb, &["network", "inspect", name.as_str()]).await?;
    if !output.status.success() {
        let absent = String::from_utf8_lossy(&output.stderr).contains("network not found");
        return if absent { Ok(None) } else { Err(failed(verb, &output)) };
    }
    let found: Vec<MadeNetwork> = serde_json::from_slice(&output.stdout)
        .map_err(|source| PodmanError::Unread { verb, source })?;
    Ok(found.into_iter().next())
}

/// Removes a volume and what is in it; one that is not there is fine.
///
/// # Errors
///
/// [`PodmanError`], for instance while a container uses it.
pub async fn remove_volume(name: &str) -> Result<(), PodmanError> {
    remove("volume rm", &["volume", "rm", name], "no such volume").await
}

/// Removes a network; one that is not there, or is still in use, is fine.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn remove_network(name: &NetworkName) -> Result<(), PodmanError> {
    match remove("network rm", &["network", "rm", name.as_str()], "network not found").await {
        Err(PodmanError::Failed { said, .. }) if said.contains("being used") => Ok(()),
        other => other,
    }
}

pub(super) async fn remove(
    verb: &'static str,
    arguments: &[&str],
    absent: &str,
) -> Result<(), PodmanError> {
    let output = run(verb, arguments).await?;
    if output.status.success() || String::from_utf8_lossy(&output.stderr).contains(absent) {
        return Ok(());
    }
    Err(failed(verb, &output))
}

pub(super) async fn run(verb: &'static str, arguments: &[&str]) -> Result<Output, PodmanError> {
    run_with(verb, arguments, b"").await
}

/// Runs podman with something to read.
pub(super) async fn run_with(
    verb: &'static str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Output, PodmanError> {
    run_within(verb, arguments, input, DEADLINE).await
}

/// Runs podman with something to read, for no longer than this.
pub(super) async fn run_within(
    verb: &'static str,
    arguments: &[&str],
    input: &[u8],
    deadline: Duration,
) -> Result<Output, PodmanError> {
    let mut command = Command::new("podman");
    // podman refuses to run where its user may not be, as under `sudo -u mcp`.
    command.args(arguments).current_dir("/").kill_on_drop(true);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input).await {
                // It did not want to read; its status says why.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                other => other?,
            }
        }
        child.wait_with_output().await
    };
    tokio::time::timeout(deadline, ended)
        .await
        .map_err(|_| PodmanError::Deadline { verb, seconds: deadline.as_secs() })?
        .map_err(PodmanError::Run)
}

pub(super) fn failed(verb: &'static str, output: &Output) -> PodmanError {
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().filter(|c| !c.is_control()).collect();
    let start = said.char_indices().rev().nth(399).map_or(0, |(at, _)| at);
    PodmanError::Failed { verb, said: said.get(start..).unwrap_or_default().to_owned() }
}
