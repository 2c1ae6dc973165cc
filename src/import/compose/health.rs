//! `healthcheck` and `depends_on`.

use std::time::Duration;

use super::convert::Scope;
use super::oneshot;
use super::yaml::{Key, Node};
use crate::definition::model::Command;
use crate::import::check::{INTERVAL, RETRIES, STARTUP_IS, TIMEOUT, Times, health};
use crate::import::note::NoteKind::{Changed, Lost, Needless, Todo};
use crate::import::note::Place;
use crate::import::sheet::{Part, Section};
use crate::import::values::duration;

/// Tells whether a service has a check of its own in the file.
pub(super) fn is_checked(service: &Node) -> bool {
    service.get("healthcheck").is_some_and(|check| test(check).is_some())
}

/// Returns the command of a check, if it is one.
fn test(check: &Node) -> Option<Command> {
    if check.get("disable").and_then(Node::truth) == Some(true) {
        return None;
    }
    let test = check.get("test")?;
    if test.list().is_none() {
        return Some(Command::Shell(test.text()?.to_owned()));
    }
    let words: Vec<String> = test.texts().iter().map(|(text, _)| (*text).to_owned()).collect();
    match words.split_first() {
        Some((first, rest)) if first == "CMD-SHELL" => Some(Command::Shell(rest.join(" "))),
        Some((first, rest)) if first == "CMD" && !rest.is_empty() => {
            Some(Command::Words(rest.to_vec()))
        }
        Some(_) | None => None,
    }
}

/// Reads `healthcheck`.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, node: &Node) {
    let Some(check) = node.get("healthcheck") else { return };
    let place = check.place.clone();
    let Some(command) = test(check) else {
        let disabled = check.get("disable").and_then(Node::truth) == Some(true)
            || check.get("test").is_some_and(|test| test.texts().iter().any(|(t, _)| *t == "NONE"));
        if disabled {
            part.extra(Section::Container, "HealthCmd", "none");
        } else if check
            .map()
            .is_some_and(|pairs| pairs.iter().all(|(key, _)| key.text == "disable"))
        {
            let message = "podman makes the check of the image anyway; nobody waits for it";
            scope.tell(part, Needless, (&place, "healthcheck"), message);
        } else {
            let message = "it changes the check of the image, which is not read; write it out";
            scope.tell(part, Lost, (&place, "healthcheck"), message);
        }
        return;
    };
    let time = |key: &str| check.get(key).and_then(Node::text).and_then(duration);
    let interval = time("interval").unwrap_or(INTERVAL);
    let timeout = time("timeout").unwrap_or(TIMEOUT);
    let retries = check.get("retries").and_then(Node::text).and_then(|text| text.parse().ok());
    let retries: u32 = retries.unwrap_or(RETRIES);
    let times = Times { interval, timeout, retries, start_period: time("start_period") };
    part.component.health = Some(health(command, &times));
    part.remark("health", times.remark());
    if let Some(value) = check.get("start_interval") {
        scope.tell(part, Changed, (&value.place, "healthcheck.start_interval"), STARTUP_IS);
    }
    for (key, least) in [("interval", 2), ("timeout", 1)] {
        if time(key).is_some_and(|time| time < Duration::from_secs(least)) {
            let key = format!("healthcheck.{key}");
            scope.tell(part, Changed, (&place, &key), format!("{least} seconds are the least"));
        }
    }
}

/// Another service that one depends on.
struct Other {
    name: String,
    condition: String,
    /// Whether it starts all the same without that one.
    is_optional: bool,
    /// Where it says that it is restarted together with that one.
    restart: Option<Place>,
    place: Place,
}

/// Returns what `depends_on` names: a mapping, or a list.
fn others(value: &Node) -> Vec<Other> {
    let Some(pairs) = value.map() else {
        let plain = |(name, place): (&str, &Place)| Other {
            name: name.to_owned(),
            condition: String::new(),
            is_optional: false,
            restart: None,
            place: place.clone(),
        };
        return value.texts().into_iter().map(plain).collect();
    };
    let said = |(name, node): &(Key, Node)| Other {
        name: name.text.clone(),
        condition: node.get("condition").and_then(Node::text).unwrap_or_default().to_owned(),
        restart: node
            .get("restart")
            .filter(|restart| restart.truth() == Some(true))
            .map(|restart| restart.place.clone()),
        is_optional: node.get("required").and_then(Node::truth) == Some(false),
        place: name.place.clone(),
    };
    pairs.iter().map(said).collect()
}

/// Reads `depends_on`.
pub(super) fn depends_on(scope: &mut Scope<'_>, part: &mut Part, key: &Key, value: &Node) {
    for Other { name: other, condition, is_optional, restart, place } in others(value) {
        let what = format!("{}.{other}", key.text);
        let at = (&place, what.as_str());
        let Some(name) = scope.names.get(&other).map(ToString::to_string) else {
            let kind = if is_optional { Needless } else { Lost };
            scope.tell(part, kind, at, "that service is not imported");
            continue;
        };
        if let Some(place) = restart {
            let message = format!("{name} is restarted alone, and this one runs on");
            scope.tell(part, Lost, (&place, &format!("{what}.restart")), message);
        }
        if is_optional {
            // A definition's own dependencies are all needed; systemd's not.
            if let Some(container) = scope.container(&other) {
                let unit = format!("{container}.service");
                part.extra(Section::Unit, "Wants", unit.clone());
                part.extra(Section::Unit, "After", unit);
            }
            let message = format!("it starts after {name}, and also if that one fails");
            scope.tell(part, Needless, at, message);
        } else {
            part.depend(&name);
        }
        let service = scope.root.get("services").and_then(|services| services.get(&other));
        let checked = service.is_some_and(is_checked);
        match condition.as_str() {
            oneshot::CONDITION => {}
            _ if oneshot::is_one(scope, &other) => {
                let message = "it waits until that one has ended, as others do";
                scope.tell(part, Changed, at, message);
            }
            "service_healthy" if !checked => {
                let message = format!(
                    "the check of that image is not read, so it waits only for the start; give {name} a `health`"
                );
                scope.tell(part, Todo, at, message);
            }
            condition if checked && condition != "service_healthy" => {
                let message = "it waits until that one is ready, not only for the start";
                scope.tell(part, Changed, at, message);
            }
            _ => {}
        }
    }
}
