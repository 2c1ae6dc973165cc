//! `[Container]`.

use super::set::Scope;
use super::unit::{Line, Unit, near_words, plain, truth, words};
use super::{health, mounts, network};
use crate::definition::model::{Limit, Log, Scalar};
use crate::import::env::add_env;
use crate::import::files::{absolute, directory, file_name};
use crate::import::note::NoteKind::{Changed, Lost, Needless, Todo};
use crate::import::sheet::{Part, Section, push};
use crate::import::values::{Ports, names_registry, ports};
use crate::quadlet::known_keys;

/// Reads the section.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit) {
    let drop_ins = format!("{}.d", unit.path);
    if scope.files.exists(&drop_ins) {
        let place = unit.place.clone();
        let message =
            format!("{} is not read; write what it says into the file", file_name(&drop_ins));
        part.tell(&mut scope.notes, Lost, (&place, "drop-ins"), message);
    }
    keys(scope, part, unit);
    health::convert(scope, part, unit);
    if part.component.image.is_none() {
        let place = unit.place.clone();
        let message = "it has none that can be carried over; name one";
        part.tell(&mut scope.notes, Todo, (&place, "Container.Image"), message);
        part.component.image = Some(format!("localhost/{}:latest", part.name()));
    }
}

/// Reads the keys of the section, those of health aside.
pub(super) fn keys(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit) {
    for line in unit.section("Container") {
        let done = refused(scope, part, unit, line)
            || network::read(scope, part, unit, line)
            || mounts::read(scope, part, unit, line)
            || value(part, unit, line)
            || list(part, unit, line);
        if !done {
            if let Some(doubt) = known_keys::doubt(&line.section, &line.key) {
                scope.tell(part, Todo, line, doubt.to_string());
            }
            part.extra(Section::Container, &line.key, line.value.clone());
        }
    }
}

/// Keys that the escape hatch does not take: they are read here, or told.
fn refused(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit, line: &Line) -> bool {
    match line.key.as_str() {
        "Image" => image(scope, part, line),
        "Exec" => part.component.cmd = command(scope, part, line),
        "Entrypoint" => {
            let words = if let Some(text) = plain(&line.value) {
                serde_json::from_str(&text).unwrap_or_else(|_| vec![text])
            } else {
                scope.tell(part, Changed, line, "what systemd fills in is plain text now");
                vec![line.value.clone()]
            };
            part.component.entrypoint = Some(words);
        }
        // Told of, or read, elsewhere.
        "ContainerName" | "Pod" | "Notify" => {}
        key if health::is_own(unit, key) => {}
        "ServiceName" => {
            let message = "the unit is called like its container";
            scope.tell(part, Changed, line, message);
        }
        "Pull" => {
            let message =
                "a deploy pulls only what the node does not have; mcp deploy --pull asks again";
            scope.tell(part, Changed, line, message);
        }
        "AutoUpdate" => {
            let message = "an update is a deploy, so that it can be undone: mcp deploy --pull";
            scope.tell(part, Lost, line, message);
        }
        "Group" if unit.last("Container", "User").is_some() => {}
        "Rootfs" => scope.tell(part, Lost, line, "a component has an image"),
        "StartWithPod" => scope.tell(part, Needless, line, "there is no pod any more"),
        _ => return false,
    }
    true
}

fn image(scope: &mut Scope<'_>, part: &mut Part, line: &Line) {
    let value = line.value.as_str();
    let name = if value.strip_suffix(".image").is_some() {
        let own = scope.set.units.get(value).and_then(|unit| unit.last("Image", "Image"));
        own.and_then(|line| plain(&line.value))
    } else if value.strip_suffix(".build").is_some() {
        let own = scope.set.units.get(value).and_then(|unit| unit.last("Build", "ImageTag"));
        let tag = own.and_then(|line| plain(&line.value));
        scope.tell(part, Todo, line, "nothing is built; build the image yourself");
        Some(tag.unwrap_or_else(|| format!("localhost/{}:latest", part.name())))
    } else {
        plain(value)
    };
    match name {
        Some(name) if name.parse::<crate::names::ImageRef>().is_ok() => {
            if !names_registry(&name) {
                let message =
                    format!("{name} names no registry, so podman's own settings choose one");
                scope.tell(part, Todo, line, message);
            }
            part.component.image = Some(name);
        }
        Some(_) | None => {
            scope.tell(
                part,
                Lost,
                line,
                "a component's image is registry/path:tag, without % and $",
            );
        }
    }
}

fn command(scope: &mut Scope<'_>, part: &mut Part, line: &Line) -> Option<Vec<String>> {
    match (words(&line.value), near_words(&line.value)) {
        (Some(words), _) => Some(words),
        (None, Some(near)) => {
            scope.tell(part, Changed, line, "what systemd fills in (%, $) is plain text now");
            Some(near)
        }
        (None, None) => {
            scope.tell(part, Lost, line, "its quotes cannot be read");
            None
        }
    }
}

/// Keys with one value that a definition has.
fn value(part: &mut Part, unit: &Unit, line: &Line) -> bool {
    let Some(text) = plain(&line.value) else { return false };
    let word = |also: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.len() <= 255
            && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    let size = || {
        let digits = text.trim_end_matches(['b', 'k', 'm', 'g']);
        text.len() - digits.len() <= 1
            && digits.parse::<u64>().is_ok_and(|n| n > 0)
            && digits.len() <= 15
    };
    let is_path = text.starts_with('/') && !text.contains([':', ',']) && !text.contains("..");
    let c = &mut part.component;
    match line.key.as_str() {
        "User" if word("._-") => {
            let group = unit.last("Container", "Group").and_then(|line| plain(&line.value));
            c.user = Some(group.map_or_else(|| text.clone(), |group| format!("{text}:{group}")));
        }
        "User" if word("._-:") && unit.last("Container", "Group").is_none() => c.user = Some(text),
        "UserNS" if word("._-:,=@") => c.userns = Some(text),
        "HostName" if word(".-") => c.hostname = Some(text),
        "WorkingDir" if is_path => c.working_dir = Some(text),
        "RunInit" if truth(&text) == Some(true) => c.init = Some(true),
        "ReadOnly" if truth(&text) == Some(true) => c.read_only = Some(true),
        "ShmSize" if size() => c.shm_size = Some(text),
        "Memory" if size() => c.resources.get_or_insert_default().memory = Some(text),
        "PidsLimit" => match text.parse::<u32>() {
            Ok(pids) if pids > 0 => c.resources.get_or_insert_default().pids = Some(pids),
            Ok(_) | Err(_) => return false,
        },
        "StopSignal" if word("+-") => c.stop_signal = Some(text),
        "StopTimeout" => match text.parse::<u64>() {
            Ok(seconds @ 1..=86400) => c.stop_timeout = Some(format!("{seconds}s")),
            Ok(_) | Err(_) => return false,
        },
        "LogDriver" if matches!(text.as_str(), "journald" | "k8s-file" | "none") => {
            c.log.get_or_insert_with(Log::default).driver = Some(text);
        }
        "DNS" if text.parse::<std::net::IpAddr>().is_ok() => push(&mut c.dns, text),
        "AddDevice" if is_device(&text) => push(&mut c.devices, text),
        "PublishPort" => match ports(&text) {
            Ok(Ports::Published(list)) if list == [text.clone()] => push(&mut c.ports, text),
            Ok(_) | Err(_) => return false,
        },
        "AddHost" if is_host(&text) => push(&mut c.hosts, text),
        "Ulimit" => {
            let Some((name, limit)) = text.split_once('=') else { return false };
            let part = |p: &str| p == "-1" || p == "unlimited" || p.parse::<u64>().is_ok();
            if !limit.split(':').all(part) || limit.split(':').count() > 2 {
                return false;
            }
            let limits = c.ulimits.get_or_insert_default();
            limits.insert(name.to_owned(), Limit::Text(limit.to_owned()));
        }
        _ => return false,
    }
    true
}

fn is_device(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() <= 3 && parts.iter().take(2).all(|part| part.starts_with('/'))
}

fn is_host(text: &str) -> bool {
    let Some((name, address)) = text.split_once(':') else { return false };
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty()
        && name.chars().all(good)
        && (address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok())
}

/// Keys that are split into words.
fn list(part: &mut Part, unit: &Unit, line: &Line) -> bool {
    let Some(words) = words(&line.value) else { return false };
    let pairs: Option<Vec<(String, String)>> = words
        .iter()
        .map(|word| word.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())))
        .collect();
    let is_key = |text: &str, also: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    match (line.key.as_str(), pairs) {
        ("Environment", Some(pairs)) => add_env(part, pairs),
        ("EnvironmentFile", _) => {
            // The generator takes the whole value for one path.
            for word in words {
                let path = absolute(directory(&unit.path), "/", &word);
                push(&mut part.component.env_files, path);
            }
        }
        ("AddCapability", _) => {
            part.component
                .capabilities
                .get_or_insert_default()
                .add
                .get_or_insert_default()
                .extend(words);
        }
        ("DropCapability", _) => {
            part.component
                .capabilities
                .get_or_insert_default()
                .drop
                .get_or_insert_default()
                .extend(words);
        }
        ("Label", Some(pairs)) if pairs.iter().all(|(name, _)| is_key(name, "._-/")) => {
            part.component.labels.get_or_insert_default().extend(pairs);
        }
        ("Annotation", Some(pairs)) if pairs.iter().all(|(name, _)| is_key(name, "._-/")) => {
            part.component.annotations.get_or_insert_default().extend(pairs);
        }
        ("Sysctl", Some(pairs)) if pairs.iter().all(|(name, _)| is_key(name, "._-/")) => {
            let pairs = pairs.into_iter().map(|(name, value)| (name, Scalar::Text(value)));
            part.component.sysctls.get_or_insert_default().extend(pairs);
        }
        ("LogOpt", Some(pairs)) if pairs.iter().all(|(name, _)| is_key(name, "._-/")) => {
            let pairs = pairs.into_iter().map(|(name, value)| (name, Scalar::Text(value)));
            let log = part.component.log.get_or_insert_with(Log::default);
            log.options.get_or_insert_default().extend(pairs);
        }
        _ => return false,
    }
    true
}
