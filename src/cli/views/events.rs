//! `mcp events`: what happened.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// One event; with `--json`, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventLine {
    /// Its number on its node.
    pub id: i64,
    /// When, RFC 3339 with milliseconds.
    pub at: String,
    /// The node.
    pub node: String,
    /// The kind (`docs/events.md`).
    pub event: String,
    /// The service; empty: the node.
    pub service: String,
    /// The component; empty: the service as a whole.
    pub component: String,
    /// The unit.
    pub unit: String,
    /// What was wanted.
    pub desired: String,
    /// The state before.
    pub previous: String,
    /// The state then.
    pub observed: String,
    /// The kind of drift.
    pub drift: String,
    /// What that is about.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// The command that mends it.
    pub mend: String,
    /// How many transitions it stands for.
    pub count: u32,
    #[serde(skip)]
    time: Timestamp,
}

/// How lines are shown to people.
#[derive(Debug, Clone)]
pub struct EventStyle {
    /// Colours or none.
    pub palette: Palette,
    /// The zone of times.
    pub zone: TimeZone,
    /// Whether events of several nodes are shown.
    pub nodes: bool,
}

impl EventLine {
    /// Takes an event of a node.
    pub fn new(node: &str, event: proto::Event) -> Self {
        let time = Timestamp::from_millisecond(event.at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            id: event.id,
            at: format!("{time:.3}"),
            node: node.to_owned(),
            event: event.kind,
            service: event.service,
            component: event.component,
            unit: event.unit,
            desired: event.desired,
            previous: event.previous,
            observed: event.observed,
            drift: event.drift,
            subject: event.subject,
            reason: event.reason,
            mend: event.mend,
            count: event.count,
            time,
        }
    }

    /// Returns when it happened.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Returns the event for people, with its line feed.
    pub fn text(&self, style: &EventStyle) -> String {
        let palette = style.palette;
        let time = self.time.to_zoned(style.zone.clone()).strftime("%F %T").to_string();
        let mut place = match (self.service.as_str(), self.component.as_str()) {
            ("", _) => self.node.clone(),
            (service, "") => visible(service).into_owned(),
            (service, component) => format!("{}/{}", visible(service), visible(component)),
        };
        if style.nodes && !self.service.is_empty() {
            place = format!("{place} on {}", self.node);
        }
        let mut line = format!(
            "{}  {}  {}",
            palette.paint(Tone::Faint, &time),
            palette.paint(tone(&self.event), &format!("{:<14}", visible(&self.event))),
            palette.paint(Tone::Strong, &place)
        );
        if !self.reason.is_empty() {
            line.extend([": ", &visible(&self.reason)]);
        }
        if !self.mend.is_empty() {
            line.extend(["; ", &palette.paint(Tone::Strong, &visible(&self.mend))]);
        }
        line.push('\n');
        line
    }
}

fn tone(kind: &str) -> Tone {
    match kind {
        "failed" | "unhealthy" | "flapping" | "rolled_back" | "deploy_failed" | "heal_failed"
        | "systemd_lost" => Tone::Bad,
        "drift" | "stopped" | "restarted" | "booted" | "agent_started" => Tone::Unsure,
        _ => Tone::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> EventLine {
        let event = proto::Event {
            id: 7,
            at_ms: 1_795_228_747_123,
            kind: "failed".into(),
            service: "mcq".into(),
            component: "api".into(),
            reason: "exit code 1\u{1b}".into(),
            mend: "mcp logs mcq/api".into(),
            ..proto::Event::default()
        };
        EventLine::new("rift", event)
    }

    #[test]
    fn a_line_for_people_and_one_for_programs() {
        let style = EventStyle { palette: Palette::PLAIN, zone: TimeZone::UTC, nodes: true };
        assert_eq!(
            line().text(&style),
            "2026-11-21 02:39:07  failed          mcq/api on rift: exit code 1^[; mcp logs mcq/api\n"
        );
        assert_eq!(
            serde_json::to_string(&line()).unwrap(),
            r#"{"id":7,"at":"2026-11-21T02:39:07.123Z","node":"rift","event":"failed","service":"mcq","component":"api","unit":"","desired":"","previous":"","observed":"","drift":"","subject":"","reason":"exit code 1\u001b","mend":"mcp logs mcq/api","count":0}"#
        );
    }
}
