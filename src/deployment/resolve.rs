//! Service and node facts to a deployment.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::conflicts::conflicts;
use super::error::ResolveError;
use super::model::{Container, Deployment, Forward, NodeFacts, Probe, Publish, Readiness, Timing};
use crate::definition::service::{
    Check, CheckPort, Component, Health, Network, Protocol, Service, Strategy,
};
use crate::names::{ComponentName, ContainerName, Generation, ImageRef, RouteName, UnitName};

/// Leased ports by component and route.
pub type Leases = BTreeMap<(ComponentName, RouteName), u16>;

/// Resolves a service for a node.
///
/// `neighbours` are the services of the node, this one as it is now among them;
/// none when they are not known, as in `mcp render`.
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
        network_specs: service.networks.clone(),
        volume_specs: service.volumes.clone(),
        containers,
    };
    if let Some(neighbours) = neighbours {
        let others: Vec<&Deployment> = neighbours.iter().collect();
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn deployment(text: &str) -> Deployment {
        let service = crate::definition::load(text).unwrap();
        resolve(&service, &NodeFacts::default(), &Leases::new(), None, Generation(1)).unwrap()
    }

    pub const ONE: &str = "[[components]]\nimage = \"i:1\"\n";
    pub const BLUE: &str = "[deploy]\nstrategy = \"blue-green\"\n";

    pub fn forwarded(text: &str) -> Deployment {
        let service = crate::definition::load(text).unwrap();
        let range = 20_000..=20_100;
        let none = std::collections::BTreeSet::new();
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
}
