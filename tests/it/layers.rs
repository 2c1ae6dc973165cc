//! The layers of the program, enforced by reading its sources. The drawing is
//! in `docs/architecture.md`.

use std::collections::BTreeSet;

use crate::sources::{self, Source};

/// Pure and synchronous; each may use those before it.
const CORE: [&str; 5] = ["names", "definition", "deployment", "quadlet", "import"];
/// All input and output; they do not know each other.
const EDGES: [&str; 5] = ["units", "systemd", "registry", "podman", "rpc"];
/// Small things for edges and programs.
const SHARED: [&str; 10] = [
    "atomic_file",
    "elf",
    "file_watch",
    "manual",
    "secret",
    "supervise",
    "telemetry",
    "terminal",
    "transfer",
    "ui",
];
/// Pure parts of programs.
const PURE: [&str; 15] = [
    "agent/plan.rs",
    "agent/finding.rs",
    "agent/deploy_state.rs",
    "agent/rescue.rs",
    "agent/check/record.rs",
    "agent/boot_report/timeline.rs",
    "agent/boot_report/chain.rs",
    "agent/boot_report/difference.rs",
    "agent/monitor/backoff.rs",
    "agent/monitor/cooldown.rs",
    "agent/monitor/drift.rs",
    "agent/monitor/flap.rs",
    "agent/monitor/kind.rs",
    "agent/monitor/seen.rs",
    "agent/upgrade/record.rs",
];
/// Folders of programs that are pure as a whole.
const PURE_FOLDERS: [&str; 1] = ["agent/explain/"];
/// The most lines that a file has before its tests.
const LONGEST: usize = 500;

/// The layer of a file: the first part of its path.
fn layer(source: &Source) -> &str {
    let first = source.path.split('/').next().unwrap();
    first.trim_end_matches(".rs")
}

/// What a layer may name of the crate; none for what is in no layer.
fn allowed(layer: &str) -> Option<BTreeSet<&str>> {
    let mut may: BTreeSet<&str> = BTreeSet::from([layer]);
    if let Some(at) = CORE.iter().position(|core| *core == layer) {
        may.extend(&CORE[..at]);
    } else if SHARED.contains(&layer) {
        may.extend(SHARED);
    } else if EDGES.contains(&layer) {
        may.extend(CORE.iter().chain(&SHARED));
    } else if layer == "cli" {
        may.extend(CORE.iter().chain(&SHARED).chain(&["rpc"]));
    } else if layer == "agent" || layer == "master" {
        may.extend(CORE.iter().chain(&EDGES).chain(&SHARED));
    } else {
        return None;
    }
    Some(may)
}

/// Sources but the two that stand outside: the crate's root and the binaries.
fn layered() -> Vec<Source> {
    let mut sources = sources::all();
    sources.retain(|s| s.path != "lib.rs" && !s.path.starts_with("bin/"));
    sources
}

/// Tells whether a name is of what pure code does without.
fn is_impure(name: &str) -> bool {
    let mut parts = name.split("::");
    let (root, module, item) = (parts.next(), parts.next(), parts.next());
    match (root, module) {
        (Some("std"), Some("net")) => !matches!(
            item,
            Some(
                "IpAddr" | "Ipv4Addr" | "Ipv6Addr" | "SocketAddr" | "SocketAddrV4" | "SocketAddrV6"
            )
        ),
        // The time is a parameter.
        (Some("std"), Some("time")) => item != Some("Duration"),
        (Some("jiff"), module) => !matches!(module, Some("SignedDuration")),
        (Some("Instant" | "SystemTime" | "Timestamp" | "Zoned"), Some("now")) => true,
        (Some("std"), Some(module)) => {
            matches!(module, "fs" | "env" | "process" | "thread" | "io" | "os" | "sync")
        }
        (Some(root), _) => matches!(
            root,
            "tokio"
                | "tokio_util"
                | "tokio_stream"
                | "tokio_rustls"
                | "futures_util"
                | "zbus"
                | "rusqlite"
                | "tonic"
                | "tonic_health"
                | "prost"
                | "hyper"
                | "hyper_util"
                | "rustls"
                | "rcgen"
                | "rustix"
                | "sd_notify"
                | "getrandom"
                | "clap"
                | "tracing"
        ),
        (None, _) => false,
    }
}

/// Tells whether a file is in a folder that is pure.
fn is_below(path: &str) -> bool {
    PURE_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// Tells whether a name of the crate is of a pure part of a program.
fn is_pure_part(name: &str) -> bool {
    PURE.iter().any(|pure| {
        let module = pure.trim_end_matches(".rs").replace('/', "::");
        name.strip_prefix(&module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for source in layered() {
        let Some(may) = allowed(layer(&source)) else {
            wrong.push(format!("{}: give it a layer, here and in the document", source.path));
            continue;
        };
        for name in &source.names {
            let Some(rest) = name.strip_prefix("crate::") else { continue };
            let target = rest.split("::").next().unwrap();
            if !may.contains(target) {
                wrong.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for source in layered() {
        let pure_part = PURE.contains(&source.path.as_str()) || is_below(&source.path);
        if !pure_part && !CORE.contains(&layer(&source)) {
            continue;
        }
        for name in &source.names {
            let foreign = name.strip_prefix("crate::").is_some_and(|rest| {
                let target = rest.split("::").next().unwrap();
                // The pure files of one folder may name each other.
                let beside = ["agent::boot_report::", "agent::explain::"];
                let beside = beside.iter().any(|folder| rest.starts_with(folder));
                pure_part && !CORE.contains(&target) && !beside && !is_pure_part(rest)
            });
            if is_impure(name) || foreign {
                wrong.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let found: Vec<String> = layered().into_iter().map(|source| source.path).collect();
    assert!(PURE.iter().all(|pure| found.iter().any(|path| path == pure)), "a pure part has moved");
}

#[test]
fn a_file_need_not_be_scrolled() {
    let long: Vec<String> = sources::all()
        .into_iter()
        .filter(|source| source.lines > LONGEST)
        .map(|source| format!("{}: {} lines before its tests", source.path, source.lines))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn a_file_is_named_for_what_it_does() {
    const NOTHING: [&str; 8] =
        ["utils", "util", "helpers", "helper", "common", "types", "prelude", "misc"];
    let vague: Vec<String> = sources::all()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| path.split('/').any(|part| NOTHING.contains(&part.trim_end_matches(".rs"))))
        .collect();
    assert!(vague.is_empty(), "{vague:?}");
}

#[test]
fn what_is_impure_is_known() {
    for name in ["std::net::TcpListener", "std::fs::read", "tokio::spawn", "std::time::Instant"] {
        assert!(is_impure(name), "{name}");
    }
    for name in ["std::net::IpAddr", "std::time::Duration", "serde::Serialize", "crate::names"] {
        assert!(!is_impure(name), "{name}");
    }
    assert_eq!(allowed("quadlet").unwrap().len(), 4);
    assert!(!allowed("units").unwrap().contains("registry"));
    assert!(!allowed("agent").unwrap().contains("cli"));
    assert_eq!(allowed("elsewhere"), None);
}
