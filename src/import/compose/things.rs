//! What `networks` and `volumes` at the top of the file say of each.

use super::convert::Scope;
use super::yaml::{Key, Node};
use crate::import::note::NoteKind::Lost;
use crate::import::sheet::push;
use crate::quadlet::escape::{raw, word};

/// Options of the driver `bridge` that podman knows
/// (`podman-network-create(1)`, `--opt`).
const NETWORK_OPTIONS: &[&str] = &[
    "bclim",
    "com.docker.network.bridge.name",
    "com.docker.network.driver.mtu",
    "isolate",
    "metric",
    "mode",
    "mtu",
    "no_default_route",
    "parent",
    "vlan",
    "vrf",
];

/// Reads those that are used.
pub(super) fn convert(scope: &mut Scope<'_>) {
    for (source, name) in scope.networks_used.clone() {
        let own = scope.top("networks", &source).filter(|own| !origin(Some(own)).0);
        if let Some(own) = own.cloned() {
            let what = format!("networks.{source}");
            network(&mut Reader { scope, what, name: &name }, &own);
        }
    }
    for (source, name) in scope.volumes_used.clone() {
        if let Some(own) = scope.top("volumes", &source).cloned() {
            let what = format!("volumes.{source}");
            volume(&mut Reader { scope, what, name: &name }, &own);
        }
    }
}

/// Tells whether somebody else makes a network or volume, and the name that it
/// is given, if it is.
pub(super) fn origin(own: Option<&Node>) -> (bool, Option<&str>) {
    let external = own.and_then(|own| own.get("external"));
    let is_external =
        external.is_some_and(|node| node.truth() == Some(true) || node.map().is_some());
    let named = own.and_then(|own| own.get("name").or(external.and_then(|node| node.get("name"))));
    (is_external, named.and_then(Node::text))
}

/// What a table is read into.
struct Reader<'a, 'b> {
    scope: &'a mut Scope<'b>,
    /// What is read, such as `networks.back`.
    what: String,
    /// The name in the definition.
    name: &'a str,
}

impl Reader<'_, '_> {
    fn lost(&mut self, key: &Key, more: &str, message: &str) {
        let what = format!("{}.{}{more}", self.what, key.text);
        self.scope.notes.add(Lost, &key.place, what, message);
    }

    /// Adds a line to a section, whose value is as the file has it.
    fn line(&mut self, key: &Key, (section, directive, value): (&str, &str, &str)) {
        match raw(value) {
            Ok(value) => self.verbatim((section, directive, &value)),
            // Not the value: it may be a secret.
            Err(why) => self.lost(key, "", why.reason),
        }
    }

    fn verbatim(&mut self, line: (&str, &str, &str)) {
        let name = self.name.to_owned();
        match line.0 {
            "Network" => self.scope.things.network_line(&name, line),
            _ => self.scope.things.volume_line(&name, line),
        }
    }

    /// Adds labels: a mapping, or a list of `name=value`.
    fn labels(&mut self, section: &str, node: &Node) {
        let listed = node.list().map(|_| node.texts()).unwrap_or_default();
        let mut pairs: Vec<String> = listed.iter().map(|(text, _)| (*text).to_owned()).collect();
        for (key, value) in node.map().unwrap_or_default() {
            pairs.push(format!("{}={}", key.text, value.text().unwrap_or_default()));
        }
        for pair in pairs {
            self.verbatim((section, "Label", &word(&pair)));
        }
    }
}

/// Reads a network that podman is to make.
fn network(reader: &mut Reader<'_, '_>, own: &Node) {
    let name = reader.name.to_owned();
    for (key, value) in own.map().unwrap_or_default() {
        let text = value.text().unwrap_or_default();
        match key.text.as_str() {
            "name" | "external" | "attachable" => {}
            _ if key.text.starts_with("x-") || value.is_null() => {}
            "internal" if value.truth().is_some() => {
                reader.scope.things.network(&name).internal = value.truth();
            }
            "enable_ipv6" if value.truth().is_some() => {
                reader.scope.things.network(&name).ipv6 = value.truth();
            }
            "enable_ipv4" if value.truth() == Some(true) => {}
            "driver" if matches!(text, "bridge" | "default") => {}
            "driver" if matches!(text, "macvlan" | "ipvlan") => {
                reader.line(key, ("Network", "Driver", text));
            }
            "driver_opts" => options(reader, key, value),
            "labels" => reader.labels("Network", value),
            "ipam" => addresses(reader, key, value),
            _ => reader.lost(key, "", "podman's networks have nothing like it"),
        }
    }
}

fn options(reader: &mut Reader<'_, '_>, key: &Key, node: &Node) {
    for (option, value) in node.map().unwrap_or_default() {
        if NETWORK_OPTIONS.contains(&option.text.as_str()) {
            let pair = format!("{}={}", option.text, value.text().unwrap_or_default());
            reader.line(key, ("Network", "Options", &pair));
        } else {
            reader.lost(key, &format!(".{}", option.text), "podman has no such option");
        }
    }
}

/// Reads `ipam`: each subnet with what is in it.
fn addresses(reader: &mut Reader<'_, '_>, key: &Key, node: &Node) {
    for (own, value) in node.map().unwrap_or_default() {
        match own.text.as_str() {
            "driver" if value.text() == Some("default") => {}
            "driver" => {
                reader.line(key, ("Network", "IPAMDriver", value.text().unwrap_or_default()));
            }
            "config" => {
                let pools = value.list().unwrap_or_default();
                for (index, pool) in pools.iter().enumerate() {
                    for (what, value) in pool.map().unwrap_or_default() {
                        let text = value.text().unwrap_or_default();
                        // Podman pairs the first gateway with the first subnet.
                        let before = pools.iter().take(index);
                        let pairs = before.filter(|pool| pool.get(&what.text).is_none()).count();
                        match what.text.as_str() {
                            other @ ("gateway" | "ip_range") if pairs > 0 => {
                                let more = format!(".config.{other}");
                                let message =
                                    "podman takes it only where the subnets before have one too";
                                reader.lost(key, &more, message);
                            }
                            "subnet" => {
                                let name = reader.name.to_owned();
                                push(
                                    &mut reader.scope.things.network(&name).subnets,
                                    text.to_owned(),
                                );
                            }
                            "gateway" => reader.line(key, ("Network", "Gateway", text)),
                            "ip_range" => reader.line(key, ("Network", "IPRange", text)),
                            other => {
                                let more = format!(".config.{other}");
                                reader.lost(key, &more, "podman's networks have nothing like it");
                            }
                        }
                    }
                }
            }
            other => {
                reader.lost(key, &format!(".{other}"), "podman's networks have nothing like it");
            }
        }
    }
}

/// Reads a volume that podman is to make.
fn volume(reader: &mut Reader<'_, '_>, own: &Node) {
    for (key, value) in own.map().unwrap_or_default() {
        match key.text.as_str() {
            "name" | "external" => {}
            _ if key.text.starts_with("x-") || value.is_null() => {}
            "driver" if value.text() == Some("local") => {}
            "driver" => reader.line(key, ("Volume", "Driver", value.text().unwrap_or_default())),
            "driver_opts" => {
                for (option, value) in value.map().unwrap_or_default() {
                    let text = value.text().unwrap_or_default();
                    match option.text.as_str() {
                        "type" => reader.line(key, ("Volume", "Type", text)),
                        "device" => reader.line(key, ("Volume", "Device", text)),
                        "o" => reader.line(key, ("Volume", "Options", text)),
                        other => {
                            let argument = word(&format!("--opt={other}={text}"));
                            reader.verbatim(("Volume", "PodmanArgs", &argument));
                        }
                    }
                }
            }
            "labels" => reader.labels("Volume", value),
            _ => reader.lost(key, "", "podman's volumes have nothing like it"),
        }
    }
}
