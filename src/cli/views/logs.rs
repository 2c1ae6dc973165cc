//! `mcp logs`: lines of the journal.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible, visible_lines};

/// One entry of the journal; with `--json`, one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// When, RFC 3339 with microseconds.
    pub time: String,
    /// The component.
    pub component: String,
    /// The text.
    pub message: String,
    /// As syslog: 0 emergency to 7 debug.
    pub priority: u32,
    /// `container`, or `systemd` for what the manager says about the unit.
    pub source: &'static str,
    #[serde(skip)]
    at: Timestamp,
}

/// How lines are shown to people.
#[derive(Debug, Clone)]
pub struct LogStyle {
    /// Colours or none.
    pub palette: Palette,
    /// The zone of timestamps; `None`: no timestamps.
    pub timestamps: Option<TimeZone>,
    /// The service, when all of its components are shown.
    pub all_of: Option<String>,
}

impl From<proto::LogEntry> for LogLine {
    fn from(entry: proto::LogEntry) -> Self {
        let at = Timestamp::from_microsecond(entry.time_us).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            time: format!("{at:.6}"),
            component: entry.component,
            message: entry.message,
            priority: entry.priority,
            source: if entry.from_systemd { "systemd" } else { "container" },
            at,
        }
    }
}

impl LogLine {
    /// Returns the entry for people, with its line feed.
    pub fn text(&self, style: &LogStyle) -> String {
        let mut prefix = String::new();
        if let Some(zone) = &style.timestamps {
            let time =
                self.at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
            prefix.push_str(&style.palette.paint(Tone::Faint, &time));
            prefix.push(' ');
        }
        if style.all_of.as_ref().is_some_and(|service| *service != self.component) {
            let component = format!("{}:", visible(&self.component));
            prefix.push_str(&style.palette.paint(Tone::Strong, &component));
            prefix.push(' ');
        }
        let (label, tone) = match (self.source, self.priority) {
            ("systemd", _) => ("systemd: ", Tone::Faint),
            (_, 0..=3) => ("", Tone::Bad),
            (_, 4) => ("", Tone::Unsure),
            (_, _) => ("", Tone::Plain),
        };
        let message = visible_lines(self.message.trim_end_matches('\n'));
        let mut text = String::new();
        for line in message.split('\n') {
            text.push_str(&prefix);
            text.push_str(&style.palette.paint(tone, &format!("{label}{line}")));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(component: &str, message: &str) -> LogLine {
        proto::LogEntry {
            time_us: 1_795_228_747_123_456,
            component: component.into(),
            message: message.into(),
            priority: 6,
            from_systemd: false,
        }
        .into()
    }

    fn style() -> LogStyle {
        LogStyle { palette: Palette::PLAIN, timestamps: None, all_of: Some("mcq".into()) }
    }

    #[test]
    fn lines_are_raw_unless_another_component_speaks() {
        assert_eq!(entry("mcq", "ready\n").text(&style()), "ready\n");
        assert_eq!(entry("web", "a\nb\n").text(&style()), "web: a\nweb: b\n");
        let alone = LogStyle { all_of: None, ..style() };
        assert_eq!(entry("web", "a").text(&alone), "a\n");
    }

    #[test]
    fn timestamps_have_a_zone_and_control_characters_are_shown() {
        let style = LogStyle { timestamps: Some(TimeZone::UTC), ..style() };
        assert_eq!(
            entry("mcq", "\u{1b}[31mred\rx").text(&style),
            "2026-11-21T02:39:07.123+00:00 ^[[31mred^Mx\n"
        );
    }

    #[test]
    fn the_document_of_a_line() {
        assert_eq!(
            serde_json::to_string(&entry("mcq", "a\u{1b}")).unwrap(),
            r#"{"time":"2026-11-21T02:39:07.123456Z","component":"mcq","message":"a\u001b","priority":6,"source":"container"}"#
        );
    }
}
