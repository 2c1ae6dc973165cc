//! What keeps a deployment from being on a node.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ResolveError;
use super::model::{Container, Deployment, Publish};
use crate::definition::graph;
use crate::definition::service::Protocol;
use crate::names::{ServiceName, UnitName};

/// Returns what keeps a deployment from being on a node beside the other
/// services, or in the place of what is there of its own: dependencies that
/// are not there, cycles, names, ports, and what podman cannot change.
///
/// `all` may hold the deployment's own service as it is now.
pub fn conflicts(deployment: &Deployment, all: &[&Deployment]) -> Vec<ResolveError> {
    let mut errors = Vec::new();
    let (own, others): (Vec<&Deployment>, Vec<&Deployment>) =
        all.iter().partition(|d| d.service == deployment.service);
    dependencies(deployment, &others, &mut errors);
    let ours = units(deployment);
    errors.extend(own_names(deployment));
    for other in &others {
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
    errors.extend(own.iter().flat_map(|now| changed(now, deployment)));
    errors.extend(others.iter().flat_map(|other| differing(deployment, other)));
    errors
}

/// Refuses to change networks and volumes that are there: podman takes them
/// as they are, and the change would be lost without a word.
fn changed(now: &Deployment, new: &Deployment) -> Vec<ResolveError> {
    let networks = now.networks().into_iter().filter(|name| {
        new.networks().contains(name)
            && now.network_spec(name).makes() != new.network_spec(name).makes()
    });
    let volumes = now.volumes().into_iter().filter(|name| {
        new.volumes().contains(name)
            && (now.podman_volume(name), now.volume_spec(name).makes())
                != (new.podman_volume(name), new.volume_spec(name).makes())
    });
    networks
        .map(|network| ResolveError::NetworkChanged { network: network.clone() })
        .chain(volumes.map(|volume| ResolveError::VolumeChanged { volume: volume.clone() }))
        .collect()
}

/// Refuses a network of which another service says something else: both have a
/// file of one name, and podman's generator reads one of them.
fn differing(deployment: &Deployment, other: &Deployment) -> Vec<ResolveError> {
    let theirs = other.networks();
    deployment
        .networks()
        .into_iter()
        .filter(|name| {
            theirs.contains(name) && other.network_spec(name) != deployment.network_spec(name)
        })
        .map(|network| ResolveError::NetworkDiffers {
            network: network.clone(),
            other: other.service.clone(),
        })
        .collect()
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
    use super::super::resolve::tests::{BLUE, ONE, deployment, forwarded};
    use super::*;

    fn told(new: &str, others: &[&str]) -> Vec<String> {
        let others: Vec<Deployment> = others.iter().map(|o| deployment(o)).collect();
        let others: Vec<&Deployment> = others.iter().collect();
        conflicts(&deployment(new), &others).iter().map(ToString::to_string).collect()
    }

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

    #[test]
    fn networks_and_volumes_that_are_there_are_not_changed() {
        let text = |name: &str, more: &str| {
            format!(
                "name = \"{name}\"\n{ONE}name = \"{name}\"\nnetwork = \"net\"\nvolumes = [\"data:/d\"]\n{more}"
            )
        };
        let plain = text("s", "");
        assert_eq!(told(&plain, &[&plain]), Vec::<String>::new());
        let same = "[networks.net]\n[volumes.data]\nname = \"s-data\"\n";
        assert_eq!(told(&text("s", same), &[&plain]), Vec::<String>::new());
        let inside = text("s", "[networks.net]\ninternal = true\n");
        assert!(told(&inside, &[&plain])[0].contains("give the changed one another name"));
        let driver = text("s", "[volumes.data]\nextra.Volume.Driver = \"x\"\n");
        assert!(told(&driver, &[&plain])[0].contains("copy what is in the old one"));
        // What only systemd reads may change.
        let after = "[volumes.data]\nextra.Unit.After = \"x.service\"\n[networks.net]\nextra.Unit.After = \"x.service\"\n";
        assert_eq!(told(&text("s", after), &[&plain]), Vec::<String>::new());
        // Services share networks, and volumes by chance of a name alone.
        let other = text("other", "");
        assert!(told(&inside, &[&other])[0].contains("another one in service other"));
        assert_eq!(told(&plain, &[&other]), Vec::<String>::new());
        let same = text("other", "[networks.net]\ninternal = true\n");
        assert_eq!(told(&inside, &[&same]), Vec::<String>::new());
    }
}
