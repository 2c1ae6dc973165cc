//! What somebody gave a container when it was made, and what podman chose or
//! added: podman tells both alike, and only its database knows them apart. It
//! is read and never written.
//!
//! Measured with podman 5.4: `db.sql` in the store is of `SQLite`, and the column
//! `JSON` of `ContainerConfig` has `newNetworks` and `spec`. Another podman may
//! keep them elsewhere; then nobody knows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

use super::images;
use crate::import::containers::{Fixed, Given};

/// Longest wait for podman, which keeps others out while it writes.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Config {
    #[serde(default, rename = "newNetworks")]
    networks: Option<BTreeMap<String, Network>>,
    spec: Spec,
}

#[derive(Deserialize)]
struct Network {
    #[serde(default, rename = "static_ips")]
    addresses: Option<Vec<String>>,
    #[serde(default, rename = "static_mac")]
    mac: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    process: Process,
}

#[derive(Deserialize)]
struct Process {
    #[serde(default)]
    env: Option<Vec<String>>,
}

/// Returns what a container, by its number, was given; none: nobody knows.
pub async fn given(id: &str) -> Option<Given> {
    let path = images::own_store(|name| std::env::var_os(name))?.join("db.sql");
    let id = id.to_owned();
    let read = tokio::task::spawn_blocking(move || read(&path, &id)).await;
    let debug = |error: &dyn std::fmt::Display| {
        tracing::debug!(%error, "podman's database does not tell what a container was given");
    };
    match read {
        Ok(Ok(given)) => Some(given),
        Ok(Err(error)) => {
            debug(&error);
            None
        }
        Err(lost) => {
            debug(&lost);
            None
        }
    }
}

fn read(path: &Path, id: &str) -> Result<Given, Box<dyn std::error::Error + Send + Sync>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // Podman writes it as bytes, whatever the column is called.
    let query = "SELECT CAST(JSON AS TEXT) FROM ContainerConfig WHERE ID = ?1";
    let text: String = connection.query_row(query, [id], |row| row.get(0))?;
    Ok(parse(&text)?)
}

fn parse(text: &str) -> serde_json::Result<Given> {
    let config: Config = serde_json::from_str(text)?;
    let of_each = |(name, network): (String, Network)| {
        let (addresses, mac) = (network.addresses.unwrap_or_default(), network.mac);
        (name, Fixed { addresses, mac: mac.filter(|mac| !mac.is_empty()) })
    };
    let networks = config.networks.unwrap_or_default().into_iter().map(of_each).collect();
    Ok(Given { networks, env: config.spec.process.env.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_told_from_what_podman_chose() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.sql");
        assert!(read(&path, "1").is_err());
        let podmans = Connection::open(&path).unwrap();
        podmans.execute("CREATE TABLE ContainerConfig (ID TEXT, JSON TEXT)", []).unwrap();
        let config = r#"{"id": "1", "spec": {"process": {"env": ["A=1"]}},
            "newNetworks": {"plain": {"aliases": ["x"], "interface_name": "eth0"},
            "two": {"static_ips": ["10.45.1.77"], "static_mac": "92:d0:c6:0a:29:33"}}}"#;
        podmans
            .execute("INSERT INTO ContainerConfig VALUES ('1', ?1)", [config.as_bytes()])
            .unwrap();
        let found = read(&path, "1").unwrap();
        assert_eq!(found.networks["plain"], Fixed::default());
        assert_eq!(found.networks["two"].addresses, ["10.45.1.77"]);
        assert_eq!(found.networks["two"].mac.as_deref(), Some("92:d0:c6:0a:29:33"));
        assert_eq!(found.env, ["A=1"]);
        assert!(read(&path, "2").is_err());
        let bare = parse(r#"{"newNetworks": null, "spec": {"process": {}}}"#);
        assert_eq!(bare.unwrap(), Given::default());
    }
}
