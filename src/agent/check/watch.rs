//! Changes of health, as they happen: from the files that podman and our own
//! checks keep. Nothing is polled, and systemd is not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::memory::Memory;
use super::record::OfRun;
use crate::deployment::{Container, Readiness};
use crate::file_watch::{Changed, FileWatch};
use crate::names::UnitName;
use crate::podman::{Health, health};

/// A running container whose health is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its unit.
    pub unit: UnitName,
    /// Its run: systemd's number of the invocation.
    pub invocation: String,
    /// Where its verdict is read.
    source: Source,
}

/// Where a verdict is read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// Podman's file.
    Podman(PathBuf),
    /// The record of our own checks.
    Checks(PathBuf),
}

impl Source {
    fn file(&self) -> &Path {
        match self {
            Self::Podman(file) | Self::Checks(file) => file,
        }
    }
}

/// A component became healthy or unhealthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChange {
    /// Its unit.
    pub unit: UnitName,
    /// Whether it is healthy now.
    pub healthy: bool,
    /// Why it is not, one short line that the component may have written.
    pub reason: String,
}

/// Changes of the health of containers.
#[derive(Debug)]
pub struct HealthWatch {
    memory: Memory,
    files: FileWatch,
    /// What is watched, with whether it was healthy when last seen; none:
    /// not known yet.
    known: BTreeMap<UnitName, (Watched, Option<bool>)>,
    /// Units that were unhealthy when somebody else watched them.
    recalled: BTreeSet<UnitName>,
}

impl HealthWatch {
    /// Makes a watch on nothing yet; `runtime` is `$XDG_RUNTIME_DIR`. To be
    /// called within a runtime of tokio.
    ///
    /// # Errors
    ///
    /// The user has too many watches (`fs.inotify.max_user_instances`).
    pub fn new(runtime: &Path) -> io::Result<Self> {
        Ok(Self {
            memory: Memory::new(runtime),
            files: FileWatch::new()?,
            known: BTreeMap::new(),
            recalled: BTreeSet::new(),
        })
    }

    /// Takes up that these units were unhealthy when they were last watched.
    pub fn recall(&mut self, unhealthy: impl IntoIterator<Item = UnitName>) {
        self.recalled.extend(unhealthy);
    }

    /// Returns how a running container is watched; none when it has no check.
    pub fn watched(
        &self,
        container: &Container,
        invocation: &str,
        main_pid: u32,
    ) -> Option<Watched> {
        let source = match container.readiness {
            Readiness::Started | Readiness::Ended { .. } => return None,
            Readiness::Command { .. } => Source::Podman(health::file_of(main_pid)?),
            Readiness::Probe { .. } => Source::Checks(self.memory.file(&container.name)),
        };
        Some(Watched { unit: container.name.unit(), invocation: invocation.to_owned(), source })
    }

    /// Watches exactly these containers. Call it at first, and whenever one
    /// started or ended; returns the changes that were missed. One that is
    /// seen for the first time counts as healthy, for it is ready; so does a
    /// new run, which is told if the one before was unhealthy.
    ///
    /// # Errors
    ///
    /// The directory of the records cannot be made.
    pub fn follow(&mut self, watched: Vec<Watched>) -> io::Result<Vec<HealthChange>> {
        std::fs::create_dir_all(self.memory.directory())?;
        let mut directories: Vec<PathBuf> =
            watched.iter().filter_map(|w| w.source.file().parent()).map(Path::to_owned).collect();
        directories.sort();
        directories.dedup();
        for (directory, error) in self.files.set(&directories) {
            tracing::warn!(directory = %directory.display(), %error, "health cannot be watched");
        }
        let mut before = std::mem::take(&mut self.known);
        // One that is down keeps what was last seen of it.
        let gone = before.iter().filter(|(unit, (_, healthy))| {
            *healthy == Some(false) && watched.iter().all(|w| w.unit != **unit)
        });
        self.recalled.extend(gone.map(|(unit, _)| unit.clone()));
        self.known = watched
            .into_iter()
            .map(|w| {
                let was = match before.remove(&w.unit) {
                    Some((_, healthy)) => healthy,
                    None => self.recalled.remove(&w.unit).then_some(false),
                };
                (w.unit.clone(), (w, was))
            })
            .collect();
        Ok(self.look(|_| true))
    }

    /// Waits until the health of a container changes.
    ///
    /// May be cancelled: nothing is lost.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn next(&mut self) -> io::Result<Vec<HealthChange>> {
        loop {
            let changed = self.files.next().await?;
            let all = changed.contains(&Changed::All);
            let told = self.look(|file| {
                all || changed.iter().any(|c| matches!(c, Changed::File(path) if path == file))
            });
            if !told.is_empty() {
                return Ok(told);
            }
        }
    }

    /// Reads the verdicts in some files, and returns those that are new.
    fn look(&mut self, wanted: impl Fn(&Path) -> bool) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        for (watched, known) in self.known.values_mut() {
            if !wanted(watched.source.file()) {
                continue;
            }
            let Some((healthy, reason)) = verdict(&self.memory, watched) else { continue };
            let before = known.replace(healthy);
            // At first sight only what is bad is news.
            if before.unwrap_or(true) != healthy {
                changes.push(HealthChange { unit: watched.unit.clone(), healthy, reason });
            }
        }
        changes
    }
}

/// Returns whether a container is healthy, and why not; none while that is
/// open.
fn verdict(memory: &Memory, watched: &Watched) -> Option<(bool, String)> {
    match &watched.source {
        Source::Podman(file) => {
            let checks = health::in_file(file);
            match checks.health {
                Health::Healthy => Some((true, String::new())),
                Health::Unhealthy => Some((false, checks.reason)),
                Health::Starting | Health::Unknown => None,
            }
        }
        Source::Checks(_) => match memory.load(&watched.unit).of_run(&watched.invocation) {
            OfRun::Healthy => Some((true, String::new())),
            OfRun::Unhealthy(found) => Some((false, found.reason.clone())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::check::record::{Miss, Record};
    use crate::definition::service::OnFailure;
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;

    fn container(check: &str) -> Container {
        let text = format!(
            "name = \"web\"\n[[components]]\nname = \"web\"\nimage = \"i:1\"\nports = [\"80:80\"]\nhealth = {check}\n"
        );
        let service = crate::definition::load(&text).unwrap();
        let facts = NodeFacts::default();
        let deployment = resolve(&service, &facts, &Leases::new(), None, Generation(1)).unwrap();
        deployment.containers.into_iter().next().unwrap()
    }

    async fn next(watch: &mut HealthWatch) -> Vec<(bool, String)> {
        let changes = tokio::time::timeout(std::time::Duration::from_secs(20), watch.next());
        let changes = changes.await.unwrap().unwrap();
        changes.into_iter().map(|c| (c.healthy, c.reason)).collect()
    }

    fn sick(run: &str) -> Record {
        let miss = Miss {
            invocation: run.to_owned(),
            reason: "no answer".to_owned(),
            at_ms: 1,
            uptime_s: 1,
        };
        Record::default().failed(miss, OnFailure::None)
    }

    #[tokio::test]
    async fn our_own_verdicts_are_told_as_they_change_and_only_of_this_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = HealthWatch::new(dir.path()).unwrap();
        let web = container("{ tcp = 80 }");
        let watched = watch.watched(&web, "a", 1).unwrap();
        assert_eq!(watch.follow(vec![watched.clone()]).unwrap(), []);
        let memory = Memory::new(dir.path());
        let unit = web.name.unit();
        memory.save(&unit, &sick("a")).unwrap();
        assert_eq!(next(&mut watch).await, [(false, "no answer".to_owned())]);
        memory.save(&unit, &sick("a")).unwrap();
        memory.save(&unit, &sick("a").recovered()).unwrap();
        assert_eq!(next(&mut watch).await, [(true, String::new())]);

        memory.save(&unit, &sick("b")).unwrap();
        let later = watch.watched(&web, "b", 1).unwrap();
        let missed = watch.follow(vec![later]).unwrap();
        assert_eq!(missed.iter().map(|c| c.healthy).collect::<Vec<_>>(), [false]);
        let missed = watch.follow(vec![watched.clone()]).unwrap();
        assert_eq!(missed.iter().map(|c| c.healthy).collect::<Vec<_>>(), [true]);
        assert_eq!(watch.follow(vec![watched]).unwrap(), []);
    }

    #[tokio::test]
    async fn what_was_told_is_not_told_again_and_a_recovery_is() {
        let dir = tempfile::tempdir().unwrap();
        let web = container("{ tcp = 80 }");
        let unit = web.name.unit();
        Memory::new(dir.path()).save(&unit, &sick("a")).unwrap();
        let mut watch = HealthWatch::new(dir.path()).unwrap();
        watch.recall([unit]);
        let run = |watch: &HealthWatch, run: &str| watch.watched(&web, run, 1).unwrap();
        let first = run(&watch, "a");
        assert_eq!(watch.follow(vec![first]).unwrap(), []);
        assert_eq!(watch.follow(Vec::new()).unwrap(), [], "it is stopped");
        let second = run(&watch, "b");
        let told = watch.follow(vec![second]).unwrap();
        assert_eq!(told.iter().map(|c| c.healthy).collect::<Vec<_>>(), [true]);
    }

    #[tokio::test]
    async fn podmans_verdicts_are_told_as_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = HealthWatch::new(dir.path()).unwrap();
        let log = dir.path().join("healthcheck.log");
        let put = |text: &str| crate::atomic_file::replace(&log, text.as_bytes(), 0o600).unwrap();
        let watched = Watched {
            unit: UnitName::from_systemd("web.service"),
            invocation: "a".to_owned(),
            source: Source::Podman(log.clone()),
        };
        put(r#"{"Status":"healthy","FailingStreak":0,"Log":[]}"#);
        assert_eq!(watch.follow(vec![watched]).unwrap(), []);
        put(r#"{"Status":"healthy","FailingStreak":1,"Log":[]}"#);
        put(r#"{"Status":"unhealthy","FailingStreak":2,"Log":[{"ExitCode":7,"Output":"x"}]}"#);
        let reason = "the command ended with 7: x".to_owned();
        assert_eq!(next(&mut watch).await, [(false, reason)]);
        put(r#"{"Status":"healthy","FailingStreak":0,"Log":[]}"#);
        assert_eq!(next(&mut watch).await, [(true, String::new())]);
        assert!(watch.watched(&container("{ cmd = [\"x\"] }"), "a", u32::MAX).is_none());
    }
}
