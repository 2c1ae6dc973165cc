//! `mcp list`: what the registries hold.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::problem::NodeProblem;
use crate::cli::views::table::{self, Cell};
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone};

/// Every registered service of the nodes asked.
#[derive(Debug, Default, Serialize)]
pub struct ListView {
    /// The services, by node and name.
    pub services: Vec<ListService>,
    /// The nodes that did not answer.
    pub problems: Vec<NodeProblem>,
}

/// One registered service.
#[derive(Debug, Serialize)]
pub struct ListService {
    /// Its name.
    pub service: String,
    /// Its node.
    pub node: String,
    /// Whether it is to run.
    pub active: bool,
    /// The deployment in force.
    pub generation: u64,
    /// When that was accepted, RFC 3339.
    pub deployed_at: Option<String>,
    /// Who asked for it.
    pub deployed_by: String,
    /// The definition's comment.
    pub comment: String,
    /// Its components.
    pub components: Vec<ListComponent>,
    #[serde(skip)]
    age: Option<std::time::Duration>,
}

/// One registered component.
#[derive(Debug, Serialize)]
pub struct ListComponent {
    /// Its name.
    pub component: String,
    /// Its image.
    pub image: String,
    /// Its leased ports.
    pub ports: Vec<ListPort>,
}

/// One leased port.
#[derive(Debug, Serialize)]
pub struct ListPort {
    /// The route it was leased for.
    pub route: String,
    /// The port.
    pub port: u32,
}

impl ListView {
    /// Adds what one node answered.
    pub fn add(&mut self, node: &str, answer: proto::ListResponse, now: Timestamp) {
        let port = |lease: proto::PortLease| ListPort { route: lease.route, port: lease.port };
        let component = |c: proto::RegisteredComponent| ListComponent {
            component: c.name,
            image: c.image,
            ports: c.ports.into_iter().map(port).collect(),
        };
        self.services.extend(answer.services.into_iter().map(|service| ListService {
            service: service.name,
            node: node.to_owned(),
            active: service.active,
            generation: service.generation,
            deployed_at: age::rfc3339(service.deployed_at_ms),
            age: age::since(service.deployed_at_ms, now),
            deployed_by: service.deployed_by,
            comment: service.comment,
            components: service.components.into_iter().map(component).collect(),
        }));
    }

    /// Returns the table, one row a component.
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
            "GENERATION",
            "IMAGE",
            "PORTS",
            "DEPLOYED",
            "BY",
        ];
        let rows = self
            .services
            .iter()
            .flat_map(|service| service.components.iter().map(|component| row(service, component)));
        table::render(header, &rows.collect::<Vec<_>>(), palette)
    }
}

fn row(service: &ListService, component: &ListComponent) -> [Cell; 9] {
    let desired = if service.active {
        Cell::new("running").tone(Tone::Good)
    } else {
        Cell::new("stopped").tone(Tone::Faint)
    };
    let ports: Vec<String> =
        component.ports.iter().map(|lease| format!("{}={}", lease.route, lease.port)).collect();
    let deployed = service.age.map(|age| format!("{} ago", age::largest_two(age)));
    [
        Cell::new(&service.service),
        Cell::new(&component.component),
        Cell::new(&service.node),
        desired,
        Cell::new(service.generation.to_string()),
        Cell::new(&component.image),
        Cell::or_dash(ports.join(",")),
        Cell::or_dash(deployed.unwrap_or_default()),
        Cell::or_dash(&service.deployed_by),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> ListView {
        let mut view = ListView::default();
        let component = |name: &str, ports| proto::RegisteredComponent {
            name: name.into(),
            image: "mcr.net:8443/mcq:v0.4.0".into(),
            ports,
            ..proto::RegisteredComponent::default()
        };
        let service = proto::RegisteredService {
            name: "mcq".into(),
            active: true,
            generation: 3,
            deployed_at_ms: 1_795_228_747_000,
            deployed_by: "kyle".into(),
            comment: "queue".into(),
            components: vec![
                component("mcq", vec![proto::PortLease { route: "default".into(), port: 18_443 }]),
                component("worker", Vec::new()),
            ],
        };
        let answer = proto::ListResponse { services: vec![service] };
        view.add("rift", answer, Timestamp::from_second(1_795_228_747 + 139).unwrap());
        view
    }

    #[test]
    fn the_table() {
        insta::assert_snapshot!(view().text(Palette::PLAIN), @r"
        SERVICE  COMPONENT  NODE  DESIRED  GENERATION  IMAGE                    PORTS          DEPLOYED   BY
        mcq      mcq        rift  running  3           mcr.net:8443/mcq:v0.4.0  default=18443  2m19s ago  kyle
        mcq      worker     rift  running  3           mcr.net:8443/mcq:v0.4.0  -              2m19s ago  kyle
        ");
    }

    #[test]
    fn the_document() {
        insta::assert_snapshot!(serde_json::to_string(&view()).unwrap(), @r#"{"services":[{"service":"mcq","node":"rift","active":true,"generation":3,"deployed_at":"2026-11-21T02:39:07Z","deployed_by":"kyle","comment":"queue","components":[{"component":"mcq","image":"mcr.net:8443/mcq:v0.4.0","ports":[{"route":"default","port":18443}]},{"component":"worker","image":"mcr.net:8443/mcq:v0.4.0","ports":[]}]}],"problems":[]}"#);
    }
}
