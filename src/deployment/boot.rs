//! Boot stages: which services come up before which others, whatever these
//! depend on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conflicts;
use super::model::{Container, Deployment, Probe, Readiness};
use crate::definition::graph;
use crate::definition::service::{Protocol, RouteMode};
use crate::definition::suggest::closest;
use crate::names::{ComponentName, ServiceName, StageName, UnitName};

/// The boot stages of a node, in their order: names differ, and no service is
/// in two of them. A service of none comes after the last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence {
    /// The stages, the first one first.
    pub stages: Vec<Stage>,
}

/// One boot stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: StageName,
    /// The services that make it up.
    pub services: Vec<ServiceName>,
    /// How long the boot waits for it; if it is required, how long until it
    /// is late.
    pub timeout: Duration,
    /// What makes components ready that have no check of their own; none:
    /// that they run.
    pub health: Option<StageHealth>,
    /// Whether what comes after it has to wait until it is ready.
    pub required: bool,
}

/// What makes components of a stage ready that have no check of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageHealth {
    /// Each of their TCP ports takes connections.
    Tcp,
    /// Each of their TCP ports answers `GET /` with a good status.
    Http,
    /// Each of their TCP ports says SERVING to grpc.health.v1.
    Grpc,
    /// Nothing does: every component has to have a command check.
    Cmd,
}

impl StageHealth {
    /// Every one there is.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Http, Self::Grpc, Self::Cmd];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Cmd => "cmd",
        }
    }
}

impl std::str::FromStr for StageHealth {
    type Err = UnknownHealth;

    fn from_str(text: &str) -> Result<Self, UnknownHealth> {
        let found = Self::ALL.into_iter().find(|health| health.as_str() == text);
        found.ok_or_else(|| UnknownHealth(text.to_owned()))
    }
}

/// The text names no kind of check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of check; there are tcp, http, grpc and cmd")]
pub struct UnknownHealth(String);

/// Why a service cannot be where the boot sequence puts it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// A service would wait for itself.
    #[error("nothing of this could start at a boot, each waits for the next: {}", graph::arrow(.0))]
    Cycle(Vec<String>),
    /// A stage's units would have the name of a service's.
    #[error(
        "the boot stage {stage} and service {service} would both have a unit {unit}; rename one of them"
    )]
    Unit {
        /// The stage.
        stage: StageName,
        /// The service.
        service: ServiceName,
        /// The unit.
        unit: UnitName,
    },
    /// Components without the check that their stage asks for.
    #[error(
        "the boot stage {stage} asks for command checks, and {service} has none for {}; give each of them health = {{ cmd = [...] }}, or the stage another kind of health",
        listed(components)
    )]
    NoCommand {
        /// The stage.
        stage: StageName,
        /// The service.
        service: ServiceName,
        /// Its components without one.
        components: Vec<ComponentName>,
    },
}

fn listed(components: &[ComponentName]) -> String {
    components.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Turns a way round so that it begins with what one service depends on.
fn from_a_dependency(mut trail: Vec<String>) -> Vec<String> {
    let is_stage = |node: &String| node.starts_with('(');
    let edges = trail.windows(2);
    let begin = edges
        .enumerate()
        .find_map(|(at, edge)| (!edge.iter().any(is_stage)).then_some(at))
        .unwrap_or_default();
    trail.pop();
    trail.rotate_left(begin);
    trail.extend(trail.first().cloned());
    trail
}

impl Sequence {
    /// Returns the place of a service: the number of stages before it.
    pub fn position(&self, service: &ServiceName) -> usize {
        let found = self.stages.iter().position(|stage| stage.services.contains(service));
        found.unwrap_or(self.stages.len())
    }

    /// Returns the stages that a service waits for.
    pub fn before(&self, service: &ServiceName) -> &[Stage] {
        self.stages.get(..self.position(service)).unwrap_or_default()
    }

    /// Returns the stage of a service.
    pub fn stage_of(&self, service: &ServiceName) -> Option<&Stage> {
        self.stages.get(self.position(service))
    }

    /// Returns the services of stages that are not among these.
    pub fn unknown<'a>(
        &'a self,
        deployed: &'a [ServiceName],
    ) -> impl Iterator<Item = (&'a Stage, &'a ServiceName)> {
        let of = |stage: &'a Stage| stage.services.iter().map(move |service| (stage, service));
        self.stages.iter().flat_map(of).filter(|(_, service)| !deployed.contains(service))
    }

    /// Tells, in full sentences, which services of stages are not among
    /// these, and which were probably meant; empty: all are.
    pub fn told_unknown(&self, deployed: &[ServiceName]) -> String {
        let told = self.unknown(deployed).map(|(stage, service)| {
            let placed = |s: &&str| self.stages.iter().all(|t| t.services.iter().all(|o| o.as_str() != *s));
            let others = deployed.iter().map(ServiceName::as_str).filter(placed);
            let meant = closest(service.as_str(), others).map_or_else(
                || "; deploy it, or take it out of [[boot.sequence]].".to_owned(),
                |meant| format!("; did you mean {meant}?"),
            );
format!("The boot stage {} has the service {service}, which is not deployed on this node{meant}", stage.name)
        });
        told.collect::<Vec<_>>().join(" ")
    }

    /// Checks that services can be where this sequence puts them; with one to
    /// look at, only what it has to do with.
    ///
    /// # Errors
    ///
    /// A service waits for itself, or a unit would have two owners.
    pub fn check(
        &self,
        deployments: &[&Deployment],
        only: Option<&ServiceName>,
    ) -> Result<(), BootError> {
        if self.stages.is_empty() {
            return Ok(());
        }
        let edges = self.edges(deployments);
        for d in deployments.iter().filter(|d| only.is_none_or(|only| *only == d.service)) {
            let from = d.service.to_string();
            let ways = edges.get(&from).into_iter().flatten();
            let ways = ways.filter_map(|to| graph::cycle(&from, to, &edges));
            if let Some(trail) = ways.min_by_key(Vec::len) {
                return Err(BootError::Cycle(from_a_dependency(trail)));
            }
            let units = conflicts::units(d);
            for stage in &self.stages {
                let ours = [UnitName::stage(&stage.name), UnitName::stage_check(&stage.name)];
                if let Some(unit) = ours.into_iter().find(|unit| units.contains(unit)) {
                    let (stage, service) = (stage.name.clone(), d.service.clone());
                    return Err(BootError::Unit { stage, service, unit });
                }
            }
        }
        Ok(())
    }

    /// Who waits for whom: services for services, and for the stages before
    /// their own; stages for their services.
    fn edges(&self, deployments: &[&Deployment]) -> BTreeMap<String, Vec<String>> {
        let stage_node = |stage: &Stage| format!("(stage {})", stage.name);
        let waits = |service: &ServiceName| self.before(service).iter().map(stage_node);
        let mut edges: BTreeMap<String, Vec<String>> = self
            .stages
            .iter()
            .map(|s| (stage_node(s), s.services.iter().map(ToString::to_string).collect()))
            .collect();
        for d in deployments {
            let services = d.depends_on.iter().map(ToString::to_string);
            edges.insert(d.service.to_string(), services.chain(waits(&d.service)).collect());
        }
        edges
    }

    /// Checks that a service has the checks that its stage asks for.
    ///
    /// # Errors
    ///
    /// The stage asks for command checks and a component has none.
    pub fn check_health(&self, deployment: &Deployment) -> Result<(), BootError> {
        let Some(stage) = self.stage_of(&deployment.service) else { return Ok(()) };
        if stage.health != Some(StageHealth::Cmd) {
            return Ok(());
        }
        let has = |c: &&Container| {
            matches!(c.readiness, Readiness::Command { .. } | Readiness::Ended { .. })
        };
        let without = deployment.containers.iter().filter(|c| !has(c));
        let components: Vec<_> = without.map(|c| c.spec.name.clone()).collect();
        if components.is_empty() {
            return Ok(());
        }
        let (stage, service) = (stage.name.clone(), deployment.service.clone());
        Err(BootError::NoCommand { stage, service, components })
    }
}

impl Stage {
    /// Returns what this stage probes of a container: its TCP ports, if it
    /// has no check of its own.
    ///
    /// What stands behind an `l4` route ends TLS itself, so it is asked over
    /// TLS; any other port is asked in the clear.
    pub fn probes(&self, container: &Container) -> Vec<Probe> {
        let Some(health) = self.health else { return Vec::new() };
        if container.readiness != Readiness::Started {
            return Vec::new();
        }
        let tcp = container.publish.iter().filter(|p| p.protocol == Protocol::Tcp);
        tcp.filter_map(|port| {
            let reachable = port.address.filter(|a| !a.is_unspecified());
            let ip = reachable.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let address = SocketAddr::new(ip, port.host);
            let tls = container.leased.iter().any(|(route, leased)| {
                let l4 = |r: &&crate::definition::service::Route| {
                    r.name == *route && r.mode == RouteMode::L4
                };
                *leased == port.host && container.spec.routes.iter().any(|r| l4(&r))
            });
            match health {
                StageHealth::Tcp => Some(Probe::Tcp { address, container: None }),
                StageHealth::Http => {
                    Some(Probe::Http { address, path: "/".to_owned(), tls, host: None })
                }
                StageHealth::Grpc => Some(Probe::Grpc { address, service: String::new(), tls }),
                StageHealth::Cmd => None,
            }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;

    fn deployment(name: &str, depends_on: &[&str], more: &str) -> Deployment {
        let text = format!(
            "name = {name:?}\ndepends_on = {depends_on:?}\n[[components]]\nname = \"c\"\nimage = \"localhost/a:1\"\n{more}\n"
        );
        let service = crate::definition::load(&text).unwrap();
        let route = |c: &crate::definition::service::Component| {
            c.routes.iter().map(|r| (c.name.clone(), r.name.clone())).collect::<Vec<_>>()
        };
        let leases: Leases = service.components.iter().flat_map(route).zip(20_000..).collect();
        resolve(&service, &NodeFacts::default(), &leases, None, Generation(1)).unwrap()
    }

    fn sequence(stages: &[(&str, &[&str])]) -> Sequence {
        let stage = |(name, services): &(&str, &[&str])| Stage {
            name: name.parse().unwrap(),
            services: services.iter().map(|s| s.parse().unwrap()).collect(),
            timeout: Duration::from_secs(120),
            health: None,
            required: false,
        };
        Sequence { stages: stages.iter().map(stage).collect() }
    }

    #[test]
    fn a_service_waits_for_the_stages_before_its_own_and_one_of_none_for_all() {
        let s = sequence(&[("one", &["a"]), ("two", &["b"])]);
        let names = |service: &str| -> Vec<String> {
            s.before(&service.parse().unwrap()).iter().map(|s| s.name.to_string()).collect()
        };
        assert_eq!(names("a"), [""; 0]);
        assert_eq!(names("b"), ["one"]);
        assert_eq!(names("c"), ["one", "two"]);
    }

    #[test]
    fn a_dependency_on_a_later_stage_or_on_no_stage_is_refused_with_its_path() {
        let s = sequence(&[("one", &["a", "a2"]), ("two", &["b"])]);
        let told = |deployments: &[Deployment]| {
            let all: Vec<&Deployment> = deployments.iter().collect();
            s.check(&all, None).map_err(|e| e.to_string())
        };
        let d = |name, on: &[&str]| deployment(name, on, "");
        assert_eq!(
            told(&[d("a", &["a2"]), d("a2", &[]), d("b", &["a"]), d("c", &["b", "a"])]),
            Ok(())
        );
        let error = told(&[d("a", &["b"]), d("b", &[])]).unwrap_err();
        assert!(error.ends_with(": a -> b -> (stage one) -> a"), "{error}");
        let error = told(&[d("b", &["c"]), d("c", &[])]).unwrap_err();
        assert!(error.ends_with(": b -> c -> (stage two) -> b"), "{error}");
        // Whoever is looked at first, it begins with what somebody depends on.
        let error = told(&[d("b", &["c2"]), d("c2", &[])]).unwrap_err();
        assert!(error.ends_with(": b -> c2 -> (stage two) -> b"), "{error}");
        let turned = sequence(&[("two", &["z"]), ("one", &["b"])]);
        let (b, z) = (d("b", &[]), d("z", &["b"]));
        let error = turned.check(&[&b, &z], None).unwrap_err().to_string();
        assert!(error.ends_with(": z -> b -> (stage two) -> z"), "{error}");
        // Over two dependencies, too.
        let error = told(&[d("a", &["a2"]), d("a2", &["b"]), d("b", &[])]).unwrap_err();
        assert!(error.contains("-> (stage one) -> "), "{error}");
        // A service that has nothing to do with it may be deployed.
        let all = [d("a", &["b"]), d("b", &[]), d("x", &[])];
        let all: Vec<&Deployment> = all.iter().collect();
        assert_eq!(s.check(&all, Some(&"x".parse().unwrap())), Ok(()));
    }

    #[test]
    fn a_service_cannot_have_a_units_name_of_a_stage() {
        let s = sequence(&[("core", &["a"])]);
        for (name, refused) in [("mcp-core", true), ("mcp-core-check", false), ("mcp-cor", false)] {
            let d = deployment(name, &[], "");
            assert_eq!(s.check(&[&d], None).is_err(), refused, "{name}");
        }
    }

    #[test]
    fn probes_are_for_what_has_no_check_and_tls_for_what_ends_it_itself() {
        let mut s = sequence(&[("core", &["a"])]).stages.remove(0);
        s.health = Some(StageHealth::Grpc);
        let more = "ports = [\"53:53/udp\", \"8080:8080\"]\n[[components.routes]]\nname = \"web\"\nport = 443\n[[components.routes]]\nname = \"plain\"\nport = 80\nmode = \"l7\"";
        let d = deployment("a", &[], more);
        let shown: Vec<String> =
            s.probes(&d.containers[0]).iter().map(|p| format!("{p:?}")).collect();
        let tls: Vec<bool> = shown.iter().map(|p| p.contains("tls: true")).collect();
        assert_eq!(tls.len(), 3, "{shown:?}");
        assert_eq!(tls.iter().filter(|tls| **tls).count(), 1, "{shown:?}");
        let d = deployment("a", &[], "ports = [\"8080:8080\"]\nhealth = { tcp = 8080 }");
        assert_eq!(s.probes(&d.containers[0]), []);
    }

    #[test]
    fn a_stage_of_commands_refuses_a_component_without_one() {
        let mut s = sequence(&[("core", &["a"])]);
        s.stages[0].health = Some(StageHealth::Cmd);
        let error = s.check_health(&deployment("a", &[], "")).unwrap_err().to_string();
        assert!(error.contains("has none for c;"), "{error}");
        let with = deployment("a", &[], "health = { cmd = [\"/ok\"] }");
        assert_eq!(s.check_health(&with), Ok(()));
        assert_eq!(s.check_health(&deployment("b", &[], "")), Ok(()));
    }
}
