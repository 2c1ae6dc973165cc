//! `mcp status`: desired against observed, and drift.

use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::plan::short;
use crate::cli::views::problem::NodeProblem;
use crate::cli::views::ps::{health_tone, state_tone};
use crate::cli::views::table::{self, Cell};
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// Every service of the nodes asked.
#[derive(Debug, Default, Serialize)]
pub struct StatusView {
    /// The services, by node and name.
    pub services: Vec<StatusService>,
    /// Deploys that were cut off and undone, and nothing was done since.
    pub undone: Vec<StatusUndone>,
    /// What is on a node that no service owns.
    pub drifts: Vec<NodeDrift>,
    /// The nodes that did not answer.
    pub problems: Vec<NodeProblem>,
}

/// A deploy that was cut off and undone.
#[derive(Debug, Serialize)]
pub struct StatusUndone {
    /// Its service.
    pub service: String,
    /// The node.
    pub node: String,
    /// The generation that it would have made.
    pub generation: u64,
    /// Who asked for it.
    pub by: String,
    /// When it was undone, RFC 3339.
    pub at: Option<String>,
    /// Why.
    pub reason: String,
}

/// Something on a node that no service owns.
#[derive(Debug, Serialize)]
pub struct NodeDrift {
    /// The node.
    pub node: String,
    /// What it is.
    #[serde(flatten)]
    pub drift: DriftView,
}

/// How something differs from what was deployed.
#[derive(Debug, Serialize)]
pub struct DriftView {
    /// Its kind (`docs/events.md`).
    pub kind: String,
    /// A unit, a file or a container.
    pub subject: String,
    /// What is different.
    pub reason: String,
    /// The command that settles it.
    pub mend: String,
}

impl From<proto::Drift> for DriftView {
    fn from(drift: proto::Drift) -> Self {
        let proto::Drift { kind, subject, reason, mend } = drift;
        Self { kind, subject, reason, mend }
    }
}

impl DriftView {
    fn note(&self, place: &str, palette: Palette) -> String {
        let label = palette.paint(Tone::Bad, "drift:");
        let (reason, mend) = (visible(&self.reason), visible(&self.mend));
        format!("{label} {place}: {reason}\n       {}", palette.paint(Tone::Strong, &mend))
    }
}

/// One service.
#[derive(Debug, Serialize)]
pub struct StatusService {
    /// Its name.
    pub service: String,
    /// Its node.
    pub node: String,
    /// Whether it is to run.
    pub active: bool,
    /// The deployment in force.
    pub generation: u64,
    /// What is under way; `null`: nothing.
    pub operation: Option<String>,
    /// Its components.
    pub components: Vec<StatusComponent>,
    /// What is not as deployed of the service as a whole.
    pub drifts: Vec<DriftView>,
}

/// One component, as it is meant and as it is.
#[derive(Debug, Serialize)]
pub struct StatusComponent {
    /// Its name.
    pub component: String,
    /// Its unit.
    pub unit: String,
    /// `running` or `stopped`.
    pub desired: String,
    /// As in `ps`.
    pub state: String,
    /// systemd's finer state.
    pub sub_state: String,
    /// As in `ps`.
    pub health: String,
    /// Why it is unhealthy, or was stopped for that; `null`: it is not.
    pub health_reason: Option<String>,
    /// What was done about that, and what follows; `null`: nothing.
    pub health_action: Option<String>,
    /// systemd's result, when it failed; `null`: none.
    pub result: Option<String>,
    /// What a person calls the image's version.
    pub version: String,
    /// Its image.
    pub image: String,
    /// Podman's number of the image that it was deployed with; `null`: not
    /// known.
    pub image_id: Option<String>,
    /// Digest of that image's manifest; `null`: not known.
    pub image_digest: Option<String>,
    /// When the state began, RFC 3339.
    pub since: Option<String>,
    /// How often systemd restarted it.
    pub restarts: u32,
    /// What is not as deployed, each with its reason.
    pub drift: Vec<String>,
    /// The same, in parts.
    pub drifts: Vec<DriftView>,
    /// What runs in it by the calendar.
    pub schedules: Vec<StatusSchedule>,
}

/// A command that runs by the calendar, and how it went.
#[derive(Debug, Serialize)]
pub struct StatusSchedule {
    /// Its name.
    pub schedule: String,
    /// The unit that runs it.
    pub unit: String,
    /// Whether it runs now.
    pub running: bool,
    /// When it runs next, RFC 3339; `null`: not planned.
    pub next: Option<String>,
    /// When it ran last; `null`: not known.
    pub last: Option<String>,
    /// systemd's word for the last run; `null`: there was none.
    pub result: Option<String>,
    /// The exit status of the last run.
    pub status: i32,
}

impl From<proto::ScheduleStatus> for StatusSchedule {
    fn from(schedule: proto::ScheduleStatus) -> Self {
        Self {
            schedule: schedule.name,
            unit: schedule.unit,
            running: schedule.running,
            next: age::rfc3339(schedule.next_ms),
            last: age::rfc3339(schedule.last_ms),
            result: some(schedule.result),
            status: schedule.status,
        }
    }
}

impl StatusSchedule {
    fn note(&self, place: &str, palette: Palette) -> String {
        let failed = self.result.as_ref().filter(|result| *result != "success");
        let tone = if failed.is_some() { Tone::Bad } else { Tone::Good };
        let went = match (self.running, failed, &self.last) {
            (true, _, _) => "runs now".to_owned(),
            (false, Some(result), _) => {
                let result = visible(result);
                format!("failed ({result}, exit status {})", self.status)
            }
            (false, None, Some(_)) => "went well".to_owned(),
            (false, None, None) => "has not run yet".to_owned(),
        };
        let last = self.last.as_ref().map(|last| format!(", last {last}")).unwrap_or_default();
        let next = self.next.as_deref().unwrap_or("not planned");
        let label = palette.paint(tone, "schedule:");
        format!("{label} {place}, {}: {went}{last}, next {next}", visible(&self.schedule))
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl StatusView {
    /// Adds what one node answered.
    pub fn add(&mut self, node: &str, answer: proto::StatusResponse) {
        let component = |c: proto::ComponentStatus| StatusComponent {
            component: c.name,
            unit: c.unit,
            desired: c.desired,
            state: c.state,
            sub_state: c.sub_state,
            health: c.health,
            health_reason: some(c.health_reason),
            health_action: some(c.health_action),
            result: some(c.result),
            version: c.version,
            image: c.image,
            image_id: some(c.image_id),
            image_digest: some(c.image_digest),
            since: age::rfc3339(c.since_ms),
            restarts: c.restarts,
            drift: c.drift,
            drifts: c.drifts.into_iter().map(DriftView::from).collect(),
            schedules: c.schedules.into_iter().map(StatusSchedule::from).collect(),
        };
        self.undone.extend(answer.undone.into_iter().map(|undone| StatusUndone {
            service: undone.service,
            node: node.to_owned(),
            generation: undone.generation,
            by: undone.by,
            at: age::rfc3339(undone.at_ms),
            reason: undone.reason,
        }));
        self.drifts.extend(
            answer.drifts.into_iter().map(|d| NodeDrift { node: node.to_owned(), drift: d.into() }),
        );
        self.services.extend(answer.services.into_iter().map(|service| StatusService {
            service: service.name,
            node: node.to_owned(),
            active: service.active,
            generation: service.generation,
            operation: some(service.operation),
            components: service.components.into_iter().map(component).collect(),
            drifts: service.drifts.into_iter().map(DriftView::from).collect(),
        }));
    }

    /// Returns the table, and below it what is under way and what drifted.
    pub fn text(&self, palette: Palette) -> String {
        if self.services.is_empty() && !self.problems.is_empty() {
            // A bare header would say that there is nothing.
            return String::new();
        }
        let header = [
            "SERVICE",
            "COMPONENT",
            "NODE",
            "DESIRED",
            "OBSERVED",
            "HEALTH",
            "VERSION",
            "IMAGE",
            "GENERATION",
        ];
        let rows = self.services.iter().flat_map(|s| s.components.iter().map(|c| row(s, c)));
        let mut text = table::render(header, &rows.collect::<Vec<_>>(), palette);
        let notes = self.notes(palette);
        if !notes.is_empty() {
            text.push('\n');
            text.push_str(&notes.join("\n"));
            text.push('\n');
        }
        text
    }

    fn notes(&self, palette: Palette) -> Vec<String> {
        let mut notes = Vec::new();
        for undone in &self.undone {
            let label = palette.paint(Tone::Unsure, "undone:");
            notes.push(format!(
                "{label} {} on {}: generation {} by {}: {}; deploy it again",
                visible(&undone.service),
                undone.node,
                undone.generation,
                visible(&undone.by),
                visible(&undone.reason)
            ));
        }
        for service in &self.services {
            let place = format!("{} on {}", visible(&service.service), service.node);
            if let Some(operation) = &service.operation {
                let label = palette.paint(Tone::Unsure, "under way:");
                notes.push(format!("{label} {place}: {}", visible(operation)));
            }
            for component in &service.components {
                let place = format!(
                    "{}/{} on {}",
                    visible(&service.service),
                    visible(&component.component),
                    service.node
                );
                if let Some(result) = &component.result {
                    let label = palette.paint(Tone::Bad, "failed:");
                    notes.push(format!("{label} {place}: {}", visible(result)));
                }
                if component.health == "unhealthy" {
                    let label = palette.paint(Tone::Bad, "unhealthy:");
                    let why = [&component.health_reason, &component.health_action];
                    let why: Vec<_> = why.into_iter().flatten().map(|text| visible(text)).collect();
                    notes.push(format!("{label} {place}: {}", why.join("; ")));
                }
                notes.extend(component.drifts.iter().map(|drift| drift.note(&place, palette)));
                notes.extend(component.schedules.iter().map(|s| s.note(&place, palette)));
            }
            notes.extend(service.drifts.iter().map(|drift| drift.note(&place, palette)));
        }
        notes.extend(self.drifts.iter().map(|d| d.drift.note(&d.node, palette)));
        notes
    }
}

fn row(service: &StatusService, component: &StatusComponent) -> [Cell; 9] {
    let is_as_wanted = component.desired == component.state
        || (component.desired == "running" && component.state == "done");
    let observed = if is_as_wanted { state_tone(&component.state) } else { Tone::Bad };
    [
        Cell::new(&service.service),
        Cell::new(&component.component),
        Cell::new(&service.node),
        Cell::new(&component.desired),
        Cell::new(&component.state).tone(observed),
        Cell::or_dash(&component.health).tone(health_tone(&component.health)),
        Cell::or_dash(&component.version),
        Cell::or_dash(component.image_id.as_deref().map(short).unwrap_or_default()),
        Cell::new(service.generation.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_component() -> proto::ComponentStatus {
        proto::ComponentStatus {
            name: "mc-proxy".into(),
            unit: "mc-proxy.service".into(),
            desired: "running".into(),
            state: "failed".into(),
            result: "exit-code".into(),
            health: "none".into(),
            version: "latest".into(),
            image_id: "9e".repeat(32),
            drift: vec!["mc-proxy.container was edited\u{7}; mcp reconcile mc-proxy".into()],
            drifts: vec![proto::Drift {
                kind: "file_edited".into(),
                subject: "mc-proxy.container".into(),
                reason: "mc-proxy.container was edited\u{7}".into(),
                mend: "mcp reconcile mc-proxy".into(),
            }],
            ..proto::ComponentStatus::default()
        }
    }

    fn sick_component() -> proto::ComponentStatus {
        proto::ComponentStatus {
            name: "web".into(),
            unit: "mc-proxy-web.service".into(),
            desired: "running".into(),
            state: "running".into(),
            health: "unhealthy".into(),
            version: "v1".into(),
            restarts: 2,
            health_reason: "HTTP status 503\u{1b}".into(),
            health_action: "its check has it restarted".into(),
            schedules: vec![proto::ScheduleStatus {
                name: "tidy".into(),
                unit: "web-tidy-schedule.service".into(),
                next_ms: 1_795_228_747_000,
                last_ms: 1_795_228_687_000,
                running: false,
                result: "exit-code".into(),
                status: 3,
            }],
            ..proto::ComponentStatus::default()
        }
    }

    #[test]
    fn the_table_and_what_drifted() {
        let service = proto::ServiceStatus {
            name: "mc-proxy".into(),
            active: true,
            generation: 2,
            components: vec![failed_component(), sick_component()],
            operation: "restart".into(),
            drifts: Vec::new(),
        };
        let mut view = StatusView::default();
        let undone = proto::Undone {
            service: "mcq".into(),
            generation: 3,
            by: "kyle".into(),
            at_ms: 1_795_228_747_000,
            reason: "the node went down before it was ready".into(),
        };
        view.add(
            "rift",
            proto::StatusResponse {
                services: vec![service],
                undone: vec![undone],
                drifts: Vec::new(),
            },
        );
        insta::assert_snapshot!(view.text(Palette::PLAIN), @r"
        SERVICE   COMPONENT  NODE  DESIRED  OBSERVED  HEALTH     VERSION  IMAGE         GENERATION
        mc-proxy  mc-proxy   rift  running  failed    none       latest   9e9e9e9e9e9e  2
        mc-proxy  web        rift  running  running   unhealthy  v1       -             2

        undone: mcq on rift: generation 3 by kyle: the node went down before it was ready; deploy it again
        under way: mc-proxy on rift: restart
        failed: mc-proxy/mc-proxy on rift: exit-code
        drift: mc-proxy/mc-proxy on rift: mc-proxy.container was edited^G
               mcp reconcile mc-proxy
        unhealthy: mc-proxy/web on rift: HTTP status 503^[; its check has it restarted
        schedule: mc-proxy/web on rift, tidy: failed (exit-code, exit status 3), last 2026-11-21T02:38:07Z, next 2026-11-21T02:39:07Z
        ");
        insta::assert_snapshot!(serde_json::to_string(&view).unwrap(), @r#"{"services":[{"service":"mc-proxy","node":"rift","active":true,"generation":2,"operation":"restart","components":[{"component":"mc-proxy","unit":"mc-proxy.service","desired":"running","state":"failed","sub_state":"","health":"none","health_reason":null,"health_action":null,"result":"exit-code","version":"latest","image":"","image_id":"9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e9e","image_digest":null,"since":null,"restarts":0,"drift":["mc-proxy.container was edited\u0007; mcp reconcile mc-proxy"],"drifts":[{"kind":"file_edited","subject":"mc-proxy.container","reason":"mc-proxy.container was edited\u0007","mend":"mcp reconcile mc-proxy"}],"schedules":[]},{"component":"web","unit":"mc-proxy-web.service","desired":"running","state":"running","sub_state":"","health":"unhealthy","health_reason":"HTTP status 503\u001b","health_action":"its check has it restarted","result":null,"version":"v1","image":"","image_id":null,"image_digest":null,"since":null,"restarts":2,"drift":[],"drifts":[],"schedules":[{"schedule":"tidy","unit":"web-tidy-schedule.service","running":false,"next":"2026-11-21T02:39:07Z","last":"2026-11-21T02:38:07Z","result":"exit-code","status":3}]}],"drifts":[]}],"undone":[{"service":"mcq","node":"rift","generation":3,"by":"kyle","at":"2026-11-21T02:39:07Z","reason":"the node went down before it was ready"}],"drifts":[],"problems":[]}"#);
    }
}
