//! Times and durations as people and programs read them.

use std::time::Duration;

use jiff::Timestamp;

/// Returns the two largest units: `12s`, `2m19s`, `17h16m`, `1d2h`.
pub fn largest_two(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        (_, _, _) => format!("{days}d{}h", hours % 24),
    }
}

/// Returns how long a step took: tenths of seconds below a minute.
pub fn elapsed(duration: Duration) -> String {
    if duration.as_millis() < 60_000 {
        return format!("{}.{}s", duration.as_secs(), duration.subsec_millis() / 100);
    }
    largest_two(duration)
}

/// Returns how long ago a time was; `None` when it is not known or not past.
pub fn since(then_ms: i64, now: Timestamp) -> Option<Duration> {
    if then_ms == 0 {
        return None;
    }
    let gone = now.as_millisecond().checked_sub(then_ms)?;
    u64::try_from(gone).ok().map(Duration::from_millis)
}

/// Returns a time as RFC 3339; `None` when it is 0, which stands for unknown.
pub fn rfc3339(ms: i64) -> Option<String> {
    if ms == 0 {
        return None;
    }
    Timestamp::from_millisecond(ms).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_the_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (12, "12s"),
            (60, "1m0s"),
            (139, "2m19s"),
            (3600, "1h0m"),
            (62_160, "17h16m"),
            (86_400, "1d0h"),
            (93_600, "1d2h"),
            (230_400, "2d16h"),
            (86_400 * 400, "400d0h"),
        ] {
            assert_eq!(largest_two(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_step_takes_tenths_of_seconds() {
        for (ms, text) in
            [(0, "0.0s"), (49, "0.0s"), (2_310, "2.3s"), (59_999, "59.9s"), (139_000, "2m19s")]
        {
            assert_eq!(elapsed(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn an_unknown_or_future_time_has_no_age() {
        let now = Timestamp::from_millisecond(10_000).unwrap();
        assert_eq!(since(4_000, now), Some(Duration::from_secs(6)));
        assert_eq!(since(0, now), None);
        assert_eq!(since(11_000, now), None);
        assert_eq!(rfc3339(0), None);
        assert_eq!(rfc3339(1_795_228_747_000).as_deref(), Some("2026-11-21T02:39:07Z"));
    }
}
