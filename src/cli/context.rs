//! What every command is given.

use std::path::PathBuf;

use futures_util::future::join_all;
use serde::Serialize;

use crate::cli::config::{self, Address, Node, Settings};
use crate::cli::connection;
use crate::cli::environment::Environment;
use crate::cli::error::{CliError, ErrorKind, OutputError};
use crate::cli::local::{self, LocalDefinition};
use crate::cli::peers::Peers;
use crate::cli::target;
use crate::names::{NodeName, ServiceName};
use crate::rpc::client::AgentClient;
use crate::ui::{Ui, visible};

/// How a command that ran to its end went; errors of the command itself are a
/// [`CliError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// It was asked whether something would change, and it would.
    Differs,
    /// What went wrong has been shown already.
    Shown(ErrorKind),
    /// A command that ran elsewhere ended with this status.
    Status(u8),
}

impl Exit {
    /// Returns the exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Differs => 5,
            Self::Shown(kind) => kind.exit_code(),
            Self::Status(status) => status,
        }
    }
}

/// What every command is given: the terminal, the options before the
/// command's own, and the environment.
#[derive(Debug)]
pub struct Context<'a> {
    /// The terminal.
    pub ui: &'a Ui,
    /// The environment.
    pub environment: &'a Environment,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--json`.
    pub json: bool,
    /// `-n` before the command.
    pub nodes: Vec<NodeName>,
    /// Where the versions of the agents are noted.
    pub peers: Peers,
}

/// The node of a service, a connection to it, and the local definition.
#[derive(Debug)]
pub struct ServiceTarget {
    /// The node.
    pub node: Node,
    /// Its agent.
    pub client: AgentClient,
    /// The service's file, if there is one.
    pub local: Option<LocalDefinition>,
}

impl ServiceTarget {
    /// Writes `active` into the local definition, if there is one.
    ///
    /// # Errors
    ///
    /// The file is not TOML or cannot be written.
    pub fn set_active(&self, context: &Context<'_>, active: bool) -> Result<(), CliError> {
        let Some(local) = &self.local else {
            return Ok(());
        };
        if local.set_active(active)? {
            let path = local.path.display();
            context.ui.status(&format!("set active = {active} in {path}"));
        }
        Ok(())
    }
}

/// What a node answered.
#[derive(Debug)]
pub struct Answer<T> {
    /// The node.
    pub node: Node,
    /// The answer, or why there is none.
    pub result: Result<T, CliError>,
}

impl<T> Answer<T> {
    /// Adds what can be done where the agent is down: what runs goes on, and
    /// systemd knows as much; of one service, or of what failed.
    #[must_use]
    pub fn or_without_agent(self, service: Option<&ServiceName>) -> Self {
        let Self { node, result } = self;
        let units =
            service.map_or_else(|| "--failed".to_owned(), |service| format!("status '{service}*'"));
        let place = match &node.address {
            Address::Socket(_) => "",
            Address::Tls { .. } => "on the node: ",
        };
        let result = result.map_err(|error| match error.kind {
            ErrorKind::Unreachable => error
                .hint("the agent only looks: what runs goes on without it")
                .hint(format!("{place}sudo journalctl -u mcp-agent -n 20"))
                .hint(format!("{place}sudo systemctl --user -M mcp@ {units}"))
                .hint(format!("{place}sudo mcp-agent doctor")),
            ErrorKind::Failed | ErrorKind::Usage | ErrorKind::NotAllowed | ErrorKind::TimeIsUp => {
                error
            }
        });
        Self { node, result }
    }
}

impl Context<'_> {
    /// Loads the config.
    ///
    /// # Errors
    ///
    /// The config is invalid or cannot be read.
    pub fn settings(&self) -> Result<Settings, CliError> {
        let settings = config::load(self.environment, self.config.as_deref())?;
        Ok(Settings { peers: self.peers.clone(), ..settings })
    }

    /// Joins the nodes chosen before the command and after it.
    fn chosen(&self, own: &[NodeName]) -> Vec<NodeName> {
        self.nodes.iter().chain(own).cloned().collect()
    }

    /// Returns the node of a command that goes to one.
    ///
    /// # Errors
    ///
    /// It is not clear which node is meant.
    pub fn one_node(
        &self,
        settings: &Settings,
        own: &[NodeName],
        defined: Option<&NodeName>,
    ) -> Result<Node, CliError> {
        Ok(target::one(settings, &self.chosen(own), defined)?.clone())
    }

    /// Returns the nodes of a command that goes to several: the chosen ones,
    /// else all.
    ///
    /// # Errors
    ///
    /// A chosen node is not in the config.
    pub fn several(&self, settings: &Settings, own: &[NodeName]) -> Result<Vec<Node>, CliError> {
        let nodes = target::several(settings, &self.chosen(own))?;
        Ok(nodes.into_iter().cloned().collect())
    }

    /// Finds a service's node and connects to it.
    ///
    /// # Errors
    ///
    /// It is not clear which node is meant, or it cannot be reached.
    pub async fn service(
        &self,
        settings: &Settings,
        service: &ServiceName,
        own: &[NodeName],
    ) -> Result<ServiceTarget, CliError> {
        let local = local::load(&local::path(settings, service))?;
        let defined = local.as_ref().and_then(LocalDefinition::node);
        let node = self.one_node(settings, own, defined.as_ref())?;
        let client = connection::open(settings, &node).await?;
        Ok(ServiceTarget { node, client, local })
    }

    /// Asks the chosen nodes, or all, at the same time.
    ///
    /// # Errors
    ///
    /// A chosen node is not in the config. That a node cannot be asked is
    /// part of its answer.
    pub async fn ask<T>(
        &self,
        own: &[NodeName],
        question: impl AsyncFn(&Node, AgentClient) -> Result<T, CliError>,
    ) -> Result<Vec<Answer<T>>, CliError> {
        let settings = self.settings()?;
        let nodes = target::several(&settings, &self.chosen(own))?;
        let asked = nodes.into_iter().map(async |node| {
            let result = match connection::open(&settings, node).await {
                Ok(client) => question(node, client).await,
                Err(error) => Err(error),
            };
            Answer { node: node.clone(), result }
        });
        Ok(join_all(asked).await)
    }

    /// Shows what the nodes that did not answer said; returns how the command
    /// ends.
    pub fn finish<'e>(&self, errors: impl IntoIterator<Item = &'e CliError>) -> Exit {
        let mut worst = Exit::Done;
        for error in errors {
            error.report(self.ui);
            worst = match worst {
                // Unreachable wins: it says that the answer is not whole.
                Exit::Shown(ErrorKind::Unreachable) => worst,
                Exit::Done | Exit::Differs | Exit::Shown(_) | Exit::Status(_) => {
                    Exit::Shown(error.kind)
                }
            };
        }
        worst
    }

    /// Writes the command's one document, or its text for people.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn show<V: Serialize>(
        &self,
        view: &V,
        text: impl FnOnce(&V) -> String,
    ) -> Result<(), CliError> {
        if self.json {
            return self.document(view);
        }
        Ok(self.ui.data(&text(view)).map_err(OutputError::from)?)
    }

    /// Writes a document.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn document<V: Serialize>(&self, view: &V) -> Result<(), CliError> {
        Ok(self.ui.data(&document(view)?).map_err(OutputError::from)?)
    }
}

fn document<V: Serialize>(view: &V) -> Result<String, CliError> {
    let mut text = serde_json::to_string_pretty(view).map_err(CliError::failed)?;
    text.push('\n');
    Ok(harmless_json(&text))
}

/// Escapes what a terminal would act on; in JSON that is only possible within
/// strings, where `\u` means the same.
pub fn harmless_json(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        let mut buffer = [0; 4];
        if c.is_ascii() || visible(c.encode_utf8(&mut buffer)).chars().eq([c]) {
            result.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let escape = format!("\\u{unit:04x}");
                result.push_str(&escape);
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_cannot_reach_the_terminal_and_means_the_same() {
        let value = "a\u{9b}\u{202e}\u{e0001}\u{1b} \u{e9}";
        let document = document(&value).unwrap();
        assert_eq!(document, "\"a\\u009b\\u202e\\udb40\\udc01\\u001b \u{e9}\"\n");
        assert_eq!(serde_json::from_str::<String>(&document).unwrap(), value);
    }
}
