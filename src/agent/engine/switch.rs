//! Handing over from one container of a component to the next, with no
//! request lost.
//!
//! ```text
//!              forwarder -> NAME (old)
//! beside       forwarder -> NAME (old)    NAME-next starts, ready
//! away         forwarder -> NAME-next     NAME drains
//! again        forwarder -> NAME-next     NAME is restarted as the new one, ready
//! back         forwarder -> NAME          NAME-next drains, stops, is gone
//! ```
//!
//! What a crash interrupts is read off again from what there is: the file of
//! the stand-in, whether its unit is up, and the forwarder's switch. All three
//! live in the runtime directory or in systemd, so a reboot forgets them
//! together, and boots NAME.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::boot::Boots;
use super::starting::{Failing, MARGIN, Started};
use super::{Engine, EngineError, Reload, preflight, trial};
use crate::agent::drained;
use crate::agent::progress::Progress;
use crate::agent::switch_file::{self, Targets};
use crate::deployment::{Container, Deployment, ports};
use crate::names::{ComponentName, ServiceName, UnitName};
use crate::quadlet::{Place, render};
use crate::systemd::{ActiveState, JobMode, SystemdError};
use crate::units::{StandIns, UnitsError};

impl Engine {
    fn stand_ins(&self) -> StandIns {
        StandIns::new(&self.tools().runtime)
    }

    fn switch_of(&self, container: &Container) -> PathBuf {
        switch_file::path(&self.tools().runtime, &container.name)
    }

    /// Tells whether a container is handed over to, not just restarted: it
    /// runs, a forwarder can send connections elsewhere meanwhile, and podman
    /// finds the file of a stand-in.
    pub(super) async fn is_switched(&self, container: &Container) -> Result<bool, EngineError> {
        Ok(!container.forwards.is_empty()
            && self.can_stand_in()
            && self.is_active(&container.name.unit()).await?)
    }

    /// Tells whether podman reads the runtime directory.
    pub(super) fn can_stand_in(&self) -> bool {
        self.toolchain().is_ok_and(|toolchain| toolchain.podman.has_runtime_directory())
    }

    async fn is_active(&self, unit: &UnitName) -> Result<bool, EngineError> {
        let listed = self.manager().listed(std::slice::from_ref(unit)).await?;
        Ok(listed.iter().any(|unit| unit.active == ActiveState::Active))
    }

    /// Hands over to the generation of `deployment`, whose files are in place.
    pub(super) async fn switch_over(
        &self,
        deployment: &Deployment,
        container: &Container,
        failing: Failing,
        progress: &Progress,
    ) -> Result<Started, EngineError> {
        if !self.stands_in(container).await? {
            self.drop_stand_in(&deployment.service, container).await?;
            let started = self.start_beside(deployment, container, progress).await?;
            if !started.failures.is_empty() {
                self.drop_stand_in(&deployment.service, container).await?;
                return Ok(started);
            }
        }
        let usual: Vec<u16> = container.forwards.iter().map(|f| f.behind).collect();
        let step = progress.step("drain", container.name.as_str()).await;
        // Given up here, the stand-in serves, until all of it is stopped.
        self.drain(deployment, container, &usual, progress).await?;
        step.done().await;
        let component = std::slice::from_ref(&container.spec.name);
        // Should it fail, the stand-in goes on serving.
        let started = self.start_layer(deployment, component, failing, progress).await?;
        if started.failures.is_empty() {
            self.end_stand_in(deployment, container, progress).await?;
        }
        Ok(started)
    }

    /// Tells whether connections go to a stand-in, and it is up.
    async fn stands_in(&self, container: &Container) -> Result<bool, EngineError> {
        let switched = self.switched_to(container).await?;
        let all = container.forwards.iter().all(|f| switched.contains_key(&f.port));
        Ok(all && self.is_active(&container.name.stand_in().unit()).await?)
    }

    async fn switched_to(&self, container: &Container) -> Result<Targets, EngineError> {
        let path = self.switch_of(container);
        blocking(move || {
            switch_file::read(&path).map_err(|source| switch_error("read", path, source))
        })
        .await
    }

    /// Starts a stand-in, and when it is ready sends new connections there.
    async fn start_beside(
        &self,
        deployment: &Deployment,
        container: &Container,
        progress: &Progress,
    ) -> Result<Started, EngineError> {
        let ports = self.spare_ports(deployment, container).await?;
        let stand_in = container.stand_in(&ports);
        let beside = Deployment { containers: vec![stand_in.clone()], ..deployment.clone() };
        self.put_stand_in(deployment, container, &beside).await?;
        let component = std::slice::from_ref(&container.spec.name);
        let started = self.start_layer(&beside, component, Failing::IsUndone, progress).await?;
        if !started.failures.is_empty() {
            return Ok(started);
        }
        let step =
            progress.step("switch", format!("{} to {}", container.name, stand_in.name)).await;
        let targets: Targets = container
            .forwards
            .iter()
            .filter_map(|f| Some((f.port, *ports.get(&f.behind)?)))
            .collect();
        let path = self.switch_of(container);
        blocking(move || {
            switch_file::write(&path, &targets)
                .map_err(|source| switch_error("write", path, source))
        })
        .await?;
        step.done().await;
        Ok(started)
    }

    /// Finds a port of the loopback address for each one that a container
    /// publishes.
    async fn spare_ports(
        &self,
        deployment: &Deployment,
        container: &Container,
    ) -> Result<BTreeMap<u16, u16>, EngineError> {
        let mut taken: BTreeSet<u16> =
            self.registry().leases().await?.into_iter().map(|lease| lease.port).collect();
        let neighbours = self.neighbours(&deployment.service);
        let all = neighbours.iter().chain([deployment]).flat_map(|d| &d.containers);
        taken.extend(all.flat_map(Container::occupied).map(|p| p.host));
        let range = self.tools().node.ports.first()..=self.tools().node.ports.last();
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut found = BTreeMap::new();
        for forward in &container.forwards {
            let name = container.name.stand_in();
            let port =
                ports::spare(name.as_str(), &taken, &range, |port| preflight::is_free(local, port));
            let port =
                port.ok_or_else(|| EngineError::NoSparePort { container: container.name.clone() })?;
            taken.insert(port);
            found.insert(forward.behind, port);
        }
        Ok(found)
    }

    /// Puts the file of a stand-in in place, once podman's generator has
    /// proved that it means what the deployment says.
    async fn put_stand_in(
        &self,
        deployment: &Deployment,
        container: &Container,
        beside: &Deployment,
    ) -> Result<(), EngineError> {
        let Some(stand_in) = beside.containers.first() else { return Ok(()) };
        let renderer = &self.toolchain()?.renderer;
        let source = deployment.service.as_str();
        let mut text = renderer.stand_in(deployment, stand_in, source)?;
        let mut set = renderer.render(beside, source)?;
        let file = (Place::Quadlet, render::container_file(&stand_in.name));
        set.files.insert(file, text.clone());
        self.prove(beside, &set).await?;
        // What is tried may name an image by its number: its name means the
        // old one until the new generation is ready.
        let tried = self.trial().clone();
        let (service, file) = (deployment.service.clone(), render::container_file(&container.name));
        let tried = blocking(move || tried.read(&service, &file)).await?;
        if let Some(image) = tried.as_deref().and_then(trial::image_of) {
            text = trial::with_image(&text, image);
        }
        let (stand_ins, store) = (self.stand_ins(), self.tools().store.clone());
        let (service, name) = (deployment.service.clone(), container.name.clone());
        let change = move || stand_ins.put((&service, &name), &text, &store).map(|()| true);
        self.change_files(change, Boots::Before, Reload::Now).await?;
        Ok(())
    }

    /// Sends new connections to a container again, and ends what stood in for
    /// it, connections of its own first.
    async fn end_stand_in(
        &self,
        deployment: &Deployment,
        container: &Container,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let name = container.name.stand_in();
        let targets = self.switched_to(container).await?;
        if !targets.is_empty() {
            let step = progress.step("switch", format!("{name} to {}", container.name)).await;
            self.unswitch(container).await?;
            step.done().await;
            let ports: Vec<u16> = targets.into_values().collect();
            let step = progress.step("drain", name.as_str()).await;
            self.drain(deployment, container, &ports, progress).await?;
            step.done().await;
        }
        let step = progress.step("stop", name.as_str()).await;
        self.drop_stand_in(&deployment.service, container).await?;
        step.done().await;
        Ok(())
    }

    async fn unswitch(&self, container: &Container) -> Result<(), EngineError> {
        let path = self.switch_of(container);
        blocking(move || {
            switch_file::remove(&path).map_err(|source| switch_error("remove", path, source))
        })
        .await
    }

    /// Ends what stands in for a container, connections or not; fine if
    /// nothing does.
    pub(super) async fn drop_stand_in(
        &self,
        service: &ServiceName,
        container: &Container,
    ) -> Result<(), EngineError> {
        if container.forwards.is_empty() {
            return Ok(());
        }
        self.unswitch(container).await?;
        if !self.stand_ins().has(service, &container.name) {
            return Ok(());
        }
        let unit = container.name.stand_in().unit();
        let deadline = container.stop_timeout() + MARGIN;
        match self.manager().stop(&unit, JobMode::IgnoreDependencies, deadline).await {
            Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.manager().reset_failed(&unit).await?;
        let (stand_ins, service) = (self.stand_ins(), service.clone());
        let name = container.name.clone();
        let change = move || stand_ins.remove(&service, &name);
        self.change_files(change, Boots::Before, Reload::Now).await?;
        Ok(())
    }

    /// Ends every stand-in whose container is up: what a crash left, or what
    /// had to serve until a container was there again.
    pub(super) async fn settle_stand_ins(
        &self,
        deployment: &Deployment,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        for container in &deployment.containers {
            if self.has_stand_in(&deployment.service, container)
                && self.is_active(&container.name.unit()).await?
            {
                self.end_stand_in(deployment, container, progress).await?;
            }
        }
        Ok(())
    }

    /// Tells whether something stands in for a container, or did until a
    /// crash.
    pub(super) fn has_stand_in(&self, service: &ServiceName, container: &Container) -> bool {
        !container.forwards.is_empty()
            && (self.stand_ins().has(service, &container.name)
                || self.switch_of(container).exists())
    }

    /// Settles what a restart left that was cut off: it is not journalled.
    /// What deploys left is theirs to recover.
    pub async fn settle_restarts(&self) {
        for accepted in self.all() {
            let deployment = &accepted.deployment;
            let service = &deployment.service;
            let left: Vec<&Container> =
                deployment.containers.iter().filter(|c| self.has_stand_in(service, c)).collect();
            if left.is_empty() {
                continue;
            }
            let Ok(busy) = self.take(service, super::lifecycle::RECOVERY) else { continue };
            tracing::warn!(%service, "a hand-over was cut off; finishing it");
            let wanted = left.iter().map(|c| c.spec.name.clone()).collect();
            if let Err(error) = self.settle_restart(deployment, wanted).await {
                let error = crate::telemetry::Chain(&error).to_string();
                tracing::error!(%service, error, "the hand-over could not be finished");
            }
            drop(busy);
        }
    }

    async fn settle_restart(
        &self,
        deployment: &Deployment,
        mut wanted: BTreeSet<ComponentName>,
    ) -> Result<(), EngineError> {
        let progress = Progress::unheard();
        if !deployment.active {
            let containers: Vec<&Container> = deployment.containers.iter().collect();
            return self.close_ports(deployment, &containers).await;
        }
        let units: Vec<UnitName> =
            wanted.iter().filter_map(|c| deployment.container(c)).map(|c| c.name.unit()).collect();
        let up = self.manager().listed(&units).await?;
        wanted.retain(|component| {
            let unit = deployment.container(component).map(|c| c.name.unit());
            !up.iter().any(|u| Some(&u.name) == unit.as_ref() && u.is_up())
        });
        let failures = self.start_in_order(deployment, &wanted, &progress, None).await?;
        for failure in failures {
            tracing::error!(unit = failure.unit, "it does not start: {}", failure.explanation);
        }
        Ok(())
    }

    /// Waits until the forwarder carries nothing to some ports of the loopback
    /// address any more, or the time for that is over, or somebody stops the
    /// service.
    async fn drain(
        &self,
        deployment: &Deployment,
        container: &Container,
        ports: &[u16],
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let drained = async {
            self.drained(container, ports, deployment.deploy.drain, progress).await;
            Ok(())
        };
        self.unless_given_up(&deployment.service, drained).await
    }

    async fn drained(
        &self,
        container: &Container,
        ports: &[u16],
        limit: Duration,
        progress: &Progress,
    ) {
        let path = drained::path(&self.tools().runtime, &container.name);
        let all = ports.iter().map(|port| drained::ask(&path, *port));
        match tokio::time::timeout(limit, try_join_all(all)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, path = %path.display(), "the forwarder cannot be asked");
                tokio::time::sleep(limit).await;
            }
            Err(_) => {
                let name = &container.name;
                progress.warn(format!("{name}: after {limit:?} connections are cut off")).await;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnitsError> + Send + 'static,
) -> Result<T, EngineError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(EngineError::Lost)??)
}

fn switch_error(action: &'static str, path: PathBuf, source: std::io::Error) -> UnitsError {
    UnitsError::Io { action, path, source }
}
