//! A project to a sheet: which services there are, and what they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::interpolate::Variables;
use super::project::{ComposeError, Options, Project, wrong};
use super::yaml::{Key, Node};
use super::{environment, health, images, limits, mounts, network, oneshot, service, things};
use crate::import::files::{Files, file_name};
use crate::import::naming::named;
use crate::import::note::{NoteKind, Notes, Place};
use crate::import::sheet::{Part, Sheet};
use crate::import::things::Things;
use crate::import::values::{label, untaken};
use crate::names::{ComponentName, ContainerName, ServiceName};

/// What the parts of a conversion know and share.
pub(super) struct Scope<'a> {
    pub(super) root: &'a Node,
    variables: &'a Variables,
    included: &'a BTreeMap<String, Rc<Variables>>,
    pub(super) files: &'a mut dyn Files,
    pub(super) read: &'a mut Vec<String>,
    pub(super) notes: Notes,
    pub(super) things: Things,
    pub(super) service: ServiceName,
    /// Names of components by those of compose services.
    pub(super) names: BTreeMap<String, ComponentName>,
    /// Names of volumes by those in the file.
    pub(super) volumes: BTreeMap<String, String>,
    /// The networks that are used, by those in the file: what they are called.
    pub(super) networks_used: BTreeMap<String, String>,
    /// The volumes that are used, likewise.
    pub(super) volumes_used: BTreeMap<String, String>,
    /// Further names of a service in its networks, from `links`.
    pub(super) links: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Scope<'a> {
    /// Returns what the container of a compose service is called.
    pub(super) fn container(&self, service: &str) -> Option<String> {
        let name = self.names.get(service)?;
        Some(ContainerName::new(&self.service, name).to_string())
    }

    /// Returns the variables that are known where a service stands.
    pub(super) fn variables(&self, service: &str) -> &'a Variables {
        self.included.get(service).map_or(self.variables, |own| own)
    }

    /// Returns an entry of a section at the top.
    pub(super) fn top(&self, section: &str, name: &str) -> Option<&Node> {
        self.root.get(section)?.get(name)
    }

    pub(super) fn tell(
        &mut self,
        part: &mut Part,
        kind: NoteKind,
        at: (&Place, &str),
        message: impl Into<String>,
    ) {
        part.tell(&mut self.notes, kind, at, message);
    }
}

/// Makes a sheet of a project.
///
/// # Errors
///
/// [`ComposeError::Wrong`] where nothing can be made of the files.
pub(super) fn convert(
    project: &mut Project,
    files: &mut dyn Files,
    options: &Options,
    mut notes: Notes,
) -> Result<Sheet, ComposeError> {
    let root = &project.root;
    let Some(services) = root.get("services").and_then(Node::map) else {
        return Err(wrong(&root.place, "the file has no services"));
    };
    let service = service_name(project, options, &mut notes);
    sections(root, &mut notes);
    let (enabled, names) = chosen(services, &profiles(project, options), &mut notes)?;
    if enabled.is_empty() {
        return Err(wrong(&root.place, "no service is left; --profile chooses those of a profile"));
    }
    images::check(&enabled, &notes)?;
    let mut scope = Scope {
        root,
        variables: &project.variables,
        included: &project.included,
        files,
        read: &mut project.read,
        notes,
        things: Things::default(),
        service,
        names,
        volumes: volume_names(root),
        networks_used: BTreeMap::new(),
        volumes_used: BTreeMap::new(),
        links: BTreeMap::new(),
    };
    network::collect_links(&mut scope, &enabled);
    let mut sheet = Sheet::default();
    for (key, node) in &enabled {
        let name = scope.names.get(&key.text).map(ToString::to_string).unwrap_or_default();
        let what = format!("services.{}", key.text);
        let mut part = Part::new(&name, what, key.place.clone());
        part.remark(
            "",
            format!("services.{} of {}:{}", key.text, file_name(&key.place.file), key.place.line),
        );
        service::convert(&mut scope, &mut part, &key.text, node);
        environment::convert(&mut scope, &mut part, (&key.text, node));
        network::convert(&mut scope, &mut part, (&key.text, node), enabled.len() == 1);
        mounts::convert(&mut scope, &mut part, node);
        if !oneshot::is_one(&scope, &key.text) {
            health::convert(&mut scope, &mut part, node);
        }
        limits::convert(&mut scope, &mut part, node);
        oneshot::convert(&mut scope, &mut part, &key.text, node);
        sheet.parts.push(part);
    }
    things::convert(&mut scope);
    sheet.service.name = Some(scope.service.to_string());
    sheet.notes = scope.notes;
    sheet.things = scope.things;
    let origins: BTreeSet<&str> = enabled.iter().map(|(key, _)| key.place.file.as_str()).collect();
    let origins: Vec<&str> = origins.into_iter().collect();
    sheet.head.push(format!("Made from {} by mcp import.", origins.join(" and ")));
    Ok(sheet)
}

/// What a compose service is called, and what it says.
type Entry<'a> = (&'a Key, &'a Node);

/// Returns the services of the wanted profiles, and the names that they get.
fn chosen<'a>(
    services: &'a [(Key, Node)],
    wanted: &[String],
    notes: &mut Notes,
) -> Result<(Vec<Entry<'a>>, BTreeMap<String, ComponentName>), ComposeError> {
    let mut names: BTreeMap<String, ComponentName> = BTreeMap::new();
    let mut enabled = Vec::new();
    for (key, node) in services {
        if node.map().is_none() {
            return Err(wrong(&key.place, format!("the service {} is no mapping", key.text)));
        }
        let own: Vec<&str> = node
            .get("profiles")
            .map(Node::texts)
            .unwrap_or_default()
            .iter()
            .map(|(t, _)| *t)
            .collect();
        let is_wanted = own.is_empty()
            || wanted.iter().any(|wanted| wanted == "*" || own.contains(&wanted.as_str()));
        if !is_wanted {
            let what = format!("services.{}", key.text);
            let message = format!(
                "it is of the profile {}, which was not asked for; --profile {} brings it in",
                own.join(", "),
                own.first().unwrap_or(&"")
            );
            notes.add(NoteKind::Lost, &key.place, what, message);
            continue;
        }
        let name = untaken(label(&key.text), |name| names.values().any(|n| n.as_str() == name));
        let name = name.parse().map_err(|error| wrong(&key.place, format!("{error}")))?;
        names.insert(key.text.clone(), name);
        enabled.push((key, node));
    }
    Ok((enabled, names))
}

/// Returns the name of the service: as compose names projects.
fn service_name(project: &Project, options: &Options, notes: &mut Notes) -> ServiceName {
    let in_file = project.root.get("name");
    let name = options
        .name
        .as_deref()
        .or(project.variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()))
        .or(in_file.and_then(Node::text))
        .unwrap_or(file_name(&project.directory));
    let place = in_file.map_or(&project.root.place, |node| &node.place);
    named(name, place, notes)
}

/// Gives each volume of the file a name of its own.
fn volume_names(root: &Node) -> BTreeMap<String, String> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (key, _) in root.get("volumes").and_then(Node::map).unwrap_or_default() {
        let name = untaken(label(&key.text), |name| names.values().any(|own| own == name));
        names.insert(key.text.clone(), name);
    }
    names
}

/// Tells of what stands at the top of the files and is not carried over.
fn sections(root: &Node, notes: &mut Notes) {
    for (key, node) in root.map().unwrap_or_default() {
        let known = matches!(
            key.text.as_str(),
            "version" | "name" | "services" | "volumes" | "networks" | "secrets" | "configs"
        );
        if !known && !key.text.starts_with("x-") && !node.is_null() {
            let message = "a definition has nothing like it";
            notes.add(NoteKind::Lost, &key.place, key.text.clone(), message);
        }
    }
}

fn profiles(project: &Project, options: &Options) -> Vec<String> {
    if !options.profiles.is_empty() {
        return options.profiles.clone();
    }
    let text = project.variables.get("COMPOSE_PROFILES").unwrap_or_default();
    text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
}
