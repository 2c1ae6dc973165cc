//! What a command gets, from arguments to the first message of a session.

use clap::Args;

use crate::cli::args::ServicePath;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::rpc::agent_v1 as proto;
use crate::terminal;

/// What a command gets.
#[derive(Debug, Default, Args)]
pub struct StreamArgs {
    /// Hand standard input on to the command
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command this terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set a variable; without a value, the one that it has here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Run as this user of the container
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Run in this directory of the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
}

/// Arguments that contradict each other, or what there is here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// There is no terminal to give.
    #[error("-t needs a terminal on standard input and output, and there is none")]
    NoTerminal,
    /// A terminal shows what it gets.
    #[error("--json and -t do not go together")]
    JsonTerminal,
    /// A variable has no value here.
    #[error("{0} is not set here; write -e {0}=VALUE")]
    NotSet(String),
}

impl StreamArgs {
    /// Makes the first message.
    ///
    /// # Errors
    ///
    /// [`StartError`], of kind usage.
    pub fn start(
        &self,
        context: &Context<'_>,
        path: &ServicePath,
        command: &[String],
    ) -> Result<proto::SessionStart, CliError> {
        let terminal = self.terminal(context)?;
        let env = self.env.iter().map(|given| variable(given, |name| std::env::var(name).ok()));
        Ok(proto::SessionStart {
            service: path.service.to_string(),
            component: path.wire_component(),
            command: command.to_vec(),
            input: self.interactive,
            terminal,
            env: env.collect::<Result<_, _>>().map_err(CliError::usage)?,
            user: self.user.clone().unwrap_or_default(),
            working_directory: self.workdir.clone().unwrap_or_default(),
            entrypoint: String::new(),
        })
    }

    fn terminal(&self, context: &Context<'_>) -> Result<Option<proto::TerminalSize>, CliError> {
        if !self.tty {
            return Ok(None);
        }
        if context.json {
            return Err(CliError::usage(StartError::JsonTerminal).hint("leave out one of them"));
        }
        if !context.ui.is_at_terminal() {
            let hint = "leave out -t; -i alone hands input on as it is";
            return Err(CliError::usage(StartError::NoTerminal).hint(hint));
        }
        Ok(Some(current_size()))
    }
}

/// Returns the terminal's size; one that does not tell has the size that every
/// terminal once had.
pub fn current_size() -> proto::TerminalSize {
    let (rows, columns) = terminal::size().filter(|(r, c)| *r > 0 && *c > 0).unwrap_or((24, 80));
    proto::TerminalSize { rows: rows.into(), columns: columns.into() }
}

fn variable(
    given: &str,
    here: impl FnOnce(&str) -> Option<String>,
) -> Result<proto::SessionVariable, StartError> {
    let (name, value) = match given.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (given, here(given).ok_or_else(|| StartError::NotSet(given.to_owned()))?),
    };
    Ok(proto::SessionVariable { name: name.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_its_value_or_the_one_from_here() {
        let here = |name: &str| (name == "HERE").then(|| "x".to_owned());
        let value = |given| variable(given, here).map(|v| (v.name, v.value));
        assert_eq!(value("A=b=c").unwrap(), ("A".to_owned(), "b=c".to_owned()));
        assert_eq!(value("HERE").unwrap(), ("HERE".to_owned(), "x".to_owned()));
        assert_eq!(value("A="), Ok(("A".to_owned(), String::new())));
        assert_eq!(value("AWAY"), Err(StartError::NotSet("AWAY".to_owned())));
    }
}
