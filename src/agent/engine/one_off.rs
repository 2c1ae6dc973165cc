//! One-off containers: a command with the image, environment, volumes and
//! networks of a component, in a container of its own that goes with its end.

use std::time::SystemTime;

use super::session::{Holder, MARGIN, Session, Wish, number, one, stream_options};
use super::status::ServiceStatus;
use super::{Accepted, Engine, EngineError};
use crate::agent::progress::Progress;
use crate::agent::session::signal_name;
use crate::agent::session::task::{Reach, Task};
use crate::deployment::{Container, Deployment};
use crate::names::{ComponentName, ServiceName, UnitName};
use crate::podman::Stored;
use crate::quadlet::arguments::Arguments;
use crate::quadlet::one_off::{self, OneOff};
use crate::quadlet::proof;
use crate::systemd::{ActiveState, JobMode, SystemdError};

/// A one-off that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOffStatus {
    /// The unit that holds it.
    pub unit: UnitName,
    /// Since when.
    pub since: Option<SystemTime>,
}

impl Engine {
    /// Begins a command in a container of its own.
    ///
    /// What podman is given is what its generator makes of the component's
    /// files as they were accepted, and is proved like them; only then it
    /// loses what is of a service.
    ///
    /// # Errors
    ///
    /// The component is not there, the proof fails, or systemd does not
    /// answer.
    pub async fn run_once(
        &self,
        service: &ServiceName,
        component: Option<&ComponentName>,
        wish: &Wish,
    ) -> Result<Session, EngineError> {
        let accepted = self.accepted(service)?;
        let container = one(&accepted.deployment, component)?;
        let name = container.name.one_off(&number()?);
        let arguments = self.proved_arguments(&accepted, container).await?;
        let (options, operands) = one_off::arguments(
            arguments,
            &OneOff {
                name: name.as_str(),
                command: &wish.command,
                entrypoint: wish.entrypoint.as_deref(),
                user: wish.user.as_deref(),
                working_directory: wish.working_directory.as_deref(),
                env: wish.env.iter().map(|(name, _)| name.as_str()).collect(),
            },
        );
        let verb = std::iter::once("run".to_owned());
        let task = Task {
            options: verb.chain(options).chain(stream_options(wish)).collect(),
            operands,
            env: wish.env.clone(),
            input: wish.input,
            terminal: wish.terminal,
            reach: Reach::First,
            stop_signal: signal_name::number(container.spec.stop_signal.as_deref()),
            grace: container.spec.stop_timeout,
        };
        let remove = ["podman", "rm", "--force", "--ignore", "--time=0", name.as_str()];
        let remove = remove.map(str::to_owned).to_vec();
        let holder = Holder {
            unit: name.unit(),
            description: format!("A one-off command of {}", container.name),
            // Where podman itself was killed. Where conmon was too, the first
            // time only notes that the container has ended, and fails.
            after_end: vec![remove.clone(), remove],
            requires: needs(&accepted.deployment, container),
            delegate: true,
        };
        self.hold(holder, name, &task).await
    }

    /// Adds the one-offs that run to what was seen of their components.
    ///
    /// # Errors
    ///
    /// systemd does not answer.
    pub async fn add_one_offs(&self, found: &mut [ServiceStatus]) -> Result<(), EngineError> {
        let listed = self.manager().list_units(&["*-run-*.service"]).await?;
        let units: Vec<UnitName> = listed.into_iter().map(|listed| listed.name).collect();
        let mut states = self.manager().unit_states(&units).await?;
        states.retain(|s| !matches!(s.active, ActiveState::Inactive | ActiveState::Failed));
        for component in found.iter_mut().flat_map(|service| &mut service.components) {
            let container = &component.container.name;
            let of_it = states.iter().filter(|s| container.is_one_off(held(&s.name)));
            component.one_offs =
                of_it.map(|s| OneOffStatus { unit: s.name.clone(), since: s.since }).collect();
        }
        Ok(())
    }

    /// Ends the one-offs of a service, which use its volumes and networks.
    pub(super) async fn end_one_offs(
        &self,
        deployment: &Deployment,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        for container in &deployment.containers {
            let pattern = format!("{}-run-*.service", container.name);
            let listed = self.manager().list_units(&[&pattern]).await?;
            for unit in listed.into_iter().map(|listed| listed.name) {
                let name = held(&unit);
                if !container.name.is_one_off(name) {
                    continue;
                }
                let step = progress.step("stop", name).await;
                let deadline = container.stop_timeout() + MARGIN;
                match self.manager().stop(&unit, JobMode::Replace, deadline).await {
                    Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => step.done().await,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Returns what the unit of a component runs, proved as before a deploy,
    /// with the very image that it was accepted with.
    async fn proved_arguments(
        &self,
        accepted: &Accepted,
        container: &Container,
    ) -> Result<Arguments, EngineError> {
        let units = self.prove(&accepted.deployment, &accepted.set).await?.units();
        let unit = container.name.unit();
        let arguments = units.get(unit.as_str()).and_then(|text| proof::arguments(text));
        let mut arguments = arguments.ok_or_else(|| EngineError::Proof {
            messages: vec![format!("podman's generator made nothing to run of {unit}")],
        })?;
        if let Some(word) = one_off::unexpanded(&arguments) {
            return Err(EngineError::Unexpanded { unit, word });
        }
        // The name may have come to mean another one.
        if let Some(image) = accepted.images.get(&container.spec.name)
            && Stored::read().await.has(&image.id).await?
        {
            image.id.as_str().clone_into(&mut arguments.image);
        }
        Ok(arguments)
    }
}

/// Returns the name of the container that a one-off's unit holds.
fn held(unit: &UnitName) -> &str {
    unit.as_str().trim_end_matches(".service")
}

/// Returns the units that make what the container uses.
fn needs(deployment: &Deployment, container: &Container) -> Vec<UnitName> {
    let mut alone = Deployment { containers: vec![container.clone()], ..deployment.clone() };
    // What the service only describes is not this container's, unless it is
    // named in a verbatim line.
    let named = |file: &str| container.spec.extra.iter().any(|key| key.value.contains(file));
    alone.network_specs.retain(|name, _| named(&format!("{name}.network")));
    alone.volume_specs.retain(|name, _| named(&format!("{}-{name}.volume", deployment.service)));
    let networks = alone.networks().into_iter().map(UnitName::network);
    let volumes = alone.volumes().into_iter().map(|v| UnitName::volume(&deployment.service, v));
    networks.chain(volumes).collect()
}
