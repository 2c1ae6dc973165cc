//! The keys of a service that need no other part of the file.

use super::convert::Scope;
use super::yaml::{Key, Node};
use crate::definition::model::{Capabilities, Log, Scalar};
use crate::import::note::NoteKind::{Changed, Lost, Needless, Todo};
use crate::import::options::{hostname, security};
use crate::import::sheet::{Part, Section, push};
use crate::import::values::{duration, duration_text, image, shell_words};
use crate::quadlet::escape::{raw, word};

/// Keys that other parts of the conversion read.
const ELSEWHERE: &[&str] = &[
    "environment",
    "env_file",
    "networks",
    "network_mode",
    "ports",
    "links",
    "volumes",
    "tmpfs",
    "secrets",
    "configs",
    "healthcheck",
    "deploy",
    "restart",
    "mem_limit",
    "cpus",
    "pids_limit",
    "sysctls",
    "ulimits",
    "volumes_from",
    "profiles",
    "extends",
];

/// Options of `podman run` for keys of compose, with the value as it is.
const OPTIONS: &[(&str, &str)] = &[
    ("cgroup", "--cgroupns"),
    ("cgroup_parent", "--cgroup-parent"),
    ("cpu_count", "--cpus"),
    ("cpu_period", "--cpu-period"),
    ("cpu_quota", "--cpu-quota"),
    ("cpu_rt_period", "--cpu-rt-period"),
    ("cpu_rt_runtime", "--cpu-rt-runtime"),
    ("cpu_shares", "--cpu-shares"),
    ("cpuset", "--cpuset-cpus"),
    ("mac_address", "--mac-address"),
    ("mem_reservation", "--memory-reservation"),
    ("mem_swappiness", "--memory-swappiness"),
    ("memswap_limit", "--memory-swap"),
    ("oom_score_adj", "--oom-score-adj"),
    ("uts", "--uts"),
];

/// Options of `podman run` that a truth value turns on.
const SWITCHES: &[(&str, &str)] = &[
    ("oom_kill_disable", "--oom-kill-disable"),
    ("privileged", "--privileged"),
    ("stdin_open", "--interactive"),
    ("tty", "--tty"),
];

/// Reads the keys of one service.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, service: &str, node: &Node) {
    for (key, value) in node.map().unwrap_or_default() {
        let name = key.text.as_str();
        if value.is_null() || name.starts_with("x-") || ELSEWHERE.contains(&name) {
            continue;
        }
        let known = simple(scope, part, key, value)
            || process(scope, part, key, value)
            || lists(scope, part, key, value)
            || told(scope, part, (key, value), service);
        if !known {
            scope.tell(part, Lost, (&key.place, name), "a definition has nothing like it");
        }
    }
    without_image(scope, part, service, node);
}

/// Keys with one value and a key of a definition.
fn simple(scope: &mut Scope<'_>, part: &mut Part, key: &Key, value: &Node) -> bool {
    let text = value.text().map(str::to_owned);
    let c = &mut part.component;
    match key.text.as_str() {
        "image" => c.image = text.as_deref().map(image),
        "user" => c.user = text,
        "working_dir" => c.working_dir = text,
        "hostname" => hostname(part, text.unwrap_or_default()),
        "userns_mode" => c.userns = text,
        "stop_signal" => c.stop_signal = text,
        "init" => c.init = value.truth(),
        "read_only" => c.read_only = value.truth(),
        "stop_grace_period" => {
            let seconds = text.as_deref().and_then(duration).map(|time| time.as_secs().max(1));
            c.stop_timeout =
                seconds.map(|seconds| duration_text(std::time::Duration::from_secs(seconds)));
            if seconds.is_none() {
                scope.tell(part, Lost, (&key.place, &key.text), "it is no duration");
            }
        }
        "shm_size" => {
            c.shm_size = text.as_deref().and_then(crate::import::values::size);
            if c.shm_size.is_none() {
                scope.tell(part, Lost, (&key.place, &key.text), "it is no size");
            }
        }
        name => {
            if let Some((_, option)) = OPTIONS.iter().find(|(own, _)| *own == name) {
                part.podman_arg(&format!("{option}={}", text.unwrap_or_default()));
            } else if let Some((_, option)) = SWITCHES.iter().find(|(own, _)| *own == name) {
                if value.truth() == Some(true) {
                    part.podman_arg(option);
                }
            } else {
                return false;
            }
        }
    }
    true
}

/// Keys of what is run, and in which namespaces.
fn process(scope: &mut Scope<'_>, part: &mut Part, key: &Key, value: &Node) -> bool {
    match key.text.as_str() {
        "command" => part.component.cmd = words(scope, part, key, value),
        "entrypoint" => part.component.entrypoint = words(scope, part, key, value),
        "pid" | "ipc" => {
            let text = value.text().unwrap_or_default();
            let of = text.strip_prefix("service:").map(str::to_owned);
            match of.map(|service| scope.container(&service)) {
                Some(Some(container)) => {
                    let other = text.strip_prefix("service:").unwrap_or_default();
                    if let Some(name) = scope.names.get(other).map(ToString::to_string) {
                        part.depend(&name);
                    }
                    part.podman_arg(&format!("--{}=container:{container}", key.text));
                }
                Some(None) => {
                    scope.tell(part, Lost, (&key.place, &key.text), "there is no such service");
                }
                None => part.podman_arg(&format!("--{}={text}", key.text)),
            }
        }
        "security_opt" => {
            for (option, _) in value.texts() {
                security(part, option);
            }
        }
        "logging" => logging(scope, part, key, value),
        _ => return false,
    }
    true
}

fn words(scope: &mut Scope<'_>, part: &mut Part, key: &Key, value: &Node) -> Option<Vec<String>> {
    if value.list().is_some() {
        return Some(value.texts().into_iter().map(|(text, _)| text.to_owned()).collect());
    }
    match shell_words(&without_comments(value.text()?)) {
        // An empty entrypoint takes that of the image away.
        Ok(words) if words.is_empty() && key.text == "command" => None,
        Ok(words) => Some(words),
        Err(why) => {
            scope.tell(part, Lost, (&key.place, &key.text), why);
            None
        }
    }
}

/// Has a line split without comments: compose takes `#` for a text.
fn without_comments(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut quote, mut before, mut is_escaped) = (None, ' ', false);
    for c in line.chars() {
        if c == '#' && quote.is_none() && before.is_whitespace() {
            out.push('\\');
        }
        out.push(c);
        quote = match (quote, c) {
            _ if is_escaped => quote,
            (None, '"' | '\'') => Some(c),
            (Some(own), c) if own == c => None,
            _ => quote,
        };
        is_escaped = c == '\\' && !is_escaped && quote != Some('\'');
        before = c;
    }
    out
}

fn logging(scope: &mut Scope<'_>, part: &mut Part, key: &Key, value: &Node) {
    let driver = value.get("driver").and_then(Node::text).unwrap_or("json-file");
    match driver {
        "json-file" | "local" => {
            let message = "the output goes to the journal, whose own limits hold";
            scope.tell(part, Changed, (&key.place, "logging"), message);
        }
        "none" | "journald" | "k8s-file" => {
            let options = value.get("options").map(Node::pairs).unwrap_or_default();
            let options: std::collections::BTreeMap<String, Scalar> = options
                .into_iter()
                .filter_map(|(name, value, _)| Some((name, Scalar::Text(value?))))
                .collect();
            part.component.log = Some(Log {
                driver: Some(driver.to_owned()),
                options: (!options.is_empty()).then_some(options),
            });
        }
        other => {
            let message =
                format!("podman has no log driver {other}; the output goes to the journal");
            scope.tell(part, Lost, (&key.place, "logging"), message);
        }
    }
}

/// Keys that are lists.
fn lists(scope: &mut Scope<'_>, part: &mut Part, key: &Key, value: &Node) -> bool {
    let own: Vec<String> = value.texts().into_iter().map(|(text, _)| text.to_owned()).collect();
    match key.text.as_str() {
        "cap_add" => {
            part.component.capabilities.get_or_insert_default().add = Some(own);
        }
        "cap_drop" => {
            let capabilities: &mut Capabilities =
                part.component.capabilities.get_or_insert_default();
            capabilities.drop = Some(own);
        }
        "dns" => part.component.dns = Some(own),
        "dns_search" => lines(part, "DNSSearch", own),
        "dns_opt" => lines(part, "DNSOption", own),
        "group_add" => lines(part, "GroupAdd", own),
        "device_cgroup_rules" => {
            for rule in own {
                part.podman_arg(&format!("--device-cgroup-rule={rule}"));
            }
        }
        "devices" => {
            for item in value.list().unwrap_or_default() {
                device(scope, part, key, &device_text(item));
            }
        }
        "labels" | "annotations" => pairs(part, &key.text, value),
        "extra_hosts" => hosts(scope, part, key, value),
        _ => return false,
    }
    true
}

fn lines(part: &mut Part, key: &str, values: Vec<String>) {
    for value in values {
        match raw(&value) {
            Ok(value) => part.extra(Section::Container, key, value),
            Err(_) => part.extra(Section::Container, key, word(&value)),
        }
    }
}

/// Writes the long form of a device as the short one.
fn device_text(item: &Node) -> String {
    let get = |key: &str| item.get(key).and_then(Node::text);
    let source = item.text().or(get("source")).unwrap_or_default().to_owned();
    if !source.starts_with('/') {
        // A device by its name has no other in the container.
        return source;
    }
    let target = get("target").or(get("permissions").map(|_| source.as_str()));
    let rest = [target, get("permissions")].into_iter().flatten();
    rest.fold(source.clone(), |text, part| format!("{text}:{part}"))
}

fn device(scope: &mut Scope<'_>, part: &mut Part, key: &Key, device: &str) {
    if device.is_empty() {
        return scope.tell(part, Lost, (&key.place, "devices"), "one of them has no source");
    }
    if !device.starts_with('/') {
        lines(part, "AddDevice", vec![device.to_owned()]);
        let message = format!("{device} needs the Container Device Interface on the node");
        scope.tell(part, Todo, (&key.place, "devices"), message);
        return;
    }
    let host = device.split(':').next().unwrap_or_default();
    if !scope.files.exists(host) {
        let message = format!("there is no {host} here; without it a deploy is refused");
        scope.tell(part, Todo, (&key.place, "devices"), message);
    }
    push(&mut part.component.devices, device.to_owned());
}

/// Reads labels or annotations; keys that a definition does not take go into
/// the unit as they are.
fn pairs(part: &mut Part, key: &str, value: &Node) {
    for (name, value, _) in value.pairs() {
        let value = value.unwrap_or_default();
        let good = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if !name.is_empty() && !name.starts_with('-') && name.chars().all(good) {
            let table = if key == "labels" {
                &mut part.component.labels
            } else {
                &mut part.component.annotations
            };
            table.get_or_insert_default().insert(name, value);
        } else {
            let line = if key == "labels" { "Label" } else { "Annotation" };
            part.extra(Section::Container, line, word(&format!("{name}={value}")));
        }
    }
}

fn hosts(scope: &mut Scope<'_>, part: &mut Part, key: &Key, value: &Node) {
    let mut lines: Vec<(String, String)> = Vec::new();
    if value.list().is_some() {
        for (text, _) in value.texts() {
            if let Some((name, address)) = text.split_once('=').or(text.split_once(':')) {
                lines.push((name.to_owned(), address.to_owned()));
            } else {
                let message = format!("{text:?} is not name:address");
                scope.tell(part, Lost, (&key.place, "extra_hosts"), message);
            }
        }
    } else {
        for (name, node) in value.map().unwrap_or_default() {
            let texts = node.texts();
            lines.extend(texts.iter().map(|(text, _)| (name.text.clone(), (*text).to_owned())));
        }
    }
    for (name, address) in lines {
        push(&mut part.component.hosts, format!("{name}:{address}"));
    }
}

/// Keys that are told of, and not carried over.
fn told(
    scope: &mut Scope<'_>,
    part: &mut Part,
    (key, value): (&Key, &Node),
    service: &str,
) -> bool {
    let at = (&key.place, key.text.as_str());
    let text = value.text().unwrap_or_default().to_owned();
    match key.text.as_str() {
        "container_name" => {
            if let Some(own) = scope.container(service).filter(|own| *own != text) {
                let message = format!("the container is called {own}");
                scope.tell(part, Changed, at, message);
            }
        }
        "expose" => {
            let message = "containers in one network reach every port of each other";
            scope.tell(part, Needless, at, message);
        }
        "build" => {
            let context = value.get("context").unwrap_or(value).text().unwrap_or(".").to_owned();
            let name = image_name(scope, part, service);
            let message = format!(
                "nothing is built; build it yourself: podman build -t {name} {}",
                shlex::try_quote(&context).unwrap_or_default()
            );
            scope.tell(part, Lost, at, message);
        }
        "pull_policy" => match text.as_str() {
            "missing" | "if_not_present" | "never" | "build" => {
                scope.tell(part, Needless, at, "a deploy pulls only what the node does not have");
            }
            _ => scope.tell(
                part,
                Changed,
                at,
                "a deploy pulls only what the node does not have; mcp deploy --pull asks again",
            ),
        },
        "scale" if text == "1" => {}
        "scale" => scope.tell(part, Lost, at, "a component is one container"),
        "attach" | "develop" => {
            scope.tell(part, Needless, at, "it is about the terminal of compose");
        }
        "gpus" => {
            let all = [value.clone()];
            for gpu in value.list().unwrap_or(&all) {
                super::limits::gpu(scope, part, gpu, (&key.place, "gpus"));
            }
        }
        "domainname" => scope.tell(part, Lost, at, "podman sets no domain; write it into hostname"),
        "platform" => scope.tell(part, Lost, at, "the image is pulled for the node's own platform"),
        "depends_on" => super::health::depends_on(scope, part, key, value),
        _ => return false,
    }
    true
}

fn image_name(scope: &Scope<'_>, part: &Part, service: &str) -> String {
    let own = scope.root.get("services").and_then(|services| services.get(service));
    match own.and_then(|own| own.get("image")).and_then(Node::text) {
        Some(name) => image(name),
        None => format!("localhost/{}-{}:latest", scope.service, part.name()),
    }
}

/// Names the image that a service without one is built to.
fn without_image(scope: &mut Scope<'_>, part: &mut Part, service: &str, node: &Node) {
    if part.component.image.is_some() {
        return;
    }
    part.component.image = Some(image_name(scope, part, service));
    if node.get("build").is_none() {
        let place = part.place.clone();
        scope.tell(part, Todo, (&place, "image"), "it has none; name one");
    }
}
