//! Names that the shell offers as they are typed: services of the services
//! directory and of the nodes, nodes of the config, and what the nodes have of
//! them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use futures_util::future::join_all;

use crate::cli::config::{self, Settings};
use crate::cli::connection;
use crate::cli::environment::Environment;
use crate::names::{BEFORE, ServiceName, family};
use crate::rpc::agent_v1 as proto;
use crate::rpc::client::AgentClient;
use crate::transfer::TreePath;

/// How long a node may take to be of use.
const PATIENCE: Duration = Duration::from_millis(500);

/// The kinds of events; those of a newer agent can be typed all the same.
pub const EVENT_KINDS: [&str; 26] = [
    "started",
    "stopped",
    "failed",
    "restarted",
    "healthy",
    "unhealthy",
    "schedule_failed",
    "schedule_succeeded",
    "drift",
    "drift_settled",
    "flapping",
    "flapping_ended",
    "deployed",
    "rolled_back",
    "given_up",
    "deploy_failed",
    "undeployed",
    "released",
    "reconciled",
    "healed",
    "heal_failed",
    "booted",
    "agent_started",
    "systemd_lost",
    "systemd_back",
    "test",
];

/// Completes kinds of events.
pub fn event_kinds() -> ArgValueCandidates {
    ArgValueCandidates::new(|| EVENT_KINDS.map(CompletionCandidate::new).into())
}

/// Completes the generations of the service that was typed before, as
/// `mcp rollback` takes them.
pub fn generations() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let words: Vec<OsString> = std::env::args_os().collect();
        let (Some(settings), Some(service)) = (settings(), plain_word(&words, "rollback", 0))
        else {
            return Vec::new();
        };
        let numbers = older_generations(&settings, &service).into_iter();
        numbers.map(|number| CompletionCandidate::new(number.to_string())).collect()
    })
}

/// Completes what `mcp adopt` takes: what containers that run on the nodes and
/// belong to no service are called, or how several of them begin.
pub fn strangers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = settings().map(|settings| to_adopt(&settings)).unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}

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
    let all = here.into_iter().chain(there);
    all.filter(|name| name.starts_with(typed) && is_plain(name.as_bytes())).collect()
}

/// Tells whether a word can be put into a command line as it is: shells do not
/// quote what completes a word, and what comes from a node may be written by
/// a container there.
fn is_plain(word: &[u8]) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%,=:".contains(c);
    std::str::from_utf8(word).is_ok_and(|word| !word.starts_with('-') && word.chars().all(plain))
}

/// Completes paths below the data directory of the service that was typed
/// before, as the word of that number of a command.
pub fn paths(command: &'static str, service_at: usize) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| {
        let words: Vec<OsString> = std::env::args_os().collect();
        let named = plain_word(&words, command, service_at);
        let service = named.as_deref().and_then(|word| word.split('/').next());
        let (Some(settings), Some(service)) = (settings(), service) else { return Vec::new() };
        let settings = on_nodes(settings, &words);
        let paths = paths_below(&settings, service, typed.as_bytes()).into_iter();
        paths.map(|path| CompletionCandidate::new(OsString::from_vec(path))).collect()
    })
}

/// Returns the paths on the nodes that begin as typed, one level further, and
/// that no shell would take for something else; a directory ends with a slash.
fn paths_below(settings: &Settings, service: &str, typed: &[u8]) -> BTreeSet<Vec<u8>> {
    let at = typed.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (above, prefix) = typed.split_at(at);
    if above == b"/" {
        return BTreeSet::new();
    }
    let request = proto::ListFilesRequest {
        service: service.to_owned(),
        path: above.strip_suffix(b"/").unwrap_or(above).to_owned(),
        prefix: prefix.to_owned(),
    };
    let names = ask(settings, async |mut client| {
        Some(client.list_files(request.clone()).await.ok()?.into_inner().names)
    });
    let path = |entry: proto::FileEntry| {
        let end: &[u8] = if entry.directory { b"/" } else { b"" };
        [above, &entry.path, end].concat()
    };
    let is_one = |entry: &proto::FileEntry| TreePath::default().join(&entry.path).is_ok();
    names.into_iter().filter(is_one).map(path).filter(|path| is_plain(path)).collect()
}

/// Leaves of the nodes the one that a command line chooses.
fn on_nodes(mut settings: Settings, words: &[OsString]) -> Settings {
    let mut words = words.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let chosen = match word {
            "-n" | "--node" => words.next(),
            word => word.strip_prefix("--node="),
        };
        if let Some(chosen) = chosen {
            settings.nodes.retain(|node| node.name.as_str() == chosen);
        }
    }
    settings
}

/// Returns a word after the command by its number, from 0, that is no option
/// and no value of one.
fn plain_word(words: &[OsString], command: &str, number: usize) -> Option<String> {
    let words = words.iter().filter_map(|word| word.to_str());
    let mut rest = words.skip_while(|word| *word != command).skip(1);
    let mut before = 0;
    while let Some(word) = rest.next() {
        match word {
            "-n" | "--node" | "--to" | "--config" | "--color" | "--owner" => {
                rest.next();
            }
            option if option.starts_with('-') && option != "-" => {}
            plain if before == number => return Some(plain.to_owned()),
            _ => before += 1,
        }
    }
    None
}

/// Returns the generations of a service that are not in force, the newest
/// first.
fn older_generations(settings: &Settings, service: &str) -> Vec<u64> {
    let request = proto::ServiceRequest { service: service.to_owned(), component: String::new() };
    let mut numbers = ask(settings, async |mut client| {
        let answer = client.history(request.clone()).await.ok()?.into_inner();
        let older = answer.generations.into_iter().filter(|generation| !generation.in_force);
        Some(older.map(|generation| generation.number).collect())
    });
    numbers.sort_by_key(|number| std::cmp::Reverse(*number));
    numbers
}

/// Returns the names under which containers could be taken over.
fn to_adopt(settings: &Settings) -> BTreeSet<String> {
    let request = proto::StatusRequest { service: String::new(), files: true };
    let names = ask(settings, async |mut client| {
        let answer = client.status(request.clone()).await.ok()?.into_inner();
        let ours: BTreeSet<String> =
            answer.services.into_iter().map(|service| service.name).collect();
        let strangers: Vec<String> = answer.drifts.into_iter().filter_map(adoptable).collect();
        let strangers: Vec<&str> = strangers.iter().map(String::as_str).collect();
        let beginnings = family::beginnings(&strangers, |name| ours.contains(name));
        Some(beginnings.into_iter().filter(|name| !ours.contains(name)).collect())
    });
    names.into_iter().filter(|name| name.parse::<ServiceName>().is_ok()).collect()
}

/// Returns the container that drift tells of, if it could be taken over; not
/// what an earlier takeover has left.
fn adoptable(drift: proto::Drift) -> Option<String> {
    let is_one = drift.kind == "unknown_container" && !drift.subject.ends_with(BEFORE);
    is_one.then_some(drift.subject)
}

/// Asks the nodes what they have.
fn deployed(settings: &Settings) -> Vec<proto::RegisteredService> {
    ask(settings, async |mut client| {
        Some(client.list(proto::ListRequest {}).await.ok()?.into_inner().services)
    })
}

/// Asks all nodes something; who does not answer at once is left out, for
/// somebody waits at a keyboard.
fn ask<T>(settings: &Settings, question: impl AsyncFn(AgentClient) -> Option<Vec<T>>) -> Vec<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let asked = settings.nodes.iter().map(async |node| {
        let answer = async { question(connection::open(settings, node).await.ok()?).await };
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
        assert_eq!(older_generations(&settings, "mcq"), [3, 2]);
        assert_eq!(to_adopt(&settings), BTreeSet::from(["stray".to_owned()]));
        let paths = |typed: &str| {
            let paths = paths_below(&settings, "mcq", typed.as_bytes()).into_iter();
            paths.map(|path| String::from_utf8(path).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(paths(""), ["certs/", "conf.toml"]);
        assert_eq!(paths("ce"), ["certs/"]);
        // A blank, and what a shell would run.
        assert_eq!(paths("certs/"), ["certs/b.pem"]);
        assert_eq!(paths("certs/b"), ["certs/b.pem"]);
        assert_eq!(paths("/etc/"), [""; 0]);
        assert_eq!(paths("/"), [""; 0]);
        assert_eq!(paths_below(&settings, "web", b""), BTreeSet::new());
        let words = ["mcp", "pull", "--node=down", "mcq"].map(OsString::from);
        assert_eq!(on_nodes(settings, &words).nodes.len(), 1);
    }

    #[test]
    fn what_a_takeover_has_left_is_not_offered_again() {
        let name = |kind: &str, subject: &str| {
            adoptable(proto::Drift {
                kind: kind.to_owned(),
                subject: subject.to_owned(),
                ..proto::Drift::default()
            })
        };
        assert_eq!(name("unknown_container", "web").as_deref(), Some("web"));
        assert_eq!(name("unknown_container", "web-before-mcp"), None);
        assert_eq!(name("file_changed", "web"), None);
    }

    #[test]
    fn the_service_of_a_command_line_is_its_first_plain_word() {
        let of = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            plain_word(&words, "rollback", 0)
        };
        assert_eq!(of("mcp -- mcp rollback mcq --to ").as_deref(), Some("mcq"));
        assert_eq!(of("mcp -- mcp -q rollback -n rift --json mcq --to").as_deref(), Some("mcq"));
        assert_eq!(of("mcp -- mcp rollback --to"), None);
        assert_eq!(of("mcp -- mcp diff mcq"), None);
        let words = "mcp -- mcp push --owner 1:1 push web/api conf";
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        assert_eq!(plain_word(&words, "push", 1).as_deref(), Some("web/api"));
        assert_eq!(plain_word(&words, "push", 3), None);
    }
}
