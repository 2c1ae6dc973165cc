//! The worker's command line, on both of its sides.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::owner::OwnerSource;
use crate::names::ServiceName;
use crate::transfer::Ids;

/// Send, receive or list files of a service's data directory
///
/// Frames come on standard input and go to standard output.
#[derive(Debug, Clone, Args)]
pub struct FilesArgs {
    /// Which end of the transfer this is
    pub end: End,
    /// What holds the data directories
    #[arg(long)]
    pub dir: PathBuf,
    /// The service
    #[arg(long)]
    pub service: ServiceName,
    /// User of the component
    #[arg(long)]
    pub user: Option<String>,
    /// Image that is asked who that is
    #[arg(long)]
    pub image: Option<String>,
    /// Mode of the component's user namespace
    #[arg(long)]
    pub userns: Option<String>,
    /// User of the agent
    #[arg(long)]
    pub own_user: u32,
    /// Group of the agent
    #[arg(long)]
    pub own_group: u32,
}

/// Which end of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum End {
    /// Files go out.
    Send,
    /// Files come in.
    Receive,
    /// The names in one directory go out.
    List,
}

impl FilesArgs {
    /// Describes one end of a transfer by this agent.
    pub fn new(end: End, dir: PathBuf, service: ServiceName, owner: OwnerSource) -> Self {
        let OwnerSource { user, image, userns } = owner;
        let own_user = rustix::process::geteuid().as_raw();
        let own_group = rustix::process::getegid().as_raw();
        Self { end, dir, service, user, image, userns, own_user, own_group }
    }

    /// Returns the agent's user.
    pub fn own(&self) -> Ids {
        Ids { user: self.own_user, group: self.own_group }
    }

    /// Returns the words after the program's name.
    pub fn words(&self) -> Vec<std::ffi::OsString> {
        let end = match self.end {
            End::Send => "send",
            End::Receive => "receive",
            End::List => "list",
        };
        let mut dir = std::ffi::OsString::from("--dir=");
        dir.push(&self.dir);
        let mut words = vec!["files".into(), end.into(), dir];
        words.push(format!("--service={}", self.service).into());
        words.push(format!("--own-user={}", self.own_user).into());
        words.push(format!("--own-group={}", self.own_group).into());
        let options = [("user", &self.user), ("image", &self.image), ("userns", &self.userns)];
        for (name, value) in options {
            words.extend(value.iter().map(|value| format!("--{name}={value}").into()));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::agent::commands::{Cli, Command};

    #[test]
    fn the_words_are_read_as_they_were_meant() {
        let owner = OwnerSource {
            user: Some("-x".to_owned()),
            image: Some("a.b/c:1".to_owned()),
            userns: Some("keep-id:uid=1,gid=2".to_owned()),
        };
        let meant = FilesArgs::new(End::Receive, "/a b/--x".into(), "web".parse().unwrap(), owner);
        let mut words = vec!["mcp-agent".into()];
        words.extend(meant.words());
        let Command::Files(read) = Cli::try_parse_from(words).unwrap().command else { panic!() };
        assert_eq!(format!("{read:?}"), format!("{meant:?}"));
    }
}
