//! The keys that Quadlet knows, by section.
//!
//! From `podman-systemd.unit(5)` and the tables of podman's generator, all
//! versions from 4.4 to 5.8 together, and what 6.0 adds. The generator refuses
//! a file with any other key.

use crate::definition::parse::Parsed;
use crate::definition::{Diagnostic, model, suggest};

/// Sections and their keys.
const KNOWN: &[(&str, &[&str])] = &[
    ("Container", CONTAINER),
    ("Network", NETWORK),
    ("Volume", VOLUME),
    ("Pod", POD),
    ("Image", IMAGE),
    ("Quadlet", &["DefaultDependencies"]),
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
    /// The likely spelling, as a question.
    pub help: Option<String>,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// Returns what is to be said of a key; `None` when Quadlet knows it, or the
/// section is systemd's.
pub fn doubt(section: &str, key: &str) -> Option<Doubt> {
    let (_, known) = KNOWN.iter().find(|(name, _)| *name == section)?;
    if known.contains(&key) {
        return None;
    }
    let likely = suggest::closest(key, known.iter().copied());
    Some(Doubt {
        message: format!("podman up to 5.8 knows no {key}= in [{section}], and refuses the file"),
        help: likely.map(|likely| format!("did you mean {likely}=?")),
    })
}

/// Returns the keys of `extra` that Quadlet does not know, with their places: a
/// podman that is newer than the table may know them.
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
            let Doubt { message, help } = doubt(section, key)?;
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
        ] {
            let text = told(section, key).unwrap();
            assert!(text.ends_with(&format!("(did you mean {meant}=?)")), "{text}");
        }
        assert_eq!(doubt("Container", "Qqqq").unwrap().help, None);
        for (section, key) in
            [("Container", "AppArmor"), ("Volume", "UID"), ("Service", "Whatever"), ("X-Mine", "A")]
        {
            assert_eq!(told(section, key), None, "{section} {key}");
        }
    }

    #[test]
    fn doubts_of_a_definition_have_their_places() {
        let text = r#"
name = "a"
[networks.x.extra.Network]
Gatway = "10.1.1.1"
[volumes.v]
extra = { Volume = { Copy = "false", Optoins = "x" } }
[[components]]
name = "a"
image = "i:1"
[components.extra]
Container = { GroupAdd = "keep-groups", PublishPorts = ["1:1", "2:2"] }
Service = { Nonsense = "1" }
"#;
        let found = crate::definition::Invalid { diagnostics: doubts(&parse(text).unwrap()) };
        let knows = |place: &str, key: &str, section: &str, meant: &str| {
            format!(
                "s.toml:{place}: podman up to 5.8 knows no {key}= in [{section}], and refuses the file (did you mean {meant}=?)"
            )
        };
        assert_eq!(
            found.lines("s.toml", text),
            [
                knows("4:10", "Gatway", "Network", "Gateway"),
                knows("6:48", "Optoins", "Volume", "Options"),
                knows("11:56", "PublishPorts", "Container", "PublishPort"),
            ]
        );
    }
}
