//! What the process was given besides its arguments, read once, in `main`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// The variables that `mcp` reads.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub data_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The effective user.
    pub uid: u32,
    /// `MCP_CONFIG`: the config file.
    pub config: Option<PathBuf>,
    /// `MCP_SERVICES_DIR`: overrides `[services] dir`.
    pub services_dir: Option<PathBuf>,
    /// `MCP_AUTH_TOKEN_PATH`: overrides `[auth] token_path`.
    pub token_path: Option<PathBuf>,
    /// `MCP_TOKEN`: the token itself; wins over any file.
    pub token: Option<Secret<String>>,
    /// `NO_COLOR` is set to something.
    pub no_color: bool,
    /// The locale writes UTF-8 (`locale(7)`: `LC_ALL`, else `LC_CTYPE`, else
    /// `LANG`).
    pub utf8: bool,
    /// `VISUAL`, else `EDITOR`.
    pub editor: Option<OsString>,
    /// Every variable that is text: what compose files put in; `None` for
    /// none.
    pub shell: Option<Secret<BTreeMap<String, String>>>,
    /// The file of this program.
    pub program: Option<PathBuf>,
}

impl Environment {
    /// Reads the process's variables; an empty one counts as not set.
    pub fn from_process() -> Self {
        let text = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        Self {
            home: path("HOME"),
            config_home: path("XDG_CONFIG_HOME"),
            data_home: path("XDG_DATA_HOME"),
            state_home: path("XDG_STATE_HOME"),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            uid: rustix::process::geteuid().as_raw(),
            config: path("MCP_CONFIG"),
            services_dir: path("MCP_SERVICES_DIR"),
            token_path: path("MCP_AUTH_TOKEN_PATH"),
            token: text("MCP_TOKEN")
                .map(|token| Secret::new(token.to_string_lossy().trim().to_owned())),
            no_color: text("NO_COLOR").is_some(),
            utf8: ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(text).is_some_and(|locale| {
                let locale = locale.to_string_lossy().to_ascii_uppercase();
                locale.contains("UTF-8") || locale.contains("UTF8")
            }),
            editor: text("VISUAL").or_else(|| text("EDITOR")),
            shell: Some(Secret::new(
                std::env::vars_os()
                    .filter_map(|(name, value)| {
                        Some((name.into_string().ok()?, value.into_string().ok()?))
                    })
                    .collect(),
            )),
            program: std::env::current_exe().ok(),
        }
    }

    /// Replaces a leading `~/` by the home directory.
    pub fn expand(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            (Ok(_), None) | (Err(_), _) => path.to_owned(),
        }
    }

    /// Returns the directory of the config, `~/.config/mcp`.
    pub fn config_dir(&self) -> PathBuf {
        self.user_config_dir().join("mcp")
    }

    /// Returns the directory of the user's configuration, `~/.config`.
    pub fn user_config_dir(&self) -> PathBuf {
        self.config_home.clone().unwrap_or_else(|| self.expand(Path::new("~/.config")))
    }

    /// Returns the directory of the user's data, `~/.local/share`.
    pub fn data_dir(&self) -> PathBuf {
        self.data_home.clone().unwrap_or_else(|| self.expand(Path::new("~/.local/share")))
    }

    /// Returns the directory of what the user's programs keep,
    /// `~/.local/state`.
    pub fn state_dir(&self) -> PathBuf {
        self.state_home.clone().unwrap_or_else(|| self.expand(Path::new("~/.local/state")))
    }
}
