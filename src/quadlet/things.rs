//! What the templates of networks and volumes see.

use serde::Serialize;

use super::view::{Context, extra_lines};
use crate::definition::service::{ExtraSection, NetworkSpec};
use crate::deployment::Deployment;
use crate::names::{NetworkName, UnitName, VolumeName};

/// `network.tera`.
#[derive(Debug, Serialize)]
pub(super) struct NetworkView {
    header: Vec<String>,
    name: String,
    internal: bool,
    ipv6: bool,
    subnets: Vec<String>,
    podman_ready: String,
    unit_extra: Vec<String>,
    network_extra: Vec<String>,
    service_extra: Vec<String>,
    default_dependencies: bool,
}

impl NetworkView {
    pub(super) fn new(name: &NetworkName, spec: &NetworkSpec, context: &Context<'_>) -> Self {
        Self {
            // Services share networks: the file must be the same from each.
            header: vec![
                format!("Made by MCP: the network {name}, for every service that names it."),
                "It is removed with the last of them.".to_owned(),
            ],
            name: name.to_string(),
            internal: spec.internal,
            ipv6: spec.ipv6,
            subnets: spec.subnets.clone(),
            podman_ready: UnitName::podman_ready().to_string(),
            unit_extra: extra_lines(&spec.extra, ExtraSection::Unit),
            network_extra: extra_lines(&spec.extra, ExtraSection::Network),
            service_extra: extra_lines(&spec.extra, ExtraSection::Service),
            default_dependencies: context.podman.has_default_dependencies(),
        }
    }
}

/// `volume.tera`.
#[derive(Debug, Serialize)]
pub(super) struct VolumeView {
    header: Vec<String>,
    name: String,
    service: String,
    podman_ready: String,
    unit_extra: Vec<String>,
    volume_extra: Vec<String>,
    service_extra: Vec<String>,
    default_dependencies: bool,
}

impl VolumeView {
    pub(super) fn new(
        header: Vec<String>,
        d: &Deployment,
        volume: &VolumeName,
        context: &Context<'_>,
    ) -> Self {
        let spec = d.volume_spec(volume);
        Self {
            header,
            name: d.podman_volume(volume),
            service: d.service.to_string(),
            podman_ready: UnitName::podman_ready().to_string(),
            unit_extra: extra_lines(&spec.extra, ExtraSection::Unit),
            volume_extra: extra_lines(&spec.extra, ExtraSection::Volume),
            service_extra: extra_lines(&spec.extra, ExtraSection::Service),
            default_dependencies: context.podman.has_default_dependencies(),
        }
    }
}
