//! Whether the node will come back from a reboot: gathers what there is to
//! know, and has it judged. Changes nothing and starts nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::accepted::container_units;
use super::boot::PODMAN;
use super::{Accepted, Engine, EngineError, preflight};
use crate::agent::boot_verify::generated::Made;
use crate::agent::boot_verify::limits::{self, Defaults};
use crate::agent::boot_verify::surroundings::ImageNow;
use crate::agent::boot_verify::units::Expected;
use crate::agent::boot_verify::{files, generated, or_fine, order, pulled_in, surroundings, units};
use crate::agent::environment::Environment;
use crate::agent::finding::Finding;
use crate::agent::host::{cgroups, disk, linger, network_online, subids, uidmap};
use crate::agent::identity::Users;
use crate::agent::plan;
use crate::deployment::{Container, Readiness};
use crate::names::UnitName;
use crate::podman::images::own_store;
use crate::podman::{PodmanError, Stored, pause};
use crate::quadlet::boot_graph::{Found, Graph};
use crate::quadlet::proof::{self, Mismatch};
use crate::quadlet::render::{self, node_units};
use crate::quadlet::shadowed::unsaid;
use crate::quadlet::{Place, unit_file};
use crate::systemd::{ListedUnit, ServiceLimits, SystemManager};
use crate::telemetry::Chain;
use crate::units::GeneratorReport;
use crate::units::load_path::LoadPath;

/// Whose node it is.
struct Host {
    uid: u32,
    user: String,
    /// The command that restarts the agent, which puts the node's own files
    /// back.
    restart: &'static str,
}

impl Host {
    fn look() -> Self {
        let environment = Environment::of_process();
        let uid = environment.uid;
        let user = Users::load_or_empty().name(uid).map_or_else(|| uid.to_string(), str::to_owned);
        let restart = if environment.system {
            "sudo systemctl restart mcp-agent"
        } else {
            "systemctl --user restart mcp-agent"
        };
        Self { uid, user, restart }
    }
}

/// What the next boot will find.
struct Boot {
    report: GeneratorReport,
    found: Found,
    graph: Graph,
    path: LoadPath,
}

impl Engine {
    /// Proves that the node will come back from a reboot, or tells why not.
    ///
    /// # Errors
    ///
    /// The unit directories cannot be read, or podman's generator cannot be
    /// asked. What else cannot be found out is a finding.
    pub async fn boot_verify(&self) -> Result<Vec<Finding>, EngineError> {
        // Half-way through an installation nothing fits.
        let one_at_a_time = self.inner.units.lock().await;
        let host = Host::look();
        let services = self.all();
        let mut findings = self.verify_files(&services, &host).await?;
        let boot = self.next_boot().await?;
        drop(one_at_a_time);
        findings.extend(self.verify_generated(&services, &boot.report).await?);
        findings.extend(self.verify_units(&services, &boot, &host));
        findings.extend(verify_start(&services, &boot, &host));
        findings.extend(self.verify_limits(&services, &boot, &host).await);
        findings.extend(self.verify_images(&services).await);
        findings.extend(self.verify_surroundings(&services, &boot.report, &host).await);
        findings.extend(self.verify_host(&host, &boot.graph).await);
        Ok(findings)
    }

    /// Compares the files of services and of the node with what is in force.
    async fn verify_files(
        &self,
        services: &[Arc<Accepted>],
        host: &Host,
    ) -> Result<Vec<Finding>, EngineError> {
        let mut findings = Vec::new();
        for accepted in services {
            let name = &accepted.row.name;
            // An operation changes them, and will be done or undone.
            if let Some(operation) = self.under_way(name) {
                findings.push(Finding::warning(
                    "files",
                    name.as_str(),
                    format!("{name} is in the middle of a {operation}; look again after it."),
                ));
                continue;
            }
            let disk = self.on_disk(name).await?;
            let changes = plan::files(disk.as_ref(), &accepted.set);
            findings.extend(files::service(name, accepted.row.generation, &changes));
        }
        let root = self.tools().store.systemd_root().to_owned();
        for (name, wanted) in self.node_files() {
            let path = root.join(name);
            let text = read(&path).await;
            findings.extend(files::node(&path, &wanted, text.as_deref(), host.restart));
        }
        let fine = format!("The files of {} are as they were accepted.", counted(services.len()));
        Ok(or_fine(findings, Finding::fine("files", "", fine)))
    }

    /// Returns the files that every boot needs, with their texts.
    fn node_files(&self) -> Vec<(String, String)> {
        let mut files = node_units(PODMAN, &self.boot_targets());
        files.extend(self.boot_files());
        files
    }

    /// Has podman's generator make what it will make at boot, and reads what
    /// else systemd will find.
    async fn next_boot(&self) -> Result<Boot, EngineError> {
        let store = self.tools().store.clone();
        let report = self.toolchain()?.generator.check_boot(store.search_root()).await?;
        let runtime = self.tools().runtime.clone();
        let path = match self.manager().unit_path().await {
            Ok(directories) => LoadPath::new(directories, &runtime),
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "the usual unit directories are taken");
                let config = store.systemd_root().parent().and_then(Path::parent);
                LoadPath::usual(config.unwrap_or(Path::new("/")), &runtime)
            }
        };
        // A file that cannot be read takes every unit away.
        let units = if report.fatal().is_empty() { report.units.clone() } else { BTreeMap::new() };
        let reading = path.clone();
        let found = tokio::task::spawn_blocking(move || reading.read(&units))
            .await
            .map_err(EngineError::Lost)?
            .map_err(EngineError::LoadPath)?;
        let graph = Graph::of_boot(&found, &self.stage_waits());
        Ok(Boot { report, found, graph, path })
    }

    /// Returns what the checks of stages start and wait for, which systemd
    /// does not know.
    pub(super) fn stage_waits(&self) -> Vec<(String, String)> {
        let sequence = self.boot_sequence();
        let stages = sequence.stages.iter().flat_map(|stage| {
            let check = UnitName::stage_check(&stage.name).to_string();
            stage
                .services
                .iter()
                .map(move |service| (check.clone(), UnitName::ready_target(service).to_string()))
        });
        stages.collect()
    }

    async fn verify_generated(
        &self,
        services: &[Arc<Accepted>],
        report: &GeneratorReport,
    ) -> Result<Vec<Finding>, EngineError> {
        let mut findings = generated::messages(report);
        let agent = self.toolchain()?.renderer.agent().to_owned();
        for accepted in services {
            let service = Made {
                deployment: &accepted.deployment,
                set: &accepted.set,
                extra: &self.added_by_extra(accepted).await?,
                drop_ins: &self.quadlet_drop_ins(accepted).await?,
            };
            findings.extend(generated::service(&service, &agent, report));
        }
        let fine = format!(
            "podman's generator will make {} units, and they run what was deployed.",
            report.units.len()
        );
        Ok(or_fine(findings, Finding::fine("generator", "", fine)))
    }

    /// Returns in what the `extra` keys of a service have it differ from the
    /// rest of its definition: so it was accepted.
    async fn added_by_extra(&self, accepted: &Accepted) -> Result<Vec<Mismatch>, EngineError> {
        let deployment = &accepted.deployment;
        if deployment.containers.iter().all(|c| c.spec.extra.is_empty()) {
            return Ok(Vec::new());
        }
        let toolchain = self.toolchain()?;
        let (generator, agent) = (&toolchain.generator, toolchain.renderer.agent());
        let root = self.tools().store.search_root();
        let bare = deployment.without_extra();
        let bare_set = toolchain.renderer.render(&bare, "")?;
        let without = generator.check_alone(&bare_set, root).await?;
        // What podman reads otherwise than it is meant stays a difference.
        let misread = proof::compare(&bare, agent, &without.units);
        let with = generator.check_alone(&accepted.set, root).await?;
        let mut added = proof::compare(deployment, agent, &with.units);
        added.retain(|mismatch| !misread.contains(mismatch));
        Ok(added)
    }

    /// Lists what a person adds to the Quadlet files of a service.
    async fn quadlet_drop_ins(&self, accepted: &Accepted) -> Result<Vec<PathBuf>, EngineError> {
        let (store, service) = (self.tools().store.clone(), accepted.row.name.clone());
        let runtime = self.tools().runtime.clone();
        tokio::task::spawn_blocking(move || store.drop_ins(&service, &[], &runtime))
            .await
            .map_err(EngineError::Lost)?
            .map_err(EngineError::from)
    }

    fn verify_units(&self, services: &[Arc<Accepted>], boot: &Boot, host: &Host) -> Vec<Finding> {
        let expected = self.expected(services, host);
        let root = self.tools().store.systemd_root();
        let config = root.parent().unwrap_or(root);
        let mut findings = units::judge(&boot.found, &expected, config);
        findings.extend(services.iter().flat_map(|a| self.verify_sources(a, &boot.report)));
        let names: Vec<String> = expected.keys().cloned().collect();
        let busy = services.iter().any(|a| self.under_way(&a.row.name).is_some());
        if !busy {
            findings.extend(units::temporary(&boot.path.overridden(&names)));
        }
        let fine = format!("systemd will load all {} units of MCP from MCP's files.", names.len());
        or_fine(findings, Finding::fine("unit", "", fine))
    }

    /// Judges which files podman's generator makes the units of networks,
    /// volumes and images of.
    fn verify_sources(&self, accepted: &Accepted, report: &GeneratorReport) -> Vec<Finding> {
        let store = &self.tools().store;
        let root = store.systemd_root();
        let config = root.ancestors().nth(2).unwrap_or(root);
        let judge = |(file, text): (&str, &str)| {
            let made = unit_file::directives(report.units.get(&render::unit_of(file))?);
            let source = Path::new(unit_file::values(&made, "Unit", "SourcePath").next()?);
            // Services share the networks that they name.
            if source.starts_with(store.quadlet_root()) {
                return None;
            }
            let theirs = std::fs::read_to_string(source).ok()?;
            units::shadowed(file, source, &unsaid(text, &theirs), config)
        };
        accepted.set.of(Place::Quadlet).filter_map(judge).collect()
    }

    /// Returns our units, and where their files will be.
    fn expected(&self, services: &[Arc<Accepted>], host: &Host) -> BTreeMap<String, Expected> {
        let root = self.tools().store.systemd_root();
        let generator = self.tools().runtime.join("systemd/generator");
        let mut expected = BTreeMap::new();
        for (name, _) in self.node_files() {
            let path = root.join(&name);
            expected.insert(name, Expected { path, mend: host.restart.to_owned() });
        }
        for accepted in services {
            let mend = format!("mcp deploy {}", accepted.row.name);
            for (place, name) in accepted.set.files.keys() {
                let unit = render::unit_of(name);
                let path = match place {
                    Place::Quadlet => generator.join(&unit),
                    Place::Systemd => root.join(&unit),
                };
                expected.insert(unit, Expected { path, mend: mend.clone() });
            }
        }
        expected
    }

    async fn verify_limits(
        &self,
        services: &[Arc<Accepted>],
        boot: &Boot,
        host: &Host,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let defaults = match self.manager().default_limits().await {
            Ok(ServiceLimits { start, stop }) => Defaults { start, stop },
            Err(error) => {
                let message = format!("The user's systemd does not answer: {}.", Chain(&error));
                let mend = format!("sudo systemctl start user@{}.service", host.uid);
                findings.push(Finding::failed("manager", host.user.as_str(), message).mend(mend));
                // As systemd has it unless told otherwise.
                let usual = Some(std::time::Duration::from_secs(90));
                Defaults { start: usual, stop: usual }
            }
        };
        for container in services.iter().flat_map(|a| &a.deployment.containers) {
            findings.extend(limits::start(&boot.found, container, defaults));
        }
        findings.extend(limits::jobs(&boot.found, &boot.graph, defaults));
        let user = UnitName::from_systemd(format!("user@{}.service", host.uid));
        let of_user = async { SystemManager::connect().await?.limits(&user).await };
        match of_user.await {
            Ok(ServiceLimits { stop, .. }) => {
                findings.extend(limits::stops(&boot.graph, host.uid, stop));
            }
            Err(error) => {
                let message = format!("The limits of {user} are not known: {}.", Chain(&error));
                findings.push(Finding::warning("stop-limit", user.as_str(), message));
            }
        }
        let fine = "Every start and every stop has the time that it may need.";
        or_fine(findings, Finding::fine("limits", "", fine))
    }

    async fn verify_images(&self, services: &[Arc<Accepted>]) -> Vec<Finding> {
        let stored = Stored::read().await;
        let mut findings = Vec::new();
        let mut count = 0;
        for accepted in services {
            for container in &accepted.deployment.containers {
                count += 1;
                match self.image_now(&stored, accepted, container).await {
                    Ok(now) => {
                        findings.extend(surroundings::image(&accepted.row.name, container, &now));
                    }
                    Err(error) => findings.push(Finding::failed(
                        "image",
                        container.name.unit().as_str(),
                        format!("podman does not tell of {}: {}.", container.image, Chain(&error)),
                    )),
                }
            }
        }
        let fine = format!("The images of {count} components are there, as they were accepted.");
        or_fine(findings, Finding::fine("image", "", fine))
    }

    /// Finds out what a container's image is. Where the lists of podman's store
    /// do not have it, podman is asked, but not if that would make its pause
    /// process.
    async fn image_now(
        &self,
        stored: &Stored,
        accepted: &Accepted,
        container: &Container,
    ) -> Result<ImageNow, PodmanError> {
        let may_ask = pause::is_alive(&self.tools().runtime);
        let named = match stored.listed(&container.image) {
            Some(found) => Some(found.id.clone()),
            None if may_ask => stored.image(&container.image).await?.map(|found| found.id),
            None => None,
        };
        let recorded = accepted.images.get(&container.spec.name);
        let accepted = match recorded.filter(|image| image.name == container.image) {
            Some(image) => {
                let there = named.as_ref() == Some(&image.id)
                    || stored.digest_of(&image.id).is_some()
                    || (may_ask && stored.has(&image.id).await?);
                Some((image.clone(), there))
            }
            None => None,
        };
        Ok(ImageNow { named, accepted })
    }

    async fn verify_surroundings(
        &self,
        services: &[Arc<Accepted>],
        report: &GeneratorReport,
        host: &Host,
    ) -> Vec<Finding> {
        let running = self.running(services).await;
        let containers = services.iter().flat_map(|a| &a.deployment.containers);
        let mut findings: Vec<Finding> =
            containers.clone().flat_map(|c| surroundings::paths(c, &host.user)).collect();
        for container in containers.clone() {
            let unit = report.units.get(container.name.unit().as_str());
            if let Some(made) = unit.and_then(|text| proof::arguments(text)) {
                findings.extend(surroundings::added_paths(container, &made, &host.user));
            }
        }
        let deployments: Vec<_> =
            services.iter().filter(|a| a.row.active).map(|a| &a.deployment).collect();
        findings.extend(surroundings::clashes(&deployments));
        for container in deployments.iter().flat_map(|d| &d.containers) {
            // While it runs, the port is its own.
            if running.contains(&container.name.unit()) {
                continue;
            }
            for publish in &container.publish {
                if let Err(error) = preflight::bind(publish) {
                    findings.push(surroundings::port(container, publish, &error));
                }
            }
        }
        let probed = containers
            .filter(|c| matches!(c.readiness, Readiness::Command { .. } | Readiness::Probe { .. }));
        let probed: Vec<String> = probed.map(|c| c.name.unit().to_string()).collect();
        if let Ok(toolchain) = self.toolchain() {
            findings.extend(surroundings::probe(toolchain.renderer.agent(), &probed));
        }
        let fine = "Paths, ports and the probe's program are there.";
        or_fine(findings, Finding::fine("surroundings", "", fine))
    }

    /// Looks at what podman and the user's systemd need of the machine.
    async fn verify_host(&self, host: &Host, graph: &Graph) -> Vec<Finding> {
        let (user, uid) = (host.user.clone(), host.uid);
        let units = self.tools().store.search_root().to_owned();
        let looking = move || {
            let mut findings = vec![linger::judge(&user, &linger::look(&user))];
            findings.push(disk::judge(&disk::look(&units, "the unit files")));
            let storage = own_store(|name| std::env::var_os(name));
            let storage = storage.map(|path| disk::look(&path, "podman's storage"));
            findings.extend(storage.iter().map(disk::judge));
            findings.extend(subids::look().iter().map(|file| subids::judge(&user, uid, file)));
            let search = std::env::var_os("PATH").unwrap_or_default();
            findings.extend(uidmap::look(&search).iter().map(uidmap::judge));
            findings.push(cgroups::judge(&user, uid, &cgroups::look(uid)));
            findings
        };
        let mut findings = match tokio::task::spawn_blocking(looking).await {
            Ok(findings) => findings,
            Err(lost) => vec![Finding::failed(
                "host",
                "",
                format!("The machine could not be looked at: {}.", Chain(&lost)),
            )],
        };
        findings.push(verify_network(graph).await);
        findings
    }

    /// Returns the containers that are up; none when systemd does not answer,
    /// which is told elsewhere.
    async fn running(&self, services: &[Arc<Accepted>]) -> Vec<UnitName> {
        let units: Vec<_> = services.iter().flat_map(|a| container_units(&a.deployment)).collect();
        match self.manager().listed(&units).await {
            Ok(rows) => rows.into_iter().filter(ListedUnit::is_up).map(|r| r.name).collect(),
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "it is not known what runs");
                units
            }
        }
    }
}

fn verify_start(services: &[Arc<Accepted>], boot: &Boot, host: &Host) -> Vec<Finding> {
    let Boot { found, graph, .. } = boot;
    let mut findings: Vec<Finding> =
        pulled_in::root(found, graph, host.restart).into_iter().collect();
    for accepted in services {
        let wanted = pulled_in::Wanted {
            service: accepted.row.name.clone(),
            active: accepted.row.active,
            containers: container_units(&accepted.deployment),
        };
        findings.extend(pulled_in::service(found, graph, &wanted));
    }
    let active = services.iter().filter(|a| a.row.active).count();
    let fine = format!("default.target brings in {}, and none that is stopped.", counted(active));
    let mut findings = or_fine(findings, Finding::fine("wanted", "", fine));
    let circles = order::judge(found, graph);
    let fine = format!("The order of {} units has no circle.", graph.units().count());
    findings.extend(or_fine(circles, Finding::fine("order", "", fine)));
    findings
}

async fn verify_network(graph: &Graph) -> Finding {
    let waiting: Vec<String> = graph
        .units()
        .filter(|unit| unit.after.contains(network_online::WAITER))
        .filter(|_| graph.starts(network_online::WAITER))
        .map(|unit| unit.name.clone())
        .collect();
    network_online::examine(&waiting).await
}

/// Reads a file; what cannot be read counts as missing.
async fn read(path: &PathBuf) -> Option<String> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Some(text),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "a file of the node cannot be read");
            }
            None
        }
    }
}

fn counted(services: usize) -> String {
    match services {
        1 => "1 service".to_owned(),
        more => format!("{more} services"),
    }
}
