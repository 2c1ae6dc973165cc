//! Removing what the registry holds of services that nobody defines and that
//! are not on the node any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::status::{ComponentStatus, ServiceStatus};
use super::{Accepted, Engine, EngineError};
use crate::agent::monitor::seen::ComponentState;
use crate::agent::progress::Progress;
use crate::definition::graph;
use crate::names::{ComponentName, ServiceName};

const PURGE_ENTRY: &str = "purge";

/// Which entries are looked at, and which are defined.
#[derive(Debug)]
pub struct PurgeWish {
    /// The only service to look at.
    pub service: Option<ServiceName>,
    /// The only component to look at.
    pub component: Option<ComponentName>,
    /// What is defined; a service without a component is so as a whole.
    pub defined: BTreeSet<(ServiceName, Option<ComponentName>)>,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// Who asks.
    pub by: String,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The service.
    pub service: ServiceName,
    /// The component.
    pub component: ComponentName,
    /// Why it stays; `None`: it is removed.
    pub kept: Option<String>,
}

impl PurgeWish {
    fn defines(&self, service: &ServiceName, component: &ComponentName) -> bool {
        self.defined.contains(&(service.clone(), None))
            || self.defined.contains(&(service.clone(), Some(component.clone())))
    }
}

impl Engine {
    /// Removes the entries of services that nobody defines and of which
    /// nothing runs, or could be started: a service that was stopped stays. An
    /// entry goes with its service, so all of a service's have to be such.
    ///
    /// # Errors
    ///
    /// A service that was named is not there, systemd does not answer, or a
    /// removal failed: repeat it.
    pub async fn purge_undefined(&self, wish: &PurgeWish) -> Result<Vec<Purged>, EngineError> {
        let services = match &wish.service {
            Some(service) => vec![self.accepted(service)?],
            None => self.dependents_first(),
        };
        let mut results = Vec::new();
        let mut gone = BTreeSet::new();
        for accepted in services {
            let service = &accepted.row.name;
            let busy = match self.take(service, PURGE_ENTRY) {
                Ok(busy) => busy,
                Err(error) => {
                    let components = accepted.deployment.containers.iter();
                    let kept = Some(error.to_string());
                    results.extend(components.map(|c| Purged {
                        service: service.clone(),
                        component: c.spec.name.clone(),
                        kept: kept.clone(),
                    }));
                    continue;
                }
            };
            let mut status = self.status(Some(service)).await?;
            self.add_one_offs(&mut status).await?;
            let mut judged = judge(&status, wish);
            if judged.iter().all(|p| p.kept.is_none()) {
                let mut others = self.dependents(service);
                others.retain(|other| !gone.contains(other));
                if others.is_empty() {
                    if !wish.dry_run {
                        self.remove_taken(&accepted, false, &wish.by, &Progress::unheard()).await?;
                    }
                    gone.insert(service.clone());
                } else {
                    let why = EngineError::Needed { service: service.clone(), others }.to_string();
                    for purged in &mut judged {
                        purged.kept = Some(why.clone());
                    }
                }
            }
            drop(busy);
            results.extend(judged);
        }
        if let Some(component) = &wish.component {
            results.retain(|p| p.component == *component);
        }
        results.sort_by(|a, b| a.service.cmp(&b.service));
        Ok(results)
    }

    /// Returns the generations in force, each before what it depends on.
    fn dependents_first(&self) -> Vec<Arc<Accepted>> {
        let mut all: BTreeMap<ServiceName, Arc<Accepted>> =
            self.all().into_iter().map(|a| (a.row.name.clone(), a)).collect();
        let edges: BTreeMap<ServiceName, Vec<ServiceName>> =
            all.iter().map(|(n, a)| (n.clone(), a.deployment.depends_on.clone())).collect();
        let order = graph::layers(&edges).into_iter().rev().flatten();
        order.filter_map(|name| all.remove(&name)).collect()
    }
}

fn judge(status: &[ServiceStatus], wish: &PurgeWish) -> Vec<Purged> {
    let mut results: Vec<Purged> = status
        .iter()
        .flat_map(|s| s.components.iter().map(move |c| (&s.accepted.row.name, c)))
        .map(|(service, component)| Purged {
            service: service.clone(),
            component: component.container.spec.name.clone(),
            kept: reason_to_keep(service, component, wish),
        })
        .collect();
    let stays = results.iter().find(|p| p.kept.is_some()).cloned();
    if let Some(stays) = stays {
        for other in results.iter_mut().filter(|p| p.kept.is_none()) {
            other.kept = Some(format!("its service stays for {}", stays.component));
        }
    }
    results
}

fn reason_to_keep(
    service: &ServiceName,
    component: &ComponentStatus,
    wish: &PurgeWish,
) -> Option<String> {
    if wish.defines(service, &component.container.spec.name) {
        return Some("it is defined".to_owned());
    }
    if let Some(one_off) = component.one_offs.first() {
        return Some(format!("a command of mcp run runs with its data: {}", one_off.unit));
    }
    match component.state {
        ComponentState::Missing | ComponentState::Failed => None,
        // Meant to run and does not: it ended.
        ComponentState::Stopped if component.desired => None,
        ComponentState::Stopped => {
            Some("it was stopped and may be started again; undeploy it".to_owned())
        }
        state @ (ComponentState::Running
        | ComponentState::Starting
        | ComponentState::Stopping
        | ComponentState::Restarting
        | ComponentState::Done) => Some(format!("it is {}", state.as_str())),
    }
}
