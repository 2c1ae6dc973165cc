//! The last step of every import: a text that is a valid definition.

use serde::Deserialize as _;
use toml::{Table, Value};

use super::note::{Note, NoteKind, Place};
use super::sheet::Sheet;
use crate::definition::model::Definition;
use crate::definition::write::{Draft, WriteError, write};
use crate::definition::{self, Diagnostic, parse};
use crate::names::ServiceName;

/// What came out of an import.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The service.
    pub service: ServiceName,
    /// Its components, in order.
    pub components: Vec<String>,
    /// The definition: `mcp lint` finds no mistake in it.
    pub text: String,
    /// What there is to tell, by place.
    pub notes: Vec<Note>,
}

/// Why nothing came out of an import.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unfinished {
    /// No TOML can be written of it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A definition cannot say it, and it cannot be left out.
    #[error("no definition can be made of it: {}", .0.join("; "))]
    Invalid(Vec<String>),
}

/// The most values that are taken out because a definition cannot say them.
const MOST_REMOVED: usize = 1000;

/// Writes the definition; what it cannot say is taken out and told.
pub(super) fn finish(sheet: Sheet) -> Result<Imported, Unfinished> {
    let (mut draft, places, mut notes) = sheet.take_apart();
    for _ in 0..MOST_REMOVED {
        let text = write(&draft)?;
        let invalid = match definition::load(&text) {
            Ok(service) => {
                let components = service.components.iter().map(|c| c.name.to_string()).collect();
                return Ok(Imported { service: service.name, components, text, notes });
            }
            Err(invalid) => invalid,
        };
        let lines = || {
            let at = |mistake: &Diagnostic| {
                let part = path_of(&text, mistake).and_then(|path| part(&places, &path).cloned());
                let at = part.map(|(what, place)| format!("{place}: {what}: ")).unwrap_or_default();
                format!("{at}{}", mistake.message)
            };
            invalid.diagnostics.iter().map(at).collect()
        };
        let removed = invalid.diagnostics.iter().find_map(|mistake| {
            let path = path_of(&text, mistake)?;
            let (draft, path) = without(&draft, &path)?;
            Some((draft, path, mistake.clone()))
        });
        let Some((smaller, path, mistake)) = removed else {
            return Err(Unfinished::Invalid(lines()));
        };
        draft = smaller;
        let note = note(&places, &path, &mistake);
        let key = path.split_once("].").map_or(path.as_str(), |(_, key)| key).to_owned();
        let line = format!("Not carried over: {key}: {}.", note.message);
        let at = path.split_once("].").map_or_else(String::new, |(at, _)| format!("{at}].~"));
        draft.remarks.add(at, line);
        notes.push(note);
    }
    Err(Unfinished::Invalid(vec!["too much of it is not what a definition may say".to_owned()]))
}

/// Returns what the component at a path was in the source.
fn part<'a>(places: &'a [(String, Place)], path: &str) -> Option<&'a (String, Place)> {
    let (index, _) = path.strip_prefix("components[")?.split_once(']')?;
    places.get(index.parse::<usize>().ok()?)
}

fn note(places: &[(String, Place)], path: &str, mistake: &Diagnostic) -> Note {
    let (what, place) = part(places, path)
        .or(places.first())
        .cloned()
        .unwrap_or_else(|| (String::new(), Place { file: String::new(), line: 1, column: 1 }));
    let key = path.split_once("].").map_or(path, |(_, key)| key);
    let help = mistake.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    let message = format!("a definition cannot say that: {}{help}", mistake.message);
    Note { kind: NoteKind::Lost, place, what: format!("{what}: {key}"), message }
}

/// Returns the path of the value that a mistake is about.
fn path_of(text: &str, mistake: &Diagnostic) -> Option<String> {
    let parsed = parse::parse(text).ok()?;
    parsed.source.path_at(&mistake.span).map(str::to_owned)
}

/// Takes what stands at a path out of a draft, or the nearest thing around it
/// that a component can be without; returns its path too.
fn without(draft: &Draft, path: &str) -> Option<(Draft, String)> {
    let whole = Table::try_from(&draft.definition).ok()?;
    let mut path = path.to_owned();
    loop {
        let of_thing = path.starts_with("networks.") || path.starts_with("volumes.");
        let of_component =
            path.contains("].") && !path.ends_with("].name") && !path.ends_with("].image");
        let needed = !of_thing && !of_component;
        if needed {
            return None;
        }
        let mut table = Value::Table(whole.clone());
        if remove(&mut table, &path)
            && let Ok(definition) = Definition::deserialize(table)
        {
            return Some((Draft { definition, remarks: draft.remarks.clone() }, path));
        }
        let parent = path.rfind(['.', '['])?;
        path.truncate(parent);
    }
}

/// Removes the value at a path; tells whether there was one. What is empty
/// then goes with it.
fn remove(value: &mut Value, path: &str) -> bool {
    match value {
        Value::Table(table) => {
            let Some((key, rest)) = table.keys().find_map(|key| {
                let rest = path.strip_prefix(key.as_str())?;
                let ends = rest.is_empty() || rest.starts_with(['.', '[']);
                ends.then(|| (key.clone(), rest.to_owned()))
            }) else {
                return false;
            };
            if rest.is_empty() {
                return table.remove(&key).is_some();
            }
            let rest = rest.strip_prefix('.').unwrap_or(&rest);
            let Some(inner) = table.get_mut(&key) else { return false };
            let removed = remove(inner, rest);
            if removed && is_empty(inner) {
                table.remove(&key);
            }
            removed
        }
        Value::Array(items) => {
            let Some((index, rest)) = path.strip_prefix('[').and_then(|p| p.split_once(']')) else {
                return false;
            };
            let Ok(index) = index.parse::<usize>() else { return false };
            if index >= items.len() {
                return false;
            }
            if rest.is_empty() {
                items.remove(index);
                return true;
            }
            items
                .get_mut(index)
                .is_some_and(|item| remove(item, rest.strip_prefix('.').unwrap_or(rest)))
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Table(table) => table.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => false,
    }
}
