//! The networks and volumes of containers that are taken over.

use std::collections::BTreeSet;

use crate::agent::engine::{Engine, EngineError};
use crate::import::containers::{Live, ThereNetwork, Things};
use crate::names::ServiceName;
use crate::podman::inspect;

impl Engine {
    /// Returns what podman has of them, or what other services say of it.
    pub(super) async fn things_of(
        &self,
        service: &ServiceName,
        live: &[Live],
    ) -> Result<Things, EngineError> {
        let networks: BTreeSet<String> = live
            .iter()
            .flat_map(|l| l.container.network_settings.networks.keys())
            .cloned()
            .collect();
        let volumes: BTreeSet<String> =
            live.iter().flat_map(|l| l.container.named_volumes()).map(str::to_owned).collect();
        let (networks, volumes): (Vec<_>, Vec<_>) =
            (networks.into_iter().collect(), volumes.into_iter().collect());
        let mut things = Things::default();
        for made in inspect::networks(&networks).await? {
            things.networks.insert(made.name.clone(), ThereNetwork::Made(made));
        }
        for made in inspect::volumes(&volumes).await? {
            things.volumes.insert(made.name.clone(), made);
        }
        // All services that name a network have to say the same of it.
        for neighbour in self.neighbours(service) {
            for name in neighbour.networks() {
                let said = ThereNetwork::said(&neighbour.network_spec(name));
                things.networks.insert(name.to_string(), said);
            }
        }
        Ok(things)
    }
}
