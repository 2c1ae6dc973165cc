//! The options of a health check.

use super::Scope;
use super::parse::Run;
use crate::definition::model::Command;
use crate::import::check::{
    INTERVAL, KILL, KILL_IS, RETRIES, TIMEOUT, Times, check_words, health, on_failure,
};
use crate::import::note::NoteKind::Changed;
use crate::import::sheet::{Part, Section};
use crate::import::values::{duration, duration_text};

/// Reads the options of the check together.
pub(super) fn check(scope: &mut Scope<'_>, part: &mut Part, run: &Run) {
    let get =
        |name: &str| run.flags.iter().rfind(|flag| flag.name == name).map(|f| f.value.as_str());
    let Some(command) = get("health-cmd") else { return };
    if command == "none" {
        part.extra(Section::Container, "HealthCmd", "none");
        return;
    }
    let time = |name: &str| get(name).and_then(duration);
    let times = Times {
        interval: time("health-interval").unwrap_or(INTERVAL),
        timeout: time("health-timeout").unwrap_or(TIMEOUT),
        retries: get("health-retries").and_then(|text| text.parse().ok()).unwrap_or(RETRIES),
        start_period: time("health-start-period"),
    };
    let command = if scope.is_docker {
        // Docker hands it to a shell, whatever it is.
        Command::Shell(command.to_owned())
    } else {
        check_words(command)
    };
    let mut check = health(command, &times);
    check.on_failure = on_failure(get("health-on-failure"));
    let killed = run.flags.iter().rfind(|flag| flag.name == "health-on-failure");
    if let Some(flag) = killed.filter(|flag| flag.value == KILL) {
        scope.tell(part, Changed, (&flag.place, "--health-on-failure"), KILL_IS);
    }
    match times.start_period {
        // It has had that long, and has become ready.
        Some(given) if run.is_live => check.start_period = Some(duration_text(given)),
        Some(_) | None => part.remark("health", times.remark()),
    }
    part.component.health = Some(check);
}
