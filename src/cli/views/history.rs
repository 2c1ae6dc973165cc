//! `mcp history` and `mcp diff`: generations of a service.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::plan::{PlanFile, diff, file, short};
use crate::cli::views::table::{self, Cell};
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// The accepted generations of a service, newest first.
#[derive(Debug, Serialize)]
pub struct HistoryView {
    /// The service.
    pub service: String,
    /// Its node.
    pub node: String,
    /// The generations.
    pub generations: Vec<HistoryGeneration>,
}

/// One generation.
#[derive(Debug, Serialize)]
pub struct HistoryGeneration {
    /// Its number.
    pub generation: u64,
    /// Whether it is in force.
    pub in_force: bool,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// Who asked for it.
    pub created_by: String,
    /// The definition's file.
    pub file: String,
    /// Its components' images.
    pub components: Vec<HistoryComponent>,
    #[serde(skip)]
    age: Option<std::time::Duration>,
}

/// One component of a generation.
#[derive(Debug, Serialize)]
pub struct HistoryComponent {
    /// Its name.
    pub component: String,
    /// Its image.
    pub image: String,
    /// Podman's number of it; `null`: not known.
    pub image_id: Option<String>,
    /// Digest of its manifest; `null`: not known.
    pub image_digest: Option<String>,
}

impl HistoryView {
    /// Takes what the agent of `node` answered.
    pub fn new(service: &str, node: &str, answer: proto::HistoryResponse, now: Timestamp) -> Self {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let component = |c: proto::RegisteredComponent| HistoryComponent {
            component: c.name,
            image: c.image,
            image_id: some(c.image_id),
            image_digest: some(c.image_digest),
        };
        let generation = |g: proto::GenerationInfo| HistoryGeneration {
            generation: g.number,
            in_force: g.in_force,
            created_at: age::rfc3339(g.created_at_ms),
            age: age::since(g.created_at_ms, now),
            created_by: g.created_by,
            file: g.file_name,
            components: g.components.into_iter().map(component).collect(),
        };
        Self {
            service: service.to_owned(),
            node: node.to_owned(),
            generations: answer.generations.into_iter().map(generation).collect(),
        }
    }

    /// Returns the table, one row a generation.
    pub fn text(&self, palette: Palette) -> String {
        let row = |g: &HistoryGeneration| {
            let state =
                if g.in_force { Cell::new("in force").tone(Tone::Good) } else { Cell::or_dash("") };
            let image = |c: &HistoryComponent| match &c.image_id {
                Some(id) => format!("{}={} ({})", c.component, c.image, short(id)),
                None => format!("{}={}", c.component, c.image),
            };
            let images: Vec<String> = g.components.iter().map(image).collect();
            let made = g.age.map(|age| format!("{} ago", age::largest_two(age)));
            [
                Cell::new(g.generation.to_string()),
                state,
                Cell::or_dash(made.unwrap_or_default()),
                Cell::or_dash(&g.created_by),
                Cell::or_dash(images.join(" ")),
            ]
        };
        let rows: Vec<_> = self.generations.iter().map(row).collect();
        table::render(["GENERATION", "STATE", "MADE", "BY", "IMAGES"], &rows, palette)
    }
}

/// How two generations differ.
#[derive(Debug, Serialize)]
pub struct DiffView {
    /// The service.
    pub service: String,
    /// Its node.
    pub node: String,
    /// The older generation.
    pub from: u64,
    /// The newer generation.
    pub to: u64,
    /// Unified diff of the definitions; empty: the same.
    pub definition: String,
    /// The unit files that differ.
    pub files: Vec<PlanFile>,
}

impl DiffView {
    /// Takes what the agent of `node` answered.
    pub fn new(service: &str, node: &str, answer: proto::DiffResponse) -> Self {
        Self {
            service: service.to_owned(),
            node: node.to_owned(),
            from: answer.from,
            to: answer.to,
            definition: answer.definition,
            files: answer.files.into_iter().filter_map(file).collect(),
        }
    }

    /// Returns the differences for people.
    pub fn text(&self, palette: Palette) -> String {
        let head = format!(
            "{} on {}: generation {} -> {}",
            visible(&self.service),
            self.node,
            self.from,
            self.to
        );
        let mut text = format!("{}\n", palette.paint(Tone::Strong, &head));
        if self.definition.is_empty() && self.files.is_empty() {
            text.push_str("they are the same\n");
            return text;
        }
        text.push_str(&diff(&self.definition, palette));
        for file in &self.files {
            text.push_str(&diff(&file.diff, palette));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let generation = |number, in_force| proto::GenerationInfo {
            number,
            in_force,
            created_at_ms: 1_795_228_747_000,
            created_by: "kyle".into(),
            file_name: "mcq.toml".into(),
            components: vec![proto::RegisteredComponent {
                name: "mcq".into(),
                image: format!("mcr.net/mcq:v{number}"),
                image_id: if in_force { "9e".repeat(32) } else { String::new() },
                ..proto::RegisteredComponent::default()
            }],
        };
        let answer =
            proto::HistoryResponse { generations: vec![generation(2, true), generation(1, false)] };
        let view =
            HistoryView::new("mcq", "rift", answer, Timestamp::from_second(1_795_228_807).unwrap());
        insta::assert_snapshot!(view.text(Palette::PLAIN), @r"
        GENERATION  STATE     MADE      BY    IMAGES
        2           in force  1m0s ago  kyle  mcq=mcr.net/mcq:v2 (9e9e9e9e9e9e)
        1           -         1m0s ago  kyle  mcq=mcr.net/mcq:v1
        ");
    }
}
