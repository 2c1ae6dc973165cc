//! The units of the boot order: a gate for every service, a target and a
//! check for every stage. They belong to the node and to no generation.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::arguments::seconds;
use super::checks::probe_command;
use super::escape::exec_line;
use super::render::{RenderError, Renderer};
use crate::deployment::model::Timing;
use crate::deployment::{Deployment, Sequence, Stage};
use crate::names::{ServiceName, UnitName};

/// How the first line of every file begins.
pub const MARK: &str = "# Made by MCP for the boot order";

/// What one try of a stage's probe allows; systemd tries again for ever.
const PROBE: Timing = Timing {
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(5),
    retries: 4,
    start_period: Duration::ZERO,
};

/// The services on the node's disk; nothing more is known of those that the
/// registry does not know.
pub type Services<'a> = BTreeMap<ServiceName, Option<&'a Deployment>>;

/// `gate.target.tera`.
#[derive(Debug, Serialize)]
struct GateView {
    header: Vec<String>,
    description: String,
    everything: String,
    after: Vec<String>,
}

/// `stage.target.tera` and `stage-check.service.tera`.
#[derive(Debug, Serialize)]
struct StageView {
    header: Vec<String>,
    description: String,
    everything: String,
    target: String,
    check: String,
    after: Vec<String>,
    timeout: Option<String>,
    ready: Vec<String>,
    probes: Vec<String>,
}

fn header(what: &str) -> Vec<String> {
    let mark = MARK.trim_start_matches("# ");
    vec![
        format!("{mark}: {what}."),
        "[[boot.sequence]] of the agent's configuration says what stands here; an edit".to_owned(),
        "is lost when that or a service changes.".to_owned(),
    ]
}

impl Renderer {
    /// Renders the units of the boot order, by file name.
    ///
    /// # Errors
    ///
    /// A template that was replaced does not render.
    pub fn boot(
        &self,
        sequence: &Sequence,
        services: &Services<'_>,
    ) -> Result<Vec<(String, String)>, RenderError> {
        let mut files = Vec::new();
        for (index, stage) in sequence.stages.iter().enumerate() {
            let before = sequence.stages.get(..index).unwrap_or_default();
            let view = self.stage_view(stage, before, services);
            files.push((view.target.clone(), self.file("stage.target.tera", &view)?));
            files.push((view.check.clone(), self.file("stage-check.service.tera", &view)?));
        }
        for service in services.keys() {
            let view = GateView {
                header: header(&format!("what {service} starts after")),
                description: format!("Service {service} may start"),
                everything: UnitName::everything().to_string(),
                after: targets(sequence.before(service)),
            };
            let name = UnitName::gate(service).to_string();
            files.push((name, self.file("gate.target.tera", &view)?));
        }
        Ok(files)
    }

    fn stage_view(&self, stage: &Stage, before: &[Stage], services: &Services<'_>) -> StageView {
        let present = stage.services.iter().filter(|service| services.contains_key(*service));
        let running = stage
            .services
            .iter()
            .filter_map(|service| services.get(service).copied().flatten())
            .filter(|deployment| deployment.active);
        let probes = running.flat_map(|deployment| &deployment.containers).flat_map(|container| {
            stage
                .probes(container)
                .into_iter()
                .map(|probe| exec_line(&probe_command(&probe, &PROBE, self.agent())))
        });
        StageView {
            header: header(&format!("the stage {}", stage.name)),
            description: format!("Boot stage {}", stage.name),
            everything: UnitName::everything().to_string(),
            target: UnitName::stage(&stage.name).to_string(),
            check: UnitName::stage_check(&stage.name).to_string(),
            after: targets(before),
            // What must be ready is waited for without end.
            timeout: (!stage.required).then(|| seconds(stage.timeout)),
            ready: present.map(|service| UnitName::ready_target(service).to_string()).collect(),
            probes: probes.collect(),
        }
    }
}

fn targets(stages: &[Stage]) -> Vec<String> {
    stages.iter().map(|stage| UnitName::stage(&stage.name).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{Leases, NodeFacts, StageHealth, resolve};
    use crate::names::Generation;
    use crate::quadlet::PodmanVersion;

    #[test]
    fn a_gate_stands_behind_the_stages_before_and_a_check_waits_for_its_services() {
        let text = "name = \"a\"\n[[components]]\nname = \"a\"\nimage = \"localhost/a:1\"\nports = [\"127.0.0.1:8053:53\", \"53:53/udp\"]\n";
        let service = crate::definition::load(text).unwrap();
        let facts = NodeFacts::default();
        let mut a = resolve(&service, &facts, &Leases::new(), None, Generation(1)).unwrap();
        let stage = |name: &str, services: &[&str], required| Stage {
            name: name.parse().unwrap(),
            services: services.iter().map(|s| s.parse().unwrap()).collect(),
            timeout: Duration::from_secs(90),
            health: Some(StageHealth::Tcp),
            required,
        };
        let stages = vec![stage("one", &["a", "gone"], true), stage("two", &["b"], false)];
        let sequence = Sequence { stages };
        let name = |name: &str| name.parse::<ServiceName>().unwrap();
        let renderer = Renderer::new(PodmanVersion::USUAL, "/usr/bin/mcp-agent", &[]).unwrap();
        let shown = |a: &Deployment| {
            let services =
                Services::from([(name("a"), Some(a)), (name("b"), None), (name("c"), None)]);
            let files = renderer.boot(&sequence, &services).unwrap();
            assert!(files.iter().all(|(_, text)| text.starts_with(MARK)));
            let file = |(name, text): &(String, String)| {
                let body = text.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>();
                format!("==> {name}{}\n", body.join("\n"))
            };
            files.iter().map(file).collect::<String>()
        };
        insta::assert_snapshot!(shown(&a));
        // What is stopped has no ports to ask.
        a.active = false;
        assert!(!shown(&a).contains("probe"));
        let none =
            renderer.boot(&Sequence::default(), &Services::from([(name("a"), None)])).unwrap();
        assert_eq!(none.len(), 1);
        assert!(!none[0].1.contains("After="), "{none:?}");
    }
}
