//! The proof that podman's generator reads a unit set as it is meant.

use std::collections::BTreeMap;

use super::arguments::Arguments;
use super::unit_set::{Place, UnitSet};
use super::{checks, command_line, schedules, unit_file};
use crate::definition::service::Schedule;
use crate::deployment::{Container, Deployment, Readiness};

/// A difference between what was meant and what would run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The generator made no such unit.
    #[error("podman's generator made no unit {unit}")]
    Missing {
        /// The unit.
        unit: String,
    },
    /// A unit that checks a component, or runs something in it, is not there.
    #[error("there is no unit {unit}, which looks after the running component")]
    Absent {
        /// The unit.
        unit: String,
    },
    /// A unit runs something that nobody asked for.
    #[error("{unit} would run {key}={value}, which the definition does not ask for")]
    Foreign {
        /// The unit.
        unit: String,
        /// The directive.
        key: String,
        /// Its value.
        value: String,
    },
    /// A command line cannot be read back.
    #[error("{unit}: {key} cannot be read back")]
    Unreadable {
        /// The unit.
        unit: String,
        /// The directive.
        key: String,
    },
    /// An option, argument or the image differs.
    #[error("{unit}: {what}")]
    Different {
        /// The unit.
        unit: String,
        /// Which, and how.
        what: String,
    },
}

/// Compares the units that podman's generator made with the deployment that
/// they stand for; returns every difference.
///
/// `units` are the generator's texts by unit name. What `extra` keys and a
/// person's drop-ins add is a difference too.
pub fn compare(
    deployment: &Deployment,
    agent: &str,
    units: &BTreeMap<String, String>,
) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for container in &deployment.containers {
        let unit = container.name.unit().to_string();
        match units.get(&unit) {
            None => found.push(Mismatch::Missing { unit }),
            Some(text) => {
                compare_container(deployment, container, agent, (&unit, text), &mut found);
            }
        }
    }
    found
}

/// Compares the units that check running components and run commands in them,
/// which no generator reads, with the deployment; returns every difference.
pub fn compare_checks(deployment: &Deployment, agent: &str, set: &UnitSet) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let checked = |c: &Container| Some((c.name.check_unit(), checks::check_words(c, agent)?));
    let scheduled = |c: &Container| {
        let of_one =
            |s: &Schedule| (c.name.schedule_unit(&s.name), schedules::schedule_words(c, s));
        c.spec.schedules.iter().map(of_one).collect::<Vec<_>>()
    };
    let meant =
        deployment.containers.iter().flat_map(|c| checked(c).into_iter().chain(scheduled(c)));
    for (unit, meant) in meant {
        let unit = unit.to_string();
        let Some(text) = set.files.get(&(Place::Systemd, unit.clone())) else {
            found.push(Mismatch::Absent { unit });
            continue;
        };
        let directives = unit_file::directives(text);
        let runs = directives.iter().filter(|d| d.key.starts_with("Exec"));
        let mut is_there = false;
        for d in runs {
            if d.key == "ExecStart"
                && command_line::words(&d.value).as_ref() == Ok(&meant)
                && !is_there
            {
                is_there = true;
            } else {
                let (key, value) = (d.key.clone(), d.value.clone());
                found.push(Mismatch::Foreign { unit: unit.clone(), key, value });
            }
        }
        if !is_there {
            found.push(Mismatch::Different { unit, what: format!("it would not run {meant:?}") });
        }
    }
    found
}

/// Returns the argument vector of `ExecStart=` in a generated unit, for
/// plans; none when there is none.
pub fn arguments(text: &str) -> Option<Arguments> {
    Arguments::read(&exec_start(text)?).ok()
}

/// Returns the words of `ExecStart=` in a generated unit; none when there are
/// none.
pub fn exec_start(text: &str) -> Option<Vec<String>> {
    let directives = unit_file::directives(text);
    let line = unit_file::values(&directives, "Service", "ExecStart").last()?;
    command_line::words(line).ok()
}

fn compare_container(
    deployment: &Deployment,
    container: &Container,
    agent: &str,
    (unit, text): (&str, &str),
    found: &mut Vec<Mismatch>,
) {
    let directives = unit_file::directives(text);
    let mut runs: Vec<(&str, &str)> = directives
        .iter()
        .filter(|d| d.section == "Service" && d.key.starts_with("Exec"))
        .map(|d| (d.key.as_str(), d.value.as_str()))
        .collect();
    let mut take = |key: &str| runs.iter().position(|(k, _)| *k == key).map(|at| runs.remove(at).1);

    match take("ExecStart").map(command_line::words) {
        Some(Ok(words)) => match Arguments::read(&words) {
            Ok(actual) => {
                let meant = Arguments::meant(deployment, container);
                let different =
                    differences(&meant, &actual, container.spec.verbatim_networks().count());
                found.extend(
                    different
                        .into_iter()
                        .map(|what| Mismatch::Different { unit: unit.to_owned(), what }),
                );
            }
            Err(_) => found
                .push(Mismatch::Unreadable { unit: unit.to_owned(), key: "ExecStart".to_owned() }),
        },
        Some(Err(_)) | None => {
            found.push(Mismatch::Unreadable { unit: unit.to_owned(), key: "ExecStart".to_owned() });
        }
    }
    if let Some(meant) = checks::probe_words(container, agent) {
        let actual = take("ExecStartPost").and_then(|line| command_line::words(line).ok());
        if actual.as_ref() != Some(&meant) {
            let what = format!("the probe is {:?}, not {meant:?}", actual.unwrap_or_default());
            found.push(Mismatch::Different { unit: unit.to_owned(), what });
        }
    }
    for (key, meant, what) in beside(deployment, container) {
        let line = take(key).unwrap_or_default();
        if line != meant {
            let what = format!("{what} is {line:?}, not {meant:?}");
            found.push(Mismatch::Different { unit: unit.to_owned(), what });
        }
    }
    // The generator's own: how a container is stopped and cleaned up.
    for key in ["ExecStop", "ExecStopPost"] {
        let line = take(key).unwrap_or_default();
        if !line.contains("podman") || !line.contains(" rm ") {
            found.push(Mismatch::Unreadable { unit: unit.to_owned(), key: key.to_owned() });
        }
    }
    found.extend(runs.into_iter().map(|(key, value)| Mismatch::Foreign {
        unit: unit.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    }));
}

/// Returns what the templates have a container's unit run beside the container:
/// the directive, the line, and what it is for.
fn beside(
    deployment: &Deployment,
    container: &Container,
) -> Vec<(&'static str, String, &'static str)> {
    let name = &container.name;
    let mut lines = Vec::new();
    if deployment.joined(container).next().is_some() {
        let line = format!("-/usr/bin/env podman rm --depend --force --time 0 --ignore {name}");
        lines.push(("ExecStartPre", line, "what makes room"));
    }
    // Where podman and conmon were both killed, the first `rm` only notes that
    // the container has ended, and fails; the generator's own is the second.
    if let Readiness::Ended { .. } = container.readiness {
        let line = format!("-/usr/bin/env podman rm --volumes --force --ignore {name}");
        lines.push(("ExecStopPost", line, "what tidies up"));
    }
    lines
}

fn differences(meant: &Arguments, actual: &Arguments, networks: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = actual.options.clone();
    for option in &meant.options {
        match left.iter().position(|o| o == option) {
            Some(at) => {
                left.remove(at);
            }
            None => found.push(format!("podman would not get {}", shown(option))),
        }
    }
    // What the generator makes of networks named word for word is not ours to say.
    for _ in 0..networks {
        if let Some(at) = left.iter().position(|(flag, _)| flag == "--network") {
            left.remove(at);
        }
    }
    found.extend(left.iter().map(|option| format!("podman would also get {}", shown(option))));
    if meant.image != actual.image {
        found.push(format!(
            "the image would be {:?}, not {:?}",
            command_line::shown(&actual.image),
            meant.image
        ));
    }
    if meant.command != actual.command {
        let actual: Vec<String> = actual.command.iter().map(|w| command_line::shown(w)).collect();
        found.push(format!("the arguments would be {actual:?}, not {:?}", meant.command));
    }
    found
}

fn shown((flag, value): &(String, String)) -> String {
    if value.is_empty() { flag.clone() } else { format!("{flag} {:?}", command_line::shown(value)) }
}
