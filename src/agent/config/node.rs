//! `[agent]`: the node, as deployments see it.

use std::net::IpAddr;

use super::reader::Reader;
use super::tables::AgentTable;
use crate::agent::environment::Environment;
use crate::agent::settings::{NodeSettings, PortRange};
use crate::names::{ImageRef, NodeName};

impl Reader<'_> {
    pub(super) fn node(
        &mut self,
        table: &AgentTable,
        environment: &Environment,
    ) -> Option<NodeSettings> {
        let name = match &table.node_name {
            Some(text) => self.value::<NodeName>("agent.node_name", text),
            None => self.host_name(environment),
        };
        let local = IpAddr::from([127, 0, 0, 1]);
        let address = self.value_or("agent.address", &table.address, local);
        if let (Some(address), Some(text)) = (address, &table.address)
            && (address.is_unspecified() || address.is_multicast())
        {
            let message = "ports are published on one address of this node, not on all";
            self.problem(text.span().start, "agent.address", message);
        }
        let image_registry = table.image_registry.as_ref().and_then(|text| {
            let registry = text.get_ref().trim_end_matches('/');
            let host = registry.split('/').next().unwrap_or_default();
            let named = host.contains(['.', ':']) || host == "localhost";
            if named && format!("{registry}/x").parse::<ImageRef>().is_ok() {
                return Some(registry.to_owned());
            }
            let message = "an image registry is host[:port][/prefix], such as mcr.example.net:8443";
            self.problem(text.span().start, "agent.image_registry", message);
            None
        });
        let ports = self.value_or("agent.port_range", &table.port_range, PortRange::DEFAULT);
        Some(NodeSettings { name: name?, address: address?, image_registry, ports: ports? })
    }

    fn host_name(&mut self, environment: &Environment) -> Option<NodeName> {
        let label = environment.host_name.split('.').next().unwrap_or_default();
        match label.to_ascii_lowercase().parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let message =
                    format!("the host name does not do for a node, set this key: {error}");
                self.problem(0, "agent.node_name", message);
                None
            }
        }
    }
}
