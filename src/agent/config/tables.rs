//! The tables of the file as they are written, and what each becomes.

use serde::Deserialize;
use toml::Spanned;

use super::monitor::MonitorTable;
use super::reader::Reader;
use crate::agent::environment::Environment;
use crate::agent::settings::{LogSettings, Settings, SocketRoles};
use crate::telemetry::{Format, Level};

/// Every key that there is, by table; errors suggest from it.
pub(super) const KEYS: &[(&str, &[&str])] = &[
    ("server", &["grpc_addr", "tls_cert", "tls_key", "socket"]),
    ("database", &["path"]),
    ("agent", &["node_name", "address", "image_registry", "port_range"]),
    ("socket", &["operators", "viewers"]),
    ("log", &["level", "format"]),
    ("monitor", super::monitor::KEYS),
    ("backup", &["dir", "keep"]),
    ("files", &["dir"]),
    ("boot", &["sequence"]),
];

/// The keys of tables in lists, by the list's path.
pub(super) const LISTS: &[(&str, &[&str])] =
    &[("boot.sequence", &["name", "services", "timeout", "health", "required"])];

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) server: ServerTable,
    pub(super) database: DatabaseTable,
    pub(super) agent: AgentTable,
    pub(super) socket: SocketTable,
    pub(super) log: LogTable,
    pub(super) monitor: MonitorTable,
    pub(super) backup: BackupTable,
    pub(super) files: FilesTable,
    pub(super) boot: BootTable,
}

pub(super) type Text = Option<Spanned<String>>;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServerTable {
    pub(super) grpc_addr: Text,
    pub(super) tls_cert: Text,
    pub(super) tls_key: Text,
    pub(super) socket: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DatabaseTable {
    pub(super) path: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AgentTable {
    pub(super) node_name: Text,
    pub(super) address: Text,
    pub(super) image_registry: Text,
    pub(super) port_range: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SocketTable {
    pub(super) operators: Vec<Spanned<String>>,
    pub(super) viewers: Vec<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogTable {
    pub(super) level: Text,
    pub(super) format: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BackupTable {
    pub(super) dir: Text,
    pub(super) keep: Option<Spanned<i64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FilesTable {
    pub(super) dir: Text,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BootTable {
    pub(super) sequence: Vec<StageTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StageTable {
    pub(super) name: Spanned<String>,
    pub(super) services: Spanned<Vec<Spanned<String>>>,
    pub(super) timeout: Text,
    pub(super) health: Text,
    pub(super) required: Option<bool>,
}

impl Reader<'_> {
    pub(super) fn settings(&mut self, file: File, environment: &Environment) -> Option<Settings> {
        let File { server, database, agent, socket, log, monitor, backup, files, boot } = file;
        let state_dir = environment.state_dir();
        let server = self.server(&server, environment);
        let database =
            self.path("database.path", &database.path).unwrap_or_else(|| state_dir.join("mcp.db"));
        let node = self.node(&agent, environment);
        let roles = self.roles(socket);
        let backup = self.backup(&backup, &state_dir);
        let levels = crate::telemetry::LEVELS.map(Level::as_str);
        let level = self.word("log.level", &log.level, Level::Info, &levels);
        let format = self.word("log.format", &log.format, Format::Text, &["text", "json"]);
        let monitor = self.monitor(monitor);
        let files_dir =
            self.path("files.dir", &files.dir).unwrap_or_else(|| environment.files_dir());
        let boot = self.boot(&boot);
        Some(Settings {
            server,
            database,
            node: node?,
            roles,
            log: LogSettings { level: level?, format: format? },
            monitor: monitor?,
            backup: backup?,
            files_dir,
            state_dir,
            uid: environment.uid,
            boot: boot?,
        })
    }

    fn roles(&mut self, table: SocketTable) -> SocketRoles {
        let operators: Vec<String> = table.operators.into_iter().map(Spanned::into_inner).collect();
        for viewer in &table.viewers {
            if operators.contains(viewer.get_ref()) {
                let message = format!("{:?} is one of socket.operators already", viewer.get_ref());
                self.problem(viewer.span().start, "socket.viewers", message);
            }
        }
        let viewers = table.viewers.into_iter().map(Spanned::into_inner).collect();
        SocketRoles { operators, viewers }
    }
}
