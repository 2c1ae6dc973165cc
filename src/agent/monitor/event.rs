//! An event: what is recorded, followed, and told to whoever wants alerts.

use jiff::Timestamp;
use serde::Serialize;

use super::kind::EventKind;
use crate::registry::EventRow;

/// Something that happened, before it has a number and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What kind of thing.
    pub kind: EventKind,
    /// The service; empty: the node.
    pub service: String,
    /// The component; empty: the service as a whole.
    pub component: String,
    /// The unit; may be empty.
    pub unit: String,
    /// `running` or `stopped`; empty where that makes no sense.
    pub desired: &'static str,
    /// The state before; may be empty.
    pub previous: &'static str,
    /// The state now; may be empty.
    pub observed: &'static str,
    /// The kind of drift; may be empty.
    pub drift: String,
    /// What that is about; may be empty.
    pub subject: String,
    /// Why, in words.
    pub reason: String,
    /// The command that mends it; may be empty.
    pub mend: String,
    /// How many transitions it stands for.
    pub count: u32,
}

impl Event {
    /// Makes an event of the node.
    pub fn of_node(kind: EventKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            service: String::new(),
            component: String::new(),
            unit: String::new(),
            desired: "",
            previous: "",
            observed: "",
            drift: String::new(),
            subject: String::new(),
            reason: reason.into(),
            mend: String::new(),
            count: 0,
        }
    }

    /// Makes an event of a service as a whole.
    pub fn of_service(kind: EventKind, service: &str, reason: impl Into<String>) -> Self {
        Self { service: service.to_owned(), ..Self::of_node(kind, reason) }
    }

    /// Returns the row that it becomes, at a time.
    pub fn row(&self, at_ms: i64) -> EventRow {
        let event = self.clone();
        EventRow {
            id: 0,
            at_ms,
            kind: event.kind.as_str().to_owned(),
            service: event.service,
            component: event.component,
            unit: event.unit,
            desired: event.desired.to_owned(),
            previous: event.previous.to_owned(),
            observed: event.observed.to_owned(),
            drift: event.drift,
            subject: event.subject,
            reason: event.reason,
            mend: event.mend,
            count: event.count,
        }
    }
}

/// An event that was recorded, as alerts tell it (`docs/events.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Its number on the node.
    pub id: i64,
    /// When, RFC 3339.
    pub at: String,
    /// The node.
    pub node: String,
    /// The kind.
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
}

impl Notice {
    /// Makes the notice of a recorded event.
    pub fn new(node: &str, row: EventRow) -> Self {
        let at = Timestamp::from_millisecond(row.at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            id: row.id,
            at: format!("{at:.3}"),
            node: node.to_owned(),
            event: row.kind,
            service: row.service,
            component: row.component,
            unit: row.unit,
            desired: row.desired,
            previous: row.previous,
            observed: row.observed,
            drift: row.drift,
            subject: row.subject,
            reason: row.reason,
            mend: row.mend,
            count: row.count,
        }
    }

    /// Returns the variables that a command finds in its environment.
    pub fn variables(&self) -> [(&'static str, String); 15] {
        [
            ("MCP_EVENT", self.event.clone()),
            ("MCP_ID", self.id.to_string()),
            ("MCP_AT", self.at.clone()),
            ("MCP_NODE", self.node.clone()),
            ("MCP_SERVICE", self.service.clone()),
            ("MCP_COMPONENT", self.component.clone()),
            ("MCP_UNIT", self.unit.clone()),
            ("MCP_DESIRED", self.desired.clone()),
            ("MCP_PREVIOUS", self.previous.clone()),
            ("MCP_OBSERVED", self.observed.clone()),
            ("MCP_DRIFT", self.drift.clone()),
            ("MCP_SUBJECT", self.subject.clone()),
            ("MCP_REASON", self.reason.clone()),
            ("MCP_MEND", self.mend.clone()),
            ("MCP_COUNT", self.count.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_the_same_in_json_and_in_variables() {
        let mut event = Event::of_service(EventKind::Failed, "shop", "exit code 1");
        event.component = "api".to_owned();
        let notice = Notice::new("rift", EventRow { id: 7, ..event.row(1_795_228_747_123) });
        let json = serde_json::to_value(&notice).unwrap();
        for (name, value) in notice.variables() {
            let key = name.trim_start_matches("MCP_").to_lowercase();
            let told = &json[&key];
            assert_eq!(told.as_str().map_or(told.to_string(), str::to_owned), value, "{key}");
        }
        assert_eq!(json.as_object().unwrap().len(), notice.variables().len());
        assert_eq!(notice.at, "2026-11-21T02:39:07.123Z");
    }
}
