//! `mcp quickstart`: what was made or taken away.

use serde::Serialize;

use crate::names::ServiceName;
use crate::ui::{Palette, Tone, visible};

/// What a quickstart did.
#[derive(Debug, Default, Serialize)]
pub struct QuickstartView {
    /// Whether it was only to be said.
    pub dry_run: bool,
    /// What was done, in order.
    pub steps: Vec<QuickstartStep>,
    /// Where the service answers; `null` when it was taken away.
    pub url: Option<String>,
    /// Commands to type next.
    pub next: Vec<String>,
    /// What to know of this machine, each with the command that changes it.
    pub notes: Vec<(String, String)>,
}

/// One thing that was made, or taken away.
#[derive(Debug, Serialize)]
pub struct QuickstartStep {
    /// `check`, `agent`, `definition`, `deploy`, `service`, `image` or
    /// `remove`.
    pub name: &'static str,
    /// `done`, `unchanged`, `planned`, `kept` or `failed`.
    pub state: &'static str,
    /// What it is about.
    pub detail: String,
}

impl QuickstartView {
    fn step(&mut self, name: &'static str, state: &'static str, detail: String) {
        self.steps.push(QuickstartStep { name, state, detail });
    }

    /// Says that something was done.
    pub fn done(&mut self, name: &'static str, detail: impl Into<String>) {
        self.step(name, "done", detail.into());
    }

    /// Says that something was so already.
    pub fn unchanged(&mut self, name: &'static str, detail: impl Into<String>) {
        self.step(name, "unchanged", detail.into());
    }

    /// Says what would be done.
    pub fn planned(&mut self, name: &'static str, detail: impl Into<String>) {
        self.step(name, "planned", detail.into());
    }

    /// Says what stays, and why.
    pub fn kept(&mut self, name: &'static str, detail: impl Into<String>) {
        self.step(name, "kept", detail.into());
    }

    /// Says what did not work.
    pub fn failed(&mut self, name: &'static str, detail: impl Into<String>) {
        self.step(name, "failed", detail.into());
    }

    /// Says where the service answers.
    pub fn serves(&mut self, port: u16) {
        self.url = Some(format!("http://127.0.0.1:{port}/"));
    }

    /// Says what to type next.
    pub fn next(&mut self, service: &ServiceName) {
        self.next = vec![
            "mcp ps".to_owned(),
            format!("mcp logs {service}"),
            format!("mcp service edit {service} && mcp deploy {service}"),
            format!("systemctl --user status {service}"),
            "mcp quickstart --remove".to_owned(),
        ];
    }

    /// Returns the steps, and what to type next.
    pub fn text(&self, palette: Palette) -> String {
        let mut lines = Vec::new();
        for QuickstartStep { name, state, detail } in &self.steps {
            let tone = match *state {
                "done" => Tone::Good,
                "kept" | "planned" => Tone::Unsure,
                "failed" => Tone::Bad,
                _ => Tone::Faint,
            };
            let state = palette.paint(tone, &format!("{state:<9}"));
            lines.push(format!("{state}  {name:<10}  {}", visible(detail)));
        }
        if let (Some(url), false) = (&self.url, self.next.is_empty()) {
            lines.push(String::new());
            lines.push(palette.paint(Tone::Strong, url));
            lines.extend(self.next.iter().map(|command| format!("  {command}")));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_stands_before_what_to_type_next() {
        let mut view = QuickstartView::default();
        view.done("agent", "installed");
        view.unchanged("definition", "/home/k/hello.toml");
        view.kept("image", "in \u{1b} use");
        view.serves(8080);
        view.next(&"hello".parse().unwrap());
        insta::assert_snapshot!(view.text(Palette::PLAIN), @r"
        done       agent       installed
        unchanged  definition  /home/k/hello.toml
        kept       image       in ^[ use

        http://127.0.0.1:8080/
          mcp ps
          mcp logs hello
          mcp service edit hello && mcp deploy hello
          systemctl --user status hello
          mcp quickstart --remove
        ");
    }
}
