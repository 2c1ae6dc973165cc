//! `[[boot.sequence]]`: the boot stages.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::reader::Reader;
use super::tables::{BootTable, StageTable};
use crate::deployment::{Sequence, Stage, StageHealth};
use crate::names::{ServiceName, StageName, UnitName};

/// How long a stage may take when nothing is said.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The longest and the shortest `timeout`.
const LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

const NAME: &str = "boot.sequence.name";
const SERVICES: &str = "boot.sequence.services";

/// What was written where, to tell of repetitions.
#[derive(Default)]
struct Seen {
    names: BTreeMap<StageName, usize>,
    services: BTreeMap<ServiceName, StageName>,
}

impl Reader<'_> {
    /// Returns the stages; nothing where one has a mistake.
    pub(super) fn boot(&mut self, table: &BootTable) -> Option<Sequence> {
        let mut seen = Seen::default();
        let stages = table.sequence.iter().enumerate();
        let stages: Vec<Option<Stage>> =
            stages.map(|(index, stage)| self.stage(stage, index == 0, &mut seen)).collect();
        for (service, stage) in &seen.services {
            self.colliding(service, stage, &seen.names);
        }
        Some(Sequence { stages: stages.into_iter().collect::<Option<Vec<_>>>()? })
    }

    fn stage(&mut self, table: &StageTable, first: bool, seen: &mut Seen) -> Option<Stage> {
        let name = self.value::<StageName>(NAME, &table.name);
        let at = table.name.span().start;
        if let Some(name) = &name
            && seen.names.insert(name.clone(), at).is_some()
        {
            self.problem(at, NAME, format!("there is a stage {name} already"));
        }
        if table.services.get_ref().is_empty() {
            let message = "a stage needs at least one service";
            self.problem(table.services.span().start, SERVICES, message);
        }
        let mut services = Vec::new();
        for text in table.services.get_ref() {
            let Some(service) = self.value::<ServiceName>(SERVICES, text) else { continue };
            let own = name.clone();
            if let (Some(other), Some(_)) = (seen.services.get(&service), &own) {
                let message = format!("{service} is in stage {other} already");
                self.problem(text.span().start, SERVICES, message);
            } else if let Some(own) = own {
                seen.services.insert(service.clone(), own);
            }
            services.push(service);
        }
        let timeout = match &table.timeout {
            Some(text) => self.stage_timeout(text),
            None => Some(TIMEOUT),
        };
        let words = StageHealth::ALL.map(StageHealth::as_str);
        let health = match &table.health {
            None => Some(None),
            Some(_) => {
                self.word("boot.sequence.health", &table.health, StageHealth::Tcp, &words).map(Some)
            }
        };
        let required = table.required.unwrap_or(first);
        Some(Stage { name: name?, services, timeout: timeout?, health: health?, required })
    }

    fn stage_timeout(&mut self, text: &Spanned<String>) -> Option<Duration> {
        let parsed = text.get_ref().parse::<jiff::SignedDuration>().ok();
        let timeout = parsed.and_then(|d| Duration::try_from(d).ok());
        let (least, most) = LIMITS;
        let found = timeout.filter(|timeout| (least..=most).contains(timeout));
        if found.is_none() {
            let message = format!(
                "{:?} is no time from 1 s to 24 h; write for example \"90s\" or \"5m\"",
                text.get_ref()
            );
            self.problem(text.span().start, "boot.sequence.timeout", message);
        }
        found
    }

    /// Refuses a stage whose target is that of a service of the sequence.
    fn colliding(
        &mut self,
        service: &ServiceName,
        of: &StageName,
        names: &BTreeMap<StageName, usize>,
    ) {
        let target = UnitName::service_target(service);
        if let Some((stage, at)) = names.iter().find(|(stage, _)| UnitName::stage(stage) == target)
        {
            let message = format!(
                "the stage {stage} and the service {service} of stage {of} would both have a unit {target}"
            );
            self.problem(*at, NAME, message);
        }
    }
}
