//! Whose containers these are, for the commands that a person types on the
//! node.

use crate::agent::finding::shell_word;

/// The user whose systemd runs the containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// Its home.
    pub home: String,
}

impl Owner {
    /// Returns a call of the user's `systemctl`.
    pub fn systemctl(&self, arguments: &str) -> String {
        format!("sudo systemctl --user -M {}@ {arguments}", shell_word(&self.user))
    }

    /// Returns a command that is run as the user, with its systemd and its
    /// podman.
    pub fn run(&self, command: &str) -> String {
        let Self { user, uid, home } = self;
        format!(
            "sudo runuser -u {} -- env -C / HOME={} XDG_RUNTIME_DIR=/run/user/{uid} {command}",
            shell_word(user),
            shell_word(home)
        )
    }
}
