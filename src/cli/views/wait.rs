//! What was waited for, and whether it came.

use std::time::Duration;

use serde::Serialize;

use crate::cli::args::ServicePath;
use crate::cli::views::age;
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// What a service is waited for to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Ready.
    Ready,
    /// Stopped.
    Stopped,
}

impl Wanted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stopped => "stopped",
        }
    }
}

/// What became of a wait.
#[derive(Debug, Serialize)]
pub struct WaitView {
    /// What was waited for.
    pub wanted: Wanted,
    /// Whether all of them are that.
    pub reached: bool,
    /// Each, as it was seen last.
    pub services: Vec<Seen>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// A service, or one component of it, as it was seen last.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// The node.
    pub node: String,
    /// The service.
    pub service: String,
    /// The only component that counts; `null`: all.
    pub component: Option<String>,
    /// Whether it is as wanted.
    pub reached: bool,
    /// The operation that is under way; `null`: none.
    pub operation: Option<String>,
    /// Its components; none: it is not there.
    pub components: Vec<SeenComponent>,
}

/// A component, as it was seen last.
#[derive(Debug, Serialize)]
pub struct SeenComponent {
    /// Its name.
    pub name: String,
    /// As `mcp status` has it.
    pub state: String,
    /// As `mcp status` has it.
    pub health: String,
    /// Whether it is as wanted.
    pub reached: bool,
}

impl Seen {
    /// Judges a service; none: it is not there, and so it is stopped.
    pub fn new(
        node: &str,
        path: &ServicePath,
        service: Option<proto::ServiceStatus>,
        wanted: Wanted,
    ) -> Self {
        let there = service.is_some();
        let service = service.unwrap_or_default();
        let counts = |c: &proto::ComponentStatus| {
            path.component.as_ref().is_none_or(|one| one.as_str() == c.name)
        };
        let components: Vec<SeenComponent> = service
            .components
            .into_iter()
            .filter(counts)
            .map(|c| SeenComponent {
                reached: match wanted {
                    Wanted::Ready => is_ready(&c),
                    Wanted::Stopped => is_stopped(&c),
                },
                name: c.name,
                state: c.state,
                health: c.health,
            })
            .collect();
        let all = components.iter().all(|c| c.reached);
        let reached = match wanted {
            Wanted::Ready => there && !components.is_empty() && all,
            Wanted::Stopped => all,
        };
        Self {
            node: node.to_owned(),
            service: path.service.to_string(),
            component: path.component.as_ref().map(ToString::to_string),
            reached: reached && service.operation.is_empty(),
            operation: (!service.operation.is_empty()).then_some(service.operation),
            components,
        }
    }

    /// Says so if the component that was asked for is not there.
    pub fn missing_component(&self) -> Option<String> {
        let component = self.component.as_ref().filter(|_| self.components.is_empty())?;
        Some(format!("service {} has no component {component}", self.service))
    }

    fn line(&self, wanted: Wanted, palette: Palette) -> String {
        let name = match &self.component {
            Some(component) => format!("{}/{component}", self.service),
            None => self.service.clone(),
        };
        if self.reached {
            return format!("{}: {}\n", visible(&name), palette.paint(Tone::Good, wanted.as_str()));
        }
        let mut why: Vec<String> =
            self.operation.iter().map(|o| format!("a {o} is under way")).collect();
        let others = self.components.iter().filter(|c| !c.reached);
        why.extend(others.map(|c| match c.health.as_str() {
            "" | "none" => format!("{} is {}", c.name, c.state),
            health => format!("{} is {}, {health}", c.name, c.state),
        }));
        let not = palette.paint(Tone::Bad, &format!("not {}", wanted.as_str()));
        format!("{}: {not}: {}\n", visible(&name), visible(&why.join("; ")))
    }
}

fn is_ready(c: &proto::ComponentStatus) -> bool {
    match c.state.as_str() {
        "running" => !matches!(c.health.as_str(), "starting" | "unhealthy" | "unknown"),
        "done" => true,
        // What has done its work, though nothing waits for that.
        "stopped" => c.desired == "running" && c.drifts.is_empty() && c.result.is_empty(),
        _ => false,
    }
}

fn is_stopped(c: &proto::ComponentStatus) -> bool {
    matches!(c.state.as_str(), "stopped" | "failed" | "missing")
}

impl WaitView {
    /// Puts together what was seen last.
    pub fn new(wanted: Wanted, services: Vec<Seen>, elapsed: Duration) -> Self {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Self { wanted, reached: services.iter().all(|s| s.reached), services, elapsed_ms }
    }

    /// Returns one line for each.
    pub fn text(&self, palette: Palette) -> String {
        let mut text: String =
            self.services.iter().map(|seen| seen.line(self.wanted, palette)).collect();
        if self.services.iter().any(|seen| !seen.reached) {
            let time = age::elapsed(Duration::from_millis(self.elapsed_ms));
            text.push_str(&format!("gave up after {time}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(state: &str, health: &str, desired: &str) -> proto::ComponentStatus {
        proto::ComponentStatus {
            name: "a".to_owned(),
            state: state.to_owned(),
            health: health.to_owned(),
            desired: desired.to_owned(),
            ..proto::ComponentStatus::default()
        }
    }

    fn reached(wanted: Wanted, operation: &str, components: Vec<proto::ComponentStatus>) -> bool {
        let service = proto::ServiceStatus {
            operation: operation.to_owned(),
            components,
            ..Default::default()
        };
        Seen::new("n", &"web".parse().unwrap(), Some(service), wanted).reached
    }

    #[test]
    fn a_service_is_ready_when_all_of_it_is_and_nobody_is_at_it() {
        let good = || component("running", "healthy", "running");
        assert!(reached(Wanted::Ready, "", vec![good(), component("running", "none", "running")]));
        assert!(reached(Wanted::Ready, "", vec![component("stopped", "none", "running")]));
        assert!(!reached(Wanted::Ready, "deploy", vec![good()]));
        assert!(!reached(Wanted::Ready, "", Vec::new()));
        for (state, health) in
            [("running", "unhealthy"), ("running", "starting"), ("starting", ""), ("failed", "")]
        {
            assert!(!reached(Wanted::Ready, "", vec![good(), component(state, health, "running")]));
        }
        assert!(reached(Wanted::Ready, "", vec![good(), component("done", "none", "running")]));
        assert!(!reached(Wanted::Ready, "", vec![component("stopped", "none", "stopped")]));
    }

    #[test]
    fn a_service_is_stopped_when_nothing_of_it_runs() {
        assert!(reached(Wanted::Stopped, "", vec![component("failed", "", "running")]));
        assert!(!reached(Wanted::Stopped, "stop", vec![component("stopped", "", "stopped")]));
        assert!(!reached(Wanted::Stopped, "", vec![component("stopping", "", "stopped")]));
        let gone = Seen::new("n", &"web".parse().unwrap(), None, Wanted::Stopped);
        assert!(gone.reached);
        let gone = Seen::new("n", &"web/api".parse().unwrap(), None, Wanted::Ready);
        assert!(!gone.reached && gone.missing_component().is_some());
    }
}
