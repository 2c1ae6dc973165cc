//! `.network`, `.volume` and `.image` files.

use super::network::native;
use super::set::Scope;
use super::systemd;
use super::unit::{Line, Unit, plain, truth};
use crate::import::files::file_name;
use crate::import::note::NoteKind::{self, Changed, Lost, Needless, Todo};
use crate::quadlet::known_keys;

/// Reads them all, those that no container names as well.
pub(super) fn convert(scope: &mut Scope<'_>) {
    for unit in scope.set.units.values() {
        match unit.kind.as_str() {
            "network" => network(scope, unit),
            "volume" => volume(scope, unit),
            "image" => image(scope, unit),
            _ => {}
        }
    }
}

fn tell(scope: &mut Scope<'_>, (unit, line): (&Unit, &Line), kind: NoteKind, message: &str) {
    let what = format!("{}.{}.{}", file_name(&unit.path), line.section, line.key);
    scope.notes.add(kind, &line.place, what, message);
}

/// Tells of a key that nobody knows in its section.
fn doubt(scope: &mut Scope<'_>, at: (&Unit, &Line)) {
    if let Some(doubt) = known_keys::doubt(&at.1.section, &at.1.key) {
        tell(scope, at, Todo, &doubt.to_string());
    }
}

fn network(scope: &mut Scope<'_>, unit: &Unit) {
    let Some((name, _)) = native(scope, file_name(&unit.path)) else { return };
    for line in unit.lines.iter().filter(|line| !line.value.is_empty()) {
        let at = (unit, line);
        match (line.section.as_str(), line.key.as_str()) {
            ("Network", "NetworkName") => {}
            ("Network", "Internal" | "IPv6") => match (truth(&line.value), line.key.as_str()) {
                (None, _) => tell(scope, at, Lost, "it is neither true nor false"),
                (truth, "Internal") => scope.things.network(&name).internal = truth,
                (truth, _) => scope.things.network(&name).ipv6 = truth,
            },
            ("Network", "Subnet") => {
                let subnet = plain(&line.value).unwrap_or_else(|| line.value.clone());
                scope.things.network(&name).subnets.get_or_insert_default().push(subnet);
            }
            ("Network", "NetworkDeleteOnStop") => {
                tell(scope, at, Needless, "a network goes with the last service that uses it");
            }
            ("Network", key) if key != "ServiceName" => {
                doubt(scope, at);
                scope.things.network_line(&name, ("Network", key, &line.value));
            }
            (section, key) if verbatim(scope, at) => {
                scope.things.network_line(&name, (section, key, &line.value));
            }
            _ => {}
        }
    }
}

fn volume(scope: &mut Scope<'_>, unit: &Unit) {
    let podmans = scope.podman_name(file_name(&unit.path), "Volume", "VolumeName");
    let Some(name) = scope.things.volume(&scope.service, &podmans) else {
        let what = file_name(&unit.path).to_owned();
        scope.notes.add(Lost, &unit.place, what, "a definition cannot name that volume");
        return;
    };
    for line in unit.lines.iter().filter(|line| !line.value.is_empty()) {
        let at = (unit, line);
        match (line.section.as_str(), line.key.as_str()) {
            ("Volume", "VolumeName") => {}
            ("Volume", "Image") if line.value.strip_suffix(".image").is_some() => {
                let own = scope.set.units.get(&line.value).and_then(|u| u.last("Image", "Image"));
                match own.map(|own| own.value.clone()) {
                    Some(image) => scope.things.volume_line(&name, ("Volume", "Image", &image)),
                    None => tell(scope, at, Todo, "that file is not among those given"),
                }
            }
            ("Volume", key) if key != "ServiceName" => {
                doubt(scope, at);
                scope.things.volume_line(&name, ("Volume", key, &line.value));
            }
            (section, key) if verbatim(scope, at) => {
                scope.things.volume_line(&name, (section, key, &line.value));
            }
            _ => {}
        }
    }
}

/// Tells whether a line besides those of podman is taken as it is; if not, why.
fn verbatim(scope: &mut Scope<'_>, at: (&Unit, &Line)) -> bool {
    let (kind, message) = match (at.1.section.as_str(), at.1.key.as_str()) {
        ("Unit", "Description") => (Needless, "its name says as much"),
        ("Unit", _) if names_imported(scope, &at.1.value) => {
            (Todo, "what it names is called otherwise here; write it anew")
        }
        ("Unit" | "Service", key) if key.starts_with("X-") => (Needless, systemd::PASSED_OVER),
        ("Unit" | "Service", _) => {
            doubt(scope, at);
            return true;
        }
        ("Install", _) => (Needless, "it is started by what uses it"),
        ("Quadlet", _) => (Needless, "MCP says so itself, of each unit"),
        (_, "ServiceName") => (Changed, "the unit's name follows from that of what it makes"),
        _ => (Lost, "a definition has nothing like it"),
    };
    tell(scope, at, kind, message);
    false
}

/// Tells whether a list of units has one that is imported, and so gets another
/// name.
fn names_imported(scope: &Scope<'_>, value: &str) -> bool {
    value.split_whitespace().any(|word| {
        let stem = word.strip_suffix(".service");
        scope.set.units.values().any(|unit| {
            let own = match unit.kind.as_str() {
                "container" => unit.stem.clone(),
                kind => format!("{}-{kind}", unit.stem),
            };
            stem == Some(own.as_str()) || word == file_name(&unit.path)
        })
    })
}

fn image(scope: &mut Scope<'_>, unit: &Unit) {
    for line in unit.lines.iter().filter(|line| !line.value.is_empty()) {
        let (kind, message) = match (line.section.as_str(), line.key.as_str()) {
            ("Image", "Image") => continue,
            ("Image", "AuthFile") => {
                (Todo, "the agent pulls with what podman login keeps for its user")
            }
            ("Image", _) => (Lost, "the image is pulled without it"),
            _ => (Needless, "MCP writes a unit of its own for it"),
        };
        match known_keys::doubt(&line.section, &line.key) {
            Some(doubt) => tell(scope, (unit, line), Lost, &doubt.to_string()),
            None => tell(scope, (unit, line), kind, message),
        }
    }
}
