//! What is known of a component, before anything is made of it.

use super::journal::{End, Journal};
use super::owner::Owner;
use crate::agent::monitor::drift::Drift;
use crate::agent::monitor::seen::ComponentState;
use crate::definition::service::Restart;
use crate::deployment::{Container, Publish};
use crate::names::{NetworkName, ServiceName};

/// How long a component that was restarted by itself has to run before it
/// counts as up again: the longest pause between two tries.
const SETTLED_MS: i64 = 60_000;

/// What is known of a component.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Its service.
    pub service: ServiceName,
    /// What it should be.
    pub container: Container,
    /// The networks that its service has made.
    pub networks: Vec<NetworkName>,
    /// Whose it is.
    pub owner: Owner,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Whether it is to run.
    pub desired: bool,
    /// What MCP does with its service just now.
    pub operation: Option<Operation>,
    /// Whether its image is being pulled.
    pub pulling: bool,
    /// Its state in one word.
    pub state: ComponentState,
    /// What systemd says.
    pub unit: UnitFacts,
    /// What its checks say: a word, why, and what follows.
    pub health: (&'static str, String, String),
    /// How often it was restarted by itself since it was last started.
    pub restarts: u32,
    /// How it differs from what was deployed.
    pub drift: Vec<Drift>,
    /// What was written about it lately.
    pub journal: Journal,
    /// What the last pull of its image said; empty: it went well.
    pub pull: Vec<String>,
    /// Whether its image is there; none: not asked.
    pub image_there: Option<bool>,
    /// What podman's generator says against the files on disk.
    pub generator: Vec<String>,
    /// The paths that it mounts or reads.
    pub mounts: Vec<Mount>,
    /// Who has its ports.
    pub holders: Vec<Holder>,
    /// What it waits for, from what it requires to what is not ready for
    /// itself.
    pub chain: Vec<Link>,
    /// The boot stage that it waits for.
    pub stage: Option<String>,
    /// How it was stopped, where MCP did.
    pub stop: Option<Stop>,
    /// File systems without room, a sentence each.
    pub full: Vec<String>,
    /// Whether podman's pause process lives.
    pub pause: bool,
}

/// An operation of MCP that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What it is called.
    pub word: &'static str,
    /// Whether it finishes or undoes what an agent before was at.
    pub recovers: bool,
    /// Whether it has components up, and waits for them.
    pub starts: bool,
    /// Whether a stop ends it.
    pub gives_way: bool,
    /// When it began, as [`Evidence::now_ms`].
    pub since_ms: i64,
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFacts {
    /// `loaded`, `not-found`, `masked`, `bad-setting`...
    pub load: String,
    /// The finer state, such as `auto-restart`.
    pub sub: String,
    /// How its last run ended (`systemd.exec(5)`, `$SERVICE_RESULT`).
    pub result: String,
    /// How its main process ended.
    pub end: Option<End>,
    /// Drop-ins that systemd has read.
    pub drop_ins: Vec<String>,
    /// A command before or after the main one that failed, and its status.
    pub failed_command: Option<(String, i32)>,
    /// When its main process was started, as [`Evidence::now_ms`].
    pub started_ms: Option<i64>,
    /// When it came to be as it is.
    pub since_ms: Option<i64>,
    /// When it is tried again.
    pub next_try_ms: Option<i64>,
}

/// A path of the node that a component uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The path.
    pub path: String,
    /// Whether it is mounted; else it is a file that is read.
    pub mounted: bool,
    /// Why it cannot be looked at; none: it is there.
    pub problem: Option<String>,
    /// Its owner's number.
    pub uid: u32,
    /// Its mode's last nine bits.
    pub mode: u32,
}

/// Who has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The port.
    pub port: Publish,
    /// Who, as far as the agent can see.
    pub by: String,
    /// The unit of the same user that it belongs to, where that is known.
    pub unit: Option<String>,
    /// Whether it is a systemd itself.
    pub manager: bool,
}

/// One link of the chain of what waits for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The component, `shop/db`, else the unit.
    pub name: String,
    /// Whether it is a component of MCP.
    pub component: bool,
    /// Its state in one word.
    pub state: String,
    /// Why, if it is the last: the first broken link.
    pub why: String,
    /// What to type, if it is the last.
    pub mend: Vec<String>,
}

/// That MCP stopped a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Who asked for it.
    pub by: String,
    /// How long ago, in milliseconds.
    pub ago_ms: i64,
}

impl Evidence {
    /// Returns `service/component`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.service, self.container.spec.name)
    }

    /// Tells whether it should be up, and is not, or does not stay up.
    pub fn is_troubled(&self) -> bool {
        use ComponentState::{
            Done, Failed, Missing, Restarting, Running, Starting, Stopped, Stopping,
        };
        self.desired
            && match self.state {
                Failed | Restarting | Stopped | Missing => true,
                Starting => self.restarts > 0 || !self.journal.failed.is_empty(),
                Running => self.is_flapping(),
                Stopping | Done => false,
            }
    }

    /// Tells whether it should be up, and nobody has tried yet: where it was
    /// tried, that is the reason.
    pub fn has_not_begun(&self) -> bool {
        let down = matches!(self.state, ComponentState::Stopped | ComponentState::Starting);
        self.desired && down && self.unit.sub == "dead"
    }

    /// Tells whether it runs, but was restarted only just.
    pub fn is_flapping(&self) -> bool {
        let up_ms = self.unit.since_ms.map_or(i64::MAX, |since| self.now_ms.saturating_sub(since));
        self.restarts > 0 && up_ms < SETTLED_MS && !self.journal.failed.is_empty()
    }

    /// Returns how its main process ended last.
    pub fn end(&self) -> Option<End> {
        let at_rest = matches!(self.state, ComponentState::Failed | ComponentState::Restarting);
        let of_systemd = if at_rest { self.unit.end } else { None };
        of_systemd.or_else(|| self.journal.end())
    }

    /// Returns systemd's word for how it failed last; empty: it did not.
    pub fn result(&self) -> &str {
        let at_rest = matches!(self.state, ComponentState::Failed | ComponentState::Restarting);
        match self.unit.result.as_str() {
            "" | "success" => self.journal.result().unwrap_or_default(),
            result if at_rest => result,
            _ => self.journal.result().unwrap_or_default(),
        }
    }

    /// Tells whether systemd starts it again whenever it ends.
    pub fn comes_back(&self) -> bool {
        match self.container.spec.restart {
            Restart::Always => true,
            Restart::OnFailure | Restart::No => false,
        }
    }

    /// Returns the command that shows its output.
    pub fn logs(&self) -> String {
        format!("mcp logs {}", self.path())
    }

    /// Returns the command that starts it anew.
    pub fn restart(&self) -> String {
        format!("mcp restart {}", self.path())
    }
}

/// Says how long something took, for people.
pub fn span(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) if m < 10 => format!("{m} min {s} s"),
        (0, 0, m, _) => format!("{m} min"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}
