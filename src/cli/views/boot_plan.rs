//! `mcp boot plan`: what starts after what.

use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::problem::NodeProblem;
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// How the nodes asked boot.
#[derive(Debug, Default, Serialize)]
pub struct BootPlanView {
    /// The nodes.
    pub nodes: Vec<BootNode>,
    /// The nodes that did not answer.
    pub problems: Vec<NodeProblem>,
}

/// How one node boots.
#[derive(Debug, Serialize)]
pub struct BootNode {
    /// Its name.
    pub node: String,
    /// The stages, in their order.
    pub stages: Vec<BootStage>,
    /// The services of no stage, which come after the last.
    pub services: Vec<BootService>,
}

/// One stage.
#[derive(Debug, Serialize)]
pub struct BootStage {
    /// Its name.
    pub stage: String,
    /// The target that stands for it.
    pub unit: String,
    /// Whether what comes after it waits for as long as it takes.
    pub required: bool,
    /// When the boot goes on; for a required stage, when it is late.
    pub timeout_s: u32,
    /// `tcp`, `http`, `grpc` or `cmd`; `null`: none.
    pub health: Option<String>,
    /// `reached`, `waiting`, `late` or `inactive`.
    pub state: String,
    /// Its services.
    pub services: Vec<BootService>,
    /// Its services that are not deployed.
    pub unknown: Vec<String>,
}

/// One service.
#[derive(Debug, Serialize)]
pub struct BootService {
    /// Its name.
    pub service: String,
    /// Whether it starts at a boot.
    pub active: bool,
    /// Whether it heeds the stages; it does once it is deployed again.
    pub ordered: bool,
    /// Services that must be ready first.
    pub depends_on: Vec<String>,
    /// Its components.
    pub components: Vec<BootComponent>,
}

/// One component.
#[derive(Debug, Serialize)]
pub struct BootComponent {
    /// Its name.
    pub component: String,
    /// Its unit.
    pub unit: String,
    /// What makes it ready.
    pub ready: String,
    /// Components of its service that must be ready first.
    pub waits_for: Vec<String>,
}

impl From<proto::BootService> for BootService {
    fn from(s: proto::BootService) -> Self {
        let component = |c: proto::BootComponent| BootComponent {
            component: c.name,
            unit: c.unit,
            ready: c.ready,
            waits_for: c.waits_for,
        };
        Self {
            service: s.name,
            active: s.active,
            ordered: !s.unordered,
            depends_on: s.depends_on,
            components: s.components.into_iter().map(component).collect(),
        }
    }
}

impl From<proto::BootStage> for BootStage {
    fn from(s: proto::BootStage) -> Self {
        Self {
            stage: s.name,
            unit: s.unit,
            required: s.required,
            timeout_s: s.timeout_s,
            health: Some(s.health).filter(|health| !health.is_empty()),
            state: s.state,
            services: s.services.into_iter().map(BootService::from).collect(),
            unknown: s.unknown,
        }
    }
}

impl BootPlanView {
    /// Adds what one node answered.
    pub fn add(&mut self, node: &str, answer: proto::BootPlanResponse) {
        self.nodes.push(BootNode {
            node: node.to_owned(),
            stages: answer.stages.into_iter().map(BootStage::from).collect(),
            services: answer.services.into_iter().map(BootService::from).collect(),
        });
    }

    /// Returns one tree a node.
    pub fn text(&self, palette: Palette) -> String {
        self.nodes.iter().map(|node| node.text(palette)).collect()
    }
}

/// A line of a tree, and the lines below it.
struct Branch(String, Vec<Branch>);

impl Branch {
    fn lines(&self, before: &str, last: bool, text: &mut String) {
        let (corner, below) = if last { ("`- ", "   ") } else { ("|- ", "|  ") };
        for part in [before, corner, &self.0, "\n"] {
            text.push_str(part);
        }
        let before = format!("{before}{below}");
        below_of(&self.1, &before, text);
    }
}

fn below_of(branches: &[Branch], before: &str, text: &mut String) {
    for (index, branch) in branches.iter().enumerate() {
        branch.lines(before, index + 1 == branches.len(), text);
    }
}

impl BootNode {
    fn text(&self, palette: Palette) -> String {
        let mut text = format!("{}\n", palette.paint(Tone::Strong, &visible(&self.node)));
        let mut branches: Vec<Branch> = self.stages.iter().map(|s| s.branch(palette)).collect();
        let services: Vec<Branch> = self.services.iter().map(|s| s.branch(palette)).collect();
        if self.stages.is_empty() {
            branches = services;
        } else if !services.is_empty() {
            branches.push(Branch("after all stages".to_owned(), services));
        }
        if branches.is_empty() {
            branches.push(Branch(palette.paint(Tone::Faint, "nothing is deployed"), Vec::new()));
        }
        below_of(&branches, "", &mut text);
        text
    }
}

impl BootStage {
    fn branch(&self, palette: Palette) -> Branch {
        let timeout = age::largest_two(std::time::Duration::from_secs(self.timeout_s.into()));
        let how = if self.required {
            format!("required, late after {timeout}")
        } else {
            format!("the boot goes on after {timeout}")
        };
        let health =
            self.health.as_ref().map(|h| format!(", {} checks", visible(h))).unwrap_or_default();
        let tone = match self.state.as_str() {
            "reached" => Tone::Good,
            "late" => Tone::Bad,
            "waiting" => Tone::Unsure,
            _ => Tone::Faint,
        };
        let name = palette.paint(Tone::Strong, &format!("stage {}", visible(&self.stage)));
        let state = palette.paint(tone, &visible(&self.state));
        let missing = self.unknown.iter().map(|service| {
            let what = format!("{}  not deployed", visible(service));
            Branch(palette.paint(Tone::Unsure, &what), Vec::new())
        });
        let services = self.services.iter().map(|s| s.branch(palette)).chain(missing).collect();
        Branch(format!("{name}  {how}{health}  {state}"), services)
    }
}

impl BootService {
    fn branch(&self, palette: Palette) -> Branch {
        let mut line = format!("{}{}", visible(&self.service), after(&self.depends_on));
        if !self.active {
            line = palette.paint(Tone::Faint, &format!("{line}  stopped, and not waited for"));
        } else if !self.ordered {
            let why = "  knows no stages yet; deploy it again";
            line.push_str(&palette.paint(Tone::Unsure, why));
        }
        let component = |c: &BootComponent| {
            let (name, ready) = (visible(&c.component), visible(&c.ready));
            Branch(format!("{name}  ready when {ready}{}", after(&c.waits_for)), Vec::new())
        };
        let components =
            if self.active { self.components.iter().map(component).collect() } else { Vec::new() };
        Branch(line, components)
    }
}

/// Says what must be ready first.
fn after(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("  after {}", visible(&names.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, active: bool, depends_on: &[&str]) -> proto::BootService {
        proto::BootService {
            name: name.into(),
            active,
            depends_on: depends_on.iter().map(ToString::to_string).collect(),
            components: vec![
                proto::BootComponent {
                    name: "db".into(),
                    unit: format!("{name}-db.service"),
                    ready: "its command check succeeds".into(),
                    waits_for: Vec::new(),
                },
                proto::BootComponent {
                    name: "api".into(),
                    unit: format!("{name}-api.service"),
                    ready: "it runs".into(),
                    waits_for: vec!["db".into()],
                },
            ],
            unordered: name == "old",
        }
    }

    #[test]
    fn the_tree() {
        let stage = |name: &str, required: bool, state: &str, services| proto::BootStage {
            name: name.into(),
            unit: format!("mcp-{name}.target"),
            required,
            timeout_s: 120,
            health: if required { "tcp".into() } else { String::new() },
            state: state.into(),
            services,
            unknown: if required { Vec::new() } else { vec!["mcsn".into()] },
        };
        let mut view = BootPlanView::default();
        let services = vec![service("mcq", true, &["mcr"]), service("old", true, &[])];
        let stages = vec![
            stage("foundation", true, "reached", vec![service("mcr", true, &[])]),
            stage("core", false, "waiting", vec![service("mcns", false, &["mcr"])]),
        ];
        view.add("rift", proto::BootPlanResponse { stages, services });
        view.add("svc", proto::BootPlanResponse::default());
        insta::assert_snapshot!(view.text(Palette::PLAIN), @r"
        rift
        |- stage foundation  required, late after 2m0s, tcp checks  reached
        |  `- mcr
        |     |- db  ready when its command check succeeds
        |     `- api  ready when it runs  after db
        |- stage core  the boot goes on after 2m0s  waiting
        |  |- mcns  after mcr  stopped, and not waited for
        |  `- mcsn  not deployed
        `- after all stages
           |- mcq  after mcr
           |  |- db  ready when its command check succeeds
           |  `- api  ready when it runs  after db
           `- old  knows no stages yet; deploy it again
              |- db  ready when its command check succeeds
              `- api  ready when it runs  after db
        svc
        `- nothing is deployed
        ");
    }
}
