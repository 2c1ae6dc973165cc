//! What runs in a component by the calendar: a command in the running
//! container, started by a timer of systemd.

use serde::Serialize;

use super::arguments::seconds;
use super::escape::exec_line;
use crate::definition::service::Schedule;
use crate::deployment::Container;
use crate::names::{ServiceName, UnitName};

/// Returns the command that a schedule runs (`podman-exec(1)`).
pub(super) fn schedule_words(c: &Container, schedule: &Schedule) -> Vec<String> {
    let mut words = vec!["/usr/bin/env".to_owned(), "podman".to_owned(), "exec".to_owned()];
    words.extend(schedule.user.iter().map(|user| format!("--user={user}")));
    words.push(c.name.to_string());
    words.extend(schedule.cmd.iter().cloned());
    words
}

/// `schedule.service.tera` and `schedule.timer.tera`.
#[derive(Debug, Serialize)]
pub(super) struct ScheduleView {
    header: Vec<String>,
    name: String,
    schedule: String,
    unit: String,
    target: String,
    command: String,
    timeout: u64,
    on_calendar: Vec<String>,
    persistent: bool,
    randomized_delay: Option<String>,
}

impl ScheduleView {
    pub(super) fn new(
        service: &ServiceName,
        c: &Container,
        schedule: &Schedule,
        header: Vec<String>,
    ) -> Self {
        let delay = schedule.randomized_delay;
        Self {
            header,
            name: c.name.to_string(),
            schedule: schedule.name.to_string(),
            unit: c.name.unit().to_string(),
            target: UnitName::service_target(service).to_string(),
            command: exec_line(&schedule_words(c, schedule)),
            timeout: schedule.timeout.as_secs(),
            // Checked to have nothing that a unit would read otherwise.
            on_calendar: schedule.on_calendar.clone(),
            persistent: schedule.persistent,
            randomized_delay: (!delay.is_zero()).then(|| seconds(delay)),
        }
    }
}
