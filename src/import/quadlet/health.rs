//! `Health*=` and `Notify=`.

use super::set::Scope;
use super::unit::{Unit, plain};
use crate::import::check::{
    INTERVAL, KILL, KILL_IS, RETRIES, STARTUP_IS, TIMEOUT, Times, check_words, health, on_failure,
};
use crate::import::note::NoteKind::{Changed, Lost, Needless};
use crate::import::sheet::Part;
use crate::import::values::duration;

/// The keys that a definition's own check takes the place of.
const OWN: &[&str] = &[
    "HealthCmd",
    "HealthInterval",
    "HealthTimeout",
    "HealthRetries",
    "HealthStartPeriod",
    "HealthOnFailure",
];
/// The keys that a definition's own check makes itself.
const STARTUP: &[&str] = &[
    "HealthStartupCmd",
    "HealthStartupInterval",
    "HealthStartupRetries",
    "HealthStartupSuccess",
    "HealthStartupTimeout",
];

/// Tells whether the unit is ready when its check says so.
fn waits(unit: &Unit) -> bool {
    unit.last("Container", "Notify").is_some_and(|line| line.value == "healthy")
        && unit.last("Container", "HealthCmd").is_some_and(|line| plain(&line.value).is_some())
}

/// Tells whether a key is read by [`convert`], and is not left verbatim.
pub(super) fn is_own(unit: &Unit, key: &str) -> bool {
    waits(unit) && (OWN.contains(&key) || STARTUP.contains(&key))
}

/// Reads the check of a unit that is ready when its check says so. Any other
/// check stays as it is: podman makes it, and nobody waits for it.
pub(super) fn convert(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit) {
    let get = |key: &str| unit.last("Container", key).and_then(|line| plain(&line.value));
    if let Some(line) = unit.last("Container", "Notify").cloned() {
        match line.value.as_str() {
            "healthy" if waits(unit) => {}
            "healthy" => scope.tell(part, Lost, &line, "there is no HealthCmd that can be read"),
            "false" | "no" | "conmon" => {
                scope.tell(part, Needless, &line, "that is what podman does anyway");
            }
            _ => {
                let message = "the container is ready when it runs; give it a `health`";
                scope.tell(part, Lost, &line, message);
            }
        }
    }
    if !waits(unit) {
        if unit.last("Container", "HealthCmd").is_some() {
            part.remark("extra", "Nobody waits for this check; `health` would be waited for.");
        }
        return;
    }
    let command = get("HealthCmd").unwrap_or_default();
    let time = |key: &str| get(key).as_deref().and_then(duration);
    let times = Times {
        interval: time("HealthInterval").unwrap_or(INTERVAL),
        timeout: time("HealthTimeout").unwrap_or(TIMEOUT),
        retries: get("HealthRetries").and_then(|text| text.parse().ok()).unwrap_or(RETRIES),
        start_period: time("HealthStartPeriod"),
    };
    let mut check = health(check_words(&command), &times);
    check.on_failure = on_failure(get("HealthOnFailure").as_deref());
    part.component.health = Some(check);
    part.remark("health", times.remark());
    if let Some(line) = unit.last("Container", "HealthOnFailure").cloned()
        && line.value == KILL
    {
        scope.tell(part, Changed, &line, KILL_IS);
    }
    for line in unit.section("Container") {
        if STARTUP.contains(&line.key.as_str()) {
            scope.tell(part, Changed, line, STARTUP_IS);
        }
    }
}
