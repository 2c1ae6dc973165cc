//! Lines that go into a unit as they are.

use super::Checker;
use crate::definition::service::{ExtraKey, ExtraSection};
use crate::definition::{model, values};

/// Keys that MCP itself writes, or that would undo what it promises.
const OWNED: &[(ExtraSection, &str, &str)] = &[
    (ExtraSection::Container, "ContainerName", "the name follows from service and component"),
    (ExtraSection::Container, "ServiceName", "the name follows from service and component"),
    (ExtraSection::Container, "Image", "use `image`"),
    (ExtraSection::Container, "Pull", "images are pulled before anything is stopped"),
    (ExtraSection::Container, "Notify", "readiness follows from `health`"),
    (ExtraSection::Container, "AutoUpdate", "updates are deploys, so that they can be undone"),
    (ExtraSection::Container, "Exec", "use `cmd`"),
    (ExtraSection::Container, "Entrypoint", "use `entrypoint`"),
    (ExtraSection::Service, "ExecStart", "podman's generator writes it"),
    (ExtraSection::Service, "Type", "podman's generator writes it"),
    (ExtraSection::Service, "KillMode", "podman's generator writes it"),
    (ExtraSection::Service, "NotifyAccess", "podman's generator writes it"),
    (ExtraSection::Unit, "PartOf", "the service's target owns its components"),
    (ExtraSection::Network, "NetworkName", "the name of the table is the network's"),
    (ExtraSection::Network, "ServiceName", "the name follows from that of the network"),
    (ExtraSection::Network, "Internal", "use `internal`"),
    (ExtraSection::Network, "IPv6", "use `ipv6`"),
    (ExtraSection::Network, "Subnet", "use `subnets`"),
    (
        ExtraSection::Network,
        "NetworkDeleteOnStop",
        "a network goes with the last service that uses it",
    ),
    (ExtraSection::Volume, "VolumeName", "use `name`"),
    (ExtraSection::Volume, "ServiceName", "the name follows from service and volume"),
];

/// Returns why a key is not to be set in a section of `extra`; `None` when it
/// may be.
pub fn whose_key(section: &str, key: &str) -> Option<&'static str> {
    let is_it = |(own, name, _): &&(ExtraSection, &str, &str)| {
        own.as_str() == section && name.eq_ignore_ascii_case(key)
    };
    OWNED.iter().find(is_it).map(|(.., why)| *why)
}

impl Checker<'_> {
    /// Reads `extra` of a component, a network or a volume; `own` is the
    /// section that podman has for it.
    pub(super) fn extra(
        &mut self,
        at: &str,
        extra: Option<model::Extra>,
        own: (&str, ExtraSection),
    ) -> Vec<ExtraKey> {
        let sections = [("Unit", ExtraSection::Unit), own, ("Service", ExtraSection::Service)];
        let mut keys = Vec::new();
        for (section, table) in extra.unwrap_or_default() {
            let path = format!("{at}.extra.{section}");
            let Some(section) = self.choice(&path, Some(&section), &sections) else { continue };
            for (key, values) in table {
                let path = format!("{path}.{key}");
                let good = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric());
                if !good {
                    self.complain(
                        &path,
                        format!("{key:?} is not a directive; it holds letters and digits only"),
                    );
                    continue;
                }
                if let Some(why) = whose_key(section.as_str(), &key) {
                    self.complain(&path, format!("{key} is not yours to set here; {why}"));
                }
                let values = match values {
                    model::OneOrMany::One(value) => vec![value],
                    model::OneOrMany::Many(values) => values,
                };
                for value in values {
                    let _: Option<()> = self.keep(&path, values::plain(&value));
                    if value.ends_with('\\') {
                        self.complain(
                            &path,
                            "a backslash at the end would swallow the next line; take it out",
                        );
                    }
                    keys.push(ExtraKey { section, key: key.clone(), value });
                }
            }
        }
        keys
    }
}
