//! `mcp ps`: what runs now.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::problem::NodeProblem;
use crate::cli::views::table::{self, Cell};
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone};

/// Every component of the nodes asked.
#[derive(Debug, Default, Serialize)]
pub struct PsView {
    /// The components, by node, service and the order of the definition.
    pub components: Vec<PsComponent>,
    /// The commands that run beside or in them, in the same order.
    pub jobs: Vec<PsJob>,
    /// The nodes that did not answer.
    pub problems: Vec<NodeProblem>,
}

/// One component, as it runs.
#[derive(Debug, Serialize)]
pub struct PsComponent {
    /// Its service.
    pub service: String,
    /// Its name.
    pub component: String,
    /// Its node.
    pub node: String,
    /// Its unit.
    pub unit: String,
    /// `running`, `starting`, `stopping`, `stopped`, `restarting`, `failed`
    /// or `missing`.
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`, `ready`, `none` or `unknown`.
    pub health: String,
    /// Its image.
    pub image: String,
    /// What a person calls the image's version.
    pub version: String,
    /// When that state began, RFC 3339.
    pub since: Option<String>,
    /// How long it has been running, in seconds.
    pub uptime_s: Option<u64>,
    /// How often systemd restarted it.
    pub restarts: u32,
    /// Its ports on the node.
    pub ports: Vec<String>,
}

/// A command that `mcp run` or a schedule began and that runs now.
#[derive(Debug, Serialize)]
pub struct PsJob {
    /// The service of its component.
    pub service: String,
    /// The component whose spec, or container, it has.
    pub component: String,
    /// Its node.
    pub node: String,
    /// The unit that holds it; stopping that ends it.
    pub unit: String,
    /// `run` or `schedule`.
    pub kind: &'static str,
    /// The name of the schedule; `null`: it is of none.
    pub schedule: Option<String>,
    /// When it began, RFC 3339.
    pub since: Option<String>,
    /// How long it has been running, in seconds.
    pub uptime_s: Option<u64>,
}

/// Returns the tone of a state.
pub fn state_tone(state: &str) -> Tone {
    match state {
        "running" | "done" => Tone::Good,
        "starting" | "stopping" | "restarting" => Tone::Unsure,
        "failed" | "missing" => Tone::Bad,
        "stopped" => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// Returns the tone of a health.
pub fn health_tone(health: &str) -> Tone {
    match health {
        "healthy" | "ready" => Tone::Good,
        "starting" => Tone::Unsure,
        "unhealthy" => Tone::Bad,
        "none" | "unknown" => Tone::Faint,
        _ => Tone::Plain,
    }
}

impl PsView {
    /// Adds what one node answered.
    pub fn add(&mut self, node: &str, answer: proto::StatusResponse, now: Timestamp) {
        for service in answer.services {
            for component in service.components {
                let scheduled = component.schedules.iter().filter(|schedule| schedule.running);
                let scheduled = scheduled.map(|s| (&s.unit, Some(s.name.clone()), s.last_ms));
                let one_offs = component.one_offs.iter().map(|o| (&o.unit, None, o.since_ms));
                for (unit, schedule, since_ms) in scheduled.chain(one_offs) {
                    self.jobs.push(PsJob {
                        service: service.name.clone(),
                        component: component.name.clone(),
                        node: node.to_owned(),
                        unit: unit.clone(),
                        kind: if schedule.is_some() { "schedule" } else { "run" },
                        schedule,
                        since: age::rfc3339(since_ms),
                        uptime_s: age::since(since_ms, now).map(|uptime| uptime.as_secs()),
                    });
                }
                let running = matches!(component.state.as_str(), "running" | "starting");
                let uptime = age::since(component.since_ms, now).filter(|_| running);
                self.components.push(PsComponent {
                    service: service.name.clone(),
                    component: component.name,
                    node: node.to_owned(),
                    unit: component.unit,
                    state: component.state,
                    health: component.health,
                    image: component.image,
                    version: component.version,
                    since: age::rfc3339(component.since_ms),
                    uptime_s: uptime.map(|uptime| uptime.as_secs()),
                    restarts: component.restarts,
                    ports: component.ports,
                });
            }
        }
    }

    /// Returns the table, and below it that of the jobs, if there are any.
    pub fn text(&self, palette: Palette) -> String {
        if self.components.is_empty() && !self.problems.is_empty() {
            // A bare header would say that there is nothing.
            return String::new();
        }
        let header = [
            "SERVICE",
            "COMPONENT",
            "NODE",
            "STATE",
            "HEALTH",
            "VERSION",
            "UPTIME",
            "RESTARTS",
            "PORTS",
        ];
        let row = |c: &PsComponent| {
            let uptime = c.uptime_s.map(std::time::Duration::from_secs).map(age::largest_two);
            [
                Cell::new(&c.service),
                Cell::new(&c.component),
                Cell::new(&c.node),
                Cell::new(&c.state).tone(state_tone(&c.state)),
                Cell::or_dash(&c.health).tone(health_tone(&c.health)),
                Cell::or_dash(&c.version),
                Cell::or_dash(uptime.unwrap_or_default()),
                Cell::new(c.restarts.to_string()).tone(if c.restarts > 0 {
                    Tone::Unsure
                } else {
                    Tone::Plain
                }),
                Cell::or_dash(c.ports.join(",")),
            ]
        };
        let mut text =
            table::render(header, &self.components.iter().map(row).collect::<Vec<_>>(), palette);
        if !self.jobs.is_empty() {
            text.push('\n');
            text.push_str(&self.jobs_text(palette));
        }
        text
    }

    fn jobs_text(&self, palette: Palette) -> String {
        let row = |job: &PsJob| {
            let uptime = job.uptime_s.map(std::time::Duration::from_secs).map(age::largest_two);
            let kind = match &job.schedule {
                Some(schedule) => format!("schedule {schedule}"),
                None => job.kind.to_owned(),
            };
            [
                Cell::new(&job.service),
                Cell::new(&job.component),
                Cell::new(&job.node),
                Cell::new(kind),
                Cell::or_dash(uptime.unwrap_or_default()),
                Cell::new(&job.unit),
            ]
        };
        let header = ["SERVICE", "COMPONENT", "NODE", "JOB", "UPTIME", "UNIT"];
        table::render(header, &self.jobs.iter().map(row).collect::<Vec<_>>(), palette)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn answer() -> proto::StatusResponse {
        let component =
            |name: &str, state: &str, health: &str, ports: &[&str]| proto::ComponentStatus {
                name: name.into(),
                unit: format!("metacrypt-{name}.service"),
                image: "mcr.net:8443/metacrypt:v1.2.1".into(),
                version: "v1.2.1".into(),
                desired: "running".into(),
                state: state.into(),
                health: health.into(),
                since_ms: 1_000_000,
                ports: ports.iter().map(|p| (*p).to_owned()).collect(),
                ..proto::ComponentStatus::default()
            };
        let mut web = component("web", "failed", "none", &[]);
        web.restarts = 3;
        let api = component("api", "running", "healthy", &["127.0.0.1:18443:8443", "53:53/udp"]);
        proto::StatusResponse {
            services: vec![proto::ServiceStatus {
                name: "metacrypt".into(),
                active: true,
                generation: 4,
                components: vec![api, web],
                operation: String::new(),
                drifts: Vec::new(),
            }],
            undone: Vec::new(),
            drifts: Vec::new(),
        }
    }

    fn view() -> PsView {
        let mut view = PsView::default();
        view.add("rift", answer(), Timestamp::from_millisecond(1_000_000 + 93_600_000).unwrap());
        view
    }

    #[test]
    fn the_table() {
        insta::assert_snapshot!(view().text(Palette::PLAIN), @r"
        SERVICE    COMPONENT  NODE  STATE    HEALTH   VERSION  UPTIME  RESTARTS  PORTS
        metacrypt  api        rift  running  healthy  v1.2.1   1d2h    0         127.0.0.1:18443:8443,53:53/udp
        metacrypt  web        rift  failed   none     v1.2.1   -       3         -
        ");
    }

    #[test]
    fn the_document() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&view()).unwrap(), @r#"
        {
          "components": [
            {
              "service": "metacrypt",
              "component": "api",
              "node": "rift",
              "unit": "metacrypt-api.service",
              "state": "running",
              "health": "healthy",
              "image": "mcr.net:8443/metacrypt:v1.2.1",
              "version": "v1.2.1",
              "since": "1970-01-01T00:16:40Z",
              "uptime_s": 93600,
              "restarts": 0,
              "ports": [
                "127.0.0.1:18443:8443",
                "53:53/udp"
              ]
            },
            {
              "service": "metacrypt",
              "component": "web",
              "node": "rift",
              "unit": "metacrypt-web.service",
              "state": "failed",
              "health": "none",
              "image": "mcr.net:8443/metacrypt:v1.2.1",
              "version": "v1.2.1",
              "since": "1970-01-01T00:16:40Z",
              "uptime_s": null,
              "restarts": 3,
              "ports": []
            }
          ],
          "jobs": [],
          "problems": []
        }
        "#);
    }

    #[test]
    fn jobs_are_below_and_only_while_they_run() {
        let mut answer = answer();
        let schedule = |name: &str, running| proto::ScheduleStatus {
            name: name.into(),
            unit: format!("metacrypt-api-{name}-schedule.service"),
            last_ms: 4_600_000,
            running,
            ..proto::ScheduleStatus::default()
        };
        let one_off = proto::OneOffStatus {
            unit: "metacrypt-api-run-09fc570f.service".into(),
            since_ms: 4_000_000,
        };
        answer.services[0].components[0].schedules =
            vec![schedule("dump", true), schedule("tidy", false)];
        answer.services[0].components[0].one_offs = vec![one_off];
        let mut view = PsView::default();
        view.add("rift", answer, Timestamp::from_millisecond(4_612_000).unwrap());
        let text = view.text(Palette::PLAIN);
        insta::assert_snapshot!(text.split_once("\n\n").unwrap().1, @r"
        SERVICE    COMPONENT  NODE  JOB            UPTIME  UNIT
        metacrypt  api        rift  schedule dump  12s     metacrypt-api-dump-schedule.service
        metacrypt  api        rift  run            10m12s  metacrypt-api-run-09fc570f.service
        ");
        insta::assert_snapshot!(serde_json::to_string(&view.jobs[1]).unwrap(), @r#"{"service":"metacrypt","component":"api","node":"rift","unit":"metacrypt-api-run-09fc570f.service","kind":"run","schedule":null,"since":"1970-01-01T01:06:40Z","uptime_s":612}"#);
    }

    #[test]
    fn an_agent_cannot_reach_the_terminal() {
        let mut answer = answer();
        answer.services[0].components[0].version = "\u{1b}[2J".into();
        let mut view = PsView::default();
        view.add("rift", answer, Timestamp::UNIX_EPOCH);
        assert!(view.text(Palette::PLAIN).contains("^[[2J"));
        assert!(!view.text(Palette::PLAIN).contains('\u{1b}'));
    }
}
