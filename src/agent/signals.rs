//! SIGTERM and SIGINT end the agent in peace; SIGHUP reads its configuration
//! again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::environment::Environment;
use super::identity::Members;
use super::last_good;
use super::monitor::MonitorSettings;
use super::problems::Problems;
use super::run::members;
use super::settings::Settings;
use crate::deployment::Sequence;
use crate::telemetry::{Chain, LogHandle};

/// The cause under which a bad configuration is told.
pub const CAUSE: &str = "configuration";
const RESTART: &str = "configuration_restart";

/// The signals that the agent heeds, from their registration on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over from their default effect.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Heeds the signals until one of them, or someone else, cancels
    /// `shutdown`.
    ///
    /// # Errors
    ///
    /// None; tasks return a result.
    pub async fn heed(mut self, reload: Reload, shutdown: CancellationToken) -> io::Result<()> {
        loop {
            // All may be cancelled: a signal stays noted until it is received.
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = self.terminate.recv() => tracing::info!("SIGTERM: ending"),
                _ = self.interrupt.recv() => tracing::info!("SIGINT: ending"),
                _ = self.hangup.recv() => {
                    reload.run();
                    continue;
                }
            }
            shutdown.cancel();
        }
    }
}

/// What a reload needs: what is in force, and where to put what is new.
#[derive(Debug)]
pub struct Reload {
    /// The file that was named; `None`: the default one.
    pub path: Option<PathBuf>,
    /// The surroundings of the process.
    pub environment: Environment,
    /// What is in force since the start.
    pub settings: Arc<Settings>,
    /// The log, whose level changes.
    pub log: Option<LogHandle>,
    /// The roles on the socket, which change.
    pub members: watch::Sender<Arc<Members>>,
    /// How the agent watches, which changes.
    pub monitor: watch::Sender<Arc<MonitorSettings>>,
    /// The boot sequence, which changes.
    pub boot: watch::Sender<Arc<Sequence>>,
    /// Where a bad file is told.
    pub problems: Problems,
}

impl Reload {
    /// Reads the configuration again; a bad one changes nothing and is told.
    pub fn run(&self) {
        match last_good::load(self.path.as_deref(), &self.environment) {
            Ok(loaded) => self.apply(&loaded.settings),
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(%error, "the configuration is not valid; nothing has changed");
                let text = format!(
                    "The configuration is not valid and was not reloaded; correct it and reload the agent: {error}"
                );
                self.problems.set(CAUSE, text);
            }
        }
    }

    fn apply(&self, new: &Settings) {
        if let Some(log) = &self.log
            && let Err(error) = log.set_level(new.log.level)
        {
            tracing::error!(error = %Chain(&error), "the log level stays as it was");
        }
        self.members.send_replace(Arc::new(members(&new.roles, new.uid, &self.problems)));
        self.monitor.send_replace(Arc::new(new.monitor.clone()));
        self.boot.send_if_modified(|boot| {
            let changed = **boot != new.boot;
            *boot = Arc::new(new.boot.clone());
            changed
        });
        self.problems.clear(CAUSE);
        // What is compared is all but what was just applied.
        let mut rest = new.clone();
        rest.roles = self.settings.roles.clone();
        rest.log.level = self.settings.log.level;
        rest.monitor = self.settings.monitor.clone();
        rest.boot = self.settings.boot.clone();
        if rest == *self.settings {
            self.problems.clear(RESTART);
            tracing::info!("the configuration was reloaded");
        } else {
            let text = "The configuration has changes that take effect when the agent is restarted; only [log] level, [monitor], [socket] and [[boot.sequence]] are reloaded.";
            tracing::warn!("{text}");
            self.problems.set(RESTART, text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_file;
    use crate::rpc::auth::Role;

    #[test]
    fn a_reload_takes_roles_and_a_bad_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        let environment = Environment {
            uid: 1000,
            host_name: "rift".to_owned(),
            state_directory: Some(dir.path().to_owned()),
            ..Environment::default()
        };
        let write = |text: &str| atomic_file::write(&path, text.as_bytes(), 0o600).unwrap();
        write("");
        let settings = last_good::load(Some(&path), &environment).unwrap().settings;
        let reload = Reload {
            path: Some(path.clone()),
            environment,
            settings: Arc::new(settings),
            log: None,
            members: watch::Sender::new(Arc::new(Members::default())),
            monitor: watch::Sender::new(Arc::new(MonitorSettings::default())),
            boot: watch::Sender::new(Arc::new(Sequence::default())),
            problems: Problems::default(),
        };

        write("[socket]\nviewers = [\"4242\"]\n");
        reload.run();
        assert_eq!(reload.members.borrow().role(4242), Some(Role::Viewer));
        assert!(reload.problems.list().is_empty());

        write("[monitor]\nflap_threshold = 9\n[socket]\nviewers = [\"4242\"]\n");
        reload.run();
        assert_eq!(reload.monitor.borrow().flap_threshold, 9);
        assert!(reload.problems.list().is_empty());

        write("[socket]\nviewer = []\n");
        reload.run();
        assert_eq!(reload.members.borrow().role(4242), Some(Role::Viewer));
        assert!(reload.problems.list()[0].contains("did you mean \"viewers\"?"));

        write("[agent]\nport_range = \"2000-3000\"\n");
        reload.run();
        assert_eq!(reload.members.borrow().role(4242), None);
        assert!(reload.problems.list()[0].contains("restarted"));
        write("[[boot.sequence]]\nname = \"one\"\nservices = [\"a\"]\n");
        let seen = reload.boot.subscribe();
        reload.run();
        assert!(reload.problems.list().is_empty());
        assert_eq!(seen.borrow().stages.len(), 1);
        assert!(seen.has_changed().unwrap());
    }
}
