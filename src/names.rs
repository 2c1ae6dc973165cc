//! Validated names: every name that reaches a file, a unit or a command line
//! has one of these types, so nothing downstream checks it again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a service, component, node, route, network or volume.
///
/// A DNS label (RFC 1035, section 2.3.4) holds 63 octets; two of them joined
/// by a hyphen still fit a unit name (255, `systemd.unit(5)`).
pub const MAX_LABEL: usize = 63;

/// Says why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("{kind} name is empty")]
    Empty {
        /// What the name was for.
        kind: &'static str,
    },
    /// The text is longer than [`MAX_LABEL`].
    #[error("{kind} name is longer than {MAX_LABEL} characters")]
    TooLong {
        /// What the name was for.
        kind: &'static str,
    },
    /// The text holds a character outside the grammar.
    #[error(
        "{kind} name {name:?} may hold only a-z, 0-9 and '-', and starts and ends with a letter or digit"
    )]
    Grammar {
        /// What the name was for.
        kind: &'static str,
        /// The refused text.
        name: String,
    },
    /// The name belongs to systemd, podman or MCP itself.
    #[error(
        "{kind} name {name:?} is reserved: a unit of that name belongs to systemd, podman or MCP"
    )]
    Reserved {
        /// What the name was for.
        kind: &'static str,
        /// The refused text.
        name: String,
    },
    /// An image reference that podman would not take.
    #[error("image reference {name:?} is not valid: {reason}")]
    Image {
        /// The refused text.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Targets and services that the user manager or podman brings along; a unit
/// of ours with such a name would replace it (`systemd.special(7)`).
const RESERVED_SERVICES: &[&str] = &[
    "mcp",
    "basic",
    "bluetooth",
    "capsule",
    "dbus",
    "dbus-broker",
    "dconf",
    "default",
    "dirmngr",
    "exit",
    "gpg-agent",
    "graphical-session",
    "graphical-session-pre",
    "halt",
    "init",
    "paths",
    "pipewire",
    "podman",
    "podman-auto-update",
    "podman-clean-transient",
    "podman-restart",
    "podman-user-wait-network-online",
    "poweroff",
    "printer",
    "reboot",
    "session",
    "shutdown",
    "smartcard",
    "sockets",
    "sound",
    "ssh-agent",
    "systemd-exit",
    "systemd-tmpfiles-setup",
    "timers",
    "xdg-desktop-autostart",
];

fn check_label(kind: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if name.len() > MAX_LABEL {
        return Err(NameError::TooLong { kind });
    }
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !inner || name.starts_with('-') || name.ends_with('-') {
        return Err(NameError::Grammar { kind, name: name.to_owned() });
    }
    Ok(())
}

macro_rules! label {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $extra:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_label($kind, text)?;
                let extra: fn(&str) -> Result<(), NameError> = $extra;
                extra(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

label!(
    /// Names a service: a DNS label that no unit of systemd or podman uses.
    ServiceName, "service", |name| {
        // <service>-ready.target and <service>-gate.target belong to <service>.
        let taken = name.ends_with("-ready") || name.ends_with("-gate");
        if RESERVED_SERVICES.contains(&name) || name == "mcp-podman" || taken {
            return Err(NameError::Reserved { kind: "service", name: name.to_owned() });
        }
        Ok(())
    }
);
label!(
    /// Names a component within its service: a DNS label.
    ComponentName, "component", |_| Ok(())
);
label!(
    /// Names a node: a DNS label.
    NodeName, "node", |_| Ok(())
);
label!(
    /// Names a route of a component: a DNS label; `default` when not given.
    RouteName, "route", |_| Ok(())
);
label!(
    /// Names a podman network: a DNS label that is not one of podman's modes.
    NetworkName, "network", |name| {
        const MODES: &[&str] = &["host", "none", "bridge", "private", "pasta", "slirp4netns", "container", "ns", "podman"];
        if MODES.contains(&name) {
            return Err(NameError::Reserved { kind: "network", name: name.to_owned() });
        }
        Ok(())
    }
);
label!(
    /// Names a boot stage: a DNS label whose units, `mcp-<stage>.target` and
    /// `mcp-<stage>-check.service`, are no others of MCP's.
    StageName, "stage", |name| {
        let taken = ["-ready", "-gate", "-check"].iter().any(|end| name.ends_with(end));
        if taken || matches!(name, "podman" | "ready" | "gate" | "check") {
            return Err(NameError::Reserved { kind: "stage", name: name.to_owned() });
        }
        Ok(())
    }
);
label!(
    /// Names a podman volume within its service: a DNS label.
    VolumeName, "volume", |_| Ok(())
);

impl RouteName {
    /// Returns the name of a route that was given none: `default`.
    pub fn unnamed() -> Self {
        Self("default".to_owned())
    }

    /// Returns the variable that carries the route's port: `PORT_<NAME>`,
    /// upper case, hyphens as underscores.
    pub fn variable(&self) -> String {
        format!("PORT_{}", self.0.to_ascii_uppercase().replace('-', "_"))
    }
}

/// Names a container and its `.service`: `<service>-<component>`, or just
/// `<service>` when the component is named like its service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerName(String);

impl ContainerName {
    /// Joins the two names.
    pub fn new(service: &ServiceName, component: &ComponentName) -> Self {
        if service.as_str() == component.as_str() {
            Self(service.as_str().to_owned())
        } else {
            Self(format!("{service}-{component}"))
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the unit that runs the container.
    pub fn unit(&self) -> UnitName {
        UnitName(format!("{}.service", self.0))
    }

    /// Returns the unit that checks the running container once.
    pub fn check_unit(&self) -> UnitName {
        UnitName(format!("{}-check.service", self.0))
    }

    /// Returns the unit that has the running container checked, again and
    /// again.
    pub fn check_timer(&self) -> UnitName {
        UnitName(format!("{}-check.timer", self.0))
    }

    /// Returns the unit that pulls the container's image.
    pub fn image_unit(&self) -> UnitName {
        UnitName(format!("{}-image.service", self.0))
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Names a unit of the user manager, suffix included, such as `mcq.target`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitName(String);

impl UnitName {
    /// Takes a unit name from systemd, which has checked it.
    pub fn from_systemd(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the target that stands for a whole service.
    pub fn service_target(service: &ServiceName) -> Self {
        Self(format!("{service}.target"))
    }

    /// Returns the target that is reached when every component of a service
    /// is ready; other services order themselves after it.
    pub fn ready_target(service: &ServiceName) -> Self {
        Self(format!("{service}-ready.target"))
    }

    /// Returns the target that a service's components start after; the boot
    /// stages that come before the service stand in it.
    pub fn gate(service: &ServiceName) -> Self {
        Self(format!("{service}-gate.target"))
    }

    /// Returns the target that is reached when a boot stage is ready.
    pub fn stage(stage: &StageName) -> Self {
        Self(format!("mcp-{stage}.target"))
    }

    /// Returns the unit that waits until a boot stage is ready.
    pub fn stage_check(stage: &StageName) -> Self {
        Self(format!("mcp-{stage}-check.service"))
    }

    /// Returns the unit that creates a network.
    pub fn network(network: &NetworkName) -> Self {
        Self(format!("{network}-network.service"))
    }

    /// Returns the unit that creates a service's volume.
    pub fn volume(service: &ServiceName, volume: &VolumeName) -> Self {
        Self(format!("{service}-{volume}-volume.service"))
    }

    /// Returns the unit that keeps podman's pause process; gated containers
    /// start after it, or `READY=1` is lost.
    pub fn podman_ready() -> Self {
        Self("mcp-podman.service".to_owned())
    }

    /// Returns the target that holds every active service.
    pub fn everything() -> Self {
        Self("mcp.target".to_owned())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Numbers the accepted deployments of one service, from 1 upwards; 0 stands
/// for "not accepted yet", as in `mcp render`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// Returns the number of the deployment after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An image reference as podman takes it:
/// `[host[:port]/]path[:tag][@sha256:digest]`.
///
/// The grammar is that of the OCI distribution specification, section
/// "Pulling manifests", and of `containers-transports(5)` for `docker://`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef(String);

impl ImageRef {
    /// Returns the reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        let name = self.0.split('@').next().unwrap_or_default();
        let last = name.rsplit('/').next().unwrap_or_default();
        last.split_once(':').map(|(_, tag)| tag)
    }

    /// Returns the reference without tag and digest.
    pub fn without_tag(&self) -> &str {
        let name = self.0.split('@').next().unwrap_or_default();
        let tag = self.tag().map_or(0, |tag| tag.len() + 1);
        name.get(..name.len() - tag).unwrap_or(name)
    }

    /// Returns the name under which podman lists the image: a tag that is not
    /// written is `latest`, and beside a digest a tag means nothing.
    pub fn listed_name(&self) -> String {
        match (self.0.split_once('@'), self.tag()) {
            (Some((_, digest)), _) => format!("{}@{digest}", self.without_tag()),
            (None, Some(_)) => self.0.clone(),
            (None, None) => format!("{}:latest", self.0),
        }
    }

    /// Tells whether the reference is pinned by digest.
    pub fn is_pinned(&self) -> bool {
        self.0.contains('@')
    }

    /// Tells whether the image can only be in the node's own store.
    pub fn is_local(&self) -> bool {
        self.0.starts_with("localhost/")
    }

    /// Returns what a person calls the version: the tag, else the start of
    /// the digest, else `latest`.
    pub fn version(&self) -> &str {
        match (self.tag(), self.0.split_once("@sha256:")) {
            (Some(tag), _) => tag,
            (None, Some((_, digest))) => digest.get(..12).unwrap_or(digest),
            (None, None) => "latest",
        }
    }
}

fn image_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > 512 {
        return Some("it is longer than 512 characters");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Some("the digest must be sha256: and 64 hexadecimal digits in lower case");
        }
    }
    let (path, last) = name.rsplit_once('/').map_or(("", name), |(path, last)| (path, last));
    let (last, tag) = last.split_once(':').map_or((last, None), |(last, tag)| (last, Some(tag)));
    if let Some(tag) = tag {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let good = tag.len() <= 128
            && tag.bytes().next().is_some_and(word)
            && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if !good {
            return Some(
                "the tag may hold letters, digits, '_', '.' and '-', and starts with none of the last two",
            );
        }
    }
    let mut parts: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
    if let Some(host) = parts.first().copied()
        && (host.contains(['.', ':']) || host == "localhost")
    {
        if let Some(problem) = host_problem(host) {
            return Some(problem);
        }
        parts.remove(0);
    }
    parts.push(last);
    let part = |p: &str| {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        p.bytes().next().is_some_and(word)
            && p.bytes().last().is_some_and(word)
            && p.bytes().all(|b| word(b) || matches!(b, b'.' | b'_' | b'-'))
    };
    if !parts.into_iter().all(part) {
        return Some(
            "each part of the path may hold a-z, 0-9, '.', '_' and '-', and starts and ends with a letter or digit",
        );
    }
    None
}

fn host_problem(host: &str) -> Option<&'static str> {
    let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !host.split('.').all(label) {
        return Some("the host of the image registry is not a host name");
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Some("the port of the image registry is not a port number");
    }
    None
}

impl FromStr for ImageRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match image_problem(text) {
            Some(reason) => Err(NameError::Image { name: text.chars().take(80).collect(), reason }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ImageRef {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> String {
        image.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "mcq", "mc-proxy", "web2", "0x"] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in
            ["", "-a", "a-", "A", "a_b", "a.b", "../a", "a b", "a\n", "é", "a%n", &"x".repeat(64)]
        {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?}");
        }
        assert!("default".parse::<ServiceName>().is_err());
        assert!("default".parse::<ComponentName>().is_ok());
        assert!("host".parse::<NetworkName>().is_err());
    }

    #[test]
    fn a_component_named_like_its_service_gives_just_the_service() {
        let service: ServiceName = "mc-proxy".parse().unwrap();
        assert_eq!(ContainerName::new(&service, &"mc-proxy".parse().unwrap()).as_str(), "mc-proxy");
        assert_eq!(ContainerName::new(&service, &"web".parse().unwrap()).as_str(), "mc-proxy-web");
    }

    #[test]
    fn image_references() {
        let digest = format!("busybox@sha256:{}", "0".repeat(64));
        for good in [
            "mcr.svc.mcp.metacircular.net:8443/mcq:v0.4.0",
            "localhost/lab/web:v1",
            "docker.io/library/nginx:1.27",
            "busybox",
            &digest,
        ] {
            assert!(good.parse::<ImageRef>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "a b",
            "a:",
            "a:\n",
            "A",
            "a//b",
            "../a",
            "a@sha256:12",
            "--privileged",
            "a:b:c",
            "h.x:99999/a",
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
        let image: ImageRef = "mcr.x.net:8443/mcq:v0.4.0".parse().unwrap();
        assert_eq!(image.tag(), Some("v0.4.0"));
        assert_eq!(image.version(), "v0.4.0");
        assert_eq!("h.x:80/a".parse::<ImageRef>().unwrap().version(), "latest");
        let listed = |text: &str| text.parse::<ImageRef>().unwrap().listed_name();
        assert_eq!(listed("h.x:80/a"), "h.x:80/a:latest");
        assert_eq!(listed("h.x:80/a:1"), "h.x:80/a:1");
        assert_eq!(listed(&digest.replace('@', ":1@")), digest);
    }
}
