//! `mcp adopt`: what would be taken over, and how.

use serde::Serialize;

use crate::cli::views::import::NoteView;
use crate::cli::views::plan::PlanView;
use crate::cli::views::table::{self, Cell};
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible, visible_lines};

/// Most paths that are shown of those that a container has changed.
const MOST_PATHS: usize = 5;

/// What would be taken over.
#[derive(Debug, Serialize)]
pub struct AdoptView {
    /// The service.
    pub service: String,
    /// The node.
    pub node: String,
    /// The containers, in the order of starting.
    pub containers: Vec<AdoptedView>,
    /// Containers of that name that do not run, and stay as they are.
    pub left_alone: Vec<String>,
    /// The definition.
    pub definition: String,
    /// What there is to tell of it, by place.
    pub notes: Vec<NoteView>,
    /// The deploy of the definition.
    pub plan: PlanView,
    /// Stands for this plan.
    pub fingerprint: String,
}

/// A container that would be taken over.
#[derive(Debug, Serialize)]
pub struct AdoptedView {
    /// The name that it has.
    pub container: String,
    /// The component that it becomes.
    pub component: String,
    /// The unit that looks after it; `null`: podman does.
    pub unit: Option<String>,
    /// Whether it runs on without a restart.
    pub in_place: bool,
    /// Why it does not.
    pub restarts: Vec<String>,
    /// Podman's arguments that it has, and will not have.
    pub gone: Vec<String>,
    /// Podman's arguments that it has not, and will have.
    pub added: Vec<String>,
    /// Paths that it has changed outside of its volumes.
    pub changes: Vec<String>,
    /// Volumes without a name, and those that get their data.
    pub volumes: Vec<CopyView>,
}

/// A volume that gets a name.
#[derive(Debug, Serialize)]
pub struct CopyView {
    /// Podman's number of it.
    pub from: String,
    /// The new volume.
    pub to: String,
    /// Where it is in the container.
    pub target: String,
}

impl AdoptView {
    /// Takes what the agent of `node` answered.
    pub fn new(node: &str, service: &str, plan: proto::PlanAdoptResponse) -> Self {
        Self {
            service: service.to_owned(),
            node: node.to_owned(),
            containers: plan.containers.into_iter().map(AdoptedView::from).collect(),
            left_alone: plan.left_alone,
            definition: plan.definition,
            notes: plan.notes.into_iter().map(NoteView::from).collect(),
            plan: PlanView::new(node, plan.plan.unwrap_or_default()),
            fingerprint: plan.fingerprint,
        }
    }

    /// Returns what a person has to know before.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.notes.iter().map(NoteView::line).collect();
        lines.extend(self.plan.warnings.iter().cloned());
        for container in self.containers.iter().filter(|c| !c.changes.is_empty()) {
            let shown: Vec<&str> =
                container.changes.iter().take(MOST_PATHS).map(String::as_str).collect();
            let more = container.changes.len().saturating_sub(MOST_PATHS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            lines.push(format!(
                "{} has written outside of its volumes, which its next container will not have: {}{more}",
                container.container,
                shown.join(", ")
            ));
        }
        if !self.left_alone.is_empty() {
            lines.push(format!("left alone, for they do not run: {}", self.left_alone.join(", ")));
        }
        lines
    }

    /// Returns the plan for people.
    pub fn text(&self, palette: Palette) -> String {
        let mut text = palette.paint(
            Tone::Strong,
            &format!(
                "{} on {}: {} to take over",
                self.service,
                self.node,
                count(self.containers.len())
            ),
        );
        text.push_str("\n\n");
        let row = |c: &AdoptedView| {
            let how = if c.in_place {
                Cell::new("runs on").tone(Tone::Good)
            } else {
                Cell::new(format!("is restarted: {}", c.restarts.join("; "))).tone(Tone::Unsure)
            };
            [
                Cell::new(&c.container),
                Cell::new(format!("{}/{}", self.service, c.component)),
                Cell::or_dash(c.unit.as_deref().unwrap_or_default()),
                how,
            ]
        };
        let rows: Vec<_> = self.containers.iter().map(row).collect();
        text.push_str(&table::render(["CONTAINER", "BECOMES", "UNIT NOW", "AND"], &rows, palette));
        for container in &self.containers {
            text.push_str(&container.text(palette));
        }
        text.push('\n');
        text.push_str(&palette.paint(Tone::Strong, "Its definition"));
        text.push('\n');
        for line in visible_lines(&self.definition).lines() {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}

fn count(containers: usize) -> String {
    if containers == 1 { "1 container".to_owned() } else { format!("{containers} containers") }
}

impl AdoptedView {
    fn text(&self, palette: Palette) -> String {
        let mut text = String::new();
        if !self.gone.is_empty() || !self.added.is_empty() {
            let head = format!("podman's arguments of {}", self.container);
            text.push_str(&format!("\n{}\n", palette.paint(Tone::Strong, &head)));
            let lines = self.gone.iter().map(|line| (Tone::Bad, "-", line));
            for (tone, sign, line) in
                lines.chain(self.added.iter().map(|line| (Tone::Good, "+", line)))
            {
                let line = format!("{sign}{}", visible(line));
                text.push_str(&format!("  {}\n", palette.paint(tone, &line)));
            }
        }
        for copy in &self.volumes {
            text.push_str(&format!(
                "\nThe volume at {} has no name; its data is copied to {}.\n",
                visible(&copy.target),
                copy.to
            ));
        }
        text
    }
}

impl From<proto::AdoptedContainer> for AdoptedView {
    fn from(c: proto::AdoptedContainer) -> Self {
        Self {
            container: c.container,
            component: c.component,
            unit: Some(c.unit).filter(|unit| !unit.is_empty()),
            in_place: c.restarts.is_empty(),
            restarts: c.restarts,
            gone: c.gone,
            added: c.added,
            changes: c.changes,
            volumes: c
                .volumes
                .into_iter()
                .map(|v| CopyView { from: v.from, to: v.to, target: v.target })
                .collect(),
        }
    }
}

impl From<proto::ImportNote> for NoteView {
    fn from(note: proto::ImportNote) -> Self {
        Self {
            kind: note.kind,
            file: note.file,
            line: note.line as usize,
            column: note.column as usize,
            what: note.what,
            message: note.message,
        }
    }
}
