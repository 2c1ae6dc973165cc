//! `mcp explain`: why something is in its state, and what to type.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::findings::level_word;
use crate::cli::views::problem::NodeProblem;
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// What was explained, of all nodes asked.
#[derive(Debug, Default, Serialize)]
pub struct ExplainView {
    /// The services, by node and name.
    pub services: Vec<ServiceView>,
    /// Nodes of which there is more to say than of their services.
    pub nodes: Vec<NodeView>,
    /// Nodes that could not be asked.
    pub problems: Vec<NodeProblem>,
}

/// A service.
#[derive(Debug, Serialize)]
pub struct ServiceView {
    /// Its node.
    pub node: String,
    /// Its name.
    pub service: String,
    /// The generation in force; `null`: it is not deployed.
    pub generation: Option<u64>,
    /// Whether it is to run.
    pub active: bool,
    /// What there is to say of it as a whole.
    pub notes: Vec<Reason>,
    /// Its components.
    pub components: Vec<ComponentView>,
    /// Those of their schedules whose last run failed.
    pub schedules: Vec<ScheduleView>,
}

/// A node.
#[derive(Debug, Serialize)]
pub struct NodeView {
    /// The node.
    pub node: String,
    /// What there is to say.
    #[serde(flatten)]
    pub reason: Reason,
}

/// Why, and what to type.
#[derive(Debug, Serialize)]
pub struct Reason {
    /// The kind of cause, one word.
    pub cause: String,
    /// `ok`, `warning` or `failed`.
    pub level: &'static str,
    /// Why, in sentences.
    pub reason: String,
    /// What shows it, as somebody said it; empty: nothing.
    pub evidence: String,
    /// The commands that mend it, in order.
    pub mend: Vec<String>,
}

/// A component.
#[derive(Debug, Serialize)]
pub struct ComponentView {
    /// Its name.
    pub component: String,
    /// Its unit.
    pub unit: String,
    /// As in `ps`.
    pub state: String,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
    /// When the state began, RFC 3339.
    pub since: Option<String>,
    /// When its process was started, RFC 3339.
    pub started: Option<String>,
    /// When it is started again, RFC 3339; `null`: it is not.
    pub next_try: Option<String>,
    /// How often it was restarted by itself.
    pub restarts: u32,
    /// What it waits for, down to the first broken link.
    pub waits_for: Vec<LinkView>,
    /// The same times, in milliseconds since the Unix epoch.
    #[serde(skip)]
    pub times: Times,
}

/// A command that runs by the calendar, whose last run failed.
#[derive(Debug, Serialize)]
pub struct ScheduleView {
    /// Its component.
    pub component: String,
    /// Its name.
    pub schedule: String,
    /// The unit that runs it.
    pub unit: String,
    /// `failed`; `running`: it failed, and runs again.
    pub state: String,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
    /// When the state began, RFC 3339.
    pub since: Option<String>,
    /// When it runs next, RFC 3339.
    pub next_try: Option<String>,
    /// The same times, in milliseconds since the Unix epoch.
    #[serde(skip)]
    pub times: Times,
}

/// Times in milliseconds since the Unix epoch; 0: not known.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    since: i64,
    started: i64,
    next_try: i64,
}

/// A link of what waits for what.
#[derive(Debug, Serialize)]
pub struct LinkView {
    /// The component, else the unit.
    pub name: String,
    /// Its state.
    pub state: String,
}

/// How it is shown.
#[derive(Debug)]
pub struct ExplainStyle {
    /// Colours.
    pub palette: Palette,
    /// Where the reader is.
    pub zone: TimeZone,
    /// Now.
    pub now: Timestamp,
    /// Whether to name the nodes.
    pub nodes: bool,
    /// Whether what is well is shown as well.
    pub all: bool,
}

impl From<proto::Explanation> for Reason {
    fn from(explained: proto::Explanation) -> Self {
        let level = level_word(explained.level());
        let proto::Explanation { cause, reason, evidence, mend, .. } = explained;
        Self { cause, level, reason, evidence, mend }
    }
}

impl From<proto::Explanation> for ComponentView {
    fn from(explained: proto::Explanation) -> Self {
        let times = Times {
            since: explained.since_ms,
            started: explained.started_ms,
            next_try: explained.next_try_ms,
        };
        let links = explained.waits_for.iter();
        Self {
            component: explained.component.clone(),
            unit: explained.unit.clone(),
            state: explained.state.clone(),
            since: age::rfc3339(times.since),
            started: age::rfc3339(times.started),
            next_try: age::rfc3339(times.next_try),
            restarts: explained.restarts,
            waits_for: links
                .map(|link| LinkView { name: link.name.clone(), state: link.state.clone() })
                .collect(),
            reason: Reason::from(explained),
            times,
        }
    }
}

impl From<proto::Explanation> for ScheduleView {
    fn from(explained: proto::Explanation) -> Self {
        let times =
            Times { since: explained.since_ms, started: 0, next_try: explained.next_try_ms };
        Self {
            component: explained.component.clone(),
            schedule: explained.schedule.clone(),
            unit: explained.unit.clone(),
            state: explained.state.clone(),
            since: age::rfc3339(times.since),
            next_try: age::rfc3339(times.next_try),
            reason: Reason::from(explained),
            times,
        }
    }
}

impl ExplainView {
    /// Adds a node's answer.
    pub fn add(&mut self, node: &str, answer: proto::ExplainResponse) {
        let of_node = answer.node.map(Reason::from);
        self.nodes.extend(of_node.map(|reason| NodeView { node: node.to_owned(), reason }));
        self.services.extend(answer.services.into_iter().map(|service| ServiceView {
            node: node.to_owned(),
            service: service.service,
            generation: (service.generation != 0).then_some(service.generation),
            active: service.active,
            notes: service.notes.into_iter().map(Reason::from).collect(),
            components: service.components.into_iter().map(ComponentView::from).collect(),
            schedules: service.schedules.into_iter().map(ScheduleView::from).collect(),
        }));
    }

    /// Leaves out nodes that do not have what others have. Where a node has not
    /// answered, that one may have it: nobody is told to deploy it elsewhere.
    pub fn drop_absent(&mut self) {
        // What is deployed for the first time just now is there as well.
        let is_there =
            |service: &ServiceView| service.generation.is_some() || !service.components.is_empty();
        if self.services.iter().any(is_there) {
            self.services.retain(is_there);
            return;
        }
        let silent: Vec<&str> = self.problems.iter().map(|p| p.node.as_str()).collect();
        if silent.is_empty() {
            return;
        }
        let doubt = format!("It may be on {}, which did not answer. ", silent.join(", "));
        for note in self.services.iter_mut().flat_map(|service| &mut service.notes) {
            note.reason.insert_str(0, &doubt);
            note.mend.retain(|command| !command.starts_with("mcp deploy"));
        }
    }

    /// Tells whether anything is not as it should be.
    pub fn has_failures(&self) -> bool {
        let of_services = self.services.iter().flat_map(|service| {
            let components = service.components.iter().map(|c| &c.reason);
            let schedules = service.schedules.iter().map(|s| &s.reason);
            service.notes.iter().chain(components).chain(schedules)
        });
        self.nodes.iter().map(|node| &node.reason).chain(of_services).any(|r| r.level == "failed")
    }

    /// Returns it for people.
    pub fn text(&self, style: &ExplainStyle) -> String {
        let mut text = String::new();
        for NodeView { node, reason } in &self.nodes {
            text.push_str(&head(&visible(node), reason, "", style));
            text.push_str(&body(reason, style));
        }
        for service in &self.services {
            let name = style.name(&service.service, &service.node);
            for note in service.notes.iter().filter(|note| style.shows(note)) {
                let state =
                    if service.generation.is_some() { "last deploy" } else { "not deployed" };
                text.push_str(&head(&name, note, state, style));
                text.push_str(&body(note, style));
            }
            for component in service.components.iter().filter(|c| style.shows(&c.reason)) {
                let path = format!("{}/{}", service.service, component.component);
                let name = style.name(&path, &service.node);
                text.push_str(&head(&name, &component.reason, &component.words(style), style));
                text.push_str(&body(&component.reason, style));
            }
            for schedule in service.schedules.iter().filter(|s| style.shows(&s.reason)) {
                let ScheduleView { component, schedule: name, state, times, .. } = schedule;
                let path = format!("{}/{component}, schedule {name}", service.service);
                let name = style.name(&path, &service.node);
                let state = [&*visible(state), &times.since(style), &times.next(style)].concat();
                text.push_str(&head(&name, &schedule.reason, &state, style));
                text.push_str(&body(&schedule.reason, style));
            }
        }
        if !style.all {
            text.push_str(&self.summary());
        }
        text
    }

    /// Says of each node how much is well.
    fn summary(&self) -> String {
        let mut nodes: Vec<&str> = self.services.iter().map(|s| s.node.as_str()).collect();
        nodes.dedup();
        let mut text = String::new();
        for node in nodes {
            let of_node = self.services.iter().filter(|service| service.node == node);
            let all: Vec<_> = of_node.clone().flat_map(|service| &service.components).collect();
            let well = all.iter().filter(|c| c.reason.level == "ok").count();
            let schedules = of_node.flat_map(|service| &service.schedules).count();
            let node = visible(node);
            let line = match (all.len(), schedules) {
                (n, 0) if n == well => format!("{node}: all is well ({n} components)\n"),
                (n, 0) => format!("{node}: {well} of {n} components are well\n"),
                (n, 1) => format!("{node}: {well} of {n} components are well, 1 schedule is not\n"),
                (n, m) => {
                    format!("{node}: {well} of {n} components are well, {m} schedules are not\n")
                }
            };
            text.push_str(&line);
        }
        text
    }
}

impl ExplainStyle {
    fn name(&self, name: &str, node: &str) -> String {
        let name = visible(name);
        if self.nodes { format!("{name} on {}", visible(node)) } else { name.into_owned() }
    }

    fn shows(&self, reason: &Reason) -> bool {
        self.all || reason.level != "ok"
    }

    fn time(&self, ms: i64) -> Option<String> {
        let time = Timestamp::from_millisecond(ms).ok().filter(|_| ms != 0)?;
        Some(time.to_zoned(self.zone.clone()).strftime("%F %T").to_string())
    }
}

impl ComponentView {
    /// Returns its state, since when, and how often it was tried.
    fn words(&self, style: &ExplainStyle) -> String {
        let Times { since, started, .. } = self.times;
        let mut words = vec![visible(&self.state).into_owned(), self.times.since(style)];
        if self.state == "running" {
            let took = since.checked_sub(started).filter(|ms| started > 0 && *ms > 100);
            if let Some(took) = took.and_then(|ms| u64::try_from(ms).ok()) {
                let took = age::elapsed(std::time::Duration::from_millis(took));
                words.push(format!(", ready {took} after its start"));
            }
        }
        match self.restarts {
            0 => {}
            1 => words.push(", restarted once".to_owned()),
            n => words.push(format!(", restarted {n} times")),
        }
        words.push(self.times.next(style));
        words.concat()
    }
}

impl Times {
    /// Says since when, if that is known.
    fn since(self, style: &ExplainStyle) -> String {
        match (style.time(self.since), age::since(self.since, style.now)) {
            (Some(time), Some(ago)) => format!(" since {time} ({} ago)", age::largest_two(ago)),
            (None, _) | (_, None) => String::new(),
        }
    }

    /// Says when it is tried again, if it is.
    fn next(self, style: &ExplainStyle) -> String {
        let left = self.next_try.checked_sub(style.now.as_millisecond());
        let Some(left) = left.filter(|_| self.next_try > 0) else { return String::new() };
        let left = std::time::Duration::from_millis(u64::try_from(left).unwrap_or_default());
        format!(", next try in {}", age::largest_two(left))
    }
}

fn head(name: &str, reason: &Reason, state: &str, style: &ExplainStyle) -> String {
    let tone = match reason.level {
        "ok" => Tone::Good,
        "warning" => Tone::Unsure,
        _ => Tone::Bad,
    };
    let name = style.palette.paint(Tone::Strong, name);
    if state.is_empty() {
        return format!("{name}\n");
    }
    format!("{name}: {}\n", style.palette.paint(tone, state))
}

fn body(reason: &Reason, style: &ExplainStyle) -> String {
    let mut lines = vec![format!("  {}\n", visible(&reason.reason))];
    if !reason.evidence.is_empty() {
        let said = style.palette.paint(Tone::Faint, &format!("\"{}\"", visible(&reason.evidence)));
        lines.push(format!("  {said}\n"));
    }
    for command in &reason.mend {
        let command = style.palette.paint(Tone::Strong, &visible(command));
        lines.push(format!("  -> {command}\n"));
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(level: proto::FindingLevel, state: &str) -> proto::Explanation {
        proto::Explanation {
            component: "api".into(),
            unit: "shop-api.service".into(),
            state: state.into(),
            cause: "exit_code".into(),
            level: level.into(),
            reason: "It ended with exit code 1.".into(),
            evidence: "cannot open \u{1b}[31mit".into(),
            mend: vec!["mcp logs shop/api".into()],
            since_ms: 1_000_000,
            started_ms: 995_000,
            next_try_ms: 0,
            restarts: 0,
            waits_for: Vec::new(),
            schedule: String::new(),
        }
    }

    fn view() -> ExplainView {
        let mut view = ExplainView::default();
        let bad = proto::Explanation {
            next_try_ms: 1_082_000,
            restarts: 7,
            ..component(proto::FindingLevel::Failed, "restarting")
        };
        let good = proto::Explanation {
            evidence: String::new(),
            reason: "It runs, and its check succeeds.".into(),
            mend: Vec::new(),
            ..component(proto::FindingLevel::Fine, "running")
        };
        let service = |components| proto::ExplainedService {
            service: "shop".into(),
            generation: 3,
            active: true,
            notes: Vec::new(),
            components,
            schedules: Vec::new(),
        };
        let services = vec![service(vec![bad, good])];
        view.add("rift", proto::ExplainResponse { services, node: None });
        view
    }

    fn style(all: bool) -> ExplainStyle {
        ExplainStyle {
            palette: Palette::PLAIN,
            zone: TimeZone::UTC,
            now: Timestamp::from_millisecond(1_060_000).unwrap(),
            nodes: !all,
            all,
        }
    }

    #[test]
    fn each_is_a_state_a_reason_a_quotation_and_commands() {
        insta::assert_snapshot!(view().text(&style(true)), @r#"
        shop/api: restarting since 1970-01-01 00:16:40 (1m0s ago), restarted 7 times, next try in 22s
          It ended with exit code 1.
          "cannot open ^[[31mit"
          -> mcp logs shop/api
        shop/api: running since 1970-01-01 00:16:40 (1m0s ago), ready 5.0s after its start
          It runs, and its check succeeds.
        "#);
    }

    #[test]
    fn without_a_service_only_what_is_not_well_is_shown() {
        let mut view = view();
        insta::assert_snapshot!(view.text(&style(false)), @r#"
        shop/api on rift: restarting since 1970-01-01 00:16:40 (1m0s ago), restarted 7 times, next try in 22s
          It ended with exit code 1.
          "cannot open ^[[31mit"
          -> mcp logs shop/api
        rift: 1 of 2 components are well
        "#);
        assert!(view.has_failures());
        let absent = proto::ExplainedService { service: "shop".into(), ..Default::default() };
        view.add("svc", proto::ExplainResponse { services: vec![absent], node: None });
        view.drop_absent();
        assert_eq!(view.services.len(), 1);
    }

    #[test]
    fn what_a_silent_node_may_have_is_not_to_be_deployed_elsewhere() {
        let note = proto::Explanation {
            reason: "It was never deployed here.".into(),
            mend: vec!["mcp list".into(), "mcp deploy shop".into()],
            ..component(proto::FindingLevel::Failed, "")
        };
        let absent = proto::ExplainedService {
            service: "shop".into(),
            notes: vec![note],
            ..Default::default()
        };
        let problem = NodeProblem {
            node: "rift".into(),
            address: "100.64.0.1:9444".into(),
            kind: "unreachable",
            message: "timed out".into(),
        };
        let told = |problems| {
            let mut view = ExplainView { problems, ..ExplainView::default() };
            let services = vec![absent.clone()];
            view.add("svc", proto::ExplainResponse { services, node: None });
            view.drop_absent();
            let note = view.services.remove(0).notes.remove(0);
            (note.reason, note.mend)
        };
        assert_eq!(told(Vec::new()).1, ["mcp list", "mcp deploy shop"]);
        let (reason, mend) = told(vec![problem]);
        assert_eq!(reason, "It may be on rift, which did not answer. It was never deployed here.");
        assert_eq!(mend, ["mcp list"]);
    }

    #[test]
    fn a_schedule_that_fails_is_told_beside_its_component() {
        let mut view = ExplainView::default();
        let good = proto::Explanation {
            reason: "It runs, and its check succeeds.".into(),
            ..component(proto::FindingLevel::Fine, "running")
        };
        let dump = proto::Explanation {
            schedule: "dump".into(),
            unit: "shop-api-dump-schedule.service".into(),
            reason: "Its last run, 1 min 0 s ago, ended with exit status 3.".into(),
            started_ms: 0,
            next_try_ms: 1_082_000,
            ..component(proto::FindingLevel::Failed, "failed")
        };
        let service = proto::ExplainedService {
            service: "shop".into(),
            generation: 3,
            active: true,
            notes: Vec::new(),
            components: vec![good],
            schedules: vec![dump],
        };
        view.add("rift", proto::ExplainResponse { services: vec![service], node: None });
        insta::assert_snapshot!(view.text(&style(false)), @r#"
        shop/api, schedule dump on rift: failed since 1970-01-01 00:16:40 (1m0s ago), next try in 22s
          Its last run, 1 min 0 s ago, ended with exit status 3.
          "cannot open ^[[31mit"
          -> mcp logs shop/api
        rift: 1 of 1 components are well, 1 schedule is not
        "#);
        assert!(view.has_failures());
    }
}
