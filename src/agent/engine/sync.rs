//! How the node's services differ from the definitions of an operator, in the
//! order in which a sync takes them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use super::prepare::parse;
use super::{Assumed, Engine, EngineError, Prepared, Request};
use crate::definition::graph;
use crate::deployment::Deployment;
use crate::names::ServiceName;

/// What an operator has.
#[derive(Debug)]
pub struct Wanted {
    /// The definitions that belong on this node, in their order.
    pub deploys: Vec<Request>,
    /// Every service that has a definition, here or elsewhere.
    pub defined: BTreeSet<ServiceName>,
    /// Whether what has none is to be undeployed.
    pub prune: bool,
}

/// What is to be done about one service, or stands against it.
#[derive(Debug)]
pub enum Difference {
    /// Something is under way on it, and is waited for.
    Waiting(ServiceName),
    /// A definition that the node can take, or has.
    Planned(Box<Prepared>),
    /// A definition that it cannot take.
    Refused(Option<ServiceName>, EngineError),
    /// It is on the node, and nobody defines it.
    Absent {
        /// The service.
        service: ServiceName,
        /// Services that will go on needing it.
        needed_by: Vec<ServiceName>,
    },
    /// It is on the node, and defined, though not for this node.
    Kept(ServiceName),
}

impl Engine {
    /// Compares the node with what is wanted, and tells the differences in the
    /// order in which they are to be settled. Each is planned as if those
    /// before it were settled. Changes nothing.
    ///
    /// What is not wanted goes first, unless something needs it until it has
    /// been deployed anew.
    ///
    /// # Errors
    ///
    /// The listener has gone.
    pub async fn plan_sync(
        &self,
        wanted: Wanted,
        tell: &mpsc::Sender<Difference>,
    ) -> Result<(), mpsc::error::SendError<Difference>> {
        let names: Vec<Option<ServiceName>> =
            wanted.deploys.iter().map(|r| parse(r).ok().map(|s| s.name)).collect();
        let here: BTreeSet<ServiceName> = names.iter().flatten().cloned().collect();
        // Those that may be taken away as well.
        let mut idle = here.clone();
        let there = self.all().into_iter().map(|accepted| accepted.row.name.clone());
        idle.extend(there.filter(|name| !wanted.defined.contains(name)));
        self.await_idle(&idle, tell).await?;
        let mut absent = Vec::new();
        for accepted in self.all() {
            let name = &accepted.row.name;
            if !wanted.defined.contains(name) && !here.contains(name) {
                absent.push(accepted.deployment.clone());
            } else if !here.contains(name) {
                tell.send(Difference::Kept(name.clone())).await?;
            }
        }
        let mut assumed = Assumed::default();
        let (early, late) = self.removals(absent, &wanted);
        for service in early {
            assumed.gone.insert(service.clone());
            tell.send(Difference::Absent { service, needed_by: Vec::new() }).await?;
        }
        for (request, name) in wanted.deploys.into_iter().zip(names) {
            match self.prepare_after(request, &assumed).await {
                Ok(prepared) => {
                    assumed.deployed.push(prepared.deployment.clone());
                    tell.send(Difference::Planned(Box::new(prepared))).await?;
                }
                Err(error) => tell.send(Difference::Refused(name, error)).await?,
            }
        }
        for service in late {
            let needed_by = dependents(&assumed.among(self.deployments()), &service);
            assumed.gone.insert(service.clone());
            tell.send(Difference::Absent { service, needed_by }).await?;
        }
        Ok(())
    }

    /// Waits until nothing is under way on these services.
    async fn await_idle(
        &self,
        services: &BTreeSet<ServiceName>,
        tell: &mpsc::Sender<Difference>,
    ) -> Result<(), mpsc::error::SendError<Difference>> {
        for service in services {
            let mut changes = self.changes();
            let mut told = false;
            while self.under_way(service).is_some() {
                if !told {
                    tell.send(Difference::Waiting(service.clone())).await?;
                    told = true;
                }
                tokio::select! {
                    // The sender lives as long as the engine.
                    _ = changes.changed() => {}
                    // Nobody waits for the answer any more.
                    () = tell.closed() => {
                        return Err(mpsc::error::SendError(Difference::Waiting(service.clone())));
                    }
                }
            }
        }
        Ok(())
    }

    /// Splits what is not wanted into what goes before the deploys and what
    /// goes after them, each in an order in which nothing goes that another
    /// one of them needs. What stays although nobody wants it is told last.
    fn removals(
        &self,
        absent: Vec<Deployment>,
        wanted: &Wanted,
    ) -> (Vec<ServiceName>, Vec<ServiceName>) {
        let edges: BTreeMap<ServiceName, Vec<ServiceName>> =
            absent.into_iter().map(|d| (d.service, d.depends_on)).collect();
        let order: Vec<ServiceName> = graph::layers(&edges).into_iter().rev().flatten().collect();
        if !wanted.prune {
            return (Vec::new(), order);
        }
        let deployments = self.deployments();
        let mut late: BTreeSet<ServiceName> = BTreeSet::new();
        for service in &order {
            let needed = dependents(&deployments, service);
            if needed.iter().any(|n| !edges.contains_key(n) || late.contains(n)) {
                late.insert(service.clone());
            }
        }
        order.into_iter().partition(|service| !late.contains(service))
    }
}

/// Returns which services need this one.
fn dependents(deployments: &[Deployment], service: &ServiceName) -> Vec<ServiceName> {
    let needs = |d: &&Deployment| d.depends_on.contains(service);
    deployments.iter().filter(needs).map(|d| d.service.clone()).collect()
}
