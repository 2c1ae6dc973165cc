//! Options of a container that compose and `podman run` write alike.

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

/// Sets the host name; one that a definition does not take, such as `app_db`,
/// goes into the unit as it is.
pub(super) fn hostname(part: &mut Part, name: String) {
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
