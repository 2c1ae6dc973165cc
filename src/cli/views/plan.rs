//! `mcp deploy --dry-run`: what a deploy would do.

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use crate::cli::views::table::{self, Cell};
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible, visible_lines};

/// What a deploy would do.
#[derive(Debug, Serialize)]
pub struct PlanView {
    /// The service.
    pub service: String,
    /// The node.
    pub node: String,
    /// The deployment that it would make.
    pub generation: u64,
    /// The one in force; `null`: none.
    pub current_generation: Option<u64>,
    /// Whether nothing would change.
    pub unchanged: bool,
    /// The files that would change.
    pub files: Vec<PlanFile>,
    /// podman's arguments that would change.
    pub commands: Vec<PlanCommand>,
    /// What systemd would do.
    pub effects: Vec<PlanEffect>,
    /// Names that mean another image than in the generation in force.
    pub images: Vec<PlanImage>,
    /// What to know besides.
    pub warnings: Vec<String>,
}

/// A name that means another image.
#[derive(Debug, Serialize)]
pub struct PlanImage {
    /// The component.
    pub component: String,
    /// The name.
    pub image: String,
    /// Podman's number of the image that it meant.
    pub before: String,
    /// Of the image that it means.
    pub after: String,
}

/// A file that would change.
#[derive(Debug, Serialize)]
pub struct PlanFile {
    /// Below the unit directories.
    pub path: String,
    /// `added`, `changed` or `removed`.
    pub change: &'static str,
    /// A unified diff.
    pub diff: String,
}

/// A unit whose podman arguments would change.
#[derive(Debug, Serialize)]
pub struct PlanCommand {
    /// The unit.
    pub unit: String,
    /// The arguments now; empty: none.
    pub before: Vec<String>,
    /// The arguments after the deploy; empty: none.
    pub after: Vec<String>,
}

/// What systemd would do to a unit.
#[derive(Debug, Serialize)]
pub struct PlanEffect {
    /// The unit.
    pub unit: String,
    /// `start`, `restart`, `stop`, `switch`, or `reload`: it reads its files
    /// again.
    pub action: &'static str,
    /// Why.
    pub reason: String,
}

/// Takes a file that differs; none if it does not.
pub fn file(file: proto::FileChange) -> Option<PlanFile> {
    let change = change(file.kind())?;
    Some(PlanFile { path: file.path, change, diff: file.diff })
}

fn change(kind: proto::ChangeKind) -> Option<&'static str> {
    match kind {
        proto::ChangeKind::Unspecified | proto::ChangeKind::Unchanged => None,
        proto::ChangeKind::Added => Some("added"),
        proto::ChangeKind::Changed => Some("changed"),
        proto::ChangeKind::Removed => Some("removed"),
    }
}

fn action(action: proto::UnitAction) -> &'static str {
    match action {
        proto::UnitAction::Unspecified => "unknown",
        proto::UnitAction::Start => "start",
        proto::UnitAction::Restart => "restart",
        proto::UnitAction::Stop => "stop",
        proto::UnitAction::Reload => "reload",
        proto::UnitAction::Switch => "switch",
    }
}

impl PlanView {
    /// Takes what the agent of `node` answered.
    pub fn new(node: &str, plan: proto::PlanResponse) -> Self {
        let files: Vec<PlanFile> = plan.files.into_iter().filter_map(file).collect();
        let commands: Vec<PlanCommand> = plan
            .commands
            .into_iter()
            .filter(|command| command.before != command.after)
            .map(|c| PlanCommand { unit: c.unit, before: c.before, after: c.after })
            .collect();
        let effects: Vec<PlanEffect> = plan
            .effects
            .into_iter()
            .map(|effect| PlanEffect {
                action: action(effect.action()),
                unit: effect.unit,
                reason: effect.reason,
            })
            .collect();
        let images: Vec<PlanImage> = plan
            .images
            .into_iter()
            .map(|i| PlanImage {
                component: i.component,
                image: i.image,
                before: i.before,
                after: i.after,
            })
            .collect();
        Self {
            service: plan.service,
            node: node.to_owned(),
            generation: plan.generation,
            current_generation: (plan.current > 0).then_some(plan.current),
            unchanged: files.is_empty()
                && commands.is_empty()
                && effects.is_empty()
                && images.is_empty(),
            files,
            commands,
            effects,
            images,
            warnings: plan.warnings,
        }
    }

    /// Returns the plan for people; warnings are told apart from it.
    pub fn text(&self, palette: Palette) -> String {
        if self.unchanged {
            return format!("{}: nothing to do\n", visible(&self.service));
        }
        let from =
            self.current_generation.map_or("nothing".to_owned(), |g| format!("generation {g}"));
        let to = if self.current_generation == Some(self.generation) {
            // A reconcile.
            format!("back to {from}")
        } else {
            format!("{from} -> generation {}", self.generation)
        };
        let head = format!("{} on {}: {to}", visible(&self.service), self.node);
        let mut parts = vec![format!("{}\n", palette.paint(Tone::Strong, &head))];
        for file in &self.files {
            let head = format!("{} {}", file.change, visible(&file.path));
            parts.push(format!(
                "{}\n{}",
                palette.paint(Tone::Strong, &head),
                diff(&file.diff, palette)
            ));
        }
        for command in &self.commands {
            let head = format!("podman's arguments of {}", visible(&command.unit));
            let words = words(&command.before, &command.after, palette);
            parts.push(format!("{}\n  {words}\n", palette.paint(Tone::Strong, &head)));
        }
        for image in &self.images {
            parts.push(format!(
                "{}: {} is another image: {} -> {}\n",
                visible(&image.component),
                visible(&image.image),
                short(&image.before),
                short(&image.after)
            ));
        }
        parts.push(self.effects_text(palette));
        parts.join("\n")
    }

    fn effects_text(&self, palette: Palette) -> String {
        if self.effects.is_empty() {
            return "systemd will start, restart and stop nothing\n".to_owned();
        }
        let tone = |action: &str| match action {
            "start" => Tone::Good,
            "restart" | "reload" => Tone::Unsure,
            "stop" => Tone::Bad,
            _ => Tone::Plain,
        };
        let row = |effect: &PlanEffect| {
            [
                Cell::new(effect.action).tone(tone(effect.action)),
                Cell::new(&effect.unit),
                Cell::or_dash(&effect.reason),
            ]
        };
        let rows: Vec<_> = self.effects.iter().map(row).collect();
        table::render(["SYSTEMD WILL", "UNIT", "BECAUSE"], &rows, palette)
    }
}

/// Returns the digits of an image's number that podman shows.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Paints a unified diff.
pub fn diff(diff: &str, palette: Palette) -> String {
    let mut text = String::new();
    for line in visible_lines(diff).lines() {
        let tone = match line.get(..1) {
            _ if line.starts_with("+++ ") || line.starts_with("--- ") => Tone::Strong,
            Some("+") => Tone::Good,
            Some("-") => Tone::Bad,
            Some("@") => Tone::Faint,
            _ => Tone::Plain,
        };
        text.push_str(&palette.paint(tone, line));
        text.push('\n');
    }
    text
}

/// Returns an argument as a shell would want it, so that blanks are seen.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=+:,./@%^".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", visible(argument).replace('\'', "'\\''"))
}

/// Returns the difference of two argument vectors, word by word: painted, or
/// as `[-before-]` and `{+after+}`.
fn words(before: &[String], after: &[String], palette: Palette) -> String {
    let before: Vec<String> = before.iter().map(|word| quoted(word)).collect();
    let after: Vec<String> = after.iter().map(|word| quoted(word)).collect();
    let old: Vec<&str> = before.iter().map(String::as_str).collect();
    let new: Vec<&str> = after.iter().map(String::as_str).collect();
    let diff = TextDiff::from_slices(&old, &new);
    let word = |(tag, word): (ChangeTag, &str)| match (tag, palette.paints()) {
        (ChangeTag::Equal, _) => word.to_owned(),
        (ChangeTag::Delete, true) => palette.paint(Tone::Bad, word),
        (ChangeTag::Insert, true) => palette.paint(Tone::Good, word),
        (ChangeTag::Delete, false) => format!("[-{word}-]"),
        (ChangeTag::Insert, false) => format!("{{+{word}+}}"),
    };
    let words: Vec<String> =
        diff.iter_all_changes().map(|change| word((change.tag(), *change.value_ref()))).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn view() -> PlanView {
        PlanView::new(
            "rift",
            proto::PlanResponse {
                service: "mcq".into(),
                generation: 4,
                current: 3,
                files: vec![
                    proto::FileChange {
                        path: "containers/systemd/mcp/mcq/mcq.container".into(),
                        kind: proto::ChangeKind::Changed.into(),
                        diff: "@@ -3,2 +3,2 @@\n [Container]\n-Image=mcq:v1\n+Image=mcq:v2\n"
                            .into(),
                    },
                    proto::FileChange {
                        path: "same".into(),
                        kind: proto::ChangeKind::Unchanged.into(),
                        diff: String::new(),
                    },
                ],
                commands: vec![proto::CommandChange {
                    unit: "mcq.service".into(),
                    before: strings(&["podman", "run", "mcq:v1", "serve it"]),
                    after: strings(&["podman", "run", "mcq:v2", "serve it"]),
                }],
                effects: vec![proto::UnitEffect {
                    unit: "mcq.service".into(),
                    action: proto::UnitAction::Restart.into(),
                    reason: "its unit changed".into(),
                }],
                images: vec![proto::ImageChange {
                    component: "web".into(),
                    image: "localhost/web:1".into(),
                    before: "aa".repeat(32),
                    after: "bb".repeat(32),
                }],
                warnings: Vec::new(),
            },
        )
    }

    #[test]
    fn the_plan() {
        insta::assert_snapshot!(view().text(Palette::PLAIN), @r"
        mcq on rift: generation 3 -> generation 4

        changed containers/systemd/mcp/mcq/mcq.container
        @@ -3,2 +3,2 @@
         [Container]
        -Image=mcq:v1
        +Image=mcq:v2

        podman's arguments of mcq.service
          podman run [-mcq:v1-] {+mcq:v2+} 'serve it'

        web: localhost/web:1 is another image: aaaaaaaaaaaa -> bbbbbbbbbbbb

        SYSTEMD WILL  UNIT         BECAUSE
        restart       mcq.service  its unit changed
        ");
    }

    #[test]
    fn the_painted_plan() {
        insta::assert_snapshot!(view().text(Palette::COLOUR).replace('\u{1b}', "^["), @r"
        ^[[1mmcq on rift: generation 3 -> generation 4^[[0m

        ^[[1mchanged containers/systemd/mcp/mcq/mcq.container^[[0m
        ^[[2m@@ -3,2 +3,2 @@^[[0m
         [Container]
        ^[[31m-Image=mcq:v1^[[0m
        ^[[32m+Image=mcq:v2^[[0m

        ^[[1mpodman's arguments of mcq.service^[[0m
          podman run ^[[31mmcq:v1^[[0m ^[[32mmcq:v2^[[0m 'serve it'

        web: localhost/web:1 is another image: aaaaaaaaaaaa -> bbbbbbbbbbbb

        ^[[1mSYSTEMD WILL^[[0m  ^[[1mUNIT^[[0m         ^[[1mBECAUSE^[[0m
        ^[[33mrestart^[[0m       mcq.service  its unit changed
        ");
    }

    #[test]
    fn the_document() {
        insta::assert_snapshot!(serde_json::to_string(&view()).unwrap(), @r#"{"service":"mcq","node":"rift","generation":4,"current_generation":3,"unchanged":false,"files":[{"path":"containers/systemd/mcp/mcq/mcq.container","change":"changed","diff":"@@ -3,2 +3,2 @@\n [Container]\n-Image=mcq:v1\n+Image=mcq:v2\n"}],"commands":[{"unit":"mcq.service","before":["podman","run","mcq:v1","serve it"],"after":["podman","run","mcq:v2","serve it"]}],"effects":[{"unit":"mcq.service","action":"restart","reason":"its unit changed"}],"images":[{"component":"web","image":"localhost/web:1","before":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","after":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}],"warnings":[]}"#);
    }

    #[test]
    fn nothing_to_do() {
        let plan = proto::PlanResponse {
            service: "mcq".into(),
            generation: 3,
            current: 3,
            ..Default::default()
        };
        let view = PlanView::new("rift", plan);
        assert!(view.unchanged);
        assert_eq!(view.text(Palette::PLAIN), "mcq: nothing to do\n");
    }
}
