//! Names that the shell offers as they are typed: services of the services
//! directory, nodes of the config.

use std::ffi::OsStr;

use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};

use crate::cli::config::{self, Settings};
use crate::cli::environment::Environment;

/// Completes names of nodes.
pub fn nodes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        settings()
            .filter(|settings| !settings.nothing_configured)
            .into_iter()
            .flat_map(|settings| settings.nodes)
            .map(|node| CompletionCandidate::new(node.name.as_str()))
            .collect()
    })
}

/// Completes names of services, and of components after a slash.
pub fn services() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let (Some(settings), Some(typed)) = (settings(), typed.to_str()) else {
            return Vec::new();
        };
        let names = match typed.split_once('/') {
            Some((service, _)) => component_names(&settings, service),
            None => service_names(&settings),
        };
        names
            .into_iter()
            .filter(|name| name.starts_with(typed))
            .map(CompletionCandidate::new)
            .collect()
    })
}

/// Loads the config; one with mistakes completes nothing, and the command
/// itself tells.
fn settings() -> Option<Settings> {
    config::load(&Environment::from_process(), None).ok()
}

fn service_names(settings: &Settings) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(&settings.services_dir) else {
        return Vec::new();
    };
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_str().and_then(|name| name.strip_suffix(".toml")).map(str::to_owned)
    };
    let names = entries.filter_map(Result::ok).filter_map(name);
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

fn component_names(settings: &Settings, service: &str) -> Vec<String> {
    let table = service
        .parse()
        .ok()
        .and_then(|service| {
            std::fs::read_to_string(crate::cli::local::path(settings, &service)).ok()
        })
        .and_then(|text| text.parse::<toml::Table>().ok());
    let components = table.as_ref().and_then(|table| table.get("components")?.as_array());
    let name = |component: &toml::Value| {
        component.get("name").and_then(toml::Value::as_str).map(|name| format!("{service}/{name}"))
    };
    components.into_iter().flatten().filter_map(name).collect()
}
