//! The rules of how a new generation takes the place of the old one.

use std::collections::BTreeMap;

use super::Checker;
use crate::definition::service::{
    Component, DeployRules, ExtraSection, Network, Protocol, Strategy,
};
use crate::definition::{model, values};

impl Checker<'_> {
    pub(super) fn deploy(&mut self, deploy: Option<model::Deploy>) -> DeployRules {
        let usual = DeployRules::default();
        let Some(deploy) = deploy else { return usual };
        let strategies = [("recreate", Strategy::Recreate), ("blue-green", Strategy::BlueGreen)];
        let strategy = self
            .choice("deploy.strategy", deploy.strategy.as_deref(), &strategies)
            .unwrap_or(usual.strategy);
        let drain = deploy.drain.and_then(|d| self.keep("deploy.drain", values::duration(&d)));
        if strategy == Strategy::Recreate && drain.is_some() {
            self.complain(
                "deploy.drain",
                "there is nothing to drain with strategy \"recreate\"; take it out, or write strategy = \"blue-green\"",
            );
        }
        DeployRules { strategy, drain: drain.unwrap_or(usual.drain) }
    }

    /// Refuses what two generations beside each other could not be, or what
    /// cannot be handed over from one to the other.
    pub(super) fn blue_green(&mut self, rules: DeployRules, components: &[(usize, Component)]) {
        if rules.strategy == Strategy::Recreate {
            return;
        }
        for (index, component) in components {
            let at = format!("components[{index}]");
            if component.network == Network::Host {
                self.complain(
                    &format!("{at}.network"),
                    "with strategy \"blue-green\" a component cannot be in the node's network; both generations would want the same ports, so give it `ports` or `routes` instead",
                );
            }
            if let Some(udp) = component.ports.iter().position(|p| p.protocol == Protocol::Udp) {
                self.complain(
                    &format!("{at}.ports[{udp}]"),
                    "with strategy \"blue-green\" a component cannot publish a UDP port; it has no connections that could be handed over, so use strategy \"recreate\"",
                );
            }
            let reachable = !component.ports.is_empty() || !component.routes.is_empty();
            if reachable && component.health.is_none() {
                self.complain(
                    &at,
                    "with strategy \"blue-green\" nobody knows when to hand over to a component without a check; add [components.health]",
                );
            }
            self.one_container_port_each(&at, component);
            for extra in &component.extra {
                let port = extra.key.eq_ignore_ascii_case("PublishPort");
                if extra.section == ExtraSection::Container && port {
                    self.complain(
                        &format!("{at}.extra.Container.{}", extra.key),
                        "with strategy \"blue-green\" both generations would want that port; use `ports`",
                    );
                }
            }
        }
    }

    /// A port of the node is one socket, whatever its addresses.
    fn one_container_port_each(&mut self, at: &str, component: &Component) {
        let mut behind: BTreeMap<u16, u16> = BTreeMap::new();
        for (index, port) in component.ports.iter().enumerate() {
            let first = *behind.entry(port.host).or_insert(port.container);
            if first != port.container {
                self.complain(
                    &format!("{at}.ports[{index}]"),
                    format!("with strategy \"blue-green\" port {} leads to one port of the container, whatever the address; write {first} here too, or take another port", port.host),
                );
            }
        }
    }
}
