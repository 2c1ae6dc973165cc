//! Containers that run: what podman knows of them becomes a definition, as
//! `mcp import run` makes one of the command line, with what the command line
//! left open filled in from the container itself.

mod arguments;
mod inspected;
mod made;
mod released;
mod settle;
mod surroundings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use settle::VolumeNames;

pub use arguments::{Difference, difference};
pub use inspected::{Fixed, Given, Inspected, InspectedImage};
pub use made::{Line, MadeNetwork, MadeVolume, ThereNetwork, Things};

use super::Files;
use super::finish::{Imported, Unfinished, finish};
use super::naming::short;
use super::note::{NoteKind, Notes};
use super::quadlet::Around;
use super::run::apply::apply;
use super::run::parse::{Run, parse};
use super::run::split::of_container;
use super::run::{Options, Scope, Wrong, renamed};
use super::sheet::{Part, Section, Sheet};

use crate::names::{ComponentName, NetworkName, ServiceName};

/// A container that runs.
#[derive(Debug, Clone)]
pub struct Live {
    /// What podman knows of it.
    pub container: Inspected,
    /// The variables of its image.
    pub image_env: Vec<String>,
    /// A name that means its image.
    pub image: String,
    /// The unit that looks after it.
    pub unit: Option<LiveUnit>,
    /// What it was given, as against what podman chose; none: nobody knows.
    pub given: Option<Given>,
}

impl Live {
    /// Returns what it was given in a network; none: nobody knows.
    fn fixed(&self, network: &str) -> Option<&Fixed> {
        self.given.as_ref()?.networks.get(network)
    }
}

/// The unit that looks after a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveUnit {
    /// Its name, such as `web.service`.
    pub name: String,
    /// The file that somebody wrote for it.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Whether that is a Quadlet file.
    pub is_quadlet: bool,
    /// The files beside it that are called as those that MCP makes to have it
    /// checked while it runs: their texts by name.
    pub checks: BTreeMap<String, String>,
}

impl LiveUnit {
    /// Returns the name without its suffix.
    fn stem(&self) -> &str {
        self.name.strip_suffix(".service").unwrap_or(&self.name)
    }
}

/// A volume without a name, and the one that gets its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeCopy {
    /// Podman's number of it.
    pub from: String,
    /// Podman's name of the new one.
    pub to: String,
    /// Where it is in the container.
    pub target: String,
}

/// What becomes of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The name that it has.
    pub container: String,
    /// The component that it becomes.
    pub component: ComponentName,
    /// The volumes that get a name.
    pub volumes: Vec<VolumeCopy>,
    /// Whether [`LiveUnit::checks`] are made again.
    pub is_checked: bool,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoption {
    /// The definition, and what there is to tell.
    pub imported: Imported,
    /// The containers, in the order given.
    pub taken: Vec<Taken>,
}

/// Why nothing came out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ContainersError {
    /// What podman says of a container is no command line.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// Nobody knows how a container was made.
    #[error(
        "{container} was made through podman's interface for programs, which keeps no command line; write a definition by hand, or make it anew with podman run"
    )]
    NoCommand {
        /// Its name.
        container: String,
    },
    /// No component can be called like it.
    #[error("no component can be called like {container}; podman rename gives it another name")]
    NoName {
        /// Its name.
        container: String,
    },
    /// Nothing can be made of it.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

/// Makes a definition of containers; each becomes a component.
///
/// # Errors
///
/// [`ContainersError`]: nothing came out.
pub fn import(
    service: &ServiceName,
    live: &[Live],
    things: &Things,
    files: &mut dyn Files,
) -> Result<Adoption, ContainersError> {
    let names = components(service, live)?;
    let units: BTreeMap<String, ComponentName> = live
        .iter()
        .zip(&names)
        .filter_map(|(live, name)| Some((live.unit.as_ref()?.stem().to_owned(), name.clone())))
        .collect();
    let by_container: Vec<(&str, &ComponentName)> =
        live.iter().map(|live| live.container.name.as_str()).zip(&names).collect();
    let options = Options::default();
    let mut scope = Scope::new(&options, files, Notes::default(), service);
    let mut sheet = Sheet::default();
    let mut volume_names = BTreeMap::new();
    let mut taken = Vec::new();
    for (live, name) in live.iter().zip(&names) {
        let container = live.container.name.clone();
        let command = of_container(&container, &live.container.config.create_command);
        let Some(mut run) = parse(&command)? else {
            return Err(ContainersError::NoCommand { container });
        };
        let addresses = addresses(&run, live);
        let required = settle::required(&mut run);
        let mut names = VolumeNames { service, component: name, given: &mut volume_names };
        let volumes = settle::settle(&mut run, live, &mut names);
        let nameless = settle::nameless(&mut run);
        let mut part = Part::new(name.as_str(), &container, run.place.clone());
        part.remark("", format!("From the container {container}."));
        apply(&mut scope, &mut part, &run);
        for (key, message) in addresses {
            part.tell(&mut scope.notes, NoteKind::Todo, (&run.place, &key), message);
        }
        for target in nameless {
            part.extra(Section::Container, "Volume", target);
        }
        for other in required {
            if let Some((_, other)) = by_container.iter().find(|(own, _)| **own == other) {
                part.depend(other.as_str());
            }
        }
        let mut is_checked = false;
        if let Some(unit) = &live.unit {
            let is_alone = units.len() == 1;
            let around = Around { service, names: &units, files: scope.files, is_alone };
            let notes = std::mem::take(&mut scope.notes);
            let said = (&mut part, &mut sheet, notes);
            (scope.notes, is_checked) = of_unit(said, &around, unit);
        }
        renamed(&mut part, &container, service);
        things.tell_unnamed(&mut part, &mut scope.notes, live);
        sheet.parts.push(part);
        taken.push(Taken { container, component: name.clone(), volumes, is_checked });
    }
    things.describe(live, &mut scope.things);
    things.tell_chosen(&sheet.parts, &mut scope.notes, live);
    sheet.service.name = Some(service.to_string());
    sheet.notes = scope.notes;
    sheet.things = scope.things;
    sheet.head.push("Made from containers that ran, by mcp adopt.".to_owned());
    let mut imported = finish(sheet)?;
    imported.notes.retain(|note| note.kind != NoteKind::Needless);
    Ok(Adoption { imported, taken })
}

/// Reads what a unit says besides its container; one that MCP has made and
/// released says less than one of anybody else. Tells whether its check is in
/// the definition again.
fn of_unit(
    (part, sheet, mut notes): (&mut Part, &mut Sheet, Notes),
    around: &Around<'_>,
    unit: &LiveUnit,
) -> (Notes, bool) {
    let said = (&mut *part, around.service, &mut notes);
    let Some(own) = released::taken_in(said, unit) else {
        return (surroundings::read((part, sheet, notes), around, unit), false);
    };
    let notes = surroundings::read((&mut *part, sheet, notes), around, &own.unit);
    released::without_defaults(part, around.service);
    (notes, own.is_checked)
}

/// Returns what is to be told of a container's addresses in networks that it
/// joined later, by what each is about.
fn addresses(run: &Run, live: &Live) -> Vec<(String, String)> {
    let told = |network: &settle::Joined<'_>| {
        let settle::Joined { name, address, .. } = network;
        let address = address.as_ref()?;
        let file = if name.parse::<NetworkName>().is_ok() { ".network" } else { "" };
        let message = format!(
            "its address there is {address}, and podman may choose another one; extra.Container.Network = \"{name}{file}:ip={address}\" in place of the name keeps it"
        );
        Some((format!("networks.{name}"), message))
    };
    settle::joined(run, live).iter().filter_map(told).collect()
}

/// Returns the component that each container becomes.
fn components(service: &ServiceName, live: &[Live]) -> Result<Vec<ComponentName>, ContainersError> {
    let mut names: Vec<ComponentName> = Vec::new();
    for live in live {
        let container = &live.container.name;
        // What podman's generator calls a container that has no name.
        let plain = container.strip_prefix("systemd-").unwrap_or(container);
        let is_taken = |name: &str| names.iter().any(|own| own.as_str() == name);
        let Some(name) = short(plain, service, is_taken) else {
            return Err(ContainersError::NoName { container: container.clone() });
        };
        names.push(name);
    }
    Ok(names)
}
