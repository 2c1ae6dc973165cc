//! Unit files as they are handed over to a person.

use crate::deployment::model::CREATION;
use crate::names::{ServiceName, UnitName};

use super::render::node_units;
use super::unit_file::{self, Directive, body};
use super::unit_set::{Place, UnitSet};
use super::{checks, command_line};

/// How every file of ours begins.
const OURS: &str = "# Made by MCP";
/// How the first line of one ends that was released.
const RELEASED: &str = ", and released: this file is yours now.";

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

/// Tells whether a file is one that was ours until it was released.
pub fn is_released(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    is_ours(text) && first.ends_with(RELEASED)
}

/// Returns the words that a line of `[Service]` gives to the agent's `command`,
/// such as `probe`; none of a line that systemd takes otherwise than as words,
/// such as one whose failure does not count.
pub fn agent_words(line: &str, command: &str) -> Option<Vec<String>> {
    let mut words = command_line::words(line).ok()?;
    let program = words.first()?;
    let is_agent = program.starts_with('/') && program.ends_with("/mcp-agent");
    (is_agent && words.get(1)? == command).then(|| words.split_off(2))
}

/// Keys that say more than that the unit is made by MCP: whoever reads it has
/// to see them.
const READ: &[&str] = &["PartOf", "Requires", "Restart", "Type", "RemainAfterExit"];

/// Keys whose lines may stand in any order.
const WITHOUT_ORDER: &[&str] = &["Wants", "After", "Upholds"];

/// Returns the file of a released container without the lines that MCP writes
/// anyway; `made` is the file as MCP would release it. The other lines stay
/// where they are, and mean behind those of MCP what they mean here.
pub fn essence(text: &str, made: &str) -> String {
    let (own, made) = (unit_file::directives(text), unit_file::directives(made));
    let is_oneshot =
        unit_file::values(&own, "Service", "Type").last().is_some_and(|kind| kind == "oneshot");
    let is_limit = |d: &Directive| is_oneshot && d.key == "TimeoutStartSec";
    // A line goes with all of its key before it, and no other: what follows
    // one of a person may be there to take that back.
    let goes = |d: &Directive| {
        let is_alike = |l: &&Directive| l.section == d.section && l.key == d.key;
        let is_read = READ.contains(&d.key.as_str()) || is_limit(d);
        if !matches!(d.section.as_str(), "Unit" | "Service") || is_read {
            return false;
        }
        if WITHOUT_ORDER.contains(&d.key.as_str()) {
            return made.contains(d);
        }
        let mut ours = made.iter().filter(is_alike).map(|l| &l.value);
        let up_to = own.iter().take_while(|l| l.line <= d.line);
        up_to.filter(is_alike).all(|l| ours.next() == Some(&l.value))
    };
    let container = unit_file::values(&made, "Container", "ContainerName").last();
    let comment = format!("{}: ", container.unwrap_or_default());
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for d in &own {
        let Some(line) = d.line.checked_sub(1).and_then(|at| lines.get_mut(at)) else { continue };
        if line.ends_with('\\') {
            continue;
        }
        if goes(d) {
            line.clear();
        } else if d.key == "Description"
            && let Some(comment) = d.value.strip_prefix(&comment)
        {
            *line = format!("Description={comment}");
        } else if is_limit(d)
            && let Ok(limit) = d.value.parse::<u64>()
            && let Some(own @ 1..) = limit.checked_sub(CREATION.as_secs())
        {
            // What podman takes to make it is on top of its own time.
            *line = format!("TimeoutStartSec={own}");
        }
    }
    lines.join("\n") + "\n"
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
        "{OURS} for the service {service}{RELEASED}\n\
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
    fn what_a_line_of_a_person_is_followed_by_stays() {
        let made = "[Container]\nContainerName=a\n[Service]\nRestartSec=1\nRestartSteps=6\nTimeoutStartSec=60\n";
        let rest = |text: &str| {
            let rest = essence(text, made);
            rest.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(rest("[Service]\nRestartSec=1\n"), "[Service]");
        let unit = "[Service]\nRestartSec=5\nRestartSteps=6\n\n[Service]\nRestartSec=1\n";
        assert_eq!(rest(unit), "[Service] RestartSec=5 [Service] RestartSec=1");
        assert_eq!(rest("[Service]\nRestartSec=1\nRestartSec=5\n"), "[Service] RestartSec=5");
        let oneshot =
            |limit: &str| rest(&format!("[Service]\nType=oneshot\nTimeoutStartSec={limit}\n"));
        for (limit, own) in [("90", "60"), ("20", "20"), ("30", "30"), ("5min", "5min")] {
            assert_eq!(oneshot(limit), format!("[Service] Type=oneshot TimeoutStartSec={own}"));
        }
        let words = |line| agent_words(line, "probe");
        assert!(
            words("/a/mcp-agent probe tcp").is_some() && words("-/a/mcp-agent probe tcp").is_none()
        );
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
