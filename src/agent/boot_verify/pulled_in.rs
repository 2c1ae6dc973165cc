//! Whether what should run is brought in at boot, and nothing else of ours.

use crate::agent::finding::Finding;
use crate::names::{ServiceName, UnitName};
use crate::quadlet::boot_graph::graph::ROOT;
use crate::quadlet::boot_graph::{Found, Graph, Loaded, State};

const CHECK: &str = "wanted";

/// A service, and the units that run for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The service.
    pub service: ServiceName,
    /// Whether it is to run.
    pub active: bool,
    /// Its containers.
    pub containers: Vec<UnitName>,
}

/// Judges the way from `default.target` to `mcp.target`; `restart` is the
/// command that restarts the agent.
pub fn root(found: &Found, graph: &Graph, restart: &str) -> Option<Finding> {
    let everything = UnitName::everything();
    if graph.starts(everything.as_str()) {
        return None;
    }
    let root = Loaded::load(found, ROOT);
    let path = root.path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let finding = |message: String| Finding::failed(CHECK, everything.as_str(), message);
    let linked = root.wants.contains(everything.as_str());
    Some(match root.state {
        State::Loaded if linked => {
            // Masked or missing: that is told with its own mend.
            finding(format!(
                "{ROOT} wants {everything}, which cannot be started: nothing of MCP will run after a boot."
            ))
        }
        State::Loaded => finding(format!(
            "Nothing brings in {everything} at boot: {ROOT} ({path}) does not want it, so nothing \
             of MCP will run."
        ))
        .mend(restart),
        State::Masked => finding(format!(
            "{ROOT} is masked by {path}: the user's systemd will start nothing at boot."
        ))
        .mend(format!("systemctl --user unmask {ROOT}")),
        State::Missing | State::Unreadable(_) => {
            finding(format!("The user's systemd finds no {ROOT}, and will start nothing at boot."))
                .mend("systemctl --user revert default.target")
        }
    })
}

/// Judges one service. Where `mcp.target` is not brought in, only that is
/// worth telling of services that should run.
pub fn service(found: &Found, graph: &Graph, wanted: &Wanted) -> Vec<Finding> {
    if wanted.active { missing(found, graph, wanted) } else { unwanted(graph, wanted) }
}

fn missing(found: &Found, graph: &Graph, wanted: &Wanted) -> Vec<Finding> {
    let service = &wanted.service;
    if !graph.starts(UnitName::everything().as_str()) {
        return Vec::new();
    }
    let target = UnitName::service_target(service);
    if !graph.starts(target.as_str()) {
        if Loaded::load(found, target.as_str()).state != State::Loaded {
            return Vec::new();
        }
        let message = format!("{service} is to run, but nothing brings in {target} at boot.");
        return vec![
            Finding::failed(CHECK, service.as_str(), message).mend(format!("mcp start {service}")),
        ];
    }
    wanted
        .containers
        .iter()
        .filter(|unit| !graph.starts(unit.as_str()))
        // What cannot be started is told with its own mend.
        .filter(|unit| Loaded::load(found, unit.as_str()).state == State::Loaded)
        .map(|unit| {
            Finding::failed(
                CHECK,
                service.as_str(),
                format!("{service} is to run, but nothing brings in {unit} at boot."),
            )
            .mend(format!("mcp deploy {service}"))
        })
        .collect()
}

fn unwanted(graph: &Graph, wanted: &Wanted) -> Vec<Finding> {
    let service = &wanted.service;
    let started = wanted.containers.iter().find(|unit| graph.starts(unit.as_str()));
    let Some(unit) = started else { return Vec::new() };
    let way = graph.way_to(unit.as_str()).join(" -> ");
    let message = format!("{service} is stopped, but {unit} will be started at boot: {way}.");
    vec![Finding::failed(CHECK, service.as_str(), message).mend(format!("mcp stop {service}"))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadlet::boot_graph::{Content, Source};

    fn found(units: &[(&str, &str)]) -> Found {
        let mut found = Found::default();
        for (name, text) in units {
            let content = match *text {
                "masked" => Content::Masked,
                text => Content::Text(format!("[Unit]\n{text}\n")),
            };
            found.add_source(name, Source { path: format!("/u/{name}").into(), content });
        }
        found
    }

    fn wanted(active: bool) -> Wanted {
        let containers = ["web.service", "web-db.service"].map(UnitName::from_systemd).into();
        Wanted { service: "web".parse().unwrap(), active, containers }
    }

    fn said(found: &Found, active: bool) -> Vec<String> {
        let graph = Graph::of_boot(found, &[]);
        root(found, &graph, "restart")
            .into_iter()
            .chain(service(found, &graph, &wanted(active)))
            .map(|f| format!("{} | {}", f.message, f.mend))
            .collect()
    }

    const WHOLE: [(&str, &str); 5] = [
        ("default.target", "Wants=mcp.target"),
        ("mcp.target", "Wants=web.target"),
        ("web.target", "Wants=web.service web-db.service"),
        ("web.service", ""),
        ("web-db.service", ""),
    ];

    #[test]
    fn a_service_that_is_to_run_must_be_brought_in_and_a_stopped_one_must_not() {
        let whole = found(&WHOLE);
        assert_eq!(said(&whole, true), [""; 0]);
        assert_eq!(
            said(&whole, false),
            ["web is stopped, but web.service will be started at boot: default.target -> \
              mcp.target -> web.target -> web.service. | mcp stop web"]
        );
    }

    #[test]
    fn the_first_link_that_is_missing_is_named() {
        let mut units = WHOLE;
        units[2].1 = "Wants=web.service";
        assert_eq!(
            said(&found(&units), true),
            ["web is to run, but nothing brings in web-db.service at boot. | mcp deploy web"]
        );
        units[1].1 = "";
        assert_eq!(
            said(&found(&units), true),
            ["web is to run, but nothing brings in web.target at boot. | mcp start web"]
        );
        assert_eq!(said(&found(&units), false), [""; 0]);
        units[0].1 = "";
        let without = said(&found(&units), true);
        assert_eq!(without.len(), 1);
        assert!(without[0].contains("(/u/default.target) does not want it"), "{without:?}");
        units[0].1 = "masked";
        let masked = said(&found(&units), true);
        assert!(masked[0].ends_with("| systemctl --user unmask default.target"), "{masked:?}");
        assert!(said(&found(&[]), true)[0].contains("finds no default.target"));
    }
}
