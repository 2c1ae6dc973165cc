//! The time in `--since`.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a time; write for example 10m, 2h30m, today, 2026-05-01, \"2026-05-01 13:00\" or 2026-05-01T13:00:00Z"
)]
pub(super) struct NotATime(String);

/// Reads a time: how long ago, a day, or a moment; in the node's time zone
/// where none is given. Returns microseconds since the Unix epoch.
pub(super) fn parse(text: &str, now: &Zoned) -> Result<u64, NotATime> {
    let bad = || NotATime(text.chars().take(40).collect());
    let text = text.trim();
    let ago = text.strip_suffix(" ago").unwrap_or(text);
    let zone = now.time_zone().clone();
    let moment = if let Ok(ago) = ago.trim_start_matches('-').parse::<SignedDuration>() {
        now.timestamp().checked_sub(ago.abs()).map_err(|_| bad())?
    } else if let Ok(moment) = text.parse::<Timestamp>() {
        moment
    } else {
        let day = match text {
            "today" => Some(now.date()),
            "yesterday" => now.date().yesterday().ok(),
            _ => text.parse::<Date>().ok().filter(|_| text.len() <= 10),
        };
        let civil = match day {
            Some(day) => day.at(0, 0, 0, 0),
            None => text.parse::<DateTime>().map_err(|_| bad())?,
        };
        in_zone(civil, zone).ok_or_else(bad)?
    };
    u64::try_from(moment.as_microsecond()).map_err(|_| bad())
}

fn in_zone(civil: DateTime, zone: TimeZone) -> Option<Timestamp> {
    civil.to_zoned(zone).ok().map(|z| z.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_form() {
        let now: Zoned = "2026-05-02T12:00:00+00:00[UTC]".parse().unwrap();
        let at = |text: &str| {
            Timestamp::from_microsecond(i64::try_from(parse(text, &now).unwrap()).unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(at("10m"), "2026-05-02T11:50:00Z");
        assert_eq!(at("1h30m ago"), "2026-05-02T10:30:00Z");
        assert_eq!(at("today"), "2026-05-02T00:00:00Z");
        assert_eq!(at("yesterday"), "2026-05-01T00:00:00Z");
        assert_eq!(at("2026-05-01"), "2026-05-01T00:00:00Z");
        assert_eq!(at("2026-05-01 13:30"), "2026-05-01T13:30:00Z");
        assert_eq!(at("2026-05-01T13:00:00+02:00"), "2026-05-01T11:00:00Z");
        for bad in ["", "soon", "--help", "99999999h", "1969-01-01"] {
            assert!(parse(bad, &now).is_err(), "{bad:?}");
        }
    }
}
