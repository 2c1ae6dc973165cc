//! Records of services in podman's own storage, as secrets: they outlive
//! containers and prunes, and are there when the registry and the unit files
//! are not. Measured with podman 5.4: 40 to 90 ms for each call.

use serde::Deserialize;

use super::command::{PodmanError, failed, run, run_with};

/// What the names of records begin with.
const PREFIX: &str = "mcp-record-";
/// Podman takes less than this (`podman-secret-create(1)`).
const LIMIT: usize = 512_000;

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "Spec")]
    spec: Spec,
    #[serde(rename = "SecretData", default)]
    data: String,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "Name")]
    name: String,
}

/// A record as podman has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The service's name, unchecked.
    pub service: String,
    /// The text.
    pub text: String,
}

/// Returns every record.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn all() -> Result<Vec<StoredRecord>, PodmanError> {
    let listed = run("secret ls", &["secret", "ls", "--format", "{{.Name}}"]).await?;
    if !listed.status.success() {
        return Err(failed("secret ls", &listed));
    }
    let listed = String::from_utf8_lossy(&listed.stdout);
    let names: Vec<&str> =
        listed.lines().map(str::trim).filter(|name| name.starts_with(PREFIX)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let arguments = [&["secret", "inspect", "--showsecret"][..], names.as_slice()].concat();
    let output = run("secret inspect", &arguments).await?;
    if !output.status.success() {
        return Err(failed("secret inspect", &output));
    }
    parse(&output.stdout)
}

fn parse(json: &[u8]) -> Result<Vec<StoredRecord>, PodmanError> {
    let unread = |said: String| PodmanError::Failed { verb: "secret inspect", said };
    let found: Vec<Inspected> =
        serde_json::from_slice(json).map_err(|error| unread(error.to_string()))?;
    let record = |secret: Inspected| {
        let service = secret.spec.name.strip_prefix(PREFIX)?.to_owned();
        Some(StoredRecord { service, text: secret.data })
    };
    Ok(found.into_iter().filter_map(record).collect())
}

/// Writes the record of a service, over the one that is there.
///
/// # Errors
///
/// [`PodmanError`]; podman takes no record of 512000 octets or more.
pub async fn write(service: &str, text: &str) -> Result<(), PodmanError> {
    if text.len() >= LIMIT {
        return Err(PodmanError::Failed {
            verb: "secret create",
            said: format!("the record has {} octets, podman takes less than {LIMIT}", text.len()),
        });
    }
    let name = format!("{PREFIX}{service}");
    let create = ["secret", "create", "--replace", &name, "-"];
    let output = run_with("secret create", &create, text.as_bytes()).await?;
    if output.status.success() {
        return Ok(());
    }
    // Some versions replace only what is there.
    let create = ["secret", "create", &name, "-"];
    let again = run_with("secret create", &create, text.as_bytes()).await?;
    if again.status.success() { Ok(()) } else { Err(failed("secret create", &output)) }
}

/// Removes the record of a service; one that is not there is fine.
///
/// # Errors
///
/// [`PodmanError`]
pub async fn remove(service: &str) -> Result<(), PodmanError> {
    let name = format!("{PREFIX}{service}");
    super::command::remove("secret rm", &["secret", "rm", &name], "no such secret").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_secrets_are_records() {
        let json = br#"[
            {"ID": "e", "Spec": {"Name": "mcp-record-shop", "Driver": {"Name": "file"}}, "SecretData": "{\"a\": 1}"},
            {"ID": "f", "Spec": {"Name": "password"}, "SecretData": "x"}
        ]"#;
        let shop = StoredRecord { service: "shop".to_owned(), text: "{\"a\": 1}".to_owned() };
        assert_eq!(parse(json).unwrap(), [shop]);
        assert!(parse(b"[{}]").is_err());
    }
}
