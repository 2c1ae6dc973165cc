//! The files that are imported together, and what they are called.

use std::collections::{BTreeMap, BTreeSet};

use super::unit::{Unit, plain};
use super::{QuadletError, container, pod, systemd, things};
use crate::import::files::{Files, directory, file_name};
use crate::import::naming::{alike, named, short};
use crate::import::note::{NoteKind, Notes};
use crate::import::sheet::{Part, Section, Sheet};
use crate::import::things::Things;
use crate::names::{ComponentName, ContainerName, ServiceName};
use crate::quadlet::unit_file;

/// The files, by name.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) units: BTreeMap<String, Unit>,
    /// The names of the containers' files, in the order given.
    containers: Vec<String>,
    pub(super) read: Vec<String>,
    pub(super) notes: Notes,
}

/// What converting one container knows.
pub(super) struct Scope<'a> {
    pub(super) set: &'a Set,
    pub(super) files: &'a dyn Files,
    pub(super) notes: Notes,
    pub(super) things: Things,
    pub(super) service: ServiceName,
    /// The components by the stems of their files.
    pub(super) names: BTreeMap<String, ComponentName>,
    /// Components that depend on others because those say so (`Before=`).
    pub(super) before: Vec<(String, String)>,
}

impl Scope<'_> {
    pub(super) fn container(&self, stem: &str) -> Option<String> {
        let name = self.names.get(stem)?;
        Some(ContainerName::new(&self.service, name).to_string())
    }

    pub(super) fn tell(
        &mut self,
        part: &mut Part,
        kind: NoteKind,
        line: &super::unit::Line,
        message: impl Into<String>,
    ) {
        let key = format!("{}.{}", line.section, line.key);
        part.tell(&mut self.notes, kind, (&line.place, &key), message);
    }

    /// Returns podman's name of what a file of a kind makes: the one that it
    /// gives, or `systemd-<stem>`.
    pub(super) fn podman_name(&self, file: &str, section: &str, key: &str) -> String {
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        self.set
            .units
            .get(file)
            .and_then(|unit| unit.last(section, key))
            .and_then(|line| plain(&line.value))
            .unwrap_or_else(|| format!("systemd-{stem}"))
    }
}

/// Reads the files, and those beside them that they name.
///
/// # Errors
///
/// [`QuadletError::Unreadable`].
pub(super) fn load(paths: &[String], files: &mut dyn Files) -> Result<Set, QuadletError> {
    let mut set = Set::empty();
    for path in paths {
        let unreadable = |reason: String| QuadletError::Unreadable { path: path.clone(), reason };
        let text = files.text(path).map_err(unreadable)?;
        let text = text.ok_or_else(|| unreadable("there is no such file".to_owned()))?;
        if let Some((number, line)) = unit_file::unreadable(&text) {
            let why = format!("line {number} is no KEY=VALUE and no [Section]: {line:?}");
            return Err(unreadable(why));
        }
        set.add(path, &text);
    }
    let first = set.containers.iter().find_map(|own| set.units.get(own));
    let Some(beside) = first.map(|unit| directory(&unit.path).to_owned()) else { return Ok(set) };
    let mut sought = BTreeSet::new();
    // What is named may name more: a pod its networks.
    while let Some(name) = set.named().into_iter().find(|name| sought.insert(name.clone())) {
        let path = format!("{beside}/{name}");
        let unreadable = |reason: String| QuadletError::Unreadable { path: path.clone(), reason };
        if let Some(text) = files.text(&path).map_err(unreadable)? {
            set.add(&path, &text);
        }
    }
    Ok(set)
}

impl Set {
    pub(super) fn empty() -> Self {
        Self {
            units: BTreeMap::new(),
            containers: Vec::new(),
            read: Vec::new(),
            notes: Notes::default(),
        }
    }

    fn add(&mut self, path: &str, text: &str) {
        let unit = Unit::new(path, text);
        let name = file_name(path).to_owned();
        let lost = match unit.kind.as_str() {
            "container" if unit.stem.ends_with('@') => {
                Some("a template is no container; import what it is instantiated to")
            }
            "container" => {
                if !self.containers.contains(&name) {
                    self.containers.push(name.clone());
                }
                None
            }
            "network" | "volume" | "image" | "pod" => None,
            "build" => Some("nothing is built; build the image yourself"),
            "kube" => Some("Kubernetes files are not imported; write the containers out"),
            _ => Some("it is no Quadlet file"),
        };
        if let Some(message) = lost {
            self.notes.add(NoteKind::Lost, &unit.place, name.clone(), message);
        }
        self.read.push(path.to_owned());
        self.units.insert(name, unit);
    }

    /// Returns the names of files that others name and that are not read.
    fn named(&self) -> Vec<String> {
        let mut names = Vec::new();
        for line in self.units.values().flat_map(|unit| &unit.lines) {
            if !matches!(line.section.as_str(), "Container" | "Pod" | "Volume") {
                continue;
            }
            let name = match line.key.as_str() {
                "Network" | "Volume" => line.value.split(':').next().unwrap_or_default(),
                "Image" | "Pod" => line.value.as_str(),
                _ => continue,
            };
            let is_file = [".network", ".volume", ".image", ".pod"]
                .iter()
                .any(|end| name.ends_with(end) && !name.contains('/'));
            if is_file && !self.units.contains_key(name) && !names.contains(&name.to_owned()) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// Makes a sheet of the files.
///
/// # Errors
///
/// [`QuadletError::NoContainer`].
pub(super) fn convert(
    set: &mut Set,
    files: &dyn Files,
    name: Option<&str>,
) -> Result<Sheet, QuadletError> {
    let mut notes = std::mem::take(&mut set.notes);
    let containers: Vec<&Unit> =
        set.containers.iter().filter_map(|name| set.units.get(name)).collect();
    let Some(first) = containers.first() else { return Err(QuadletError::NoContainer) };
    let stems: Vec<&str> = containers.iter().map(|unit| unit.stem.as_str()).collect();
    let wish = name.map(str::to_owned).or_else(|| alike(&stems));
    let wish = wish.unwrap_or_else(|| file_name(directory(&first.path)).to_owned());
    let service = named(&wish, &first.place, &mut notes);
    let mut names: BTreeMap<String, ComponentName> = BTreeMap::new();
    for stem in &stems {
        if let Some(name) = short(stem, &service, |name| names.values().any(|n| n.as_str() == name))
        {
            names.insert((*stem).to_owned(), name);
        }
    }
    let mut scope =
        Scope { set, files, notes, things: Things::default(), service, names, before: Vec::new() };
    let mut sheet = Sheet::default();
    for unit in &containers {
        let Some(name) = scope.names.get(&unit.stem).map(ToString::to_string) else { continue };
        let mut part = Part::new(&name, file_name(&unit.path), unit.place.clone());
        part.remark("", format!("From {}.", file_name(&unit.path)));
        container::convert(&mut scope, &mut part, unit);
        pod::convert(&mut scope, &mut part, unit, &containers);
        systemd::convert(&mut scope, &mut part, unit, &mut sheet.service, containers.len() == 1);
        renamed(&mut scope, &mut part, unit);
        sheet.parts.push(part);
    }
    things::convert(&mut scope);
    sheet.service.name = Some(scope.service.to_string());
    sheet.before = scope.before;
    sheet.notes = scope.notes;
    sheet.things = scope.things;
    sheet.head.push(format!("Made from {} by mcp import.", scope.set.containers.join(" and ")));
    Ok(sheet)
}

/// The container has another name: those in its networks find it by the old
/// one too.
fn renamed(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit) {
    let line = unit.last("Container", "ContainerName");
    let old = line
        .and_then(|line| plain(&line.value))
        .unwrap_or_else(|| format!("systemd-{}", unit.stem));
    let new = scope.container(&unit.stem).unwrap_or_default();
    if old == new {
        return;
    }
    let place = line.map_or(&unit.place, |line| &line.place).clone();
    let message = format!("the container is called {new}, not {old}");
    part.tell(&mut scope.notes, NoteKind::Changed, (&place, "Container.ContainerName"), message);
    let is_named =
        matches!(&part.component.network, Some(network) if !super::network::is_mode(network));
    let good = old.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if is_named && good {
        let aliases = part.component.aliases.get_or_insert_default();
        if !aliases.contains(&old) {
            aliases.push(old);
        }
    } else if unit.section("Container").iter().any(|line| {
        line.key == "Network"
            && line.value.split(':').next().is_some_and(|name| name.ends_with(".network"))
    }) && good
    {
        part.extra(Section::Container, "NetworkAlias", old);
    }
}
