//! Pods: their containers share the network of the first of them.

use super::set::Scope;
use super::unit::{Line, Unit};
use super::{container, mounts, systemd};
use crate::import::note::NoteKind::{Changed, Lost, Needless, Todo};
use crate::import::sheet::{Part, Section};
use crate::quadlet::known_keys;

/// Keys of `[Pod]` that a container has as well.
const SHARED: &[&str] = &[
    "AddHost",
    "DNS",
    "DNSOption",
    "DNSSearch",
    "GIDMap",
    "HostName",
    "IP",
    "IP6",
    "Network",
    "NetworkAlias",
    "PublishPort",
    "ShmSize",
    "SubGIDMap",
    "SubUIDMap",
    "UIDMap",
    "UserNS",
    "Volume",
];

/// Those that mean the same where each container has them: numbers that do not
/// depend on podman's choice, a name, a size.
const ALIKE: &[&str] =
    &["GIDMap", "HostName", "ShmSize", "SubGIDMap", "SubUIDMap", "UIDMap", "UserNS"];

/// Reads the pod of a container.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit, all: &[&Unit]) {
    let Some(line) = unit.last("Container", "Pod").cloned() else { return };
    let Some(pod) = scope.set.units.get(&line.value) else {
        let message =
            format!("there is no {} among the files; what it says is missing", line.value);
        scope.tell(part, Todo, &line, message);
        return;
    };
    let is_in =
        |unit: &&&Unit| unit.last("Container", "Pod").is_some_and(|l| l.value == line.value);
    let members: Vec<&str> = all.iter().filter(is_in).map(|unit| unit.stem.as_str()).collect();
    let is_free = |unit: &&&Unit| {
        !waits(unit, &members) && !all.iter().filter(is_in).any(|other| is_before(other, unit))
    };
    let free = all.iter().filter(is_in).find(is_free);
    let first = free.map(|unit| unit.stem.as_str()).or(members.first().copied());
    let first = first.unwrap_or_default();
    if first == unit.stem {
        whole(scope, part, pod);
        let message = format!("{} holds the network that the pod had", part.name());
        scope.tell(part, Changed, &line, message);
        return;
    }
    if let (Some(container), Some(name)) =
        (scope.container(first), scope.names.get(first).map(ToString::to_string))
    {
        part.extra(Section::Container, "Network", format!("{container}.container"));
        part.depend(&name);
        let message =
            format!("it is in the network of {name}, and starts after it; its /dev/shm is its own");
        scope.tell(part, Changed, &line, message);
    }
    let mut lines = Vec::new();
    for line in pod.section("Pod") {
        match line.key.as_str() {
            "Volume" => {
                let own = Line { section: "Container".to_owned(), ..line.clone() };
                mounts::read(scope, part, pod, &own);
            }
            "UserNS" if line.value.starts_with("auto") => {
                let message = format!("only {first} has it: podman would choose other numbers");
                scope.tell(part, Lost, line, message);
            }
            key if ALIKE.contains(&key) && unit.last("Container", key).is_none() => {
                lines.push(Line { section: "Container".to_owned(), ..line.clone() });
            }
            _ => {}
        }
    }
    keys(scope, part, pod, lines);
}

/// Tells whether a container waits for another one of its pod: it cannot be
/// the one that they all wait for.
fn waits(unit: &Unit, members: &[&str]) -> bool {
    systemd::stems(unit, &["After", "BindsTo", "Requires", "Requisite", "Wants"])
        .iter()
        .any(|stem| *stem != unit.stem && members.contains(stem))
}

/// Tells whether a container says that another one waits for it.
fn is_before(unit: &Unit, other: &Unit) -> bool {
    unit.stem != other.stem && systemd::stems(unit, &["Before"]).contains(other.stem.as_str())
}

/// Gives a container lines of its pod. Only those: what is missing was told
/// for the container.
fn keys(scope: &mut Scope<'_>, part: &mut Part, pod: &Unit, lines: Vec<Line>) {
    let image = part.component.image.take();
    container::keys(scope, part, &Unit { lines, ..pod.clone() });
    part.component.image = image;
}

/// Gives a container what its pod has.
fn whole(scope: &mut Scope<'_>, part: &mut Part, pod: &Unit) {
    let mut lines: Vec<Line> = Vec::new();
    for line in &pod.lines {
        match line.section.as_str() {
            "Pod" if SHARED.contains(&line.key.as_str()) => {
                lines.push(Line { section: "Container".to_owned(), ..line.clone() });
            }
            "Pod" if line.key == "PodName" || line.key == "ServiceName" => {
                scope.tell(part, Changed, line, "there is no pod any more, and so no name of one");
            }
            "Pod" => {
                let message = known_keys::doubt("Pod", &line.key).map_or_else(
                    || "a container has nothing like it".to_owned(),
                    |d| d.to_string(),
                );
                scope.tell(part, Lost, line, message);
            }
            "Service" if line.key == "Restart" => {
                scope.tell(part, Needless, line, "each container has its own");
            }
            "Service" => {
                let message = "there is no unit of the pod any more; write it into its containers";
                scope.tell(part, Lost, line, message);
            }
            _ => {}
        }
    }
    keys(scope, part, pod, lines);
    systemd::unit_section(scope, part, pod);
}
