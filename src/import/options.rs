//! Options of a container that compose and `podman run` write alike.

use super::note::NoteKind::{self, Lost, Todo};
use super::sheet::{Part, Section};
use crate::definition::model::Cpus;
use crate::quadlet::escape::{raw, word};

/// Reads an option of `--security-opt`, with `:` or `=` behind its name.
pub(super) fn security(part: &mut Part, option: &str) {
    let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
    let line = |part: &mut Part, key: &str, value: &str| match raw(value) {
        Ok(value) => part.extra(Section::Container, key, value),
        Err(_) => part.podman_arg(&format!("--security-opt={name}={value}")),
    };
    match (name, value.split_once([':', '=']).unwrap_or((value, ""))) {
        ("no-new-privileges", ("" | "true", _)) => line(part, "NoNewPrivileges", "true"),
        ("no-new-privileges", _) => line(part, "NoNewPrivileges", "false"),
        ("label", ("disable", _)) => line(part, "SecurityLabelDisable", "true"),
        ("label", ("nested", _)) => line(part, "SecurityLabelNested", "true"),
        ("label", ("type", label)) => line(part, "SecurityLabelType", label),
        ("label", ("level", label)) => line(part, "SecurityLabelLevel", label),
        ("label", ("filetype", label)) => line(part, "SecurityLabelFileType", label),
        ("seccomp", _) => line(part, "SeccompProfile", value),
        ("systempaths", ("unconfined", _)) | ("unmask", ("all" | "ALL", _)) => {
            line(part, "Unmask", "ALL");
        }
        _ if value.is_empty() => part.podman_arg(&format!("--security-opt={name}")),
        _ => part.podman_arg(&format!("--security-opt={name}={value}")),
    }
}

/// Reads a number of processors.
pub(super) fn cpus(text: &str) -> Option<Cpus> {
    match text.parse::<u32>() {
        Ok(0) => None,
        Ok(whole) => Some(Cpus::Whole(whole)),
        Err(_) => text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0).map(Cpus::Part),
    }
}

/// Tells whether a limit is none: zero, of whatever unit.
pub(super) fn is_none(text: &str) -> bool {
    text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse::<f64>() == Ok(0.0)
}

/// Which GPUs a container gets, as compose and docker say it.
#[derive(Debug, Default)]
pub(super) struct Gpus {
    /// What makes the devices; docker's is NVIDIA's.
    pub(super) driver: Option<String>,
    /// Names or numbers of devices.
    pub(super) ids: Vec<String>,
    /// How many of them; all, if it is no number.
    pub(super) count: Option<String>,
}

impl Gpus {
    /// Reads the value of `docker run --gpus`: a number, `all`, or pairs; in
    /// quotes there may be commas in a pair.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let (mut fields, mut is_quoted) = (vec![String::new()], false);
        for c in text.chars() {
            match (c, fields.last_mut()) {
                ('"', _) => is_quoted = !is_quoted,
                (',', _) if !is_quoted => fields.push(String::new()),
                (c, Some(last)) => last.push(c),
                (_, None) => {}
            }
        }
        for field in fields {
            match field.split_once('=') {
                None => found.count = Some(field),
                Some(("count", value)) => found.count = Some(value.to_owned()),
                Some(("driver", value)) => found.driver = Some(value.to_owned()),
                Some(("device", value)) => {
                    found.ids.extend(value.split(',').map(str::to_owned));
                }
                Some(_) => {}
            }
        }
        found
    }
}

/// Adds GPUs; returns what is to tell of them.
pub(super) fn gpus(part: &mut Part, gpus: &Gpus) -> Vec<(NoteKind, String)> {
    let prefix = match gpus.driver.as_deref() {
        None | Some("" | "nvidia") => "nvidia.com/gpu=",
        Some("cdi") => "",
        Some(other) => {
            return vec![(Lost, format!("devices of the driver {other} are not known"))];
        }
    };
    let count = gpus.count.as_deref().and_then(|count| count.parse::<u32>().ok());
    let ids = match count {
        _ if !gpus.ids.is_empty() || prefix.is_empty() => gpus.ids.clone(),
        Some(count) => (0..count.min(64)).map(|id| id.to_string()).collect(),
        None => vec!["all".to_owned()],
    };
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
    };
    let is_device = |id: &str| match id.split_once('=') {
        Some((class, name)) if prefix.is_empty() => {
            class.contains('/') && is_name(&class.replace('/', "")) && is_name(name)
        }
        Some(_) => false,
        None => !prefix.is_empty() && is_name(id),
    };
    let (known, unknown): (Vec<&String>, Vec<&String>) =
        ids.iter().partition(|id| is_device(id.as_str()));
    for id in &known {
        part.extra(Section::Container, "AddDevice", format!("{prefix}{id}"));
    }
    let lost = unknown.iter().map(|id| (Lost, format!("{id:?} names no device")));
    let todo = (!known.is_empty())
        .then(|| (Todo, "the node needs the Container Device Interface for its GPUs".to_owned()));
    lost.chain(todo).collect()
}

/// Sets the host name; an empty one is none. One that a definition does not
/// take, such as `app_db`, goes into the unit as it is.
pub(super) fn hostname(part: &mut Part, name: String) {
    if name.is_empty() {
        return;
    }
    if name.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)) {
        part.component.hostname = Some(name);
    } else {
        part.extra(Section::Container, "HostName", raw(&name).unwrap_or_else(|_| word(&name)));
    }
}

/// Where docker listens; podman's own socket takes its place.
const DOCKER_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];
/// What is left to do for it.
pub(super) const SOCKET: &str =
    "it is podman's own socket now: systemctl --user enable --now podman.socket";

/// Mounts podman's socket where docker's is meant; tells whether it is.
pub(super) fn socket(part: &mut Part, source: &str, target: &str) -> bool {
    let is_it = DOCKER_SOCKETS.contains(&source);
    if is_it {
        part.extra(Section::Container, "Volume", format!("%t/podman/podman.sock:{target}"));
    }
    is_it
}
