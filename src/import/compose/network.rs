//! `networks`, `network_mode`, `links` and `ports`.

use std::collections::BTreeSet;

use super::convert::Scope;
use super::things;
use super::yaml::{Key, Node};
use crate::definition::model::OneOrMany;
use crate::import::note::NoteKind::{Changed, Lost, Todo};
use crate::import::note::Place;
use crate::import::sheet::{Part, Section, push};
use crate::import::values::{Ports, label, ports, untaken};
use crate::names::NetworkName;

/// The first port that an ordinary user may listen on (`ip-sysctl`,
/// `ip_unprivileged_port_start`).
const FIRST_FREE: u16 = 1024;

/// Notes the names that services give each other by `links`.
pub(super) fn collect_links(scope: &mut Scope<'_>, services: &[(&Key, &Node)]) {
    for (_, node) in services {
        for (text, _) in node.get("links").map(Node::texts).unwrap_or_default() {
            if let Some((service, alias)) = text.split_once(':') {
                scope.links.entry(service.to_owned()).or_default().insert(alias.to_owned());
            }
        }
    }
}

/// Reads these keys.
pub(super) fn convert(
    scope: &mut Scope<'_>,
    part: &mut Part,
    (service, node): (&str, &Node),
    is_alone: bool,
) {
    for (text, place) in node.get("links").map(Node::texts).unwrap_or_default() {
        let other = text.split(':').next().unwrap_or_default();
        match scope.names.get(other).map(ToString::to_string) {
            Some(name) => part.depend(&name),
            None => scope.tell(part, Lost, (place, "links"), format!("{other} is not imported")),
        }
    }
    let is_open = if let Some(mode) = node.get("network_mode") {
        network_mode(scope, part, mode)
    } else {
        networks(scope, part, (service, node), is_alone)
    };
    for port in node.get("ports").and_then(Node::list).unwrap_or_default() {
        let at = (&port.place.clone(), "ports");
        if !is_open {
            scope.tell(part, Lost, at, "with this network_mode nothing is published");
            continue;
        }
        match port_text(port) {
            Ok(text) => publish(scope, part, &port.place, &text),
            Err(why) => scope.tell(part, Lost, at, why),
        }
    }
}

/// Reads `network_mode`; tells whether ports can be published.
fn network_mode(scope: &mut Scope<'_>, part: &mut Part, mode: &Node) -> bool {
    let at = (&mode.place.clone(), "network_mode");
    match mode.text().unwrap_or_default() {
        word @ ("host" | "none") => {
            part.component.network = Some(OneOrMany::One(word.to_owned()));
            return false;
        }
        "bridge" | "default" => return true,
        text => {
            if let Some(other) = text.strip_prefix("service:") {
                let other = other.to_owned();
                match (scope.container(&other), scope.names.get(&other).map(ToString::to_string)) {
                    (Some(container), Some(name)) => {
                        part.extra(Section::Container, "Network", format!("{container}.container"));
                        part.depend(&name);
                        return false;
                    }
                    _ => scope.tell(part, Lost, at, format!("{other} is not imported")),
                }
            } else if text.starts_with("container:") {
                let text = text.to_owned();
                part.extra(Section::Container, "Network", text);
                return false;
            } else {
                let message = format!("{text:?} is no mode that podman has");
                scope.tell(part, Lost, at, message);
            }
        }
    }
    true
}

/// Returns the networks that a service names, with what it says of each.
fn wanted(part: &Part, node: &Node) -> Vec<(String, Option<Node>, Place)> {
    let Some(list) = node.get("networks") else {
        return vec![("default".to_owned(), None, part.place.clone())];
    };
    let plain = list.list().map(|_| list.texts()).unwrap_or_default();
    let plain = plain.into_iter().map(|(text, place)| (text.to_owned(), None, place.clone()));
    let said = list.map().unwrap_or_default().iter();
    let said = said.map(|(key, own)| (key.text.clone(), Some(own.clone()), key.place.clone()));
    plain.chain(said).collect()
}

/// Returns docker's own network that a name stands for.
fn dockers(scope: &Scope<'_>, name: &str) -> Option<&'static str> {
    let (is_external, named) = things::origin(scope.top("networks", name));
    let own = named.unwrap_or(name);
    ["bridge", "host", "none"].into_iter().find(|word| is_external && *word == own)
}

/// Returns the networks of a service that are none of docker's own; otherwise
/// whether ports can be published.
fn besides_dockers(
    scope: &mut Scope<'_>,
    part: &mut Part,
    node: &Node,
) -> Result<Vec<(String, Option<Node>, Place)>, bool> {
    let wanted = wanted(part, node);
    let mode = wanted.iter().find_map(|(name, ..)| dockers(scope, name).filter(|w| *w != "bridge"));
    if let Some(mode) = mode {
        part.component.network = Some(OneOrMany::One(mode.to_owned()));
        return Err(false);
    }
    let (bridges, wanted): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|(name, ..)| dockers(scope, name).is_some());
    if wanted.is_empty() && !bridges.is_empty() {
        // Podman's own default.
        return Err(true);
    }
    for (name, _, place) in bridges {
        let message = "beside other networks there is no default one";
        scope.tell(part, Lost, (&place, &format!("networks.{name}")), message);
    }
    Ok(wanted)
}

/// Reads `networks`; tells whether ports can be published.
fn networks(
    scope: &mut Scope<'_>,
    part: &mut Part,
    (service, node): (&str, &Node),
    is_alone: bool,
) -> bool {
    let wanted = match besides_dockers(scope, part, node) {
        Ok(wanted) => wanted,
        Err(is_open) => return is_open,
    };
    let is_default = wanted.len() == 1
        && wanted.iter().all(|(name, ..)| name == "default")
        && scope.top("networks", "default").is_none();
    if is_alone && is_default {
        return true;
    }
    let mut names = Vec::new();
    let mut aliases = BTreeSet::from([service.to_owned()]);
    aliases.extend(scope.links.get(service).into_iter().flatten().cloned());
    if let Some(name) = node.get("container_name").and_then(Node::text) {
        aliases.insert(name.to_owned());
    }
    let is_one = wanted.len() == 1;
    let mut fixed: Vec<(String, Vec<String>, bool)> = Vec::new();
    for (name, options, place) in wanted {
        let foreign = foreign(scope, &name);
        let is_one = is_one && foreign.is_none();
        let own = options.map(|own| options_of(scope, part, (&name, &own, is_one), &mut aliases));
        let own = own.unwrap_or_default();
        if let Some(podmans) = foreign {
            let message = format!("podman must know the network: podman network create {podmans}");
            scope.tell(part, Todo, (&place, &format!("networks.{name}")), message);
            fixed.push((podmans, own, true));
            continue;
        }
        let network = network_name(scope, part, &name, &place);
        if !own.is_empty() {
            scope.things.network(&network);
            fixed.push((format!("{network}.network"), own, false));
        } else if !names.contains(&network) {
            names.push(network);
        }
    }
    if let Some(own) = scope.container(service) {
        aliases.remove(&own);
    }
    let aliases: Vec<String> = aliases.into_iter().filter(|alias| is_alias(alias)).collect();
    for (network, own, is_foreign) in fixed {
        // Names go with the option where no network stands alone.
        let also = aliases.iter().filter(|_| names.is_empty());
        let also = also.map(|name| format!("alias={name}"));
        let own: Vec<String> = own.into_iter().chain(also).collect();
        let own = if own.is_empty() { String::new() } else { format!(":{}", own.join(",")) };
        let is_file = network.ends_with(".network") || network.ends_with(".container");
        if is_foreign && is_file {
            // Podman's generator would look for such a file.
            part.podman_arg(&format!("--network={network}{own}"));
        } else {
            part.extra(Section::Container, "Network", format!("{network}{own}"));
        }
    }
    part.component.aliases = (!aliases.is_empty() && !names.is_empty()).then_some(aliases);
    part.component.network = match names.len() {
        0 => None,
        1 => names.pop().map(OneOrMany::One),
        _ => Some(OneOrMany::Many(names)),
    };
    true
}

/// Reads what a service says of one of its networks, the only one or not:
/// names go to the `aliases`. Returns options of the network in podman's words.
fn options_of(
    scope: &mut Scope<'_>,
    part: &mut Part,
    (name, options, is_one): (&str, &Node, bool),
    aliases: &mut BTreeSet<String>,
) -> Vec<String> {
    let mut own = Vec::new();
    for (key, value) in options.map().unwrap_or_default() {
        let text = value.text().unwrap_or_default();
        let what = format!("networks.{name}.{}", key.text);
        match key.text.as_str() {
            "aliases" => {
                aliases.extend(value.texts().iter().map(|(text, _)| (*text).to_owned()));
            }
            "priority" => {}
            _ if value.is_null() || key.text.starts_with("x-") => {}
            word @ ("ipv4_address" | "ipv6_address" | "mac_address") if is_address(text) => {
                match (word, is_one) {
                    ("ipv4_address", true) => part.extra(Section::Container, "IP", text),
                    ("ipv6_address", true) => part.extra(Section::Container, "IP6", text),
                    (_, true) => part.podman_arg(&format!("--mac-address={text}")),
                    ("ipv4_address", false) => own.push(format!("ip={text}")),
                    ("ipv6_address", false) => own.push(format!("ip6={text}")),
                    (_, false) => own.push(format!("mac={text}")),
                }
            }
            _ => scope.tell(part, Lost, (&key.place, &what), "podman has nothing like it"),
        }
    }
    own
}

/// Tells whether a text can be an address of a network card.
fn is_address(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || ".:".contains(c))
}

fn is_alias(text: &str) -> bool {
    !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Returns podman's name of a network that somebody else makes, if a definition
/// has no such names.
fn foreign(scope: &Scope<'_>, name: &str) -> Option<String> {
    let (is_external, named) = things::origin(scope.top("networks", name));
    let podmans = named.unwrap_or(name);
    let is_sayable = podmans.parse::<NetworkName>().is_ok();
    (is_external && !is_sayable && !podmans.is_empty() && is_alias(podmans))
        .then(|| podmans.to_owned())
}

/// Returns what a network of the project is called, and tells of its options.
fn network_name(scope: &mut Scope<'_>, part: &mut Part, name: &str, place: &Place) -> String {
    if let Some(known) = scope.networks_used.get(name) {
        return known.clone();
    }
    let own = scope.top("networks", name).cloned();
    let (is_external, named) = things::origin(own.as_ref());
    let wish = match named {
        Some(named) => named.to_owned(),
        None if is_external => name.to_owned(),
        None if name == "default" => scope.service.to_string(),
        None => format!("{}-{name}", scope.service),
    };
    let mut found = label(&wish);
    if found.parse::<NetworkName>().is_err() {
        found = format!("{}-{found}", scope.service);
    }
    if named.is_none() && !is_external {
        found = untaken(found, |name| scope.networks_used.values().any(|own| own == name));
    }
    let what = format!("networks.{name}");
    if found != wish && (named.is_some() || is_external) {
        let message = format!("the network {wish} is called {found} here; it is another one");
        scope.tell(part, Changed, (place, &what), message);
    }
    scope.networks_used.insert(name.to_owned(), found.clone());
    found
}

/// Writes the long form of a port as the short one.
fn port_text(port: &Node) -> Result<String, String> {
    if let Some(text) = port.text() {
        return Ok(text.to_owned());
    }
    let get = |key: &str| port.get(key).and_then(Node::text);
    let target = get("target").ok_or("it names no port of the container")?;
    let protocol = get("protocol").map(|p| format!("/{p}")).unwrap_or_default();
    let published = get("published").map(|p| format!("{p}:")).unwrap_or_default();
    let address = match get("host_ip") {
        Some(ip) if ip.contains(':') && !ip.starts_with('[') => format!("[{ip}]:"),
        Some(ip) => format!("{ip}:"),
        None => String::new(),
    };
    Ok(format!("{address}{published}{target}{protocol}"))
}

fn publish(scope: &mut Scope<'_>, part: &mut Part, place: &Place, text: &str) {
    let at = (place, "ports");
    match ports(text) {
        Ok(Ports::Published(list)) => {
            let low = list.iter().find_map(|port| {
                let host = port.rsplit(':').nth(1)?.parse::<u16>().ok()?;
                (host < FIRST_FREE).then_some(host)
            });
            if let Some(port) = low {
                let message = format!(
                    "an ordinary user may not listen on {port} unless net.ipv4.ip_unprivileged_port_start allows it"
                );
                scope.tell(part, Todo, at, message);
            }
            for port in list {
                push(&mut part.component.ports, port);
            }
        }
        Ok(Ports::Anywhere(text)) => {
            let message = format!(
                "{text} names no port of the node; choose one, or use a route to have one leased"
            );
            scope.tell(part, Lost, at, message);
        }
        Err(why) => scope.tell(part, Lost, at, why),
    }
}
