//! A node with boot stages: services to put in them, boots without the agent,
//! and the moments at which units came up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fixture::Machine;
use crate::wait::until_within;

/// Far beyond what a boot needs, also on a busy machine.
pub const BOOT: Duration = Duration::from_secs(300);

/// A service of one component, which leases a port.
pub fn service(name: &str, image: &str, depends_on: &[&str], more: &str) -> String {
    format!(
        "name = {name:?}\ndepends_on = {depends_on:?}\n\n[[components]]\nname = {name:?}\nimage = \"localhost/lab/{image}\"\n{more}\n[[components.routes]]\nport = 8080\n"
    )
}

/// A web server that has a check.
pub fn web(name: &str, depends_on: &[&str]) -> String {
    service(name, "web:v1", depends_on, "health = { http = \"/health\" }")
}

/// One stage of a configuration.
pub fn stage(name: &str, services: &[&str], more: &str) -> String {
    format!("[[boot.sequence]]\nname = {name:?}\nservices = {services:?}\n{more}\n")
}

/// What systemd says of a unit: its state, when it began to start and when it
/// was up, in microseconds since the boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    pub active: String,
    pub begun: u64,
    pub ready: u64,
    pub restarts: u32,
}

impl Machine {
    /// Gives the agent boot stages while it runs.
    #[track_caller]
    pub fn reload_with(&self, text: &str) {
        self.spoil();
        self.write_as_mcp("/srv/mcp/mcp-agent.toml", text);
        self.as_root("systemctl reload mcp-agent").ok();
    }

    /// Boots the machine anew, by a reboot or by a power loss, with an agent
    /// that does not start.
    #[track_caller]
    pub fn boot_without_agent(&self, how: Boot) {
        self.spoil();
        self.as_root("systemctl disable --quiet mcp-agent").ok();
        match how {
            Boot::Reboot => self.lab("reboot"),
            Boot::PowerLoss => {
                self.lab("kill");
                self.lab("start");
            }
        }
        assert_ne!(self.as_root("systemctl is-active mcp-agent").code, 0);
    }

    /// Returns what systemd says of units, by name.
    #[track_caller]
    pub fn moments(&self, units: &[String]) -> BTreeMap<String, Moment> {
        let properties =
            "Id,ActiveState,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic,NRestarts";
        let script = format!("systemctl --user show -p {properties} {}", units.join(" "));
        let shown = self.as_mcp(&script, "").ok().out;
        let blocks = shown.split("\n\n").filter(|block| !block.trim().is_empty());
        blocks
            .map(|block| {
                let value = |key: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
                    line.unwrap_or_default().to_owned()
                };
                let number = |key: &str| value(key).parse().unwrap_or_default();
                let moment = Moment {
                    active: value("ActiveState"),
                    begun: number("InactiveExitTimestampMonotonic"),
                    ready: number("ActiveEnterTimestampMonotonic"),
                    restarts: value("NRestarts").parse().unwrap_or_default(),
                };
                (value("Id"), moment)
            })
            .collect()
    }

    /// Waits until units are up.
    #[track_caller]
    pub fn until_active(&self, units: &[&str]) {
        until_within(BOOT, &format!("{units:?} are up"), || {
            self.states(units).iter().all(|state| state == "active").then_some(())
        });
    }
}

/// How a machine goes down before it boots.
#[derive(Debug, Clone, Copy)]
pub enum Boot {
    Reboot,
    PowerLoss,
}
