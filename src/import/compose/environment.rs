//! `environment` and `env_file`.

use std::collections::BTreeMap;

use super::convert::Scope;
use super::dotenv::{self, Line};
use super::interpolate::Variables;
use super::yaml::Node;
use crate::import::env::add_env;
use crate::import::note::NoteKind::{Changed, Lost, Todo};
use crate::import::note::Place;
use crate::import::sheet::{Part, push};

/// Reads both keys; what `environment` says wins.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, (service, node): (&str, &Node)) {
    let variables = scope.variables(service);
    let mut env = BTreeMap::new();
    if let Some(files) = node.get("env_file") {
        env_files(scope, part, (files, variables), &mut env);
    }
    let mut unset: Vec<(String, Place)> = Vec::new();
    for (name, value, place) in node.get("environment").map(Node::pairs).unwrap_or_default() {
        let value = value.or_else(|| variables.get(&name).map(str::to_owned));
        if let Some(value) = value {
            env.insert(name, value);
        } else {
            unset.push((name, place));
        }
    }
    not_passed_on(scope, part, &unset);
    add_env(part, env);
}

/// Tells of variables without a value, all of a component at once: there are
/// files with hundreds of them.
fn not_passed_on(scope: &mut Scope<'_>, part: &mut Part, unset: &[(String, Place)]) {
    match unset {
        [] => {}
        [(name, place)] => {
            let message = "it is passed on from the shell, where it is not set";
            scope.tell(part, Lost, (place, &format!("environment.{name}")), message);
        }
        [(_, place), ..] => {
            let names: Vec<&str> = unset.iter().map(|(name, _)| name.as_str()).collect();
            let message =
                format!("passed on from the shell, where they are not set: {}", names.join(", "));
            scope.tell(part, Lost, (place, "environment"), message);
        }
    }
}

/// One file of `env_file`.
struct File {
    path: String,
    place: Place,
    is_required: bool,
    /// Whether its values are taken as they are, quotes and all.
    is_raw: bool,
}

fn files_of(node: &Node) -> Vec<File> {
    let one = |node: &Node| -> Option<File> {
        let path = node.get("path").unwrap_or(node).text()?.to_owned();
        let is_required = node.get("required").and_then(Node::truth) != Some(false);
        let is_raw = node.get("format").and_then(Node::text) == Some("raw");
        Some(File { path, place: node.place.clone(), is_required, is_raw })
    };
    match node.list() {
        Some(items) => items.iter().filter_map(one).collect(),
        None => one(node).into_iter().collect(),
    }
}

fn env_files(
    scope: &mut Scope<'_>,
    part: &mut Part,
    (node, variables): (&Node, &Variables),
    env: &mut BTreeMap<String, String>,
) {
    let mut found: Vec<(File, Option<Vec<Line>>)> = Vec::new();
    for file in files_of(node) {
        let at = (&file.place.clone(), "env_file");
        let text = match scope.files.text(&file.path) {
            Ok(text) => text,
            Err(why) => {
                scope.tell(part, Lost, at, format!("{} cannot be read: {why}", file.path));
                continue;
            }
        };
        let Some(text) = text else {
            if file.is_required {
                let message = format!("{} is not there; without it a deploy is refused", file.path);
                scope.tell(part, Todo, at, message);
                found.push((file, None));
            } else {
                let message =
                    format!("{} is not there and not required: it is left out", file.path);
                scope.tell(part, Changed, at, message);
            }
            continue;
        };
        if !scope.read.contains(&file.path) {
            scope.read.push(file.path.clone());
        }
        let lines = if file.is_raw {
            dotenv::parse_raw(&text, variables)
        } else {
            dotenv::parse(&text, variables)
        };
        match lines {
            Ok(lines) => found.push((file, Some(lines))),
            Err(bad) => {
                let message = format!("{}:{}: {}", file.path, bad.number, bad.message);
                scope.tell(part, Lost, at, message);
            }
        }
    }
    // Of several files the later one wins, and what a definition says itself
    // wins over all files: so either every file is named, or none.
    let plain =
        found.iter().flat_map(|(_, lines)| lines.iter().flatten()).all(|line| line.is_plain);
    for (file, lines) in found {
        match lines {
            Some(lines) if !plain => {
                let message = if lines.iter().all(|line| line.is_plain) {
                    format!(
                        "the lines of {} are written out like those of its other files",
                        file.path
                    )
                } else {
                    format!(
                        "podman reads {} differently from compose (quotes, variables), so its lines are written out",
                        file.path
                    )
                };
                scope.tell(part, Changed, (&file.place, "env_file"), message);
                env.extend(lines.into_iter().filter_map(|line| Some((line.name, line.value?))));
            }
            Some(_) | None => push(&mut part.component.env_files, file.path),
        }
    }
}
