//! The rules of a schedule.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Checker;
use crate::definition::service::{Check, Schedule};
use crate::definition::{calendar, model, values};
use crate::names::ScheduleName;

/// How long a run may take that nothing is said about.
const TIMEOUT: Duration = Duration::from_secs(3600);

impl Checker<'_> {
    pub(super) fn schedules(
        &mut self,
        at: &str,
        schedules: Option<Vec<model::Schedule>>,
    ) -> Vec<Schedule> {
        let mut seen: BTreeSet<ScheduleName> = BTreeSet::new();
        let mut read = Vec::new();
        for (index, schedule) in schedules.unwrap_or_default().into_iter().enumerate() {
            let at = format!("{at}.schedule[{index}]");
            let Some(schedule) = self.schedule(&at, schedule) else { continue };
            if !seen.insert(schedule.name.clone()) {
                self.complain(
                    &format!("{at}.name"),
                    format!("there are two schedules named {:?}", schedule.name.as_str()),
                );
            }
            read.push(schedule);
        }
        read
    }

    fn schedule(&mut self, at: &str, s: model::Schedule) -> Option<Schedule> {
        let name = if let Some(name) = s.name {
            self.keep(&format!("{at}.name"), name.parse())
        } else {
            self.miss(at, "the schedule has no `name`; add one");
            None
        };
        let on_calendar = match s.on_calendar {
            Some(model::OneOrMany::One(one)) => vec![one],
            Some(model::OneOrMany::Many(many)) => many,
            None => Vec::new(),
        };
        if on_calendar.is_empty() {
            self.miss(at, "the schedule has no `on_calendar`; add when it runs, such as \"daily\"");
        }
        for expression in &on_calendar {
            let _: Option<()> =
                self.keep(&format!("{at}.on_calendar"), calendar::check(expression));
        }
        let cmd = if let Some(command) = s.cmd {
            self.command(&format!("{at}.cmd"), command)
        } else {
            self.miss(at, "the schedule has no `cmd`; add the command to run in the container");
            None
        };
        let mut time = |key: &str, text: Option<&String>, default: Duration| {
            let path = format!("{at}.{key}");
            let time = text.map_or(Some(default), |text| self.keep(&path, values::duration(text)));
            if time.is_some_and(|time| time.subsec_nanos() > 0) {
                self.complain(&path, format!("{key} is in whole seconds"));
            }
            time.unwrap_or(default)
        };
        let timeout = time("timeout", s.timeout.as_ref(), TIMEOUT);
        let randomized_delay =
            time("randomized_delay", s.randomized_delay.as_ref(), Duration::ZERO);
        if timeout.is_zero() {
            self.complain(&format!("{at}.timeout"), "a run is given at least one second");
        }
        if let Some(user) = &s.user {
            let _: Option<()> =
                self.keep(&format!("{at}.user"), values::word(user, "a user", "._-:"));
        }
        let cmd = match cmd? {
            Check::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line],
            Check::Command(words) => words,
            Check::Tcp(_) | Check::Http { .. } | Check::Grpc { .. } => return None,
        };
        Some(Schedule {
            name: name?,
            on_calendar,
            cmd,
            user: s.user,
            timeout,
            persistent: s.persistent.unwrap_or(false),
            randomized_delay,
        })
    }
}
