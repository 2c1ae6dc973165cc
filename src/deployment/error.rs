//! Why a service cannot be deployed.

use crate::names::{
    ComponentName, ContainerName, NetworkName, NodeName, RouteName, ServiceName, UnitName,
    VolumeName,
};

/// Why a service cannot be deployed to a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The definition names another node.
    #[error("the definition is for node {wanted}, this is {here}")]
    OtherNode {
        /// The node in the definition.
        wanted: NodeName,
        /// This node.
        here: NodeName,
    },
    /// An image is not written out and the node has no default registry.
    #[error(
        "component {component} has no image and the node has no default image registry; add `image`, or set `image_registry` in the agent's configuration"
    )]
    NoImage {
        /// The component.
        component: ComponentName,
    },
    /// The image put together from the default registry is not valid.
    #[error("component {component}: {reason}")]
    Image {
        /// The component.
        component: ComponentName,
        /// Why.
        reason: String,
    },
    /// A dependency is not deployed here.
    #[error(
        "service {service} depends on {missing}, which is not deployed on this node; deploy it first"
    )]
    UnknownService {
        /// The service.
        service: ServiceName,
        /// What it depends on.
        missing: ServiceName,
    },
    /// Services wait for each other.
    #[error("the services wait for each other: {0}")]
    Cycle(String),
    /// A unit is another service's.
    #[error(
        "service {service} would have a unit {unit}, as service {other} has; rename a component, volume or service"
    )]
    NameTaken {
        /// The service.
        service: ServiceName,
        /// The unit.
        unit: UnitName,
        /// The other service.
        other: ServiceName,
    },
    /// A network's unit would have the name of another unit.
    #[error(
        "the network {network} would have the unit {unit}, which is a container or volume; rename one of the two"
    )]
    NetworkName {
        /// The network.
        network: NetworkName,
        /// The unit.
        unit: UnitName,
    },
    /// Another service says something else of a network.
    #[error(
        "the network {network} is another one in service {other}; write the same [networks.{network}] in both (to change both, undeploy one meanwhile), or give it another name here"
    )]
    NetworkDiffers {
        /// The network.
        network: NetworkName,
        /// The other service.
        other: ServiceName,
    },
    /// A network that is there would have to be made anew.
    #[error(
        "the network {network} is there already, and podman changes none that is; give the changed one another name, the old one goes when nothing uses it any more"
    )]
    NetworkChanged {
        /// The network.
        network: NetworkName,
    },
    /// A volume that is there would have to be made anew.
    #[error(
        "the volume {volume} is there already, and podman changes none that is; give the changed one another name, and copy what is in the old one"
    )]
    VolumeChanged {
        /// The volume, as the definition calls it.
        volume: VolumeName,
    },
    /// A published port is another service's.
    #[error("component {component} publishes {port}, which {other} publishes already")]
    PortTaken {
        /// The component.
        component: ComponentName,
        /// The port, as podman writes it.
        port: String,
        /// The container that has it.
        other: ContainerName,
    },
    /// A route has no leased port.
    #[error("route {component}/{route} has no leased port")]
    NoLease {
        /// The component.
        component: ComponentName,
        /// The route.
        route: RouteName,
    },
}
