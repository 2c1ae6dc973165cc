//! Looking at the node itself: what keeps containers from running, or from
//! coming back.

use std::path::{Path, PathBuf};

use super::engine::Toolchain;
use super::environment::Environment;
use super::finding::Finding;
use super::gate::now_ms;
use super::host::{
    account, cgroups, disk, generator, journal, linger, network_online, owner, podman, registry,
    subids, uidmap, user_manager,
};
use super::identity::Users;
use super::settings::Settings;
use super::upgrade::handover::installed_path;
use crate::names::UnitName;
use crate::podman::{self as program, pause};
use crate::quadlet::UnitSet;
use crate::systemd::{ActiveState, BusAddress, Manager};
use crate::telemetry::Chain;
use crate::units::{GeneratorReport, UnitStore};

/// The user whose containers these are, and where its things are.
#[derive(Debug, Clone)]
pub struct Patient {
    user: String,
    uid: u32,
    system: bool,
    state_dir: PathBuf,
    database: PathBuf,
    copies: PathBuf,
    store: UnitStore,
    storage: Option<PathBuf>,
    runtime: PathBuf,
    /// The path by which units call `mcp-agent`.
    program: String,
}

impl Patient {
    /// Takes the user of this process.
    pub fn new(settings: &Settings, environment: &Environment) -> Self {
        let uid = environment.uid;
        let name = Users::load_or_empty().name(uid).map(str::to_owned);
        Self {
            user: name.unwrap_or_else(|| uid.to_string()),
            uid,
            system: environment.system,
            state_dir: settings.state_dir.clone(),
            database: settings.database.clone(),
            copies: settings.backup.dir.clone(),
            store: UnitStore::new(&environment.config_dir(&settings.state_dir)),
            storage: program::images::own_store(|name| std::env::var_os(name)),
            runtime: environment.runtime_dir(),
            program: installed_path(environment),
        }
    }

    /// Looks at everything. What is fine is told as well.
    pub async fn examine(&self) -> Vec<Finding> {
        let (user, uid) = (self.user.as_str(), self.uid);
        let blocking = self.clone();
        let mut findings = match tokio::task::spawn_blocking(move || blocking.files()).await {
            Ok(findings) => findings,
            Err(lost) => vec![Finding::failed(
                "doctor",
                "",
                format!("The files could not be looked at: {}.", Chain(&lost)),
            )],
        };
        findings.push(linger::judge(user, &linger::look(user)));
        let manager = Manager::new(BusAddress::own());
        let version = manager.version().await.map_err(|error| Chain(&error).to_string());
        findings.push(user_manager::judge(user, uid, &version));
        findings.push(cgroups::judge(user, uid, &cgroups::look(uid)));
        findings.push(self.network(&manager).await);
        let toolchain =
            Toolchain::find(&self.program).await.map_err(|error| Chain(&error).to_string());
        let said = match &toolchain {
            Err(why) => podman::Podman::Unusable { why: why.clone() },
            Ok(toolchain) => self.podman(toolchain, &manager).await,
        };
        findings.push(podman::judge(user, uid, &said));
        if let Ok(toolchain) = &toolchain {
            findings.push(generator::judge(&self.generator(toolchain).await));
        }
        findings
    }

    /// What can be told from files alone.
    fn files(&self) -> Vec<Finding> {
        let (user, uid) = (self.user.as_str(), self.uid);
        let now_ms = now_ms();
        let mut owned = vec![
            owner::look(&self.state_dir, true),
            owner::look(&self.database, true),
            owner::look(self.store.search_root(), false),
            owner::look(self.store.quadlet_root(), false),
            owner::look(self.store.systemd_root(), false),
            owner::look(&self.runtime, true),
        ];
        owned.extend(self.storage.iter().map(|storage| owner::look(storage, false)));
        let mut findings = owner::judge(user, uid, &owned);
        if self.system {
            findings.push(account::judge(&Users::load_or_empty()));
        }
        findings.extend(subids::look().iter().map(|file| subids::judge(user, uid, file)));
        let search = std::env::var_os("PATH").unwrap_or_default();
        findings.extend(uidmap::look(&search).iter().map(uidmap::judge));
        findings.extend(self.disks().iter().map(disk::judge));
        findings.push(journal::judge(user, uid, &journal::look(uid)));
        let memory = registry::look(&self.database, &self.copies, now_ms);
        findings.extend(registry::judge(&memory, now_ms));
        findings
    }

    /// The file systems that matter, each once.
    fn disks(&self) -> Vec<disk::Disk> {
        let parent = self.database.parent().unwrap_or(Path::new("/"));
        let mut disks = vec![
            disk::look(parent, "the registry"),
            disk::look(self.store.search_root(), "the unit files"),
            disk::look(self.store.systemd_root(), "the targets"),
            disk::look(&self.runtime, "what is there until the next boot"),
        ];
        disks.extend(self.storage.iter().map(|path| disk::look(path, "podman's storage")));
        let mut seen = std::collections::BTreeSet::new();
        disks.retain(|disk| {
            use std::os::unix::fs::MetadataExt as _;
            // One that cannot be looked at is told as it is.
            disk.path.metadata().map_or(true, |metadata| seen.insert(metadata.dev()))
        });
        disks
    }

    async fn network(&self, manager: &Manager) -> Finding {
        let waiter = UnitName::from_systemd(network_online::WAITER);
        // Loaded and started only if some unit waits for it.
        let waits = manager.listed(std::slice::from_ref(&waiter)).await.is_ok_and(|listed| {
            listed.iter().any(|unit| !matches!(unit.active, ActiveState::Inactive))
        });
        let waiting = if waits { vec![waiter.to_string()] } else { Vec::new() };
        network_online::examine(&waiting).await
    }

    /// Asks podman, unless it would have to make its pause process first:
    /// that must not be in the mount namespace of the agent.
    async fn podman(&self, toolchain: &Toolchain, manager: &Manager) -> podman::Podman {
        let version = toolchain.podman.to_string();
        if pause::is_alive(&self.runtime) {
            return match program::answers().await {
                Ok(()) => podman::Podman::Answers { version },
                Err(error) => podman::Podman::Refuses { said: Chain(&error).to_string() },
            };
        }
        let unit = UnitName::podman_ready();
        // The agent's start makes it, before any container.
        if !self.store.systemd_root().join(unit.as_str()).exists() {
            return podman::Podman::Unprepared { version };
        }
        let listed = manager.listed(std::slice::from_ref(&unit)).await;
        let state = match listed.as_deref() {
            Ok([one]) if one.is_up() && one.active == ActiveState::Activating => {
                return podman::Podman::Preparing { version };
            }
            Ok([one]) => one.active.to_string(),
            Ok(_) => "not known".to_owned(),
            Err(error) => Chain(error).to_string(),
        };
        let said = match manager.last_lines(&unit, None, 5).await {
            Ok(entries) => {
                entries.into_iter().map(|entry| entry.message).collect::<Vec<_>>().join("; ")
            }
            Err(error) => Chain(&error).to_string(),
        };
        podman::Podman::NoPause { version, unit: state, said }
    }

    async fn generator(&self, toolchain: &Toolchain) -> Result<GeneratorReport, String> {
        // No service has this name's files, so everything is read as it is.
        let nothing = "mcp-doctor".parse().map_err(|e: crate::names::NameError| e.to_string())?;
        let set = UnitSet::new(nothing, false);
        let live = self.store.search_root();
        toolchain.generator.check_set(&set, live).await.map_err(|error| Chain(&error).to_string())
    }
}
