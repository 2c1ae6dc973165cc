//! The options of a run to the keys of a component.

use super::Scope;
use super::check::check;
use super::network::network;
use super::parse::{Flag, Run};
use crate::definition::is_mount_option;
use crate::definition::model::{Limit, Log, Scalar};
use crate::import::env::add_env;
use crate::import::files::absolute;
use crate::import::note::NoteKind::{Changed, Lost, Needless, Todo};
use crate::import::options::{Gpus, SOCKET, cpus, gpus, hostname, is_none, security, socket};
use crate::import::sheet::{Part, Section, push};
use crate::import::values::{as_volume, image, label, names_registry, size};
use crate::quadlet::escape::{raw, word};

/// Options that are lines of `[Container]` with the value as it is.
const LINES: &[(&str, &str)] = &[
    ("dns-option", "DNSOption"),
    ("dns-search", "DNSSearch"),
    ("gidmap", "GIDMap"),
    ("group-add", "GroupAdd"),
    ("ip", "IP"),
    ("ip6", "IP6"),
    ("secret", "Secret"),
    ("subgidname", "SubGIDMap"),
    ("subuidname", "SubUIDMap"),
    ("tz", "Timezone"),
    ("uidmap", "UIDMap"),
];

/// Options that podman takes and that have no key at all.
const PASSED: &[&str] = &[
    "blkio-weight",
    "blkio-weight-device",
    "cgroup-conf",
    "cgroup-parent",
    "cgroupns",
    "chrootdirs",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "device-cgroup-rule",
    "device-read-bps",
    "device-read-iops",
    "device-write-bps",
    "device-write-iops",
    "env-merge",
    "group-entry",
    "hosts-file",
    "hostuser",
    "image-volume",
    "init-path",
    "ipc",
    "mac-address",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "oom-score-adj",
    "passwd-entry",
    "personality",
    "pid",
    "rdt-class",
    "shm-size-systemd",
    "systemd",
    "timeout",
    "umask",
    "unsetenv",
    "uts",
    "volumes-from",
];

/// Options without a value that podman takes.
const SWITCHES: &[&str] = &[
    "env-host",
    "http-proxy",
    "interactive",
    "no-hostname",
    "no-hosts",
    "oom-kill-disable",
    "passwd",
    "privileged",
    "publish-all",
    "read-only-tmpfs",
    "tty",
    "unsetenv-all",
];

/// Options that podman's generator or MCP gives anyway.
const OWN: &[&str] = &[
    "attach",
    "cidfile",
    "conmon-pidfile",
    "detach",
    "detach-keys",
    "disable-content-trust",
    "pidfile",
    "quiet",
    "replace",
    "rm",
    "sig-proxy",
];

/// Reads the options of one run.
pub(in crate::import) fn apply(scope: &mut Scope<'_>, part: &mut Part, run: &Run) {
    part.component.image =
        Some(if scope.is_docker { image(&run.image) } else { run.image.clone() });
    if !run.command.is_empty() {
        part.component.cmd = Some(run.command.iter().map(|(word, _)| word.clone()).collect());
    }
    part.component.restart = Some("no".to_owned());
    scope.is_split = run.is_split;
    let driver = run.flags.iter().rfind(|flag| flag.name == "log-driver");
    let is_json =
        driver.map_or(scope.is_docker, |flag| matches!(flag.value.as_str(), "json-file" | "local"));
    for flag in &run.flags {
        let value = match flag.name.as_str() {
            "env-file" | "workdir" => here(scope, &flag.value),
            _ => flag.value.clone(),
        };
        let flag = &Flag { value, ..flag.clone() };
        if !matches!(flag.name.as_str(), "mount" | "volume") {
            as_text(scope, part, flag, &flag.value);
        }
        if flag.name == "log-opt" && is_json {
            let message = "the output goes to the journal, whose own limits hold";
            scope.tell(part, Changed, (&flag.place, "--log-opt"), message);
            continue;
        }
        let done = simple(part, flag)
            || lists(scope, part, flag)
            || log(scope, part, flag)
            || mounts(scope, part, flag)
            || network(scope, part, flag)
            || told(scope, part, flag);
        if !done {
            let message = "podman run has no such option, or a definition nothing like it";
            scope.tell(part, Lost, (&flag.place, &format!("--{}", flag.name)), message);
        }
    }
    check(scope, part, run);
    if !scope.is_docker && !names_registry(&run.image) {
        let message =
            format!("{} names no registry, so podman's own settings choose one", run.image);
        scope.tell(part, Todo, (&run.place, "image"), message);
    }
}

/// Keys with one value.
fn simple(part: &mut Part, flag: &Flag) -> bool {
    let value = flag.value.clone();
    let is_on = value == "true";
    let c = &mut part.component;
    match flag.name.as_str() {
        // What the container is called was read before.
        "name" => {}
        "hostname" => hostname(part, value),
        "user" => c.user = Some(value),
        "userns" => c.userns = Some(value),
        "workdir" => c.working_dir = Some(value),
        "stop-signal" => c.stop_signal = Some(value),
        "init" => c.init = is_on.then_some(true),
        "read-only" => c.read_only = is_on.then_some(true),
        // No limit.
        "cpus" | "memory" if is_none(&value) => {}
        "memory" => match size(&value) {
            Some(size) => c.resources.get_or_insert_default().memory = Some(size),
            None => return false,
        },
        "cpus" => match cpus(&value) {
            Some(cpus) => c.resources.get_or_insert_default().cpus = Some(cpus),
            None => return false,
        },
        "pids-limit" => match value.parse::<u32>() {
            Ok(pids) if pids > 0 => c.resources.get_or_insert_default().pids = Some(pids),
            Ok(_) | Err(_) => part.extra(Section::Container, "PidsLimit", value),
        },
        "shm-size" => match size(&value) {
            Some(size) => c.shm_size = Some(size),
            None => return false,
        },
        "stop-timeout" => match value.parse::<u64>() {
            Ok(seconds) if seconds > 0 => c.stop_timeout = Some(format!("{seconds}s")),
            Ok(_) | Err(_) => return false,
        },
        "entrypoint" => {
            let words: Option<Vec<String>> = serde_json::from_str(&value).ok();
            c.entrypoint = Some(words.unwrap_or_else(|| vec![value]));
        }
        _ => return false,
    }
    true
}

/// Keys that are lists or tables.
fn lists(scope: &mut Scope<'_>, part: &mut Part, flag: &Flag) -> bool {
    let value = flag.value.clone();
    let pair = value.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
    let c = &mut part.component;
    match flag.name.as_str() {
        "env" => {
            if let Some(pair) = pair {
                add_env(part, [pair]);
            } else {
                let message = format!("{value} is passed on from the shell; write its value");
                scope.tell(part, Lost, (&flag.place, "--env"), message);
            }
        }
        "label" | "annotation" => {
            let (name, text) = pair.unwrap_or((value.clone(), String::new()));
            let good = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            let is_label = flag.name == "label";
            if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good) {
                let table = if is_label { &mut c.labels } else { &mut c.annotations };
                table.get_or_insert_default().insert(name, text);
            } else {
                let key = if is_label { "Label" } else { "Annotation" };
                part.extra(Section::Container, key, word(&value));
            }
        }
        "sysctl" => {
            let Some((name, value)) = pair else { return false };
            c.sysctls.get_or_insert_default().insert(name, Scalar::Text(value));
        }
        "ulimit" => match pair {
            Some((name, value)) => {
                c.ulimits.get_or_insert_default().insert(name, Limit::Text(value));
            }
            None => part.extra(Section::Container, "Ulimit", value),
        },
        "cap-add" | "cap-drop" => {
            let capabilities = c.capabilities.get_or_insert_default();
            let list =
                if flag.name == "cap-add" { &mut capabilities.add } else { &mut capabilities.drop };
            list.get_or_insert_default().extend(value.split(',').map(str::to_owned));
        }
        "dns" if value.parse::<std::net::IpAddr>().is_ok() => push(&mut c.dns, value),
        "dns" => part.extra(Section::Container, "DNS", value),
        "add-host" => push(&mut c.hosts, value.replacen('=', ":", 1)),
        "device" if value.starts_with('/') => push(&mut c.devices, value),
        "device" => part.extra(Section::Container, "AddDevice", value),
        "security-opt" => security(part, &value),
        "env-file" => {
            let path = absolute(&scope.options.directory, &scope.options.home, &value);
            if !scope.files.exists(&path) {
                let message = format!("there is no {path} here; without it a deploy is refused");
                scope.tell(part, Todo, (&flag.place, "--env-file"), message);
            }
            push(&mut part.component.env_files, path);
        }
        _ => return false,
    }
    true
}

/// Where the output goes.
fn log(scope: &mut Scope<'_>, part: &mut Part, flag: &Flag) -> bool {
    let value = flag.value.clone();
    let pair = value.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
    let c = &mut part.component;
    match flag.name.as_str() {
        "log-driver" => match value.as_str() {
            "journald" | "k8s-file" | "none" => {
                c.log.get_or_insert_with(Log::default).driver = Some(value);
            }
            "json-file" | "local" => {
                let message = "the output goes to the journal, whose own limits hold";
                scope.tell(part, Changed, (&flag.place, "--log-driver"), message);
            }
            _ => return false,
        },
        "log-opt" => {
            let Some((name, value)) = pair else { return false };
            let log = c.log.get_or_insert_with(Log::default);
            log.options.get_or_insert_default().insert(name, Scalar::Text(value));
        }
        _ => return false,
    }
    true
}

/// Writes out the current directory and the home directory at the beginning
/// of a path.
fn here(scope: &Scope<'_>, source: &str) -> String {
    for (name, path) in [
        ("$(pwd)", &scope.options.directory),
        ("`pwd`", &scope.options.directory),
        ("${PWD}", &scope.options.directory),
        ("$PWD", &scope.options.directory),
        ("${HOME}", &scope.options.home),
        ("$HOME", &scope.options.home),
    ] {
        if let Some(rest) = source.strip_prefix(name) {
            return format!("{path}{rest}");
        }
    }
    source.to_owned()
}

fn mounts(scope: &mut Scope<'_>, part: &mut Part, flag: &Flag) -> bool {
    match flag.name.as_str() {
        "volume" => volume(scope, part, flag),
        "tmpfs" => push(&mut part.component.tmpfs, flag.value.clone()),
        "mount" if let Some(value) = as_volume(&flag.value) => {
            volume(scope, part, &Flag { value, ..flag.clone() });
        }
        "mount" => {
            let parts: Vec<String> = flag
                .value
                .split(',')
                .map(|part| match part.split_once('=') {
                    Some((key @ ("source" | "src"), path)) if path.starts_with(['.', '$', '`']) => {
                        let path = here(scope, path);
                        let path = absolute(&scope.options.directory, &scope.options.home, &path);
                        format!("{key}={path}")
                    }
                    _ => part.to_owned(),
                })
                .collect();
            let text = parts.join(",");
            as_text(scope, part, flag, &text);
            line(scope, part, "Mount", (&text, flag));
        }
        _ => return false,
    }
    true
}

/// Adds a line of `[Container]` whose value is taken as it is.
pub(super) fn line(
    scope: &mut Scope<'_>,
    part: &mut Part,
    key: &str,
    (value, flag): (&str, &Flag),
) {
    match raw(value) {
        Ok(value) => part.extra(Section::Container, key, value),
        Err(why) => {
            scope.tell(part, Lost, (&flag.place, &format!("--{}", flag.name)), why.to_string());
        }
    }
}

/// Tells whether a shell would put something into a text.
fn is_filled_in(text: &str) -> bool {
    text.contains(['$', '`'])
}

/// Tells where the text that becomes of an option has in it what a shell would
/// have filled in.
fn as_text(scope: &mut Scope<'_>, part: &mut Part, flag: &Flag, text: &str) {
    if !scope.is_split && is_filled_in(text) {
        let message = "what the shell fills in is plain text now";
        scope.tell(part, Changed, (&flag.place, &format!("--{}", flag.name)), message);
    }
}

fn volume(scope: &mut Scope<'_>, part: &mut Part, flag: &Flag) {
    let what = format!("--{}", flag.name);
    let at = (&flag.place, what.as_str());
    let parts: Vec<String> = flag.value.split(':').map(|part| here(scope, part)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => {
            let wish = label(&format!("{}-{target}", part.name()));
            let name = scope.things.new_volume(&scope.service, wish);
            push(&mut part.component.volumes, format!("{name}:{target}"));
            let message = format!("the volume at {target} has no name; it is called {name} now");
            scope.tell(part, Changed, at, message);
            return as_text(scope, part, flag, target);
        }
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return scope.tell(part, Lost, at, format!("{:?} has too many parts", flag.value)),
    };
    let is_known = options.is_empty() || options.split(',').all(is_mount_option);
    let options = if options.is_empty() { String::new() } else { format!(":{options}") };
    let rest = format!("{target}{options}");
    if scope.is_docker && socket(part, source, &rest) {
        return scope.tell(part, Todo, at, SOCKET);
    }
    if source.starts_with(['/', '.', '~']) {
        let path = absolute(&scope.options.directory, &scope.options.home, source);
        if !scope.files.exists(&path) {
            let message = format!("there is no {path} here; without it a deploy is refused");
            scope.tell(part, Todo, at, message);
        }
        let whole = format!("{path}:{rest}");
        as_text(scope, part, flag, &whole);
        if is_known {
            push(&mut part.component.volumes, whole);
        } else {
            line(scope, part, "Volume", (&whole, flag));
        }
        return;
    }
    match volume_name(scope, source) {
        Some(name) if is_known => {
            if is_filled_in(source) {
                let message = format!("the volume {name} stands for {source}; write the path");
                scope.tell(part, Todo, at, message);
            } else {
                as_text(scope, part, flag, &rest);
            }
            push(&mut part.component.volumes, format!("{name}:{rest}"));
        }
        Some(_) | None => {
            let whole = format!("{source}:{rest}");
            as_text(scope, part, flag, &whole);
            line(scope, part, "Volume", (&whole, flag));
        }
    }
}

/// Returns what a definition calls a volume of a command line: the one that
/// podman has, with what is in it. Of docker's, and of a path that only a shell
/// knows, it is a new one of the service.
fn volume_name(scope: &mut Scope<'_>, source: &str) -> Option<String> {
    let service = scope.service.clone();
    if !scope.is_docker && !is_filled_in(source) {
        return scope.things.volume(&service, source);
    }
    let short = source.strip_prefix(&format!("{service}-")).filter(|short| !short.is_empty());
    let own = label(short.unwrap_or(source));
    scope.things.volume(&service, &format!("{service}-{own}"))
}

/// Options that are told of, or go into the unit as they are.
fn told(scope: &mut Scope<'_>, part: &mut Part, flag: &Flag) -> bool {
    let name = flag.name.as_str();
    let what = format!("--{name}");
    let at = (&flag.place, what.as_str());
    match name {
        "stop-timeout" if flag.value == "0" => {
            scope.tell(part, Changed, at, "it gets a second for its end");
            part.component.stop_timeout = Some("1s".to_owned());
        }
        "restart" => {
            let (word, times) = flag.value.split_once(':').unwrap_or((&flag.value, ""));
            if !times.is_empty() {
                scope.tell(part, Changed, at, "systemd tries for ever, ever more slowly");
            }
            part.component.restart = Some(word.to_owned());
        }
        "pull" => {
            let message =
                "a deploy pulls only what the node does not have; mcp deploy --pull asks again";
            scope.tell(part, Changed, at, message);
        }
        "gpus" => {
            for (kind, message) in gpus(part, &Gpus::parse(&flag.value)) {
                scope.tell(part, kind, at, message);
            }
        }
        "expose" => {
            let message = "containers in one network reach every port of each other";
            scope.tell(part, Needless, at, message);
        }
        // Read together, once all are known.
        _ if name.starts_with("health-") => {}
        "no-healthcheck" if flag.value != "true" => {}
        "no-healthcheck" => part.extra(Section::Container, "HealthCmd", "none"),
        _ if OWN.contains(&name) => scope.tell(part, Needless, at, "podman's generator sees to it"),
        _ if SWITCHES.contains(&name) => match flag.value.as_str() {
            "true" => part.podman_arg(&what),
            value => part.podman_arg(&format!("{what}={value}")),
        },
        _ => {
            if let Some((_, key)) = LINES.iter().find(|(own, _)| *own == name) {
                line(scope, part, key, (&flag.value, flag));
            } else if PASSED.contains(&name) {
                part.podman_arg(&format!("{what}={}", flag.value));
            } else {
                return false;
            }
        }
    }
    true
}
