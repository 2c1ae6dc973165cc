//! The keys that may stand in a Quadlet file, by section.
//!
//! Those of Quadlet from `podman-systemd.unit(5)` and the tables of podman's
//! generator, all versions from 4.4 to 5.8 together, and what 6.0 adds. The
//! generator refuses a file with any other key. Those of systemd are passed on.

use super::systemd_keys as systemd;
use crate::definition::parse::Parsed;
use crate::definition::{Diagnostic, model, suggest, whose_key};

/// Sections and their keys.
const KNOWN: &[(&str, &[&str])] = &[
    ("Container", CONTAINER),
    ("Network", NETWORK),
    ("Volume", VOLUME),
    ("Pod", POD),
    ("Image", IMAGE),
    ("Quadlet", &["DefaultDependencies"]),
    ("Unit", systemd::UNIT),
    ("Service", systemd::SERVICE),
    ("Install", systemd::INSTALL),
];

/// `[Container]`.
#[rustfmt::skip]
const CONTAINER: &[&str] = &[
    "AddCapability", "AddDevice", "AddHost", "Annotation", "AppArmor", "AutoUpdate", "CgroupsMode", "ContainerName",
    "ContainersConfModule", "DNS", "DNSOption", "DNSSearch", "DropCapability", "Entrypoint", "Environment",
    "EnvironmentFile", "EnvironmentHost", "Exec", "ExposeHostPort", "GIDMap", "GlobalArgs", "Group", "GroupAdd",
    "HealthCmd", "HealthInterval", "HealthLogDestination", "HealthMaxLogCount", "HealthMaxLogSize", "HealthOnFailure",
    "HealthRetries", "HealthStartPeriod", "HealthStartupCmd", "HealthStartupInterval", "HealthStartupRetries",
    "HealthStartupSuccess", "HealthStartupTimeout", "HealthTimeout", "HostName", "HttpProxy", "IP", "IP6", "Image",
    "Label", "LogDriver", "LogOpt", "Mask", "Memory", "Mount", "Network", "NetworkAlias", "NoNewPrivileges", "Notify",
    "PidsLimit", "Pod", "PodmanArgs", "PublishPort", "Pull", "ReadOnly", "ReadOnlyTmpfs", "ReloadCmd", "ReloadSignal",
    "RemapGid", "RemapUid", "RemapUidSize", "RemapUsers", "Retry", "RetryDelay", "Rootfs", "RunInit",
    "SeccompProfile", "Secret", "SecurityLabelDisable", "SecurityLabelFileType", "SecurityLabelLevel",
    "SecurityLabelNested", "SecurityLabelType", "ServiceName", "ShmSize", "StartWithPod", "StopSignal", "StopTimeout",
    "SubGIDMap", "SubUIDMap", "Sysctl", "Timezone", "Tmpfs", "UIDMap", "Ulimit", "Unmask", "User", "UserNS",
    "VolatileTmp", "Volume", "WorkingDir",
];

/// `[Network]`.
#[rustfmt::skip]
const NETWORK: &[&str] = &[
    "ContainersConfModule", "DNS", "DisableDNS", "Driver", "Gateway", "GlobalArgs", "IPAMDriver", "IPRange", "IPv6",
    "InterfaceName", "Internal", "Label", "NetworkDeleteOnStop", "NetworkName", "Options", "PodmanArgs",
    "ServiceName", "Subnet",
];

/// `[Volume]`; `UID` and `GID` are of podman 6.0.
#[rustfmt::skip]
const VOLUME: &[&str] = &[
    "ContainersConfModule", "Copy", "Device", "Driver", "GID", "GlobalArgs", "Group", "Image", "Label", "Options",
    "PodmanArgs", "ServiceName", "Type", "UID", "User", "VolumeName",
];

/// `[Pod]`.
#[rustfmt::skip]
const POD: &[&str] = &[
    "AddHost", "ContainersConfModule", "DNS", "DNSOption", "DNSSearch", "ExitPolicy", "GIDMap", "GlobalArgs",
    "HostName", "IP", "IP6", "Label", "Network", "NetworkAlias", "PodName", "PodmanArgs", "PublishPort", "RemapGid",
    "RemapUid", "RemapUidSize", "RemapUsers", "ServiceName", "ShmSize", "StopTimeout", "SubGIDMap", "SubUIDMap",
    "UIDMap", "UserNS", "Volume",
];

/// `[Image]`.
#[rustfmt::skip]
const IMAGE: &[&str] = &[
    "AllTags", "Arch", "AuthFile", "CertDir", "ContainersConfModule", "Creds", "DecryptionKey", "GlobalArgs", "Image",
    "ImageTag", "OS", "PodmanArgs", "Policy", "Retry", "RetryDelay", "ServiceName", "TLSVerify", "Variant",
];

/// What is said of a key that is not known: what is odd, and what was perhaps
/// meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// One lower-case sentence without a full stop.
    pub message: String,
    /// The likely spelling.
    pub likely: Option<&'static str>,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.likely.map_or(Ok(()), |likely| write!(f, " (did you mean {likely}=?)"))
    }
}

/// Returns what is to be said of a key; `None` when its section has it, or
/// nobody reads the section.
pub fn doubt(section: &str, key: &str) -> Option<Doubt> {
    let (_, known) = KNOWN.iter().find(|(name, _)| *name == section)?;
    if known.contains(&key) {
        return None;
    }
    let likely = suggest::closest(key, known.iter().copied());
    let message = if !matches!(section, "Unit" | "Service" | "Install") {
        format!("podman up to 5.8 knows no {key}= in [{section}], and refuses the file")
    } else if key.starts_with("X-") {
        // What is anybody's own.
        return None;
    } else {
        format!("systemd up to 257 knows no {key}= in [{section}], and passes it over")
    };
    Some(Doubt { message, likely })
}

/// Returns the help for a definition: what has a key of its own there is not
/// to be set in `extra`.
fn help(section: &str, likely: &str) -> String {
    let meant = |what: &str| format!("did you mean {what}?");
    let Some(why) = whose_key(section, likely) else { return meant(&format!("{likely}=")) };
    match why.strip_prefix("use ") {
        Some(own) => meant(own),
        None => format!("{} it is not yours to set here; {why}", meant(&format!("{likely}="))),
    }
}

/// Returns the keys of `extra` that their sections do not have, with their
/// places: a podman or systemd that is newer than the table may know them.
pub fn doubts(parsed: &Parsed) -> Vec<Diagnostic> {
    let definition = &parsed.definition;
    let components = definition.components.iter().flatten().enumerate();
    let components = components.map(|(i, c)| (format!("components[{i}]"), &c.extra));
    let networks = definition.networks.iter().flatten();
    let networks = networks.map(|(name, n)| (format!("networks.{name}"), &n.extra));
    let volumes = definition.volumes.iter().flatten();
    let volumes = volumes.map(|(name, v)| (format!("volumes.{name}"), &v.extra));
    let places = components.chain(networks).chain(volumes);
    let keys = places.flat_map(|(at, extra)| keys(&at, extra.as_ref()));
    let mut found: Vec<Diagnostic> = keys
        .filter_map(|(path, section, key)| {
            let Doubt { message, likely } = doubt(section, key)?;
            let help = likely.map(|likely| help(section, likely));
            Some(Diagnostic { span: parsed.source.span(&path), message, help, absent: false })
        })
        .collect();
    found.sort_by_key(|diagnostic| diagnostic.span.start);
    found
}

/// Returns the keys of one `extra`, each with its path and its section.
fn keys<'a>(at: &str, extra: Option<&'a model::Extra>) -> Vec<(String, &'a str, &'a str)> {
    let sections = extra.into_iter().flatten();
    sections
        .flat_map(|(section, table)| {
            let path = move |key: &str| format!("{at}.extra.{section}.{key}");
            table.keys().map(move |key| (path(key), section.as_str(), key.as_str()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::parse::parse;

    #[test]
    fn a_key_that_no_quadlet_knows_is_told_with_what_was_meant() {
        let told = |section, key| doubt(section, key).map(|doubt| doubt.to_string());
        assert_eq!(
            told("Container", "Imgae").unwrap(),
            "podman up to 5.8 knows no Imgae= in [Container], and refuses the file (did you mean Image=?)"
        );
        for (section, key, meant) in [
            ("Container", "PublishPorts", "PublishPort"),
            ("Container", "publishport", "PublishPort"),
            ("Network", "IPV6", "IPv6"),
            ("Volume", "Devices", "Device"),
            ("Pod", "PodNam", "PodName"),
            ("Service", "Restrat", "Restart"),
            ("Service", "MemoryMx", "MemoryMax"),
            ("Unit", "Requries", "Requires"),
            ("Unit", "ConditonPathExists", "ConditionPathExists"),
            ("Install", "WantdBy", "WantedBy"),
        ] {
            let text = told(section, key).unwrap();
            assert!(text.ends_with(&format!("(did you mean {meant}=?)")), "{text}");
        }
        assert_eq!(
            told("Service", "Qqqq").unwrap(),
            "systemd up to 257 knows no Qqqq= in [Service], and passes it over"
        );
        for (section, key) in [
            ("Container", "AppArmor"),
            ("Volume", "UID"),
            ("Service", "X-Mine"),
            ("Service", "TimeoutStopSec"),
            ("Unit", "StartLimitBurst"),
            ("X-Mine", "A"),
        ] {
            assert_eq!(told(section, key), None, "{section} {key}");
        }
    }

    #[test]
    fn doubts_of_a_definition_have_their_places() {
        let text = r#"
name = "a"
[networks.x.extra.Network]
Gatway = "10.1.1.1"
Subent = "10.1.1.0/24"
[volumes.v]
extra = { Volume = { Copy = "false", Optoins = "x" } }
[[components]]
name = "a"
image = "i:1"
[components.extra]
Container = { GroupAdd = "keep-groups", PublishPorts = ["1:1", "2:2"] }
Service = { Restrat = "always", Typ = "simple", Nice = "5" }
"#;
        let found = crate::definition::Invalid { diagnostics: doubts(&parse(text).unwrap()) };
        let knows = |place: &str, key: &str, section: &str, meant: &str| {
            let (whose, then) = match section {
                "Service" => ("systemd up to 257", "passes it over"),
                _ => ("podman up to 5.8", "refuses the file"),
            };
            format!(
                "s.toml:{place}: {whose} knows no {key}= in [{section}], and {then} (did you mean {meant})"
            )
        };
        assert_eq!(
            found.lines("s.toml", text),
            [
                knows("4:10", "Gatway", "Network", "Gateway=?"),
                knows("5:10", "Subent", "Network", "`subnets`?"),
                knows("7:48", "Optoins", "Volume", "Options=?"),
                knows("12:56", "PublishPorts", "Container", "PublishPort=?"),
                knows("13:23", "Restrat", "Service", "Restart=?"),
                knows(
                    "13:39",
                    "Typ",
                    "Service",
                    "Type=? it is not yours to set here; podman's generator writes it"
                ),
            ]
        );
    }
}
