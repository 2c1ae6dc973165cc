//! `deploy`, `restart`, and limits.

use super::convert::Scope;
use super::yaml::Node;
use crate::definition::model::{Limit, Scalar};
use crate::import::note::NoteKind::{Changed, Lost, Needless};
use crate::import::note::Place;
use crate::import::options::{Gpus, cpus, gpus, is_none};
use crate::import::sheet::Part;
use crate::import::values::size;

/// Reads these keys.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, node: &Node) {
    if let Some(deploy) = node.get("deploy") {
        self::deploy(scope, part, deploy);
    }
    restart(scope, part, node);
    for key in ["mem_limit", "cpus", "pids_limit"] {
        if let Some(value) = node.get(key) {
            limit(scope, part, key, value);
        }
    }
    for (name, value, _) in node.get("sysctls").map(Node::pairs).unwrap_or_default() {
        let value = Scalar::Text(value.unwrap_or_default());
        part.component.sysctls.get_or_insert_default().insert(name, value);
    }
    for (name, value) in node.get("ulimits").and_then(Node::map).unwrap_or_default() {
        let half = |key: &str| value.get(key).and_then(Node::text);
        let text = match (value.text(), half("soft"), half("hard")) {
            (Some(both), ..) => both.to_owned(),
            (None, Some(soft), Some(hard)) => format!("{soft}:{hard}"),
            (None, Some(one), None) | (None, None, Some(one)) => one.to_owned(),
            (None, None, None) => continue,
        };
        let limits = part.component.ulimits.get_or_insert_default();
        limits.insert(name.text.clone(), Limit::Text(text));
    }
}

/// Reads one limit, by the key that compose gives it outside of `deploy`.
fn limit(scope: &mut Scope<'_>, part: &mut Part, key: &str, value: &Node) {
    let text = value.text().unwrap_or_default();
    let is_set = match key {
        // No limit.
        _ if is_none(text) => true,
        "mem_limit" => size(text).is_some_and(|size| resources(part, |r| r.memory = Some(size))),
        "cpus" => cpus(text).is_some_and(|cpus| resources(part, |r| r.cpus = Some(cpus))),
        _ => match text.parse::<i64>() {
            Ok(..=0) => true,
            Ok(pids) => {
                u32::try_from(pids).is_ok_and(|pids| resources(part, |r| r.pids = Some(pids)))
            }
            Err(_) => false,
        },
    };
    if !is_set {
        scope.tell(part, Lost, (&value.place, key), format!("{text:?} is no limit"));
    }
}

fn resources(part: &mut Part, set: impl FnOnce(&mut crate::definition::model::Resources)) -> bool {
    set(part.component.resources.get_or_insert_default());
    true
}

fn restart(scope: &mut Scope<'_>, part: &mut Part, node: &Node) {
    let policy = node.get("deploy").and_then(|deploy| deploy.get("restart_policy"));
    let restart = match (policy, node.get("restart")) {
        (Some(policy), _) => {
            for key in ["delay", "max_attempts", "window"] {
                if let Some(value) = policy.get(key) {
                    let key = format!("deploy.restart_policy.{key}");
                    let message = "systemd tries for ever, ever more slowly";
                    scope.tell(part, Changed, (&value.place, &key), message);
                }
            }
            match policy.get("condition").and_then(Node::text) {
                Some("none") => "no",
                Some("on-failure") => "on-failure",
                Some(_) | None => "always",
            }
        }
        (None, Some(value)) => {
            let text = value.text().unwrap_or("no");
            let (word, times) = text.split_once(':').unwrap_or((text, ""));
            if !times.is_empty() {
                let message = "systemd tries for ever, ever more slowly";
                scope.tell(part, Changed, (&value.place, "restart"), message);
            }
            match word {
                "always" => "always",
                "unless-stopped" => "unless-stopped",
                "on-failure" => "on-failure",
                _ => "no",
            }
        }
        (None, None) => "no",
    };
    part.component.restart = Some(restart.to_owned());
}

fn deploy(scope: &mut Scope<'_>, part: &mut Part, deploy: &Node) {
    for (key, value) in deploy.map().unwrap_or_default() {
        let what = format!("deploy.{}", key.text);
        let at = (&key.place, what.as_str());
        match key.text.as_str() {
            "restart_policy" => {}
            "resources" => deploy_resources(scope, part, value),
            "replicas" if value.text() == Some("1") => {}
            "replicas" => {
                let message = format!(
                    "a component is one container, not {}",
                    value.text().unwrap_or_default()
                );
                scope.tell(part, Lost, at, message);
            }
            "mode" | "endpoint_mode" => {
                scope.tell(part, Needless, at, "it is about a swarm");
            }
            _ => {
                scope.tell(part, Lost, at, "it is about a swarm; a definition has nothing like it");
            }
        }
    }
}

fn deploy_resources(scope: &mut Scope<'_>, part: &mut Part, node: &Node) {
    let limits = node.get("limits");
    for (key, own) in [("memory", "mem_limit"), ("cpus", "cpus"), ("pids", "pids_limit")] {
        if let Some(value) = limits.and_then(|limits| limits.get(key)) {
            limit(scope, part, own, value);
        }
    }
    let reservations = node.get("reservations");
    for (key, value) in reservations.and_then(Node::map).unwrap_or_default() {
        match key.text.as_str() {
            "memory" => match value.text().and_then(size) {
                Some(size) => part.podman_arg(&format!("--memory-reservation={size}")),
                None => scope.tell(
                    part,
                    Lost,
                    (&key.place, "deploy.resources.reservations.memory"),
                    "it is no size",
                ),
            },
            "devices" => {
                for device in value.list().unwrap_or_default() {
                    let what = "deploy.resources.reservations.devices";
                    gpu(scope, part, device, (&key.place, what));
                }
            }
            other => {
                let what = format!("deploy.resources.reservations.{other}");
                let message = "podman reserves nothing but memory";
                scope.tell(part, Lost, (&key.place, &what), message);
            }
        }
    }
}

/// Adds devices of a driver; those that are only called `all` are all of them.
pub(super) fn gpu(scope: &mut Scope<'_>, part: &mut Part, device: &Node, at: (&Place, &str)) {
    let text = |key: &str| device.get(key).and_then(Node::text).map(str::to_owned);
    let ids = device.get("device_ids").map(Node::texts).unwrap_or_default();
    let asked = Gpus {
        driver: text("driver"),
        ids: ids.iter().map(|(id, _)| (*id).to_owned()).collect(),
        count: device.text().map(str::to_owned).or_else(|| text("count")),
    };
    for (kind, message) in gpus(part, &asked) {
        scope.tell(part, kind, at, message);
    }
}
