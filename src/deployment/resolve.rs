//! Service and node facts to a deployment.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::model::{Container, Deployment, NodeFacts, Probe, Publish, Readiness, Timing};
use crate::definition::graph;
use crate::definition::service::{Check, CheckPort, Component, Health, Network, Protocol, Service};
use crate::names::{
    ComponentName, ContainerName, Generation, ImageRef, NodeName, RouteName, ServiceName, UnitName,
};

/// Leased ports by component and route.
pub type Leases = BTreeMap<(ComponentName, RouteName), u16>;

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
    /// A unit name is another service's.
    #[error(
        "component {component} would be called {name}, as a container of service {other} is; rename one of the two"
    )]
    NameTaken {
        /// The component.
        component: ComponentName,
        /// The container's name.
        name: ContainerName,
        /// The other service.
        other: ServiceName,
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

/// Resolves a service for a node.
///
/// `neighbours` are the other services of the node; none when they are not
/// known, as in `mcp render`.
///
/// # Errors
///
/// Every [`ResolveError`] found.
pub fn resolve(
    service: &Service,
    facts: &NodeFacts,
    leases: &Leases,
    neighbours: Option<&[Deployment]>,
    generation: Generation,
) -> Result<Deployment, Vec<ResolveError>> {
    let mut errors = Vec::new();
    if let (Some(wanted), Some(here)) = (&service.node, &facts.node)
        && wanted != here
    {
        errors.push(ResolveError::OtherNode { wanted: wanted.clone(), here: here.clone() });
    }
    let mut containers = Vec::new();
    for component in &service.components {
        match container(service, component, facts, leases) {
            Ok(container) => containers.push(container),
            Err(error) => errors.push(error),
        }
    }
    let deployment = Deployment {
        service: service.name.clone(),
        generation,
        active: service.active,
        comment: service.comment.clone(),
        depends_on: service.depends_on.clone(),
        containers,
    };
    if let Some(neighbours) = neighbours {
        let others: Vec<&Deployment> =
            neighbours.iter().filter(|d| d.service != service.name).collect();
        beside(&deployment, &others, &mut errors);
    }
    if errors.is_empty() { Ok(deployment) } else { Err(errors) }
}

fn container(
    service: &Service,
    component: &Component,
    facts: &NodeFacts,
    leases: &Leases,
) -> Result<Container, ResolveError> {
    let image = image(service, component, facts)?;
    let mut env = component.env.clone();
    let mut publish: Vec<Publish> = component
        .ports
        .iter()
        .map(|p| Publish {
            address: p.address,
            host: p.host,
            container: p.container,
            protocol: p.protocol,
        })
        .collect();
    let mut granted = Vec::new();
    for route in &component.routes {
        let key = (component.name.clone(), route.name.clone());
        let port =
            *leases.get(&key).ok_or(ResolveError::NoLease { component: key.0, route: key.1 })?;
        env.insert(route.name.variable(), port.to_string());
        if component.routes.len() == 1 {
            env.insert("PORT".to_owned(), port.to_string());
        }
        if component.network != Network::Host {
            publish.push(Publish {
                address: Some(facts.address),
                host: port,
                container: port,
                protocol: Protocol::Tcp,
            });
        }
        granted.push((route.name.clone(), port));
    }
    let readiness = match &component.health {
        None => Readiness::Started,
        Some(health) => readiness(component, health, facts, &granted)?,
    };
    let mut requires: Vec<UnitName> =
        service.depends_on.iter().map(UnitName::ready_target).collect();
    requires.extend(
        component.depends_on.iter().map(|other| ContainerName::new(&service.name, other).unit()),
    );
    Ok(Container {
        name: ContainerName::new(&service.name, &component.name),
        image,
        env,
        publish,
        leased: granted,
        requires,
        readiness,
        spec: component.clone(),
    })
}

/// The image as written, or `<registry>/<service>[-<component>]:<version>`.
fn image(
    service: &Service,
    component: &Component,
    facts: &NodeFacts,
) -> Result<ImageRef, ResolveError> {
    if let Some(image) = &component.image {
        return Ok(image.clone());
    }
    let (Some(registry), Some(version)) = (&facts.image_registry, &service.version) else {
        return Err(ResolveError::NoImage { component: component.name.clone() });
    };
    // The platform's convention: the component "api" has the plain name.
    let name = if component.name.as_str() == "api" {
        service.name.to_string()
    } else {
        ContainerName::new(&service.name, &component.name).to_string()
    };
    format!("{}/{name}:{version}", registry.trim_end_matches('/')).parse().map_err(
        |e: crate::names::NameError| ResolveError::Image {
            component: component.name.clone(),
            reason: e.to_string(),
        },
    )
}

fn readiness(
    component: &Component,
    health: &Health,
    facts: &NodeFacts,
    granted: &[(RouteName, u16)],
) -> Result<Readiness, ResolveError> {
    let timing = Timing {
        interval: health.interval,
        timeout: health.timeout,
        retries: health.retries,
        start_period: health.start_period,
    };
    let address = |port: &CheckPort| -> Result<SocketAddr, ResolveError> {
        let reachable = |address: Option<IpAddr>| {
            address.filter(|a| !a.is_unspecified()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
        };
        let found = match port {
            CheckPort::Published(index) => {
                component.ports.get(*index).map(|p| SocketAddr::new(reachable(p.address), p.host))
            }
            CheckPort::Route(route) => granted
                .iter()
                .find(|(name, _)| name == route)
                .map(|(_, port)| SocketAddr::new(reachable(Some(facts.address)), *port)),
            CheckPort::Host(port) => Some(SocketAddr::new(reachable(None), *port)),
        };
        found.ok_or_else(|| ResolveError::NoLease {
            component: component.name.clone(),
            route: match port {
                CheckPort::Route(route) => route.clone(),
                CheckPort::Published(_) | CheckPort::Host(_) => RouteName::unnamed(),
            },
        })
    };
    Ok(match &health.check {
        // One word alone podman would hand to a shell; so it does for a line.
        Check::Command(words) => Readiness::Command { words: words.clone(), timing },
        Check::Shell(line) => {
            Readiness::Command { words: vec!["CMD-SHELL".to_owned(), line.clone()], timing }
        }
        Check::Tcp(port) => {
            Readiness::Probe { probe: Probe::Tcp { address: address(port)? }, timing }
        }
        Check::Http { port, path, tls, host } => Readiness::Probe {
            probe: Probe::Http {
                address: address(port)?,
                path: path.clone(),
                tls: *tls,
                host: host.clone(),
            },
            timing,
        },
        Check::Grpc { port, service, tls } => Readiness::Probe {
            probe: Probe::Grpc { address: address(port)?, service: service.clone(), tls: *tls },
            timing,
        },
    })
}

/// Checks a deployment against the other services of the node.
fn beside(deployment: &Deployment, others: &[&Deployment], errors: &mut Vec<ResolveError>) {
    let mut edges: BTreeMap<ServiceName, Vec<ServiceName>> =
        others.iter().map(|d| (d.service.clone(), d.depends_on.clone())).collect();
    edges.insert(deployment.service.clone(), deployment.depends_on.clone());
    for dependency in &deployment.depends_on {
        if !edges.contains_key(dependency) {
            errors.push(ResolveError::UnknownService {
                service: deployment.service.clone(),
                missing: dependency.clone(),
            });
        } else if let Some(cycle) = graph::cycle(&deployment.service, dependency, &edges) {
            errors.push(ResolveError::Cycle(graph::arrow(&cycle)));
        }
    }
    for container in &deployment.containers {
        for other in others {
            for theirs in &other.containers {
                if theirs.name == container.name {
                    errors.push(ResolveError::NameTaken {
                        component: container.spec.name.clone(),
                        name: container.name.clone(),
                        other: other.service.clone(),
                    });
                }
                let clash =
                    container.publish.iter().find(|p| theirs.publish.iter().any(|t| t.clashes(p)));
                if let Some(port) = clash {
                    errors.push(ResolveError::PortTaken {
                        component: container.spec.name.clone(),
                        port: port.argument(),
                        other: theirs.name.clone(),
                    });
                }
            }
        }
    }
}
