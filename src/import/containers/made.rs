//! Networks and volumes that containers use, as podman has made them
//! (`podman-network-inspect(1)`, `podman-volume-inspect(1)`): what somebody
//! asked for when they were made becomes a table, so that they come back as
//! they were if they are ever removed.
//!
//! What podman chooses by itself is left out, as far as it can be told apart: a
//! subnet of its first pool is taken for its choice where nothing else is said
//! of the network, and no container has an address of its own in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use super::Live;
use super::inspected::nullable;
use crate::definition::model;
use crate::definition::service::{ExtraKey, NetworkSpec};
use crate::import::note::{NoteKind, Notes};
use crate::import::sheet::{Part, verbatim};
use crate::import::things::Things as Described;
use crate::names::{NameError, NetworkName};
use crate::quadlet::escape::word;

/// A network, as podman tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct MadeNetwork {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// `bridge`, `macvlan`, `ipvlan`, or another program's.
    #[serde(default)]
    pub driver: String,
    /// The interface of the node: the bridge, or what lies below.
    #[serde(default)]
    pub network_interface: String,
    /// Whether nothing outside can be reached from it.
    #[serde(default)]
    pub internal: bool,
    /// Whether it has IPv6 as well.
    #[serde(default)]
    pub ipv6_enabled: bool,
    /// Whether containers find each other in it by name.
    #[serde(default)]
    pub dns_enabled: bool,
    /// Its subnets.
    #[serde(default, deserialize_with = "nullable")]
    pub subnets: Vec<MadeSubnet>,
    /// The name servers that it asks.
    #[serde(default, deserialize_with = "nullable")]
    pub network_dns_servers: Vec<String>,
    /// What is reached over whom.
    #[serde(default, deserialize_with = "nullable")]
    pub routes: Vec<MadeRoute>,
    /// Options of its driver.
    #[serde(default, deserialize_with = "nullable")]
    pub options: BTreeMap<String, String>,
    /// How it gives addresses.
    #[serde(default, deserialize_with = "nullable")]
    pub ipam_options: BTreeMap<String, String>,
    /// Its labels.
    #[serde(default, deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
}

/// A subnet of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct MadeSubnet {
    /// In CIDR notation.
    pub subnet: String,
    /// The address of the node in it.
    #[serde(default)]
    pub gateway: Option<String>,
    /// The addresses that podman gives.
    #[serde(default)]
    pub lease_range: Option<Range>,
}

/// From one address to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Range {
    /// The first one.
    #[serde(default)]
    pub start_ip: String,
    /// The last one.
    #[serde(default)]
    pub end_ip: String,
}

/// A route of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct MadeRoute {
    /// What is reached, in CIDR notation.
    pub destination: String,
    /// Over whom.
    pub gateway: String,
    /// Which one counts.
    #[serde(default)]
    pub metric: Option<u32>,
}

/// A volume, as podman tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MadeVolume {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// `local`, `image`, or a program's.
    #[serde(default)]
    pub driver: String,
    /// Options of the driver.
    #[serde(default, deserialize_with = "nullable")]
    pub options: BTreeMap<String, String>,
    /// Its labels.
    #[serde(default, deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
}

/// What podman has of what containers use.
#[derive(Debug, Clone, Default)]
pub struct Things {
    /// Networks by name: as deployed services describe them, or else as podman
    /// has them.
    pub networks: BTreeMap<String, ThereNetwork>,
    /// The volumes by podman's names.
    pub volumes: BTreeMap<String, MadeVolume>,
}

/// Whose word counts for a network.
#[derive(Debug, Clone, PartialEq)]
pub enum ThereNetwork {
    /// A service that is deployed says this of it, and all must say the same.
    Described(model::Network),
    /// Podman's alone.
    Made(MadeNetwork),
}

impl ThereNetwork {
    /// Returns what a deployed service says of a network.
    pub fn said(spec: &NetworkSpec) -> Self {
        let mut table = model::Network {
            internal: spec.internal.then_some(true),
            ipv6: spec.ipv6.then_some(true),
            subnets: (!spec.subnets.is_empty()).then(|| spec.subnets.clone()),
            extra: None,
        };
        for ExtraKey { section, key, value } in &spec.extra {
            let extra = table.extra.get_or_insert_default();
            verbatim(extra, section.as_str(), key, value.clone());
        }
        Self::Described(table)
    }
}

impl Things {
    /// Writes down what the networks and volumes of containers are.
    pub(super) fn describe(&self, live: &[Live], definition: &mut Described) {
        for name in named(live) {
            let table = match self.networks.get(name.as_str()) {
                Some(ThereNetwork::Described(table)) => table.clone(),
                Some(ThereNetwork::Made(made)) => {
                    made.table(live.iter().any(|own| may_have_address(own, name.as_str())))
                }
                None => continue,
            };
            if table != model::Network::default() {
                *definition.network(name.as_str()) = table;
            }
        }
        for (podmans, name) in definition.called() {
            let made = self.volumes.get(&podmans);
            for (key, value) in made.into_iter().flat_map(MadeVolume::lines) {
                definition.volume_line(&name, ("Volume", key, &value));
            }
        }
    }

    /// Tells of the networks whose subnets are taken for podman's choice: it
    /// does not say whether somebody has chosen them.
    pub(super) fn tell_chosen(&self, parts: &[Part], notes: &mut Notes, live: &[Live]) {
        for name in named(live) {
            let Some(ThereNetwork::Made(made)) = self.networks.get(name.as_str()) else { continue };
            let is_in =
                |own: &Live| own.container.network_settings.networks.contains_key(name.as_str());
            let user = live.iter().zip(parts).find(|(own, _)| is_in(own));
            let has_addresses = live.iter().any(|own| may_have_address(own, name.as_str()));
            let is_left_out = made.table(has_addresses).subnets.is_none() && !made.is_ours();
            let (Some((_, part)), true) = (user, is_left_out) else { continue };
            for MadeSubnet { subnet, .. } in &made.subnets {
                let message = format!(
                    "podman does not say whether its subnet {subnet} was asked for, so it is taken for podman's own choice; to keep it should the network be made anew, write networks.{name}.subnets = [\"{subnet}\"]"
                );
                notes.add(NoteKind::Changed, &part.place, format!("networks.{name}"), message);
            }
        }
    }

    /// Tells of the networks that a definition cannot name.
    pub(super) fn tell_unnamed(&self, part: &mut Part, notes: &mut Notes, live: &Live) {
        let place = part.place.clone();
        for name in live.container.network_settings.networks.keys() {
            let is_podmans = matches!(name.parse::<NetworkName>(), Err(NameError::Reserved { .. }));
            if is_podmans
                || name.parse::<NetworkName>().is_ok()
                || !self.networks.contains_key(name)
            {
                continue;
            }
            let message = format!(
                "a definition cannot make a network of the name {name}: it is used as it is, and whoever removes it has to make it again"
            );
            part.tell(notes, NoteKind::Todo, (&place, &format!("networks.{name}")), message);
        }
    }
}

/// Returns the networks that a definition of containers can name.
fn named(live: &[Live]) -> BTreeSet<NetworkName> {
    let all = live.iter().flat_map(|own| own.container.network_settings.networks.keys());
    all.filter_map(|name| name.parse().ok()).collect()
}

/// Tells whether a container has an address of its own in a network, or nobody
/// knows.
fn may_have_address(live: &Live, network: &str) -> bool {
    if !live.container.network_settings.networks.contains_key(network) {
        return false;
    }
    live.fixed(network).is_none_or(|fixed| !fixed.addresses.is_empty())
}

/// A directive and its value.
pub type Line = (&'static str, String);

impl MadeNetwork {
    /// Tells whether one of our units made it.
    pub fn is_ours(&self) -> bool {
        self.labels.contains_key(OURS)
    }

    /// Returns what a definition says of it; nothing for one that podman makes
    /// just so where nothing is said. With an address of a container in it its
    /// subnets are said too.
    pub fn table(&self, has_addresses: bool) -> model::Network {
        let mut table = model::Network {
            internal: self.internal.then_some(true),
            ipv6: self.ipv6_enabled.then_some(true),
            ..model::Network::default()
        };
        for (key, value) in self.lines() {
            verbatim(table.extra.get_or_insert_default(), "Network", key, value);
        }
        let is_said = has_addresses || table != model::Network::default();
        if is_said || !self.subnets.iter().all(|own| is_of_the_pool(&own.subnet)) {
            let subnets: Vec<String> = self.in_order().map(|own| own.subnet.clone()).collect();
            table.subnets = (!subnets.is_empty()).then_some(subnets);
        }
        table
    }

    /// Returns what goes into its unit as it is (`podman-systemd.unit(5)`).
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let is_bridge = matches!(self.driver.as_str(), "" | "bridge");
        if !is_bridge {
            lines.push(("Driver", word(&self.driver)));
        }
        let ipam = self.ipam_options.get("driver").map_or("host-local", String::as_str);
        if ipam != "host-local" {
            lines.push(("IPAMDriver", word(ipam)));
        }
        lines.extend(self.addresses());
        if is_bridge && !self.dns_enabled {
            lines.push(("DisableDNS", "true".to_owned()));
        }
        lines.extend(self.network_dns_servers.iter().map(|own| ("DNS", word(own))));
        let option = |name: &str, value: &str| ("Options", word(&format!("{name}={value}")));
        lines.extend(self.options.iter().map(|(name, value)| option(name, value)));
        match self.network_interface.as_str() {
            "" => {}
            own if !is_bridge => lines.push(option("parent", own)),
            own if is_numbered(own) => {}
            own => lines.push(("PodmanArgs", word(&format!("--interface-name={own}")))),
        }
        for MadeRoute { destination, gateway, metric } in &self.routes {
            let metric = metric.map(|metric| format!(",{metric}")).unwrap_or_default();
            let route = format!("--route={destination},{gateway}{metric}");
            lines.push(("PodmanArgs", word(&route)));
        }
        lines.extend(labels(&self.labels, OURS));
        lines
    }

    /// Returns the subnets in an order in which podman can be told of each
    /// range: it pairs the first range with the first subnet.
    fn in_order(&self) -> impl Iterator<Item = &MadeSubnet> {
        let (with, without): (Vec<_>, Vec<_>) =
            self.subnets.iter().partition(|own| own.lease_range.is_some());
        with.into_iter().chain(without)
    }

    /// Returns the ranges, and the gateways up to the last that podman would
    /// not choose by itself.
    fn addresses(&self) -> Vec<Line> {
        let gateways: Vec<(Option<String>, bool)> = self
            .in_order()
            .map(|own| {
                let usual = first_address(&own.subnet);
                let is_odd = own.gateway.is_some() && own.gateway != usual;
                (own.gateway.clone().or(usual), is_odd)
            })
            .collect();
        let said = gateways.iter().rposition(|(_, is_odd)| *is_odd).map_or(0, |last| last + 1);
        let gateways = gateways.into_iter().take(said).filter_map(|(gateway, _)| gateway);
        let ranges = self.in_order().filter_map(|own| own.lease_range.as_ref());
        gateways
            .map(|gateway| ("Gateway", word(&gateway)))
            .chain(ranges.map(|own| ("IPRange", word(&format!("{}-{}", own.start_ip, own.end_ip)))))
            .collect()
    }
}

impl MadeVolume {
    /// Returns what goes into its unit as it is (`podman-systemd.unit(5)`);
    /// nothing for one that podman makes just so.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        if !matches!(self.driver.as_str(), "" | "local") {
            lines.push(("Driver", word(&self.driver)));
        }
        let has_device = self.options.get("device").is_some_and(|device| !device.is_empty());
        for (name, value) in &self.options {
            lines.push(match (name.as_str(), self.driver.as_str()) {
                ("image", "image") => ("Image", word(value)),
                // What podman has read out of `o`, and what it does anyway.
                ("SIZE" | "INODES" | "UID" | "GID" | "NOQUOTA" | "copy", _) => continue,
                ("nocopy", _) => ("Copy", "false".to_owned()),
                // Without a device the generator takes none of them.
                ("device", _) if has_device => ("Device", word(value)),
                ("type", _) if has_device => ("Type", word(value)),
                ("o", _) if has_device => ("Options", word(value)),
                (name, _) => ("PodmanArgs", word(&format!("--opt={name}={value}"))),
            });
        }
        lines.extend(labels(&self.labels, "mcp.service"));
        lines
    }
}

/// The label of networks that our units have made.
const OURS: &str = "mcp.network";

fn labels(labels: &BTreeMap<String, String>, ours: &str) -> Vec<Line> {
    let own = labels.iter().filter(|(name, _)| *name != ours);
    own.map(|(name, value)| ("Label", word(&format!("{name}={value}")))).collect()
}

/// Tells whether podman gave a bridge its name.
fn is_numbered(interface: &str) -> bool {
    let number = interface.strip_prefix("podman");
    number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// Tells whether podman takes such a subnet first where none is asked for
/// (`containers.conf(5)`, `default_subnet_pools`), or for IPv6 ever.
fn is_of_the_pool(subnet: &str) -> bool {
    match subnet.split_once('/') {
        Some((address, "24")) => address.starts_with("10.89."),
        Some((address, "64")) => address.starts_with("fd"),
        Some(_) | None => false,
    }
}

/// Returns the address that podman gives the node in a subnet.
fn first_address(subnet: &str) -> Option<String> {
    let first = match subnet.split_once('/')?.0.parse::<IpAddr>().ok()? {
        IpAddr::V4(own) => IpAddr::V4(Ipv4Addr::from(u32::from(own).checked_add(1)?)),
        IpAddr::V6(own) => IpAddr::V6(Ipv6Addr::from(u128::from(own).checked_add(1)?)),
    };
    Some(first.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> MadeNetwork {
        let usual = r#""driver": "bridge", "network_interface": "podman1", "dns_enabled": true,
            "ipam_options": {"driver": "host-local"}"#;
        serde_json::from_str(&format!("{{{text}, {usual}}}")).unwrap()
    }

    #[test]
    fn what_podman_chose_is_not_said() {
        let plain = r#""subnets": [{"subnet": "10.89.3.0/24", "gateway": "10.89.3.1"}]"#;
        assert_eq!(network(plain).table(false), model::Network::default());
        let ours = network(&format!(r#"{plain}, "labels": {{"mcp.network": "x"}}"#));
        assert!(ours.is_ours() && ours.table(false) == model::Network::default());
        // An address in it is worth nothing in another subnet.
        let said = network(plain).table(true);
        assert_eq!(said.subnets, Some(vec!["10.89.3.0/24".to_owned()]));
        let inside = network(&format!(r#"{plain}, "internal": true, "labels": null"#));
        let inside = inside.table(false);
        assert_eq!((inside.internal, inside.extra), (Some(true), None));
        assert_eq!(inside.subnets, said.subnets);
        let own = network(r#""subnets": [{"subnet": "10.45.0.0/24", "gateway": "10.45.0.1"}]"#);
        assert_eq!(own.table(false).subnets, Some(vec!["10.45.0.0/24".to_owned()]));
    }

    #[test]
    fn all_that_was_asked_for_is_said() {
        let text = r#"{"name": "x", "driver": "bridge", "network_interface": "brmine",
            "subnets": [{"subnet": "fd00:44::/64", "gateway": "fd00:44::1"},
                {"subnet": "10.44.1.0/24", "gateway": "10.44.1.254",
                "lease_range": {"start_ip": "10.44.1.129", "end_ip": "10.44.1.255"}}],
            "routes": [{"destination": "10.9.0.0/24", "gateway": "10.44.1.3", "metric": 200}],
            "ipv6_enabled": true, "dns_enabled": false, "labels": {"owner": "my self"},
            "network_dns_servers": ["10.1.1.1"], "options": {"isolate": "true", "mtu": "1400"},
            "ipam_options": {"driver": "host-local"}}"#;
        let made: MadeNetwork = serde_json::from_str(text).unwrap();
        let lines: Vec<String> =
            made.lines().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let all = "Gateway=10.44.1.254\nIPRange=10.44.1.129-10.44.1.255\nDisableDNS=true\nDNS=10.1.1.1\nOptions=isolate=true\nOptions=mtu=1400\nPodmanArgs=--interface-name=brmine\nPodmanArgs=--route=10.9.0.0/24,10.44.1.3,200\nLabel=\"owner=my self\"";
        assert_eq!(lines.join("\n"), all);
        let table = made.table(false);
        assert_eq!(table.ipv6, Some(true));
        let subnets = ["10.44.1.0/24", "fd00:44::/64"].map(str::to_owned);
        assert_eq!(table.subnets, Some(subnets.to_vec()), "the one with a range comes first");
        let below = r#"{"driver": "macvlan", "network_interface": "eth0", "dns_enabled": false,
            "ipam_options": {"driver": "dhcp"}}"#;
        let below: MadeNetwork = serde_json::from_str(below).unwrap();
        let parent = ("Options", "parent=eth0".to_owned());
        let said = [("Driver", "macvlan".to_owned()), ("IPAMDriver", "dhcp".to_owned()), parent];
        assert_eq!(below.lines(), said);
    }

    #[test]
    fn a_volume_is_said_as_it_was_asked_for() {
        let made = |text: &str| serde_json::from_str::<MadeVolume>(text).unwrap().lines();
        assert_eq!(made(r#"{"Name": "a", "Driver": "local", "Labels": {}, "Options": null}"#), []);
        let tmp = r#"{"Driver": "local", "Labels": {"a": "b", "mcp.service": "x"}, "Options": {"SIZE": "10m",
            "UID": "100", "device": "tmpfs", "o": "size=10m,uid=100", "type": "tmpfs"}}"#;
        let said = [
            ("Device", "tmpfs"),
            ("Options", "size=10m,uid=100"),
            ("Type", "tmpfs"),
            ("Label", "a=b"),
        ];
        assert_eq!(made(tmp), said.map(|(key, value)| (key, value.to_owned())));
        let bare = made(r#"{"Driver": "local", "Options": {"nocopy": "", "o": "uid=5"}}"#);
        let said = [("Copy", "false"), ("PodmanArgs", "--opt=o=uid=5")];
        assert_eq!(bare, said.map(|(key, value)| (key, value.to_owned())));
    }
}
