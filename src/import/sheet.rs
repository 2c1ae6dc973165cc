//! A definition while it is being put together.

use std::collections::btree_map::Entry;

use crate::definition::model::{Component, Definition, Extra, OneOrMany};
use crate::definition::write::Draft;
use crate::quadlet::escape::word;

use super::note::{Note, NoteKind, Notes, Place};
use super::things::Things;

/// A definition, and what is said of it.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) service: Definition,
    pub(super) head: Vec<String>,
    pub(super) parts: Vec<Part>,
    pub(super) things: Things,
    pub(super) notes: Notes,
    /// Components that depend on others because those say so (`Before=`).
    pub(super) before: Vec<(String, String)>,
}

/// One component of it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) component: Component,
    /// What it was in the source, such as `services.web`.
    pub(super) what: String,
    pub(super) place: Place,
    remarks: Vec<(String, String)>,
}

/// A section that verbatim lines go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Unit,
    Container,
    Service,
}

impl Section {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "Unit",
            Self::Container => "Container",
            Self::Service => "Service",
        }
    }
}

/// The path of remarks on what a component does not have.
const BELOW: &str = "~";

impl Part {
    pub(super) fn new(name: &str, what: impl Into<String>, place: Place) -> Self {
        let component = Component { name: Some(name.to_owned()), ..Component::default() };
        Self { component, what: what.into(), place, remarks: Vec::new() }
    }

    pub(super) fn name(&self) -> &str {
        self.component.name.as_deref().unwrap_or_default()
    }

    /// Adds a comment above a key; above the component for `""`.
    pub(super) fn remark(&mut self, key: &str, line: impl Into<String>) {
        self.remarks.push((key.to_owned(), line.into()));
    }

    /// Adds a verbatim line.
    pub(super) fn extra(&mut self, section: Section, key: &str, value: impl Into<String>) {
        let extra = self.component.extra.get_or_insert_default();
        verbatim(extra, section.as_str(), key, value.into());
    }

    /// Adds a component that must be ready first.
    pub(super) fn depend(&mut self, name: &str) {
        if name == self.name() {
            return;
        }
        let list = self.component.depends_on.get_or_insert_default();
        if !list.iter().any(|own| own == name) {
            list.push(name.to_owned());
        }
    }

    /// Adds an option of `podman run` that has no key.
    pub(super) fn podman_arg(&mut self, argument: &str) {
        self.extra(Section::Container, "PodmanArgs", word(argument));
    }

    /// Tells of something of this component, in the notes and, unless it is
    /// needless, in a comment of the definition.
    pub(super) fn tell(
        &mut self,
        notes: &mut Notes,
        kind: NoteKind,
        (place, key): (&Place, &str),
        message: impl Into<String>,
    ) {
        let message = message.into();
        if let Some(word) = kind.word() {
            self.remark(BELOW, format!("{word}: {key}: {message}."));
        }
        notes.add_of_part(kind, place, format!("{}.{key}", self.what), message);
    }
}

impl Sheet {
    /// Has components depend on those that say so.
    fn order(&mut self) {
        for (name, first) in std::mem::take(&mut self.before) {
            for part in self.parts.iter_mut().filter(|own| own.name() == name) {
                part.depend(&first);
            }
        }
    }

    /// Returns the draft, the places of the components, and the notes.
    pub(super) fn take_apart(mut self) -> (Draft, Vec<(String, Place)>, Vec<Note>) {
        self.order();
        let Self { service, head, parts, things, notes, before: _ } = self;
        let mut draft = Draft { definition: service, ..Draft::default() };
        for line in head.into_iter().chain(notes.heads()) {
            draft.remarks.add("", line);
        }
        let Things { networks, volumes, .. } = things;
        draft.definition.networks = (!networks.is_empty()).then_some(networks);
        draft.definition.volumes = (!volumes.is_empty()).then_some(volumes);
        let mut places = Vec::new();
        let mut components = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let at = format!("components[{index}]");
            for (key, line) in part.remarks {
                let path = if key.is_empty() { at.clone() } else { format!("{at}.{key}") };
                draft.remarks.add(path, line);
            }
            places.push((part.what, part.place));
            components.push(part.component);
        }
        draft.definition.components = Some(components);
        (draft, places, notes.sorted())
    }
}

/// Adds a verbatim line to a section.
pub(super) fn verbatim(extra: &mut Extra, section: &str, key: &str, value: String) {
    let lines = extra.entry(section.to_owned()).or_default();
    match lines.entry(key.to_owned()) {
        Entry::Vacant(empty) => {
            empty.insert(OneOrMany::One(value));
        }
        Entry::Occupied(mut some) => match some.get_mut() {
            OneOrMany::Many(values) => values.push(value),
            OneOrMany::One(first) => {
                let first = std::mem::take(first);
                some.insert(OneOrMany::Many(vec![first, value]));
            }
        },
    }
}

/// Adds to a list that may not be there yet.
pub(super) fn push<T>(list: &mut Option<Vec<T>>, item: T) {
    list.get_or_insert_default().push(item);
}
