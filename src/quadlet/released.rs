//! Unit files as they are handed over to a person.

use std::time::Duration;

use crate::deployment::model::{CREATION, STOP_MARGIN};
use crate::names::{ServiceName, UnitName};

use super::render::node_units;
use super::unit_file::{self, body};
use super::unit_set::{Place, UnitSet};
use super::{checks, command_line};

/// How every file of ours begins.
const OURS: &str = "# Made by MCP";

/// Returns a file of a service without its ties to the agent: the heading says
/// whose it is, a boot brings it in without `mcp.target`, and it waits for no
/// boot stage. What it runs stays the same. Doing it twice changes nothing.
pub fn released(text: &str, service: &ServiceName) -> String {
    let everything = UnitName::everything();
    let gate = UnitName::gate(service);
    let mut result = String::new();
    if text.starts_with(OURS) {
        result.push_str(&heading(service));
    } else {
        result.push_str(text.strip_suffix(body(text)).unwrap_or_default());
    }
    for line in body(text).split_inclusive('\n') {
        let (content, end) = match line.strip_suffix('\n') {
            Some(content) => (content, "\n"),
            None => (line, ""),
        };
        match content.split_once('=') {
            Some(("PartOf", value)) if value == everything.as_str() => {}
            Some(("WantedBy", value)) if value == everything.as_str() => {
                result.push_str("WantedBy=default.target");
                result.push_str(end);
            }
            Some((key @ ("Wants" | "After"), value))
                if value.split(' ').any(|unit| unit == gate.as_str()) =>
            {
                let rest: Vec<&str> =
                    value.split(' ').filter(|unit| *unit != gate.as_str()).collect();
                if !rest.is_empty() {
                    result.extend([key, "=", &rest.join(" "), end]);
                }
            }
            Some(_) | None => result.push_str(line),
        }
    }
    result
}

/// Tells whether a file is one of ours, or was until it was released.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(OURS)
}

/// Returns the words that a line of `[Service]` gives to the agent's `command`,
/// such as `probe`.
pub fn agent_words(line: &str, command: &str) -> Option<Vec<String>> {
    let mut words = command_line::words(line).ok()?;
    let is_agent = words.first()?.ends_with("mcp-agent") && words.get(1)? == command;
    is_agent.then(|| words.split_off(2))
}

/// Returns the file of a released container without what MCP writes into each
/// of them with these very values; the lines stay where they are. Without
/// `check` go the lines that wait for it, or have it checked.
pub fn essence(text: &str, container: &str, start_timeout: Duration, check: Checked) -> String {
    let directives = unit_file::directives(text);
    let last = |section, key| unit_file::values(&directives, section, key).last();
    let is_oneshot = last("Service", "Type") == Some("oneshot");
    let stop = last("Container", "StopTimeout").and_then(|t| t.parse::<u64>().ok()).unwrap_or(10);
    let podman = UnitName::podman_ready();
    let env = "-/usr/bin/env podman rm";
    let is_made = |key: &str, value: &str| match key {
        "Wants" | "After" => value == podman.as_str(),
        "StartLimitIntervalSec" => value == "0",
        "RestartMode" => value == "direct",
        "RestartSec" => value == "1",
        "RestartSteps" => value == "6",
        "RestartMaxDelaySec" => value == "60",
        "TimeoutStopSec" => value.parse() == Ok(stop + STOP_MARGIN),
        "TimeoutStartSec" => !is_oneshot && value.parse() == Ok(start_timeout.as_secs()),
        "Upholds" => check == Checked::Otherwise && value == format!("{container}-check.timer"),
        "ExecStartPost" => check == Checked::Otherwise && agent_words(value, "probe").is_some(),
        "ExecStopPost" => value == format!("{env} --volumes --force --ignore {container}"),
        "ExecStartPre" => value == format!("{env} --depend --force --time 0 --ignore {container}"),
        "KillSignal" => is_oneshot && last("Container", "StopSignal") == Some(value),
        "Description" => value.starts_with(&format!("{container}, component ")),
        _ => false,
    };
    let mut result = String::new();
    for line in text.lines() {
        match line.split_once('=') {
            Some((key, value)) if is_made(key, value) => {}
            Some(("Description", value)) => {
                let own = value.strip_prefix(&format!("{container}: ")).unwrap_or(value);
                result.extend(["Description=", own]);
            }
            // What podman takes to make it is on top of its own time.
            Some(("TimeoutStartSec", value)) if is_oneshot => {
                let own = value.parse::<u64>().map(|t| t.saturating_sub(CREATION.as_secs()));
                result.extend([
                    "TimeoutStartSec=".to_owned(),
                    own.map_or_else(|_| value.to_owned(), |own| own.to_string()),
                ]);
            }
            Some(_) | None => result.push_str(line),
        }
        result.push('\n');
    }
    result
}

/// Whether something else says how a component is checked than the lines of
/// its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It does.
    Otherwise,
    /// Only those lines do.
    ByItsLines,
}

/// Why a set cannot do without the agent's program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{unit} holds ports for a blue-green deploy, which only mcp-agent can carry on; write `strategy = \"recreate\"`"
)]
pub struct NeedsAgent {
    /// The unit that needs it.
    pub unit: String,
}

/// Returns a set as somebody can use it who has podman and systemd and nothing
/// of MCP: what would call `agent` is left out, and `podman`'s pause process
/// has its unit. A component that podman itself does not check counts as ready
/// when it has started.
///
/// # Errors
///
/// [`NeedsAgent`]
pub fn standalone(set: &UnitSet, agent: &str, podman: &str) -> Result<UnitSet, NeedsAgent> {
    let mut alone = UnitSet::new(set.service.clone(), set.wanted);
    let probe = format!("ExecStartPost={agent} ");
    let podmans = format!("{probe}probe {} ", checks::PODMAN);
    let check = format!("ExecStart={agent} ");
    // Checks: what they run is the agent's program, and a timer starts them.
    let checks: Vec<&str> = set
        .of(Place::Systemd)
        .filter(|(_, text)| text.lines().any(|line| line.starts_with(&check)))
        .filter_map(|(name, _)| name.strip_suffix(".service"))
        .collect();
    for ((place, name), text) in &set.files {
        if name.ends_with(".socket") {
            return Err(NeedsAgent { unit: name.clone() });
        }
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        if *place == Place::Systemd && checks.contains(&stem) {
            continue;
        }
        let ours = |line: &&str| {
            let line = line.trim_end_matches('\n');
            let upheld = line.strip_prefix("Upholds=").and_then(|u| u.strip_suffix(".timer"));
            line.starts_with(&probe) || upheld.is_some_and(|stem| checks.contains(&stem))
        };
        let text = released(text, &set.service);
        let mut rest = format!(
            "# Written by mcp render for the service {}; it needs podman and systemd alone.\n",
            set.service
        );
        // Without a program that waits for podman's check, podman has to.
        let waits = text.lines().any(|line| line.starts_with(&podmans));
        for line in body(&text).split_inclusive('\n') {
            if let Some(check) = line.strip_prefix(&probe).filter(|_| !waits) {
                rest.push_str("# Without MCP nothing waits for its check: ");
                rest.push_str(check);
            }
            if ours(&line) {
                continue;
            }
            rest.push_str(line);
            if waits && line.starts_with("HealthCmd=") {
                rest.push_str("Notify=healthy\n");
            }
        }
        alone.files.insert((*place, name.clone()), rest);
    }
    for (name, text) in node_units(podman, &[]) {
        if name == UnitName::podman_ready().as_str() {
            alone.files.insert((Place::Systemd, name), text);
        }
    }
    Ok(alone)
}

fn heading(service: &ServiceName) -> String {
    format!(
        "# Made by MCP for the service {service}, and released: this file is yours now.\n\
         # No agent looks at it. Lines that call mcp-agent wait until the container\n\
         # answers, or check it; they need that program and nothing else of MCP.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_file_says_so_and_is_tied_to_nothing_of_ours() {
        let service: ServiceName = "web".parse().unwrap();
        let container = "# Made by MCP from web.toml, generation 7.\n# x\n\n[Unit]\n\
                         PartOf=web.target\nWants=mcp-podman.service web-gate.target\n\
                         After=mcp-podman.service web-gate.target\n[Container]\n\
                         Exec=PartOf=mcp.target\n[Install]\nWantedBy=web.target\n";
        let once = released(container, &service);
        insta::assert_snapshot!(once, @r"
        # Made by MCP for the service web, and released: this file is yours now.
        # No agent looks at it. Lines that call mcp-agent wait until the container
        # answers, or check it; they need that program and nothing else of MCP.

        [Unit]
        PartOf=web.target
        Wants=mcp-podman.service
        After=mcp-podman.service
        [Container]
        Exec=PartOf=mcp.target
        [Install]
        WantedBy=web.target
        ");
        assert_eq!(released(&once, &service), once);
        let target = "# Made by MCP from web.toml, generation 7.\n[Unit]\nPartOf=mcp.target\n\n\
                      [Install]\nWantedBy=mcp.target\n";
        let once = released(target, &service);
        assert!(once.ends_with("[Unit]\n\n[Install]\nWantedBy=default.target\n"), "{once}");
        assert_eq!(released(&once, &service), once);
    }

    #[test]
    fn what_stands_alone_calls_nothing_of_ours_and_keeps_the_rest() {
        let service: ServiceName = "web".parse().unwrap();
        let mut set = UnitSet::new(service.clone(), true);
        let files = [
            (
                Place::Quadlet,
                "web.container",
                "[Unit]\nUpholds=web-check.timer\nUpholds=own.timer\n[Service]\nExecStartPost=/a/mcp-agent probe tcp\nRestart=no\n",
            ),
            (
                Place::Quadlet,
                "own.container",
                "[Container]\nHealthCmd=a\nHealthRetries=3\n[Service]\nExecStartPost=/a/mcp-agent probe podman --timeout=5s\n",
            ),
            (Place::Systemd, "web-check.service", "[Service]\nExecStart=/a/mcp-agent check x\n"),
            (Place::Systemd, "web-check.timer", "[Timer]\n"),
            (Place::Systemd, "web-nightly.timer", "[Timer]\n"),
            (Place::Systemd, "web-nightly.service", "[Service]\nExecStart=/usr/bin/podman run x\n"),
        ];
        for (place, name, text) in files {
            set.files.insert((place, name.to_owned()), text.to_owned());
        }
        let alone = standalone(&set, "/a/mcp-agent", "/usr/bin/podman").unwrap();
        let names: Vec<&str> = alone.files.keys().map(|(_, name)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "own.container",
                "web.container",
                "mcp-podman.service",
                "web-nightly.service",
                "web-nightly.timer"
            ]
        );
        let container = &alone.files[&(Place::Quadlet, "web.container".to_owned())];
        assert!(
            container.ends_with(
                "[Unit]\nUpholds=own.timer\n[Service]\n# Without MCP nothing waits for its check: probe tcp\nRestart=no\n"
            ),
            "{container}"
        );
        let own = &alone.files[&(Place::Quadlet, "own.container".to_owned())];
        assert!(
            own.ends_with("[Container]\nHealthCmd=a\nNotify=healthy\nHealthRetries=3\n[Service]\n"),
            "{own}"
        );
        set.files.insert((Place::Systemd, "web-80.socket".to_owned()), String::new());
        assert!(standalone(&set, "/a/mcp-agent", "/usr/bin/podman").is_err());
    }

    #[test]
    fn a_heading_of_a_person_and_all_else_stays() {
        let service: ServiceName = "web".parse().unwrap();
        let text = "# mine\n[Unit]\nAfter=web-gate.target\nAfter=a.service\nX";
        assert_eq!(released(text, &service), "# mine\n[Unit]\nAfter=a.service\nX");
    }
}
