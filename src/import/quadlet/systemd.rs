//! `[Unit]`, `[Service]` and `[Install]`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::set::Scope;
use super::unit::{Line, Unit, plain, truth};
use crate::definition::model::{Definition, Oneshot, OneshotTable};
use crate::definition::suggest;
use crate::import::files::file_name;
use crate::import::note::NoteKind::{Changed, Lost, Needless, Todo};
use crate::import::sheet::{Part, Section};
use crate::import::values::duration_text;
use crate::names::UnitName;
use crate::quadlet::known_keys;

/// Targets of the system, for which a user's units cannot wait.
const OF_THE_SYSTEM: &[&str] =
    &["network.target", "network-online.target", "local-fs.target", "remote-fs.target"];
/// Targets that bring a container up when its user's manager starts.
const AT_BOOT: &[&str] = &["default.target", "multi-user.target", "graphical-session.target"];
/// What is said of `X-` keys.
pub(super) const PASSED_OVER: &str = "systemd passes over what begins with X-";

/// The sections of a `.container` that somebody reads.
const SECTIONS: &[&str] = &["Unit", "Container", "Service", "Install", "Quadlet"];

/// Reads the sections.
pub(super) fn convert(
    scope: &mut Scope<'_>,
    part: &mut Part,
    unit: &Unit,
    service: &mut Definition,
    is_alone: bool,
) {
    doubts(scope, part, unit);
    unit_section(scope, part, unit);
    service_section(scope, part, unit);
    install_section(scope, part, unit);
    if let Some(text) = unit.last("Unit", "Description").and_then(|line| plain(&line.value)) {
        if is_alone {
            service.comment = Some(text);
        } else {
            part.remark("", text);
        }
    }
    for line in &unit.lines {
        match line.section.as_str() {
            "Unit" | "Container" | "Service" | "Install" => {}
            "Quadlet" => scope.tell(part, Needless, line, "MCP writes that section itself"),
            own if own.starts_with("X-") => {
                scope.tell(part, Needless, line, "podman and systemd pass that section over");
            }
            other => {
                let likely = suggest::closest(other, SECTIONS.iter().copied());
                let help = likely.map(|likely| format!(" (did you mean [{likely}]?)"));
                let message =
                    format!("podman and systemd pass [{other}] over{}", help.unwrap_or_default());
                scope.tell(part, Lost, line, message);
            }
        }
    }
}

/// Tells of keys that systemd does not know: it passes them over.
fn doubts(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit) {
    for section in ["Unit", "Service", "Install"] {
        for line in unit.section(section) {
            if let Some(doubt) = known_keys::doubt(section, &line.key) {
                scope.tell(part, Todo, line, doubt.to_string());
            }
        }
    }
}

/// Reads `[Unit]`.
pub(super) fn unit_section(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit) {
    let edges = Edges::new(scope, unit);
    for line in unit.section("Unit") {
        match line.key.as_str() {
            "Description" => {}
            "PartOf" if is_own_target(scope, line) => {}
            "PartOf" => {
                scope.tell(part, Changed, line, "it is part of its service's target");
            }
            "After" | "Requires" | "Wants" | "BindsTo" | "Requisite" | "Before" => {
                dependency(scope, part, &edges, line);
            }
            key if key.starts_with("X-") => scope.tell(part, Needless, line, PASSED_OVER),
            _ => part.extra(Section::Unit, &line.key, line.value.clone()),
        }
    }
}

/// Returns what a unit names under keys of `[Unit]`: the containers' files
/// without their suffix.
pub(super) fn stems<'a>(unit: &'a Unit, keys: &[&str]) -> BTreeSet<&'a str> {
    let lines = unit.section("Unit").into_iter().filter(|line| keys.contains(&line.key.as_str()));
    lines.flat_map(|line| line.value.split_whitespace()).filter_map(stem).collect()
}

fn stem(name: &str) -> Option<&str> {
    name.strip_suffix(".service").or(name.strip_suffix(".container"))
}

/// What a unit says of others, by the stems of their files.
struct Edges<'a> {
    /// Those that start after it.
    later: BTreeSet<&'a str>,
    /// Those that it does not run without.
    required: BTreeSet<&'a str>,
}

impl<'a> Edges<'a> {
    fn new(scope: &Scope<'a>, unit: &'a Unit) -> Self {
        let mut later = stems(unit, &["Before"]);
        let others = scope.set.units.values().filter(|other| other.kind == "container");
        later.extend(
            others
                .filter(|other| stems(other, &["After"]).contains(unit.stem.as_str()))
                .map(|other| other.stem.as_str()),
        );
        Self { later, required: stems(unit, &["Requires", "BindsTo", "Requisite"]) }
    }
}

/// Reads a list of units: those of imported containers become components.
fn dependency(scope: &mut Scope<'_>, part: &mut Part, edges: &Edges<'_>, line: &Line) {
    let mut rest: Vec<&str> = Vec::new();
    for name in line.value.split_whitespace() {
        let stem = stem(name);
        let own = stem.and_then(|stem| scope.names.get(stem)).map(ToString::to_string);
        let is_thing = ["-network", "-volume", "-image", "-pod"].iter().any(|end| {
            let stem = stem.and_then(|stem| stem.strip_suffix(end));
            let kind = end.trim_start_matches('-');
            stem.is_some_and(|stem| scope.set.units.contains_key(&format!("{stem}.{kind}")))
        }) || scope.set.units.contains_key(name);
        match own {
            Some(other) if line.key == "Before" => {
                let message = format!("{other} depends on it, and does not start without it");
                scope.tell(part, Changed, line, message);
                scope.before.push((other, part.name().to_owned()));
            }
            Some(other) if edges.later.contains(stem.unwrap_or_default()) => {
                let message = format!("{other} starts after it, with the service");
                scope.tell(part, Changed, line, message);
            }
            Some(other) => {
                if !edges.required.contains(stem.unwrap_or_default()) {
                    let message = format!("it also requires {other}, not only starts after it");
                    scope.tell(part, Changed, line, message);
                }
                if matches!(line.key.as_str(), "BindsTo" | "Requisite") {
                    let message = format!("it depends on {other}, and is started with it");
                    scope.tell(part, Changed, line, message);
                }
                part.depend(&other);
            }
            None if is_thing => {
                scope.tell(part, Needless, line, "podman's generator sees to it");
            }
            None if OF_THE_SYSTEM.contains(&name) => {
                let message = format!("a user's units cannot wait for {name}");
                scope.tell(part, Needless, line, message);
            }
            None => rest.push(name),
        }
    }
    if !rest.is_empty() {
        part.extra(Section::Unit, &line.key, rest.join(" "));
    }
}

fn service_section(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit) {
    let mut restart = "no".to_owned();
    for line in unit.section("Service") {
        match line.key.as_str() {
            "Restart" if matches!(line.value.as_str(), "always" | "on-failure" | "no") => {
                restart.clone_from(&line.value);
            }
            "Restart" => {
                "on-failure".clone_into(&mut restart);
                part.extra(Section::Service, "Restart", line.value.clone());
            }
            "Type" if line.value == "notify" => {
                scope.tell(part, Needless, line, "podman's generator writes it");
            }
            "Type" if line.value == "oneshot" => oneshot(scope, part, unit, line),
            "RemainAfterExit" if is_oneshot(unit) => {}
            "TimeoutStartSec" if is_oneshot(unit) && limit(unit).is_some() => {}
            "Sockets" => {
                part.extra(Section::Service, &line.key, line.value.clone());
                let renamed = scope.container(&unit.stem).filter(|name| *name != unit.stem);
                if let Some(name) = renamed {
                    let message = format!(
                        "the unit is called {name}.service now; Service= of each socket has to say so"
                    );
                    scope.tell(part, Todo, line, message);
                }
            }
            "ExecStart" | "Type" | "KillMode" | "NotifyAccess" => {
                scope.tell(part, Lost, line, "podman's generator writes it");
            }
            key if key.starts_with("X-") => scope.tell(part, Needless, line, PASSED_OVER),
            _ => part.extra(Section::Service, &line.key, line.value.clone()),
        }
    }
    part.component.restart = Some(restart);
}

fn is_oneshot(unit: &Unit) -> bool {
    unit.last("Service", "Type").is_some_and(|line| line.value == "oneshot")
}

/// Returns how long a unit may take to start, where it says a time.
fn limit(unit: &Unit) -> Option<String> {
    let seconds = unit.last("Service", "TimeoutStartSec")?.value.parse::<u64>().ok()?;
    (seconds > 0).then(|| duration_text(Duration::from_secs(seconds)))
}

/// A unit that runs to its end; systemd sets it no limit of its own
/// (`systemd.service(5)`, `TimeoutStartSec=`).
fn oneshot(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit, line: &Line) {
    let timeout = Some(limit(unit).unwrap_or_else(|| "24h".to_owned()));
    part.component.oneshot = Some(Oneshot::Full(OneshotTable { timeout }));
    let remains = unit.last("Service", "RemainAfterExit").and_then(|line| truth(&line.value));
    if remains != Some(true) {
        let message = "after its end it counts as done, and runs again at a boot or by mcp restart; what a timer starts is a schedule of a component that runs";
        scope.tell(part, Changed, line, message);
    }
}

/// Tells whether a line of `[Install]` has a unit come up when its user's
/// manager starts.
fn is_boot(line: &Line) -> bool {
    matches!(line.key.as_str(), "WantedBy" | "RequiredBy" | "UpheldBy")
        && line.value.split_whitespace().any(|name| AT_BOOT.contains(&name))
}

/// Tells whether a line ties the unit to the target that its service has here
/// as well: it was released.
fn is_own_target(scope: &Scope<'_>, line: &Line) -> bool {
    matches!(line.key.as_str(), "PartOf" | "WantedBy" | "RequiredBy")
        && line.value == UnitName::service_target(&scope.service).as_str()
}

/// Tells whether a target of the user comes up at a boot, and with it what it
/// pulls in.
fn is_pulled_in(scope: &Scope<'_>, unit: &Unit, target: &str) -> bool {
    let home = ["/containers/systemd/", "/systemd/user/"]
        .iter()
        .find_map(|place| unit.path.split_once(place))
        .map(|(home, _)| home);
    home.is_some_and(|home| {
        AT_BOOT
            .iter()
            .any(|boot| scope.files.exists(&format!("{home}/systemd/user/{boot}.wants/{target}")))
    })
}

fn install_section(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit) {
    // A pod brings its containers up.
    let pod = unit.last("Container", "Pod").and_then(|line| scope.set.units.get(&line.value));
    let mut at_boot = pod.is_some_and(|pod| pod.section("Install").into_iter().any(is_boot));
    for line in unit.section("Install") {
        if is_boot(line) {
            at_boot = true;
        } else if is_own_target(scope, line) {
            at_boot |= is_pulled_in(scope, unit, &line.value);
        } else if known_keys::doubt("Install", &line.key).is_none() {
            let message = "only the service as a whole is brought up, by its target";
            scope.tell(part, Lost, line, message);
        }
    }
    if !at_boot {
        let place = unit.place.clone();
        let file = file_name(&unit.path);
        let message = format!("{file} does not start at a boot; a service that is active does");
        part.tell(&mut scope.notes, Changed, (&place, "Install"), message);
    }
}
