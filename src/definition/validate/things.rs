//! Networks and volumes: what they are, beyond their names.

use std::collections::BTreeMap;

use super::Checker;
use crate::definition::service::{ExtraSection, NetworkSpec, VolumeSpec};
use crate::definition::{model, values};
use crate::names::{NetworkName, VolumeName};

impl Checker<'_> {
    /// Reads `[networks.NAME]`.
    pub(super) fn network_specs(
        &mut self,
        networks: Option<BTreeMap<String, model::Network>>,
    ) -> BTreeMap<NetworkName, NetworkSpec> {
        let mut specs = BTreeMap::new();
        for (name, network) in networks.unwrap_or_default() {
            let at = format!("networks.{name}");
            if matches!(name.as_str(), "host" | "none" | "private") {
                self.complain(&at, format!("{name:?} is no network that can be made; rename it"));
                continue;
            }
            let spec = NetworkSpec {
                internal: network.internal.unwrap_or_default(),
                ipv6: network.ipv6.unwrap_or_default(),
                subnets: self.list(&format!("{at}.subnets"), network.subnets, values::subnet),
                extra: self.extra(&at, network.extra, ("Network", ExtraSection::Network)),
            };
            if let Some(name) = self.keep::<NetworkName, _>(&at, name.parse()) {
                specs.insert(name, spec);
            }
        }
        specs
    }

    /// Reads `[volumes.NAME]`.
    pub(super) fn volume_specs(
        &mut self,
        volumes: Option<BTreeMap<String, model::Volume>>,
    ) -> BTreeMap<VolumeName, VolumeSpec> {
        let mut specs = BTreeMap::new();
        for (name, volume) in volumes.unwrap_or_default() {
            let at = format!("volumes.{name}");
            let podmans = volume.name.and_then(|podmans| {
                let good = self.keep(&format!("{at}.name"), values::podman_volume(&podmans));
                good.map(|()| podmans)
            });
            let extra = self.extra(&at, volume.extra, ("Volume", ExtraSection::Volume));
            if let Some(name) = self.keep::<VolumeName, _>(&at, name.parse()) {
                specs.insert(name, VolumeSpec { name: podmans, extra });
            }
        }
        specs
    }
}
