//! Live progress of an operation: spinners on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tonic::Streaming;

use crate::cli::context::{Context, Exit};
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::status;
use crate::cli::views::operation::{OperationView, StepView, label};
use crate::names::{NodeName, ServiceName};
use crate::rpc::agent_v1::{self as proto, progress::Event};
use crate::ui::{Palette, Ui, visible_lines};

/// How a command ends that Ctrl-C ended: as a shell has it.
pub const INTERRUPTED: Exit = Exit::Status(130);

/// The agent stopped telling before the end.
#[derive(Debug, thiserror::Error)]
#[error("node {0} ended its answer before the outcome; the operation may still go on there")]
struct NoOutcome(NodeName);

/// Shows steps as they come.
struct Display<'a> {
    ui: &'a Ui,
    spinners: Option<MultiProgress>,
    running: BTreeMap<(String, String), ProgressBar>,
}

impl<'a> Display<'a> {
    fn new(ui: &'a Ui) -> Self {
        let spinners = ui.is_live().then(MultiProgress::new);
        Self { ui, spinners, running: BTreeMap::new() }
    }

    fn step(&mut self, step: &proto::Step) {
        let key = (step.name.clone(), step.subject.clone());
        if let Some(ended) = StepView::ended(step) {
            if let Some(spinner) = self.running.remove(&key) {
                spinner.finish_and_clear();
            }
            self.above(|ui| ui.status(&ended.line(ui.err_palette())));
        } else if let Some(spinners) = &self.spinners {
            let palette = self.ui.err_palette();
            let spinner = self.running.entry(key).or_insert_with(|| {
                let spinner = spinners.add(ProgressBar::new_spinner().with_style(style(palette)));
                spinner.enable_steady_tick(Duration::from_millis(100));
                spinner
            });
            let mut message = label(&step.name, &step.subject);
            if !step.detail.is_empty() {
                message = format!("{message}: {}", visible_lines(&step.detail).replace('\n', " "));
            }
            spinner.set_message(message);
        }
    }

    fn show(&mut self, told: &Told<'_>) {
        match told {
            Told::Step(step) => self.step(step),
            Told::Warning(text) => self.above(|ui| ui.warning(&visible_lines(text))),
        }
    }

    /// Writes above the spinners.
    fn above(&self, write: impl FnOnce(&Ui)) {
        match &self.spinners {
            Some(spinners) => spinners.suspend(|| write(self.ui)),
            None => write(self.ui),
        }
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        for spinner in self.running.values() {
            spinner.finish_and_clear();
        }
    }
}

fn style(palette: Palette) -> ProgressStyle {
    let template = if palette.paints() {
        "  {spinner} {msg} {elapsed:.dim}"
    } else {
        "  {spinner} {msg} {elapsed}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Follows an operation on a service to its outcome and shows it. Ctrl-C ends
/// the following, not the operation.
///
/// # Errors
///
/// The agent refuses, goes away, or ends without an outcome.
pub async fn follow(
    context: &Context<'_>,
    (node, service): (&NodeName, &ServiceName),
    stream: Streaming<proto::Progress>,
) -> Result<Exit, CliError> {
    let view = shown(context, (node, service), stream).await?;
    Ok(view.map_or(INTERRUPTED, |view| end(context, &view)))
}

/// As [`follow`], for who needs to know the outcome; none: it was interrupted.
///
/// # Errors
///
/// The agent refuses, goes away, or ends without an outcome.
pub async fn shown(
    context: &Context<'_>,
    (node, service): (&NodeName, &ServiceName),
    stream: Streaming<proto::Progress>,
) -> Result<Option<OperationView>, CliError> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
    let view = tokio::select! {
        view = outcome(context, node, stream) => view?,
        // What is left here only shows.
        _ = interrupted.recv() => {
            context.ui.warning(&format!("interrupted: the agent of node {node} goes on with it"));
            context.ui.hint(&format!("mcp explain {service}    # what it waits for, and how it ended"));
            return Ok(None);
        }
    };
    context.show(&view, |view| view.text(context.ui.palette()))?;
    Ok(Some(view))
}

/// Follows an operation to its outcome; what failed is shown, the outcome is
/// not.
///
/// # Errors
///
/// The agent refuses, goes away, or ends without an outcome.
pub async fn outcome(
    context: &Context<'_>,
    node: &NodeName,
    stream: Streaming<proto::Progress>,
) -> Result<OperationView, CliError> {
    let mut display = Display::new(context.ui);
    let view = heard(node, stream, |told| display.show(&told)).await?;
    drop(display);
    show_failures(context.ui, &view);
    Ok(view)
}

/// What an operation tells on its way.
#[derive(Debug)]
pub enum Told<'a> {
    /// A step began or ended.
    Step(&'a proto::Step),
    /// Something to know.
    Warning(&'a str),
}

/// Follows an operation to its outcome, and tells `each` what comes before.
///
/// # Errors
///
/// The agent refuses, goes away, or ends without an outcome.
pub async fn heard(
    node: &NodeName,
    mut stream: Streaming<proto::Progress>,
    mut each: impl FnMut(Told<'_>),
) -> Result<OperationView, CliError> {
    let (mut steps, mut warnings) = (Vec::new(), Vec::new());
    let outcome = loop {
        let progress = stream.message().await.map_err(|status| status::error(node, &status))?;
        match progress.map(|progress| progress.event) {
            Some(Some(Event::Step(step))) => {
                each(Told::Step(&step));
                steps.extend(StepView::ended(&step));
            }
            Some(Some(Event::Warning(warning))) => {
                each(Told::Warning(&warning));
                warnings.push(warning);
            }
            Some(Some(Event::Outcome(outcome))) => break outcome,
            Some(None) => {}
            None => {
                let error = CliError::new(ErrorKind::Unreachable, NoOutcome(node.clone()));
                return Err(error.hint("mcp status"));
            }
        }
    };
    Ok(OperationView::new(node.as_str(), outcome, steps, warnings))
}

/// Shows what went wrong.
pub fn show_failures(ui: &Ui, view: &OperationView) {
    for failure in &view.failures {
        ui.error_detail(failure.text(ui.err_palette()).trim_end());
    }
}

/// Returns how a command ends that ends with an outcome, and hints at what
/// explains it if it failed: also where nothing is left that has logs.
pub fn end(context: &Context<'_>, view: &OperationView) -> Exit {
    let ui = context.ui;
    if view.succeeded() {
        return Exit::Done;
    }
    // Not the component: what was taken back may not have it.
    if !view.failures.is_empty() {
        ui.hint(&format!("mcp explain {}", view.service));
    }
    Exit::Shown(ErrorKind::Failed)
}
