//! What the process was started with: read once, then handed on.

use std::env;
use std::path::PathBuf;

use super::identity::Users;

/// The user that owns a node's containers, on every node.
pub const MCP_UID: u32 = 850;
/// That user's home: state and configuration of the system's agent.
pub const MCP_HOME: &str = "/srv/mcp";
/// Where services have their data on a node of that user.
const DATA: &str = "/srv";
/// The variable by which the installed program tells an upgraded one where it
/// is itself.
pub const INSTALLED: &str = "MCP_AGENT_INSTALLED";

/// The surroundings of the process that settings depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// The effective user.
    pub uid: u32,
    /// Whether this is the system's agent, whose state is in `/srv/mcp`: run
    /// by user `mcp`, or by root for it.
    pub system: bool,
    /// The name of the machine.
    pub host_name: String,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$STATE_DIRECTORY`, which systemd sets (`systemd.exec(5)`).
    pub state_directory: Option<PathBuf>,
    /// `$RUNTIME_DIRECTORY`, which systemd sets.
    pub runtime_directory: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `$XDG_DATA_HOME`.
    pub xdg_data_home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `$INVOCATION_ID`, which systemd sets: its number of this run.
    pub invocation: Option<String>,
    /// The installed program that started this one in its place
    /// ([`INSTALLED`]); none: this is the installed one.
    pub installed: Option<PathBuf>,
    /// The kernel's number of this boot (`random(4)`).
    pub boot_id: String,
}

impl Environment {
    /// Reads the surroundings of this process.
    pub fn of_process() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let mcp = uid == MCP_UID || Users::load_or_empty().name(uid) == Some("mcp");
        let uname = rustix::system::uname();
        Self {
            uid,
            system: mcp || (uid == 0 && PathBuf::from(MCP_HOME).is_dir()),
            host_name: uname.nodename().to_string_lossy().into_owned(),
            home: path("HOME"),
            state_directory: path("STATE_DIRECTORY"),
            runtime_directory: path("RUNTIME_DIRECTORY"),
            xdg_state_home: path("XDG_STATE_HOME"),
            xdg_data_home: path("XDG_DATA_HOME"),
            xdg_config_home: path("XDG_CONFIG_HOME"),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
            invocation: env::var("INVOCATION_ID").ok().filter(|id| is_hexadecimal(id)),
            installed: path(INSTALLED),
            boot_id: crate::systemd::invocation::boot_id(),
        }
    }

    /// Returns the directory of the agent's state.
    pub fn state_dir(&self) -> PathBuf {
        if let Some(directory) = &self.state_directory {
            return directory.clone();
        }
        if self.system {
            return PathBuf::from(MCP_HOME);
        }
        match (&self.xdg_state_home, &self.home) {
            (Some(state), _) => state.join("mcp"),
            (None, Some(home)) => home.join(".local/state/mcp"),
            (None, None) => PathBuf::from(MCP_HOME),
        }
    }

    /// Returns the directory of the services' data directories, when the
    /// configuration names none.
    pub fn files_dir(&self) -> PathBuf {
        match (&self.xdg_data_home, &self.home) {
            _ if self.system => PathBuf::from(DATA),
            (Some(data), _) => data.join("mcp"),
            (None, Some(home)) => home.join(".local/share/mcp"),
            (None, None) => PathBuf::from(DATA),
        }
    }

    /// Returns the directory of the user's configuration, `~/.config`.
    pub fn config_dir(&self, state_dir: &std::path::Path) -> PathBuf {
        self.xdg_config_home
            .clone()
            .or_else(|| self.home.clone().map(|home| home.join(".config")))
            .unwrap_or_else(|| state_dir.join(".config"))
    }

    /// Returns the directory of what is gone with the next boot:
    /// `$XDG_RUNTIME_DIR`, else what systemd makes it for a user.
    pub fn runtime_dir(&self) -> PathBuf {
        self.xdg_runtime_dir.clone().unwrap_or_else(|| format!("/run/user/{}", self.uid).into())
    }

    /// Returns the socket that is used when the configuration names none.
    pub fn default_socket(&self) -> PathBuf {
        match (&self.runtime_directory, &self.xdg_runtime_dir) {
            (Some(directory), _) => directory.join("agent.sock"),
            (None, Some(directory)) => directory.join("mcp/agent.sock"),
            (None, None) => PathBuf::from("/run/mcp/agent.sock"),
        }
    }

    /// Returns the configuration that is read when none is named; it may be
    /// absent.
    pub fn default_config(&self) -> PathBuf {
        let config = || match (&self.xdg_config_home, &self.home) {
            (Some(config), _) => Some(config.join("mcp/mcp-agent.toml")),
            (None, Some(home)) => Some(home.join(".config/mcp/mcp-agent.toml")),
            (None, None) => None,
        };
        let system = PathBuf::from(MCP_HOME).join("mcp-agent.toml");
        if self.system { system } else { config().unwrap_or(system) }
    }
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Reads a variable that holds a path; of systemd's lists, the first entry.
fn path(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name)?;
    let first = env::split_paths(&value).next()?;
    first.is_absolute().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_socket_follow_who_runs() {
        let user = Environment {
            uid: 1000,
            home: Some("/home/k".into()),
            xdg_runtime_dir: Some("/run/user/1000".into()),
            ..Environment::default()
        };
        assert_eq!(user.state_dir(), PathBuf::from("/home/k/.local/state/mcp"));
        assert_eq!(user.default_socket(), PathBuf::from("/run/user/1000/mcp/agent.sock"));
        let system = Environment {
            system: true,
            runtime_directory: Some("/run/mcp".into()),
            ..user.clone()
        };
        assert_eq!(system.state_dir(), PathBuf::from("/srv/mcp"));
        assert_eq!(system.default_socket(), PathBuf::from("/run/mcp/agent.sock"));
        assert_eq!(user.files_dir(), PathBuf::from("/home/k/.local/share/mcp"));
        assert_eq!(system.files_dir(), PathBuf::from("/srv"));
        assert_eq!(system.default_config(), PathBuf::from("/srv/mcp/mcp-agent.toml"));
        let given = Environment { state_directory: Some("/var/lib/x".into()), ..user };
        assert_eq!(given.state_dir(), PathBuf::from("/var/lib/x"));
    }
}
