//! Asking podman what it knows of containers and images that others have made
//! (`podman-inspect(1)`).

use super::command::{PodmanError, failed, run};
use crate::import::containers::{Inspected, InspectedImage, MadeNetwork, MadeVolume};

/// Inspects containers, by name; one that is gone by then is left out.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn containers(names: &[String]) -> Result<Vec<Inspected>, PodmanError> {
    inspect("container inspect", &["container", "inspect"], names).await
}

/// Inspects images, by name or number; one that is not there is left out.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn images(names: &[String]) -> Result<Vec<InspectedImage>, PodmanError> {
    inspect("image inspect", &["image", "inspect"], names).await
}

/// Inspects networks, by name; one that is not there is left out.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn networks(names: &[String]) -> Result<Vec<MadeNetwork>, PodmanError> {
    inspect("network inspect", &["network", "inspect"], names).await
}

/// Inspects volumes, by name; one that is not there is left out.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn volumes(names: &[String]) -> Result<Vec<MadeVolume>, PodmanError> {
    inspect("volume inspect", &["volume", "inspect"], names).await
}

async fn inspect<T: serde::de::DeserializeOwned>(
    verb: &'static str,
    call: &[&str],
    names: &[String],
) -> Result<Vec<T>, PodmanError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = call.to_vec();
    arguments.push("--");
    arguments.extend(names.iter().map(String::as_str));
    let output = run(verb, &arguments).await?;
    // With one that is gone it fails, and prints the others all the same.
    match serde_json::from_slice(&output.stdout) {
        Ok(found) => Ok(found),
        Err(_) if !output.status.success() => Err(failed(verb, &output)),
        Err(source) => Err(PodmanError::Unread { verb, source }),
    }
}
