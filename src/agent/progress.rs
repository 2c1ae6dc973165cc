//! What an operation tells while it runs.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::names::{Generation, ServiceName};

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// It has begun.
    Started,
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// It was not needed.
    Skipped,
}

/// Something told while an operation runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step began or ended.
    Step {
        /// Its name: check, pull, install, reload, start...
        name: &'static str,
        /// What it is done to.
        subject: String,
        /// How it stands.
        state: StepState,
        /// More, for people.
        detail: String,
        /// Time since it began.
        elapsed: Duration,
    },
    /// Something odd that did not stop the operation.
    Warning(String),
    /// The end.
    Outcome(Outcome),
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// As asked.
    Done,
    /// There was nothing to do.
    Unchanged,
    /// It failed, and everything is as it was before.
    RolledBack,
    /// It failed.
    Failed,
    /// It failed and could not be undone yet: the agent goes on trying.
    Unsettled,
}

/// The end of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The service.
    pub service: ServiceName,
    /// How it ended.
    pub kind: OutcomeKind,
    /// The generation now in force; 0: none.
    pub generation: Generation,
    /// One sentence.
    pub message: String,
    /// What failed.
    pub failures: Vec<Failure>,
    /// Components that were started, restarted or stopped.
    pub changed: Vec<String>,
    /// Time that it all took.
    pub elapsed: Duration,
}

/// Why one component did not become ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The component.
    pub component: String,
    /// Its unit.
    pub unit: String,
    /// The job's result, or systemd's for the unit.
    pub result: String,
    /// In words.
    pub explanation: String,
    /// The end of that invocation's journal.
    pub journal: Vec<String>,
}

/// Where an operation tells how it goes. Nobody need listen.
#[derive(Debug, Clone)]
pub struct Progress {
    events: Option<mpsc::Sender<Event>>,
    began: Instant,
}

impl Progress {
    /// Tells a receiver; a slow one makes the operation wait, one that is
    /// gone does not.
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events: Some(events), began: Instant::now() }
    }

    /// Tells nobody but the log.
    pub fn unheard() -> Self {
        Self { events: None, began: Instant::now() }
    }

    /// Returns the time since the operation began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Tells an event. A caller that does not keep up misses steps, and so
    /// cannot hold the operation up; the outcome waits for it.
    pub async fn tell(&self, event: Event) {
        let Some(events) = &self.events else { return };
        let told = match event {
            Event::Outcome(_) => events.send(event).await.is_ok(),
            Event::Step { .. } | Event::Warning(_) => events.try_send(event).is_ok(),
        };
        if !told {
            tracing::trace!("the caller went away or does not keep up; the operation goes on");
        }
    }

    /// Tells that something is odd.
    pub async fn warn(&self, text: String) {
        tracing::warn!("{text}");
        self.tell(Event::Warning(text)).await;
    }

    /// Begins a step.
    pub async fn step(&self, name: &'static str, subject: impl Into<String>) -> Step<'_> {
        let step = Step { progress: self, name, subject: subject.into(), began: Instant::now() };
        step.tell(StepState::Started, String::new()).await;
        step
    }
}

/// A step under way.
#[derive(Debug)]
pub struct Step<'a> {
    progress: &'a Progress,
    name: &'static str,
    subject: String,
    began: Instant,
}

impl Step<'_> {
    /// Tells how the step stands.
    pub async fn tell(&self, state: StepState, detail: String) {
        tracing::debug!(step = self.name, subject = self.subject, ?state, detail, "step");
        let event = Event::Step {
            name: self.name,
            subject: self.subject.clone(),
            state,
            detail,
            elapsed: self.began.elapsed(),
        };
        self.progress.tell(event).await;
    }

    /// Ends the step well.
    pub async fn done(self) {
        self.tell(StepState::Done, String::new()).await;
    }

    /// Ends the step badly.
    pub async fn failed(self, detail: String) {
        self.tell(StepState::Failed, detail).await;
    }
}
