//! Service and node facts to a deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::model::{Container, Deployment, Forward, NodeFacts, Probe, Publish, Readiness, Timing};
use crate::definition::graph;
use crate::definition::service::{
    Check, CheckPort, Component, Health, Network, Protocol, Service, Strategy,
};
use crate::names::{
    ComponentName, ContainerName, Generation, ImageRef, NetworkName, NodeName, RouteName,
    ServiceName, UnitName,
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
        heal: service.heal,
        comment: service.comment.clone(),
        depends_on: service.depends_on.clone(),
        deploy: service.deploy,
        containers,
    };
    if let Some(neighbours) = neighbours {
        let others: Vec<&Deployment> =
            neighbours.iter().filter(|d| d.service != service.name).collect();
        errors.extend(conflicts(&deployment, &others));
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
    let readiness = match (&component.health, component.oneshot) {
        (_, Some(timeout)) => Readiness::Ended { timeout },
        (None, None) => Readiness::Started,
        (Some(health), None) => readiness(component, health, facts, &granted)?,
    };
    let forwards = match service.deploy.strategy {
        Strategy::Recreate => Vec::new(),
        Strategy::BlueGreen => forwards(component, &publish, leases)?,
    };
    let mut requires: Vec<UnitName> =
        service.depends_on.iter().map(UnitName::ready_target).collect();
    requires.extend(
        component.depends_on.iter().map(|other| ContainerName::new(&service.name, other).unit()),
    );
    let container = Container {
        name: ContainerName::new(&service.name, &component.name),
        image,
        env,
        publish,
        forwards: Vec::new(),
        leased: granted,
        requires,
        readiness,
        spec: component.clone(),
    };
    Ok(behind(container, forwards))
}

/// Returns a forward for every port that would be published.
fn forwards(
    component: &Component,
    publish: &[Publish],
    leases: &Leases,
) -> Result<Vec<Forward>, ResolveError> {
    let mut forwards: Vec<Forward> = Vec::new();
    for port in publish {
        if let Some(known) = forwards.iter_mut().find(|f| f.port == port.host) {
            known.addresses.push(port.address);
            continue;
        }
        let key = (component.name.clone(), RouteName::behind(port.host));
        let behind =
            *leases.get(&key).ok_or(ResolveError::NoLease { component: key.0, route: key.1 })?;
        forwards.push(Forward {
            addresses: vec![port.address],
            port: port.host,
            behind,
            container: port.container,
        });
    }
    Ok(forwards)
}

/// Puts a container behind its forwards: it is published, and probed, where
/// only the node can reach it.
fn behind(mut container: Container, forwards: Vec<Forward>) -> Container {
    if forwards.is_empty() {
        return container;
    }
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    container.publish = forwards
        .iter()
        .map(|f| Publish {
            address: Some(local),
            host: f.behind,
            container: f.container,
            protocol: Protocol::Tcp,
        })
        .collect();
    if let Readiness::Probe {
        probe:
            Probe::Tcp { address, .. } | Probe::Http { address, .. } | Probe::Grpc { address, .. },
        ..
    } = &mut container.readiness
        && let Some(forward) = forwards.iter().find(|f| f.port == address.port())
    {
        *address = SocketAddr::new(local, forward.behind);
    }
    container.forwards = forwards;
    container
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
    // The platform's convention: the component "api" has the plain name, as
    // has one that is named like its service.
    let plain = ["api", service.name.as_str()];
    let name = if plain.contains(&component.name.as_str()) {
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
            let address = address(port)?;
            let container = match port {
                CheckPort::Published(index) => component.ports.get(*index).map(|p| p.container),
                CheckPort::Route(_) | CheckPort::Host(_) => Some(address.port()),
            };
            Readiness::Probe { probe: Probe::Tcp { address, container }, timing }
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

/// Returns what keeps a deployment from being on a node beside the other
/// services: dependencies that are not there, cycles, names and ports.
pub fn conflicts(deployment: &Deployment, others: &[&Deployment]) -> Vec<ResolveError> {
    let mut errors = Vec::new();
    dependencies(deployment, others, &mut errors);
    let ours = units(deployment);
    errors.extend(own_names(deployment));
    for other in others {
        let theirs = units(other);
        errors.extend(ours.intersection(&theirs).map(|unit| ResolveError::NameTaken {
            service: deployment.service.clone(),
            unit: unit.clone(),
            other: other.service.clone(),
        }));
        for container in &deployment.containers {
            errors.extend(port_conflict(container, other));
        }
    }
    // A network is shared by its name; its unit must not be somebody's else.
    for network in deployment.networks() {
        let unit = UnitName::network(network);
        let taken = ours.contains(&unit) || others.iter().any(|o| units(o).contains(&unit));
        if taken {
            errors.push(ResolveError::NetworkName { network: network.clone(), unit });
        }
    }
    errors
}

/// The units that only handing over needs: beside those of the containers
/// themselves, so easily overlooked by whoever names components.
fn switching_units(container: &Container) -> Vec<UnitName> {
    if container.forwards.is_empty() {
        return Vec::new();
    }
    let mut units = container.port_units();
    units.push(container.name.stand_in().unit());
    units
}

/// Refuses a component whose unit another component needs for handing over.
fn own_names(deployment: &Deployment) -> Vec<ResolveError> {
    let containers: BTreeSet<UnitName> =
        deployment.containers.iter().map(|c| c.name.unit()).collect();
    let needed = deployment.containers.iter().flat_map(switching_units);
    needed
        .filter(|unit| containers.contains(unit))
        .map(|unit| ResolveError::NameTaken {
            service: deployment.service.clone(),
            unit,
            other: deployment.service.clone(),
        })
        .collect()
}

/// The units of a service that nobody else may have.
pub(super) fn units(deployment: &Deployment) -> BTreeSet<UnitName> {
    let service = &deployment.service;
    let containers = deployment.containers.iter().flat_map(|c| {
        let own = [c.name.unit(), c.name.image_unit()];
        own.into_iter().chain(switching_units(c)).chain(c.side_units())
    });
    let volumes = deployment.volumes().into_iter().map(|v| UnitName::volume(service, v));
    let targets = [UnitName::service_target(service), UnitName::ready_target(service)];
    containers.chain(volumes).chain(targets).collect()
}

fn port_conflict(container: &Container, other: &Deployment) -> Option<ResolveError> {
    let taken = |theirs: &Container, port: &Publish| {
        let leased = port.protocol == Protocol::Tcp
            && theirs.leases().any(|(_, leased)| leased == port.host);
        leased || theirs.occupied().iter().any(|t| t.clashes(port))
    };
    other.containers.iter().find_map(|theirs| {
        let occupied = container.occupied();
        let port = occupied.iter().find(|p| taken(theirs, p))?;
        Some(ResolveError::PortTaken {
            component: container.spec.name.clone(),
            port: port.argument(),
            other: theirs.name.clone(),
        })
    })
}

fn dependencies(deployment: &Deployment, others: &[&Deployment], errors: &mut Vec<ResolveError>) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(text: &str) -> Deployment {
        let service = crate::definition::load(text).unwrap();
        resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(1)).unwrap()
    }

    fn told(new: &str, others: &[&str]) -> Vec<String> {
        let others: Vec<Deployment> = others.iter().map(|o| deployment(o)).collect();
        let others: Vec<&Deployment> = others.iter().collect();
        conflicts(&deployment(new), &others).iter().map(ToString::to_string).collect()
    }

    const ONE: &str = "[[components]]\nimage = \"i:1\"\n";

    #[test]
    fn what_belongs_to_another_service_is_refused() {
        let proxy = format!(
            "name = \"mc-proxy\"\n{ONE}name = \"x\"\nvolumes = [\"data:/d\"]\nports = [\"80:80\"]\n"
        );
        let volume = format!("name = \"mc\"\n{ONE}name = \"y\"\nvolumes = [\"proxy-data:/d\"]\n");
        assert_eq!(told(&volume, &[&proxy]).len(), 1, "one volume, two services");
        let unit = format!("name = \"mc\"\n{ONE}name = \"proxy-x\"\n");
        assert!(told(&unit, &[&proxy]).iter().any(|t| t.contains("unit mc-proxy-x.service")));
        let port = format!("name = \"d\"\n{ONE}name = \"d\"\nports = [\"127.0.0.1:80:1\"]\n");
        assert!(told(&port, &[&proxy])[0].contains("127.0.0.1:80:1"));
        let checked = format!(
            "name = \"mc\"\n{ONE}name = \"proxy\"\nports = [\"1:1\"]\nhealth = {{ tcp = 1 }}\n"
        );
        let other = format!("name = \"mc-proxy-check\"\n{ONE}name = \"mc-proxy-check\"\n");
        assert!(told(&checked, &[&other])[0].contains("mc-proxy-check.service"));
        assert_eq!(told(&checked.replace("health", "# "), &[&other]), Vec::<String>::new());
        let lonely = format!("name = \"e\"\ndepends_on = [\"gone\"]\n{ONE}name = \"e\"\n");
        assert!(told(&lonely, &[&proxy])[0].contains("gone"));
        let net = format!("name = \"x\"\n{ONE}name = \"network\"\nnetwork = \"x\"\n");
        assert!(told(&net, &[])[0].contains("x-network.service"));
        assert_eq!(told(&port, &[&volume]), Vec::<String>::new());
    }

    const BLUE: &str = "[deploy]\nstrategy = \"blue-green\"\n";

    fn forwarded(text: &str) -> Deployment {
        let service = crate::definition::load(text).unwrap();
        let range = 20_000..=20_100;
        let none = BTreeSet::new();
        let leases =
            super::super::ports::lease(&service, &Leases::new(), &none, &range, |_| true).unwrap();
        resolve(&service, &NodeFacts::default(), &leases, None, Generation(1)).unwrap()
    }

    #[test]
    fn blue_green_puts_every_port_behind_a_forward_and_probes_behind_it() {
        let text = format!(
            "name = \"s\"\n{BLUE}{ONE}name = \"web\"\nports = [\"80:8080\", \"127.0.0.1:81:81\", \"10.0.0.1:81:81\"]\nhealth = {{ http = {{ port = 8080 }} }}\nroutes = [{{ port = 443 }}]\n"
        );
        let web = &forwarded(&text).containers[0];
        let ports: Vec<(u16, usize, u16)> =
            web.forwards.iter().map(|f| (f.port, f.addresses.len(), f.container)).collect();
        let route = web.leased[0].1;
        assert_eq!(ports, [(80, 1, 8080), (81, 2, 81), (route, 1, route)]);
        assert_eq!(web.env["PORT"], route.to_string());
        let behind: Vec<u16> = web.forwards.iter().map(|f| f.behind).collect();
        let local = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let published: Vec<_> = web.publish.iter().map(|p| (p.address, p.host)).collect();
        assert_eq!(published, behind.iter().map(|b| (local, *b)).collect::<Vec<_>>());
        let probed = |c: &Container| match &c.readiness {
            Readiness::Probe { probe: Probe::Http { address, .. }, .. } => address.port(),
            Readiness::Probe { .. }
            | Readiness::Started
            | Readiness::Ended { .. }
            | Readiness::Command { .. } => 0,
        };
        assert_eq!(probed(web), behind[0]);
        let shown: Vec<String> = web.reachable().iter().map(Publish::argument).collect();
        assert_eq!(
            shown,
            ["80:8080", "127.0.0.1:81:81", "10.0.0.1:81:81", &format!("127.0.0.1:{route}:{route}")]
        );
        let other = web.stand_in(&BTreeMap::from([(behind[0], 30_000), (behind[2], 30_002)]));
        assert_eq!((other.name.as_str(), probed(&other)), ("s-web-next", 30_000));
        let hosts: Vec<u16> = other.publish.iter().map(|p| p.host).collect();
        assert_eq!(hosts, [30_000, behind[1], 30_002]);
        assert_eq!(other.publish[0].container, 8080);
    }

    #[test]
    fn names_that_handing_over_needs_are_refused() {
        let part = |name: &str| {
            format!(
                "{ONE}name = \"{name}\"\nports = [\"{}:1\"]\nhealth = {{ cmd = [\"x\"] }}\n",
                name.len()
            )
        };
        for other in ["s-next", "s-forward", "next", "forward"] {
            let text = format!("name = \"s\"\n{BLUE}{}{}", part("s"), part(other));
            let told = conflicts(&forwarded(&text), &[]);
            assert_eq!(told.is_empty(), other.starts_with("s-"), "{other}: {told:?}");
        }
        let web = forwarded(&format!("name = \"s\"\n{BLUE}{}", part("web")));
        let other = deployment(&format!("name = \"s-web\"\n{ONE}name = \"next\"\n"));
        assert!(conflicts(&other, &[&web])[0].to_string().contains("s-web-next.service"));
        let same = deployment(&format!("name = \"d\"\n{ONE}name = \"d\"\nports = [\"3:1\"]\n"));
        assert!(conflicts(&same, &[&web])[0].to_string().contains("s-web"));
    }
}
