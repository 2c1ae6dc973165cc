//! What a boot did: reads the journal and systemd's memory, and has the pure
//! part compute the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Engine;
use crate::agent::boot_report::chain::{self, Broken, Edges, Link};
use crate::agent::boot_report::difference::{Difference, difference};
use crate::agent::boot_report::timeline::{Ended, Event, EventKind, Timeline, timelines};
use crate::names::{ComponentName, ServiceName, StageName, UnitName};
use crate::quadlet::render;
use crate::systemd::Manager;
use crate::systemd::boot_journal::{self, BootEventKind, BootJournal, BootJournalError};
use crate::systemd::journal::Origin;
use crate::systemd::{BootEvent, SystemdError, UnitEdges};
use crate::telemetry::Chain;

/// How much of a broken unit's journal is shown.
const LINES: u32 = 12;
/// Where journald keeps a journal over reboots, if it is there
/// (`journald.conf(5)`, `Storage=`).
const PERSISTENT_JOURNAL: &str = "/var/log/journal";

/// What a boot did.
#[derive(Debug, Clone)]
pub struct BootReport {
    /// What was read; its events are in `lines`.
    pub journal: BootJournal,
    /// One line a unit, in the order in which they began.
    pub lines: Vec<Timeline>,
    /// Whose each unit of ours is.
    pub members: BTreeMap<UnitName, Member>,
    /// What decided when the last of our services was ready.
    pub chain: Vec<Link>,
    /// What failed first, with the end of its journal.
    pub broken: Option<(Broken, Vec<String>)>,
    /// How it differs from the boot before, and that boot's number.
    pub difference: Option<(String, Difference)>,
    /// What to know of the report, as sentences.
    pub notes: Vec<String>,
}

/// Whose a unit is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// The service; `None`: the node's.
    pub service: Option<ServiceName>,
    /// The component.
    pub component: Option<ComponentName>,
    /// The boot stage.
    pub stage: Option<StageName>,
}

impl Engine {
    /// Tells what a boot did; boots are numbered as by `journalctl(1)`,
    /// `--boot=`.
    ///
    /// Works without the user manager, and for the present boot without the
    /// journal; what is missing then is said in the notes.
    ///
    /// # Errors
    ///
    /// The journal does not have that boot, or cannot be read.
    pub async fn boot_report(&self, boot: i32) -> Result<BootReport, BootJournalError> {
        let mut notes = Vec::new();
        let members = self.members();
        let journal = match boot_journal::read(boot).await {
            Ok(journal) => journal,
            Err(error) if boot == 0 => match self.remembered(&members, &mut notes).await {
                Ok(journal) => {
                    notes.push(format!(
                        "The journal tells nothing ({}); this is what systemd remembers, without \
                         failures.",
                        Chain(&error)
                    ));
                    journal
                }
                Err(_also_silent) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let lines = self.lines(&journal);
        let units: BTreeSet<&UnitName> =
            lines.iter().map(|line| &line.unit).chain(members.keys()).collect();
        let units: Vec<UnitName> = units.into_iter().cloned().collect();
        let (mut after, mut requires) = self.edges(&units, &mut notes).await;
        let ends = self.containers();
        let awaits = self.awaited();
        let chain = chain::critical(&lines, &ends, &after, &awaits);
        self.add_stages(&mut after, &mut requires, awaits);
        let broken = match chain::broken(&lines, &after, &requires) {
            Some(broken) => {
                let said = last_words(self.manager(), &lines, &broken.unit, &mut notes).await;
                Some((broken, said))
            }
            None => None,
        };
        let difference = self.compare(boot, &lines, &mut notes).await;
        notes.extend(remarks(&journal));
        Ok(BootReport { journal, lines, members, chain, broken, difference, notes })
    }

    /// Returns whose each unit of ours is.
    fn members(&self) -> BTreeMap<UnitName, Member> {
        let mut members = BTreeMap::from([
            (UnitName::everything(), Member::default()),
            (UnitName::podman_ready(), Member::default()),
        ]);
        let sequence = self.boot_sequence();
        for stage in &sequence.stages {
            let member = Member { stage: Some(stage.name.clone()), ..Member::default() };
            members.insert(UnitName::stage(&stage.name), member.clone());
            members.insert(UnitName::stage_check(&stage.name), member);
        }
        for accepted in self.all() {
            let service = &accepted.row.name;
            let stage = sequence.stages.iter().find(|stage| stage.services.contains(service));
            let stage = stage.map(|stage| stage.name.clone());
            let gate = Member { service: Some(service.clone()), ..Member::default() };
            members.insert(UnitName::gate(service), gate);
            for (_, name) in accepted.set.files.keys() {
                let unit = UnitName::from_systemd(render::unit_of(name));
                // A network is of every service that names it.
                let service = (!name.ends_with(".network")).then(|| service.clone());
                let stage = stage.clone().filter(|_| service.is_some());
                members.insert(unit, Member { service, component: None, stage });
            }
            for container in &accepted.deployment.containers {
                let (service, component) = (service.clone(), container.spec.name.clone());
                let stage = stage.clone();
                let member = Member { service: Some(service), component: Some(component), stage };
                members.insert(container.name.unit(), member);
            }
        }
        members
    }

    fn containers(&self) -> BTreeSet<UnitName> {
        let all = self.all();
        all.iter().flat_map(|a| &a.deployment.containers).map(|c| c.name.unit()).collect()
    }

    /// Makes the lines of a boot, those of units included that it should have
    /// started: of services that were there before it and are to run.
    fn lines(&self, journal: &BootJournal) -> Vec<Timeline> {
        let events = events(journal);
        let began_ms = i64::try_from(journal.began_at_us / 1000).unwrap_or(i64::MAX);
        let seen: BTreeSet<&UnitName> = events.iter().map(|event| &event.unit).collect();
        let mut expected = BTreeSet::new();
        for accepted in self.all() {
            let target = UnitName::service_target(&accepted.row.name);
            let units: Vec<UnitName> =
                accepted.deployment.containers.iter().map(|c| c.name.unit()).collect();
            let part = journal.finished_us.is_none()
                || seen.contains(&target)
                || units.iter().any(|unit| seen.contains(unit));
            if accepted.row.active && accepted.row.deployed_at_ms <= began_ms && part {
                expected.extend(units);
                expected.insert(target);
            }
        }
        timelines(&events, &expected)
    }

    /// Returns who is ordered after whom, and who requires whom, as systemd
    /// has it now.
    async fn edges(&self, units: &[UnitName], notes: &mut Vec<String>) -> (Edges, Edges) {
        match self.manager().unit_edges(units).await {
            Ok(found) => found
                .into_iter()
                .map(|UnitEdges { name, after, requires, .. }| {
                    ((name.clone(), after), (name, requires))
                })
                .unzip(),
            Err(error) => {
                notes.push(format!(
                    "The user's systemd does not answer ({}), so it is not known what waited for \
                     what.",
                    Chain(&error)
                ));
                (Edges::new(), Edges::new())
            }
        }
    }

    /// Returns what the checks of stages wait for after they have begun.
    fn awaited(&self) -> Edges {
        let mut awaits = Edges::new();
        for (check, ready) in self.stage_waits() {
            let units = awaits.entry(UnitName::from_systemd(check)).or_default();
            units.push(UnitName::from_systemd(ready));
        }
        awaits
    }

    /// Adds who cannot start before a stage is reached: a gate only orders,
    /// yet what is behind it waits.
    fn add_stages(&self, after: &mut Edges, requires: &mut Edges, awaits: Edges) {
        let stages = self.boot_targets();
        for accepted in self.all() {
            let gate = UnitName::gate(&accepted.row.name);
            let before = after.get(&gate).into_iter().flatten();
            let before: Vec<UnitName> = before.filter(|u| stages.contains(u)).cloned().collect();
            requires.entry(gate.clone()).or_default().extend(before);
            for container in &accepted.deployment.containers {
                requires.entry(container.name.unit()).or_default().push(gate.clone());
            }
        }
        for (check, ready) in awaits {
            after.entry(check.clone()).or_default().extend(ready.iter().cloned());
            requires.entry(check).or_default().extend(ready);
        }
    }

    /// Makes a journal out of what systemd remembers of its units.
    async fn remembered(
        &self,
        members: &BTreeMap<UnitName, Member>,
        notes: &mut Vec<String>,
    ) -> Result<BootJournal, SystemdError> {
        let (began_us, began_at_us) = self.manager().began().await?;
        let units: Vec<UnitName> = members.keys().cloned().collect();
        let mut events = Vec::new();
        for unit in self.manager().unit_edges(&units).await? {
            let mut push = |at_us, kind| {
                let unit = unit.name.clone();
                events.push(BootEvent { at_us, unit, invocation_id: None, kind });
            };
            if unit.started_us >= began_us {
                push(unit.started_us, BootEventKind::Starting);
            }
            if unit.ready_us >= began_us && unit.ready_us >= unit.started_us {
                push(unit.ready_us, BootEventKind::JobEnded { result: "done".to_owned() });
            }
        }
        events.sort_by_key(|event| event.at_us);
        notes.push("A unit that was started again since the boot shows its last start.".to_owned());
        Ok(BootJournal {
            machine_us: 0,
            began_us,
            began_at_us,
            last_us: events.last().map_or(began_us, |event| event.at_us),
            events,
            ..BootJournal::default()
        })
    }

    /// Compares with the boot before.
    async fn compare(
        &self,
        boot: i32,
        lines: &[Timeline],
        notes: &mut Vec<String>,
    ) -> Option<(String, Difference)> {
        // The first that the journal holds is 1; 0 is the present one.
        let before = if boot == 1 { None } else { boot.checked_sub(1) };
        let read = match before {
            Some(before) => boot_journal::read(before).await,
            None => Err(BootJournalError::NoSuchBoot { boot: 0 }),
        };
        match read {
            Ok(journal) => {
                let old = self.lines(&journal);
                Some((journal.boot_id, difference(&services(lines), &services(&old))))
            }
            Err(BootJournalError::NoSuchBoot { .. }) => {
                let kept = tokio::fs::metadata(PERSISTENT_JOURNAL).await.is_ok();
                notes.push(nothing_before(kept));
                None
            }
            Err(error) => {
                let why = Chain(&error);
                notes.push(format!("The boot before cannot be compared with: {why}."));
                None
            }
        }
    }
}

/// Says that there is no boot to compare with; `kept`: journald keeps its
/// journal over reboots, so that is all there is to say.
fn nothing_before(kept: bool) -> String {
    let note = "The journal holds no boot before this one, so there is nothing to compare with.";
    if kept {
        return note.to_owned();
    }
    format!(
        "{note} To keep it over reboots: sudo mkdir -p {PERSISTENT_JOURNAL} && sudo systemctl \
         restart systemd-journald"
    )
}

/// Returns the lines of services: targets take no time of their own.
fn services(lines: &[Timeline]) -> Vec<Timeline> {
    lines.iter().filter(|line| line.unit.as_str().ends_with(".service")).cloned().collect()
}

/// Returns what happened to services and targets, since the manager's first
/// word. What podman and systemd-run make for a moment is left out.
fn events(journal: &BootJournal) -> Vec<Event> {
    journal.events.iter().filter_map(|event| convert(event, journal.began_us)).collect()
}

fn convert(event: &BootEvent, began_us: u64) -> Option<Event> {
    let name = event.unit.as_str();
    let (stem, suffix) = name.rsplit_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let passing = stem.starts_with("run-") || stem.get(..64).is_some_and(digits);
    if passing || !matches!(suffix, "service" | "target") {
        return None;
    }
    let kind = match &event.kind {
        BootEventKind::Starting => EventKind::Starting,
        BootEventKind::JobEnded { result } => EventKind::JobEnded { result: result.clone() },
        BootEventKind::Failed { result } => EventKind::Failed { result: result.clone() },
        BootEventKind::Exited { words, .. } => EventKind::Exited { words: words.clone() },
        BootEventKind::Stopped => EventKind::Stopped,
        BootEventKind::ThrownOut { words } => EventKind::ThrownOut { words: words.clone() },
        // The next start says the same.
        BootEventKind::RestartScheduled => return None,
    };
    Some(Event {
        at: Duration::from_micros(event.at_us.saturating_sub(began_us)),
        unit: event.unit.clone(),
        invocation_id: event.invocation_id.clone(),
        kind,
    })
}

/// Reads the end of what the broken unit wrote in its last failed run.
async fn last_words(
    manager: &Manager,
    lines: &[Timeline],
    unit: &UnitName,
    notes: &mut Vec<String>,
) -> Vec<String> {
    let line = lines.iter().find(|line| line.unit == *unit);
    let failed = line.and_then(|line| {
        line.attempts.iter().rev().find(|a| matches!(a.ended, Ended::Failed { .. }))
    });
    let Some(run) = failed.and_then(|attempt| attempt.invocation_id.as_deref()) else {
        return Vec::new();
    };
    match manager.last_lines(unit, Some(run), LINES).await {
        // What systemd said is in the report already.
        Ok(entries) => entries
            .into_iter()
            .filter(|entry| entry.origin != Origin::Systemd)
            .map(|entry| entry.message)
            .collect(),
        Err(error) => {
            notes.push(format!("What {unit} wrote cannot be read: {}.", Chain(&error)));
            Vec::new()
        }
    }
}

fn remarks(journal: &BootJournal) -> Vec<String> {
    let mut remarks = Vec::new();
    if journal.interrupted {
        remarks.push(
            "The user's systemd ended before it had started everything, and was started again; \
             this is what the first one did."
                .to_owned(),
        );
    }
    if journal.cut {
        remarks.push("There is more than is read of one boot; the rest is left out.".to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_is_kept_needs_no_advice() {
        let first =
            "The journal holds no boot before this one, so there is nothing to compare with.";
        assert_eq!(nothing_before(true), first);
        let advice = nothing_before(false);
        assert!(advice.starts_with(first) && advice.contains("mkdir -p /var/log/journal &&"));
    }
}
