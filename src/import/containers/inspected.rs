//! What podman knows of a container that somebody has made: the words of its
//! `podman run`, and what it is really like (`podman-inspect(1)`).
//!
//! All of it was written by others: names, values and paths are texts to be
//! checked, never to be trusted.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::names::Sha256Text;

/// A container, as `podman container inspect` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    /// Its number.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The number of its image.
    #[serde(default)]
    pub image: String,
    /// The name that its image had when it was made.
    #[serde(default)]
    pub image_name: String,
    /// The digest of its image's manifest; may be empty.
    #[serde(default)]
    pub image_digest: String,
    /// The pod that it is in; empty: none.
    #[serde(default)]
    pub pod: String,
    /// What it was made with.
    pub config: Config,
    /// What it has of the node.
    #[serde(default)]
    pub host_config: HostConfig,
    /// What it is connected to.
    #[serde(default)]
    pub network_settings: NetworkSettings,
    /// Whether it runs.
    #[serde(default)]
    pub state: State,
    /// What is mounted into it.
    #[serde(default, deserialize_with = "nullable")]
    pub mounts: Vec<Mounted>,
}

/// What a container was made with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// The words of the command that made it; empty where it was made through
    /// podman's interface for programs.
    #[serde(default, deserialize_with = "nullable")]
    pub create_command: Vec<String>,
    /// Its variables, those of the image and podman's own among them.
    #[serde(default, deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Its labels, those of the image among them.
    #[serde(default, deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// Its host name.
    #[serde(default)]
    pub hostname: String,
    /// Its secrets.
    #[serde(default, deserialize_with = "nullable")]
    pub secrets: Vec<Secret>,
    /// Seconds between the stop signal and SIGKILL.
    #[serde(default)]
    pub stop_timeout: u64,
}

/// What a container has of the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// The node's ports by the container's, such as `80/tcp`.
    #[serde(default, deserialize_with = "nullable")]
    pub port_bindings: BTreeMap<String, Option<Vec<Binding>>>,
    /// Where its output goes.
    #[serde(default)]
    pub log_config: LogConfig,
    /// File systems in memory, by where they are in the container.
    #[serde(default, deserialize_with = "nullable")]
    pub tmpfs: BTreeMap<String, String>,
    /// Whether podman starts it again by itself.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// Whether it goes with its end, anonymous volumes included.
    #[serde(default)]
    pub auto_remove: bool,
}

/// A port of the node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Binding {
    /// The address; empty or `0.0.0.0`: each.
    #[serde(default)]
    pub host_ip: String,
    /// The port.
    #[serde(default)]
    pub host_port: String,
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct LogConfig {
    /// `journald`, `k8s-file` and others.
    #[serde(default, rename = "Type")]
    pub driver: String,
}

/// Whether a container runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// Podman's word: `running`, `exited`, `created` and others.
    #[serde(default)]
    pub status: String,
    /// The process that looks after it (`conmon(8)`); 0: none.
    #[serde(default)]
    pub conmon_pid: u32,
}

/// Something that is mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mounted {
    /// `volume`, `bind` and others.
    #[serde(default, rename = "Type")]
    pub kind: String,
    /// The name of the volume; empty if it is none.
    #[serde(default)]
    pub name: String,
    /// Where it is on the node.
    #[serde(default)]
    pub source: String,
    /// Where it is in the container.
    #[serde(default)]
    pub destination: String,
}

/// Whether podman starts a container again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`; empty: `no`.
    #[serde(default)]
    pub name: String,
    /// How often it tries; 0: without end.
    #[serde(default)]
    pub maximum_retry_count: u32,
}

impl RestartPolicy {
    /// Returns it as `podman run` takes it; none: podman does not.
    pub fn argument(&self) -> Option<String> {
        match (self.name.as_str(), self.maximum_retry_count) {
            ("" | "no", _) => None,
            (name, 0) => Some(name.to_owned()),
            (name, times) => Some(format!("{name}:{times}")),
        }
    }
}

/// A secret that a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Secret {
    /// Podman's name of it.
    #[serde(default, rename = "Name")]
    pub name: String,
}

/// The networks that a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// By name.
    #[serde(default, deserialize_with = "nullable")]
    pub networks: BTreeMap<String, JoinedNetwork>,
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct JoinedNetwork {
    /// Its address there; may be empty.
    #[serde(default, rename = "IPAddress", deserialize_with = "nullable")]
    pub ip_address: String,
    /// The names by which it is found.
    #[serde(default, rename = "Aliases", deserialize_with = "nullable")]
    pub aliases: Vec<String>,
}

/// What somebody has given a container in a network, so that podman does not
/// choose it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fixed {
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its hardware address.
    pub mac: Option<String>,
}

/// What a container was given when it was made, and in its networks since.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    /// What is fixed in each network, by name.
    pub networks: BTreeMap<String, Fixed>,
    /// Its variables, those of the image among them, but none that podman adds
    /// at a start.
    pub env: Vec<String>,
}

impl Fixed {
    /// Tells whether podman chooses all.
    pub fn is_nothing(&self) -> bool {
        self.addresses.is_empty() && self.mac.is_none()
    }
}

/// An image, as `podman image inspect` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedImage {
    /// Its number.
    pub id: String,
    /// The names that mean it.
    #[serde(default, deserialize_with = "nullable")]
    pub repo_tags: Vec<String>,
    /// What it gives a container.
    pub config: ImageConfig,
}

/// What an image gives a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    /// Its variables.
    #[serde(default, deserialize_with = "nullable")]
    pub env: Vec<String>,
}

impl Inspected {
    /// Tells whether it runs.
    pub fn is_running(&self) -> bool {
        self.state.status == "running"
    }

    /// Returns the service that it was deployed for; it may have been released
    /// since.
    pub fn service(&self) -> Option<&str> {
        self.config.labels.get("mcp.service").map(String::as_str)
    }

    /// Returns the volumes that podman gave a number for a name: they go with
    /// a container that is removed with `--volumes`, and so must be kept by
    /// that number.
    pub fn anonymous_volumes(&self) -> impl Iterator<Item = &Mounted> {
        self.mounts.iter().filter(|m| m.kind == "volume" && is_number(&m.name))
    }

    /// Returns the names of the volumes that somebody gave one.
    pub fn named_volumes(&self) -> impl Iterator<Item = &str> {
        let named = self.mounts.iter().filter(|m| m.kind == "volume" && !is_number(&m.name));
        named.map(|volume| volume.name.as_str())
    }

    fn is_secret(&self, name: &str, value: &str) -> bool {
        let hidden = !value.is_empty() && value.bytes().all(|b| b == b'*');
        hidden && self.config.secrets.iter().any(|secret| secret.name == name)
    }

    /// Returns the ports of the node that it publishes, UDP or not.
    pub fn node_ports(&self) -> impl Iterator<Item = (u16, bool)> {
        self.host_config.port_bindings.iter().flat_map(|(inner, bound)| {
            let is_udp = inner.ends_with("/udp");
            let ports = bound.iter().flatten().filter_map(|b| b.host_port.parse().ok());
            ports.map(move |port| (port, is_udp))
        })
    }

    /// Returns the unit that its label says has made it: a word, not a proof.
    pub fn unit(&self) -> Option<&str> {
        self.config.labels.get("PODMAN_SYSTEMD_UNIT").map(String::as_str)
    }

    /// Returns the variables that its image does not set alike, nor podman by
    /// itself. Of those that podman sets where nobody does, only what `given`
    /// says somebody has set.
    pub fn own_env<'a>(
        &'a self,
        image: &'a [String],
        given: impl Fn(&str, &str) -> bool,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.config
            .env
            .iter()
            .filter(|line| !image.contains(line))
            .filter_map(|line| line.split_once('='))
            .filter(move |(name, value)| match *name {
                "container" => *value != "podman",
                // podman writes asterisks for what it will not show.
                _ if self.is_secret(name, value) => given(name, value),
                "HOSTNAME" => *value != self.config.hostname,
                "HOME" | "TERM" | "PATH" => given(name, value),
                _ => true,
            })
    }
}

/// Tells whether a name is a number that podman gave.
fn is_number(name: &str) -> bool {
    name.parse::<Sha256Text>().is_ok()
}

/// Reads what podman writes as `null` where there is nothing.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_with_what_is_its_own() {
        let id = "ab".repeat(32);
        let text = format!(
            r#"[{{"Id": "{id}", "Name": "web", "ImageName": "localhost/a:1", "Pod": "",
            "State": {{"Status": "running", "Pid": 1}},
            "HostConfig": {{"PortBindings": {{"80/tcp": [{{"HostIp": "", "HostPort": "8080"}}], "81/tcp": null}}}},
            "Mounts": [{{"Type": "volume", "Name": "{id}", "Destination": "/data"}},
                       {{"Type": "volume", "Name": "named", "Destination": "/n"}},
                       {{"Type": "bind", "Source": "/a", "Destination": "/b"}}],
            "Config": {{"Hostname": "abababababab", "CreateCommand": ["podman", "run", "-d", "localhost/a:1"], "Labels": null,
            "Env": ["PATH=/bin", "A=1", "B=a=b", "HOSTNAME=abababababab", "container=podman",
            "HOME=/"]}}}}]"#
        );
        let found = serde_json::from_str::<Vec<Inspected>>(&text).unwrap().remove(0);
        assert!(found.is_running() && found.service().is_none());
        assert_eq!(found.config.create_command.len(), 4);
        let volumes: Vec<&str> =
            found.anonymous_volumes().map(|m| m.destination.as_str()).collect();
        assert_eq!(volumes, ["/data"]);
        let image = ["PATH=/bin".to_owned()];
        let own: Vec<_> = found.own_env(&image, |_, _| false).collect();
        assert_eq!(own, [("A", "1"), ("B", "a=b")]);
        assert_eq!(found.own_env(&image, |name, _| name == "HOME").count(), 3);
        let bound = found.host_config.port_bindings["80/tcp"].as_ref().unwrap();
        assert_eq!(bound[0].host_port, "8080");
    }

    #[test]
    fn what_has_no_command_is_read_too() {
        let text = r#"[{"Id": "1", "Name": "x", "Mounts": null,
            "Config": {"CreateCommand": null, "Labels": {"mcp.service": "x"}}}]"#;
        let found = serde_json::from_str::<Vec<Inspected>>(text).unwrap().remove(0);
        assert_eq!(found.service(), Some("x"));
        assert!(!found.is_running());
        assert!(found.config.create_command.is_empty());
        assert!(serde_json::from_str::<Vec<Inspected>>("{}").is_err());
    }
}
