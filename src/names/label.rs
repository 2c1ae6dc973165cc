//! Names that are DNS labels, and what is put together from them: containers
//! and units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the name of a container ends with that was taken over, and stays
/// until somebody removes it.
pub const BEFORE: &str = "-before-mcp";

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

/// How the names of a schedule's units end, but for their kind.
const SCHEDULE: &str = "-schedule";

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
    /// Names a schedule of a component: a DNS label.
    ScheduleName, "schedule", |_| Ok(())
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

/// What the names of ports behind a forwarder start with.
const BEHIND: &str = "mcp-behind-";

impl RouteName {
    /// Returns the name of a route that was given none: `default`.
    pub fn unnamed() -> Self {
        Self("default".to_owned())
    }

    /// Returns the name under which the port behind a forwarded port of the
    /// node is leased.
    pub fn behind(port: u16) -> Self {
        Self(format!("{BEHIND}{port}"))
    }

    /// Tells whether this is a name that [`RouteName::behind`] makes.
    pub fn is_behind(&self) -> bool {
        self.0.starts_with(BEHIND)
    }

    /// Returns the variable that carries the route's port: `PORT_<NAME>`,
    /// upper case, hyphens as underscores.
    pub fn variable(&self) -> String {
        format!("PORT_{}", self.0.to_ascii_uppercase().replace('-', "_"))
    }
}

/// Names a container and its `.service`: `<service>-<component>`, or just
/// `<service>` when the component is named like its service.
///
/// Not where that alone would be hexadecimal, such as `db` or `ca`: podman
/// takes it for the beginning of a container's ID too, and `podman run
/// --replace`, which the generator writes, would remove that other container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerName(String);

impl ContainerName {
    /// Joins the two names.
    pub fn new(service: &ServiceName, component: &ComponentName) -> Self {
        let hexadecimal = service.as_str().bytes().all(|b| b.is_ascii_hexdigit());
        if service.as_str() == component.as_str() && !hexadecimal {
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

    /// Returns the unit that runs a schedule's command in the container.
    pub fn schedule_unit(&self, schedule: &ScheduleName) -> UnitName {
        UnitName(format!("{}-{schedule}{SCHEDULE}.service", self.0))
    }

    /// Returns the unit that has it run when it is time.
    pub fn schedule_timer(&self, schedule: &ScheduleName) -> UnitName {
        UnitName(format!("{}-{schedule}{SCHEDULE}.timer", self.0))
    }

    /// Tells whether a unit is one of a schedule of this container's, of
    /// today's definition or an earlier one.
    pub fn has_schedule(&self, unit: &UnitName) -> bool {
        let name = unit.0.strip_suffix(".timer").or_else(|| unit.0.strip_suffix(".service"));
        let rest = name.and_then(|name| name.strip_suffix(SCHEDULE));
        rest.and_then(|rest| rest.strip_prefix(&self.0)).is_some_and(|rest| rest.starts_with('-'))
    }

    /// Returns the name of the container that stands in for this one while a
    /// deploy hands over from one generation to the next.
    #[must_use]
    pub fn stand_in(&self) -> Self {
        Self(format!("{}-next", self.0))
    }

    /// Returns the name of a container that runs one command with the spec of
    /// this one, by its number of eight hexadecimal digits.
    #[must_use]
    pub fn one_off(&self, number: &str) -> Self {
        Self(format!("{}-run-{number}", self.0))
    }

    /// Tells whether a container's name is of one that runs one command with
    /// the spec of this one.
    pub fn is_one_off(&self, name: &str) -> bool {
        let number = name.strip_prefix(self.as_str()).and_then(|rest| rest.strip_prefix("-run-"));
        number.is_some_and(|n| n.len() == 8 && n.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    /// Returns the unit that forwards connections to the container.
    pub fn forward_unit(&self) -> UnitName {
        UnitName(format!("{}-forward.service", self.0))
    }

    /// Returns the file name of the forwarder's Unix socket: short, whatever
    /// the container's name, for the path of a socket has 107 bytes
    /// (`unix(7)`).
    pub fn socket_file(&self) -> String {
        // FNV-1a: a fixed function, unlike the standard hasher.
        let hash = self.0.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{hash:016x}.sock")
    }

    /// Returns the unit that listens on a port of the node for the container.
    pub fn socket_unit(&self, port: u16) -> UnitName {
        UnitName(format!("{}-{port}.socket", self.0))
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

    /// Returns the unit that holds a session, by the session's number.
    pub fn session(number: &str) -> Self {
        Self(format!("mcp-exec-{number}.service"))
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
        for (name, container) in [("db", "db-db"), ("0", "0-0"), ("dbx", "dbx"), ("d-b", "d-b")] {
            let made = ContainerName::new(&name.parse().unwrap(), &name.parse().unwrap());
            assert_eq!(made.as_str(), container);
        }
    }
}
