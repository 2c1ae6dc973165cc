//! `volumes`, `tmpfs`, `secrets` and `configs`.

use super::convert::Scope;
use super::things;
use super::yaml::Node;
use crate::definition::is_mount_option;
use crate::import::files::{absolute, directory};
use crate::import::note::NoteKind::{Changed, Lost, Needless, Todo};
use crate::import::note::Place;
use crate::import::options::{SOCKET, socket};
use crate::import::sheet::{Part, Section, push};
use crate::import::values::{label, size, untaken};
use crate::quadlet::escape::raw;

/// Reads these keys.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, node: &Node) {
    for item in node.get("volumes").and_then(Node::list).unwrap_or_default() {
        match item.text() {
            Some(text) => short(scope, part, &item.place, text),
            None => long(scope, part, item),
        }
    }
    for (text, _) in node.get("tmpfs").map(Node::texts).unwrap_or_default() {
        push(&mut part.component.tmpfs, text.to_owned());
    }
    for section in ["secrets", "configs"] {
        for item in node.get(section).and_then(Node::list).unwrap_or_default() {
            file(scope, part, section, item);
        }
    }
    if let Some(from) = node.get("volumes_from") {
        let message = "write the volumes of that service out";
        scope.tell(part, Lost, (&from.place, "volumes_from"), message);
    }
}

/// Reads `source:target[:options]`, or only a target.
fn short(scope: &mut Scope<'_>, part: &mut Part, place: &Place, text: &str) {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        // A variable that is not set: the data is to outlive the container.
        ["", target] | [target] => anonymous(scope, part, place, (target, "")),
        ["", target, options] => anonymous(scope, part, place, (target, options)),
        [source, target] => mount(scope, part, place, (source, target, "")),
        [source, target, options] => mount(scope, part, place, (source, target, options)),
        _ => scope.tell(part, Lost, (place, "volumes"), format!("{text:?} has too many parts")),
    }
}

/// A volume without a name would be lost with its container: it gets one.
fn anonymous(
    scope: &mut Scope<'_>,
    part: &mut Part,
    place: &Place,
    (target, options): (&str, &str),
) {
    let options = known(scope, part, place, options);
    let wish = label(&format!("{}-{target}", part.name()));
    let name = untaken(wish, |name| scope.volumes.values().any(|own| own == name));
    // No volume of the file is called like this.
    scope.volumes.insert(format!("{}:{target}", part.name()), name.clone());
    push(&mut part.component.volumes, format!("{name}:{target}{options}"));
    let message = format!("the volume at {target} has no name; it is called {name} now");
    scope.tell(part, Changed, (place, "volumes"), message);
}

/// Returns the options of a mount that podman has, behind a colon.
fn known(scope: &mut Scope<'_>, part: &mut Part, place: &Place, options: &str) -> String {
    let at = (place, "volumes");
    let mut kept = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "cached" | "delegated" | "consistent" => {
                scope.tell(part, Needless, at, format!("{option} means nothing on Linux"));
            }
            option if is_mount_option(option) => kept.push(option),
            option => scope.tell(part, Lost, at, format!("podman has no option {option}")),
        }
    }
    if kept.is_empty() { String::new() } else { format!(":{}", kept.join(",")) }
}

/// Adds a mount of a path or a volume.
pub(super) fn mount(
    scope: &mut Scope<'_>,
    part: &mut Part,
    place: &Place,
    (source, target, options): (&str, &str, &str),
) {
    let at = (place, "volumes");
    let options = known(scope, part, place, options);
    let target = target.trim_end_matches('/');
    let target = if target.is_empty() { "/" } else { target };
    if socket(part, source, &format!("{target}{options}")) {
        scope.tell(part, Todo, at, SOCKET);
    } else if source.starts_with('/') {
        if !scope.files.exists(source) {
            let quoted = shlex::try_quote(source).unwrap_or_default();
            let message =
                format!("there is no {source} here; docker would make it: mkdir -p {quoted}");
            scope.tell(part, Todo, at, message);
        }
        push(&mut part.component.volumes, format!("{source}:{target}{options}"));
    } else {
        volume(scope, part, place, (source, target, &options));
    }
}

/// Adds a mount of a named volume.
fn volume(
    scope: &mut Scope<'_>,
    part: &mut Part,
    place: &Place,
    (source, target, options): (&str, &str, &str),
) {
    let at = (place, "volumes");
    let own = scope.top("volumes", source).cloned();
    let get = |key: &str| own.as_ref().and_then(|own| own.get(key));
    let option = |key: &str| get("driver_opts").and_then(|opts| opts.get(key)).and_then(Node::text);
    // A volume that is a path in disguise.
    if let (Some(device), Some(how)) = (option("device"), option("o"))
        && how.split(',').any(|word| matches!(word, "bind" | "rbind"))
    {
        let device = absolute(directory(&place.file), "/", device);
        let options = options.trim_start_matches(':').to_owned();
        mount(scope, part, place, (&device, target, &options));
        return;
    }
    let (is_external, named) = things::origin(own.as_ref());
    let name = scope.volumes.get(source).cloned().unwrap_or_else(|| label(source));
    if is_external || named.is_some() {
        let podmans = named.unwrap_or(source).to_owned();
        if is_external {
            let message = format!(
                "the volume {podmans} is that of podman; one of docker's is copied by hand"
            );
            scope.tell(part, Todo, at, message);
        }
        scope.things.volumes.entry(name.clone()).or_default().name = Some(podmans);
    }
    push(&mut part.component.volumes, format!("{name}:{target}{options}"));
    scope.volumes_used.insert(source.to_owned(), name);
}

/// Reads the long form.
fn long(scope: &mut Scope<'_>, part: &mut Part, item: &Node) {
    let get = |key: &str| item.get(key).and_then(Node::text).unwrap_or_default().to_owned();
    let (kind, source, target) = (get("type"), get("source"), get("target"));
    let at = (&item.place.clone(), "volumes");
    let mut options: Vec<String> = Vec::new();
    if item.get("read_only").and_then(Node::truth) == Some(true) {
        options.push("ro".to_owned());
    }
    let bind = |key: &str| item.get("bind").and_then(|bind| bind.get(key)).and_then(Node::text);
    options.extend(
        ["propagation", "selinux"].into_iter().filter_map(|key| Some(bind(key)?.to_owned())),
    );
    let volume = item.get("volume");
    if volume.and_then(|v| v.get("nocopy")).and_then(Node::truth) == Some(true) {
        options.push("nocopy".to_owned());
    }
    if let Some(subpath) = volume.and_then(|v| v.get("subpath")) {
        let message = "the whole volume is mounted";
        scope.tell(part, Lost, (&subpath.place, "volumes.subpath"), message);
    }
    match kind.as_str() {
        "tmpfs" => {
            let tmpfs =
                |key: &str| item.get("tmpfs").and_then(|tmpfs| tmpfs.get(key)).and_then(Node::text);
            let size = tmpfs("size").and_then(size).map(|size| format!("size={size}"));
            let mode = tmpfs("mode").map(|mode| format!("mode={}", mode.trim_start_matches("0o")));
            let options: Vec<String> = size.into_iter().chain(mode).collect();
            let options =
                if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
            push(&mut part.component.tmpfs, format!("{target}{options}"));
        }
        "volume" | "bind" | "" if source.is_empty() => {
            anonymous(scope, part, &item.place, (&target, &options.join(",")));
        }
        "volume" | "bind" | "" => {
            mount(scope, part, &item.place, (&source, &target, &options.join(",")));
        }
        "image" => match raw(&format!("type=image,source={source},destination={target}")) {
            Ok(line) => part.extra(Section::Container, "Mount", line),
            Err(why) => scope.tell(part, Lost, at, why.to_string()),
        },
        other => scope.tell(part, Lost, at, format!("podman has no mounts of the type {other}")),
    }
}

/// Reads a secret or a config: a file that is mounted.
fn file(scope: &mut Scope<'_>, part: &mut Part, section: &str, item: &Node) {
    let name = item.text().or(item.get("source").and_then(Node::text)).unwrap_or_default();
    let what = format!("{section}.{name}");
    let at = (&item.place.clone(), what.as_str());
    let target = item.get("target").and_then(Node::text).unwrap_or(name);
    let target = match (target.starts_with('/'), section) {
        (true, _) => target.to_owned(),
        (false, "secrets") => format!("/run/secrets/{target}"),
        (false, _) => format!("/{target}"),
    };
    let Some(own) = scope.top(section, name).cloned() else {
        scope.tell(part, Lost, at, format!("there is no {name} among the {section} of the file"));
        return;
    };
    let is_external = own.get("external").is_some_and(|node| node.truth() != Some(false));
    let mut options = String::new();
    for key in ["uid", "gid", "mode"] {
        let Some(value) = item.get(key).and_then(Node::text) else { continue };
        if is_external && section == "secrets" {
            let value = value.trim_start_matches("0o");
            options.push_str(&format!(",{key}={value}"));
        } else {
            let what = format!("{what}.{key}");
            scope.tell(part, Changed, (at.0, &what), "the file keeps what it has on the node");
        }
    }
    if let Some(path) = own.get("file").and_then(Node::text) {
        if !scope.files.exists(path) {
            let message = format!("there is no {path} here; without it a deploy is refused");
            scope.tell(part, Todo, at, message);
        }
        push(&mut part.component.volumes, format!("{path}:{target}:ro"));
    } else if is_external && section == "secrets" {
        let podmans = own.get("name").and_then(Node::text).unwrap_or(name).to_owned();
        match raw(&format!("{podmans},target={target}{options}")) {
            Ok(line) => part.extra(Section::Container, "Secret", line),
            Err(why) => scope.tell(part, Lost, at, why.to_string()),
        }
        let message = format!("podman must know the secret: podman secret create {podmans} FILE");
        scope.tell(part, Todo, at, message);
    } else {
        let message = format!("write it into a file and mount that at {target}");
        scope.tell(part, Lost, at, message);
    }
}
