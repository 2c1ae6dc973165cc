//! Names that the shell offers as they are typed: services of the services
//! directory and of the nodes, nodes of the config.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use futures_util::future::join_all;

use crate::cli::config::{self, Settings};
use crate::cli::connection;
use crate::cli::environment::Environment;
use crate::rpc::agent_v1 as proto;

/// How long a node may take to be of use.
const PATIENCE: Duration = Duration::from_millis(500);

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

/// Completes names of services, and of components after a slash: those that
/// are defined here, and those that the nodes have.
pub fn services() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let (Some(settings), Some(typed)) = (settings(), typed.to_str()) else {
            return Vec::new();
        };
        matching(&settings, typed).into_iter().map(CompletionCandidate::new).collect()
    })
}

fn matching(settings: &Settings, typed: &str) -> BTreeSet<String> {
    let here = match typed.split_once('/') {
        Some((service, _)) => component_names(settings, service),
        None => service_names(settings),
    };
    let there = deployed(settings).into_iter().flat_map(|service| {
        let name = service.name;
        let components = service.components.iter().map(|c| format!("{name}/{}", c.name));
        let components: Vec<String> = components.collect();
        if typed.contains('/') { components } else { vec![name] }
    });
    here.into_iter().chain(there).filter(|name| name.starts_with(typed)).collect()
}

/// Asks the nodes what they have; who does not answer at once is left out,
/// for somebody waits at a keyboard.
fn deployed(settings: &Settings) -> Vec<proto::RegisteredService> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let asked = settings.nodes.iter().map(async |node| {
        let answer = async {
            let mut client = connection::open(settings, node).await.ok()?;
            Some(client.list(proto::ListRequest {}).await.ok()?.into_inner().services)
        };
        tokio::time::timeout(PATIENCE, answer).await.ok().flatten().unwrap_or_default()
    });
    runtime.block_on(join_all(asked)).into_iter().flatten().collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::{Address, Node};
    use crate::cli::scripted_agent::serve;

    #[test]
    fn names_come_from_here_and_from_the_nodes_that_answer() {
        let home = tempfile::tempdir().unwrap();
        let definition = "name = \"web\"\n[[components]]\nname = \"api\"\n";
        let file = home.path().join("web.toml");
        crate::atomic_file::write(&file, definition.as_bytes(), 0o644).unwrap();
        let server = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let node = |name: &str| Node {
            name: name.parse().unwrap(),
            address: Address::Socket(home.path().join(name)),
            token_path: None,
        };
        server.block_on(async { serve(&home.path().join("rift")) });
        let settings = Settings {
            path: "mcp.toml".into(),
            services_dir: home.path().into(),
            token_path: "token".into(),
            token: None,
            nodes: vec![node("rift"), node("down")],
            nothing_configured: false,
            peers: crate::cli::peers::Peers::default(),
        };
        let names = |typed| matching(&settings, typed).into_iter().collect::<Vec<_>>();
        assert_eq!(names(""), ["mcq", "web"]);
        assert_eq!(names("w"), ["web"]);
        assert_eq!(names("web/"), ["web/api"]);
        assert_eq!(names("mcq/"), ["mcq/mcq"]);
        assert_eq!(names("x"), [""; 0]);
    }
}
