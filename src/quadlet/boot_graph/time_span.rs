//! Time spans as unit files write them (`systemd.time(7)`).

use std::time::Duration;

/// A limit of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// That long.
    After(Duration),
    /// None.
    Never,
}

impl Limit {
    /// Returns the time; `None` without a limit.
    pub fn time(self) -> Option<Duration> {
        match self {
            Self::After(time) => Some(time),
            Self::Never => None,
        }
    }
}

/// Parses a limit: `90`, `1min 30s`, `infinity`. As in unit files, 0 and
/// `infinity` mean none.
pub fn limit(text: &str) -> Option<Limit> {
    if text == "infinity" {
        return Some(Limit::Never);
    }
    let time = span(text)?;
    Some(if time.is_zero() { Limit::Never } else { Limit::After(time) })
}

/// Parses a time span; a number without a unit is seconds.
fn span(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "us" | "usec" => 0.000_001,
            "ms" | "msec" => 0.001,
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            "w" | "week" | "weeks" => 604_800.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after.trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_in_unit_files() {
        for (text, seconds) in
            [("90", 90), ("1min 30s", 90), ("2 h", 7200), ("1d1h", 90_000), ("1500ms", 1)]
        {
            let Some(Limit::After(time)) = limit(text) else { panic!("{text}") };
            assert_eq!(time.as_secs(), seconds, "{text}");
        }
        assert_eq!(limit("infinity"), Some(Limit::Never));
        assert_eq!(limit("0"), Some(Limit::Never));
        for bad in ["", "x", "1 fortnight", "--"] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }
}
