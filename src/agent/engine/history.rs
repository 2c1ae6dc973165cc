//! Generations that were in force, and the way back to one.

use super::accepted::{self, Stored};
use super::{Engine, EngineError, ImageWish, Request};
use crate::agent::plan::{self, FileChange};
use crate::deployment::{Deployment, Images};
use crate::names::{Generation, ServiceName};
use crate::registry::{GenerationState, GenerationSummary};

/// A generation that was accepted once.
#[derive(Debug, Clone)]
pub struct Past {
    /// Who made it, and when.
    pub summary: GenerationSummary,
    /// What it ran.
    pub deployment: Deployment,
    /// The images that it was accepted with; empty: not known.
    pub images: Images,
    /// Whether it is in force.
    pub in_force: bool,
}

/// How two generations differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The older side.
    pub from: Generation,
    /// The newer side.
    pub to: Generation,
    /// Both texts of the definition.
    pub definitions: (String, String),
    /// The files.
    pub files: Vec<FileChange>,
}

impl Engine {
    /// Returns the accepted generations of a service that are kept, newest
    /// first.
    ///
    /// # Errors
    ///
    /// The service is not deployed, or the registry does not answer.
    pub async fn history(&self, service: &ServiceName) -> Result<Vec<Past>, EngineError> {
        let in_force = self.accepted(service)?.row.generation;
        let mut past = Vec::new();
        for summary in self.registry().generations(service).await? {
            if summary.state != GenerationState::Accepted {
                continue;
            }
            if let Some(stored) = accepted::stored(self.registry(), service, summary.number).await?
            {
                let in_force = summary.number == in_force;
                let Stored { deployment, images, .. } = stored;
                past.push(Past { summary, deployment, images, in_force });
            }
        }
        Ok(past)
    }

    /// Compares two generations; without `to` the one in force, without
    /// `from` the one before `to`.
    ///
    /// # Errors
    ///
    /// There is no such generation, or the registry does not answer.
    pub async fn difference(
        &self,
        service: &ServiceName,
        from: Option<Generation>,
        to: Option<Generation>,
    ) -> Result<Difference, EngineError> {
        let to = to.unwrap_or(self.accepted(service)?.row.generation);
        let from = match from {
            Some(from) => from,
            None => self.before(service, to).await?,
        };
        let (old, new) = (self.past(service, from).await?, self.past(service, to).await?);
        Ok(Difference {
            from,
            to,
            files: plan::files(Some(&old.set), &new.set),
            definitions: (old.definition, new.definition),
        })
    }

    /// Returns what is to be deployed to go back to a generation; without
    /// one, to that before the one in force.
    ///
    /// # Errors
    ///
    /// There is no such generation, or the registry does not answer.
    pub async fn going_back(
        &self,
        service: &ServiceName,
        to: Option<Generation>,
        by: String,
    ) -> Result<Request, EngineError> {
        let to = match to {
            Some(to) => to,
            None => self.before(service, self.accepted(service)?.row.generation).await?,
        };
        let past = self.past(service, to).await?;
        // What is stopped stays stopped, whatever it was then.
        let active = self.accepted(service)?.row.active;
        Ok(Request {
            definition: accepted::with_active(&past.definition, active),
            file_name: past.file_name,
            component: None,
            images: ImageWish::Exactly(past.images),
            by,
        })
    }

    async fn past(&self, service: &ServiceName, number: Generation) -> Result<Stored, EngineError> {
        let kept: Vec<Generation> =
            self.history(service).await?.iter().map(|p| p.summary.number).collect();
        let missing =
            || EngineError::NoGeneration { service: service.clone(), number, kept: kept.clone() };
        if !kept.contains(&number) {
            return Err(missing());
        }
        accepted::stored(self.registry(), service, number).await?.ok_or_else(missing)
    }

    /// The newest accepted generation older than one.
    async fn before(
        &self,
        service: &ServiceName,
        number: Generation,
    ) -> Result<Generation, EngineError> {
        let history = self.history(service).await?;
        let before = history.iter().map(|p| p.summary.number).find(|n| *n < number);
        before.ok_or_else(|| EngineError::NothingBefore { service: service.clone(), number })
    }
}
