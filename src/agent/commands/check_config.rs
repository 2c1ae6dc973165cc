//! `mcp-agent check-config`: what a configuration means, or its mistakes.

use std::path::PathBuf;

use clap::Args;

use super::args::{CommandError, Output};
use super::check_boot;
use crate::agent::environment::Environment;
use crate::agent::identity::{Members, Users};
use crate::agent::last_good;
use crate::agent::listen::{identity, self_made_path};
use crate::agent::settings::Settings;
use crate::rpc::tls::server_config;
use crate::telemetry::Chain;

/// The arguments of `mcp-agent check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// Read this configuration [default: as `mcp-agent server`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Checks a configuration and prints what it means.
///
/// # Errors
///
/// It cannot be read or has mistakes.
pub fn run(
    args: &CheckConfigArgs,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    let loaded = last_good::load(args.config.as_deref(), environment)?;
    let settings = &loaded.settings;
    let path = ("file", loaded.path.display().to_string());
    for (key, value) in std::iter::once(path).chain(values(settings)) {
        writeln!(output.data, "{key:<21} {value}")?;
    }
    for webhook in &settings.monitor.webhooks {
        let kinds: Vec<&str> = webhook.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = if kinds.is_empty() { "alerts".to_owned() } else { kinds.join(", ") };
        writeln!(output.data, "{:<21} {} ({kinds})", "monitor.webhook", webhook.url)?;
    }
    check_boot::print(&settings.boot, &settings.database, output)?;
    let (_, unknown) = Members::resolve(&settings.roles, Users::load_or_empty(), settings.uid);
    for user in unknown {
        writeln!(output.words, "warning: no user of this node is called {user}")?;
    }
    // The self-made certificate is not made here: checking changes nothing.
    let server = &settings.server;
    let made = self_made_path(&settings.state_dir).exists();
    if server.grpc_addr.is_some() && (server.tls.is_some() || made) {
        match identity(settings).map(|identity| (identity.fingerprint(), identity)) {
            Ok((fingerprint, identity)) => {
                writeln!(output.data, "{:<21} {fingerprint}", "fingerprint")?;
                if let Err(error) = server_config(identity) {
                    writeln!(output.words, "warning: the certificate: {}", Chain(&error))?;
                }
            }
            Err(error) => writeln!(output.words, "warning: the certificate: {}", Chain(&error))?,
        }
    }
    Ok(())
}

/// Returns what is printed of the settings, boot stages aside.
fn values(settings: &Settings) -> Vec<(&'static str, String)> {
    let Settings {
        server,
        database,
        node,
        roles,
        log,
        monitor,
        backup,
        files_dir,
        state_dir,
        uid: _,
        boot: _,
    } = settings;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    vec![
        ("state directory", state_dir.display().to_string()),
        ("server.socket", server.socket.display().to_string()),
        ("server.grpc_addr", or_none(server.grpc_addr.map(|address| address.to_string()))),
        ("database.path", database.display().to_string()),
        ("agent.node_name", node.name.to_string()),
        ("agent.address", node.address.to_string()),
        ("agent.image_registry", or_none(node.image_registry.clone())),
        ("agent.port_range", node.ports.to_string()),
        ("socket.operators", roles.operators.join(", ")),
        ("socket.viewers", roles.viewers.join(", ")),
        ("log.level", log.level.as_str().to_owned()),
        ("monitor.interval", monitor.interval.to_string()),
        ("monitor.alert_command", words(&monitor.alert_command)),
        ("monitor.cooldown", monitor.cooldown.to_string()),
        ("monitor.flap_threshold", monitor.flap_threshold.to_string()),
        ("monitor.flap_window", monitor.flap_window.to_string()),
        ("monitor.retention", monitor.retention.to_string()),
        ("backup.dir", backup.dir.display().to_string()),
        ("backup.keep", backup.keep.to_string()),
        ("files.dir", files_dir.display().to_string()),
    ]
}

/// Shows a command as a list of its words, so that blanks are seen.
fn words(command: &[String]) -> String {
    if command.is_empty() { "none".to_owned() } else { format!("{command:?}") }
}
