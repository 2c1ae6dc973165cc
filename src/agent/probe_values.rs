//! Values on the command lines of probes and checks.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

/// A range of HTTP statuses, both ends included, such as `200-399` or `204`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// Tells whether a status is in it.
    pub fn contains(self, status: http::StatusCode) -> bool {
        (self.first..=self.last).contains(&status.as_u16())
    }
}

impl FromStr for StatusRange {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self {
            first: first.parse().map_err(ArgumentError::Number)?,
            last: last.parse().map_err(ArgumentError::Number)?,
        };
        let good = 100 <= range.first && range.first <= range.last && range.last <= 599;
        if good { Ok(range) } else { Err(ArgumentError::Status) }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Says why an argument was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// No number where one is due.
    #[error("not a number: {0}")]
    Number(ParseIntError),
    /// A duration without its unit, or with another one.
    #[error("a duration is a number and its unit: 500ms, 2s or 1m")]
    Unit,
    /// A duration of nothing, or of more than a day.
    #[error("a duration lies between 1ms and 24h")]
    Range,
    /// No range of HTTP statuses.
    #[error("a status lies between 100 and 599; a range is FIRST-LAST")]
    Status,
}

/// Parses `500ms`, `2s`, `1m`, `1h`.
///
/// # Errors
///
/// [`ArgumentError`]
pub fn duration(text: &str) -> Result<Duration, ArgumentError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(ArgumentError::Unit)?;
    let number: u64 = number.parse().map_err(ArgumentError::Number)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(ArgumentError::Unit),
    };
    match number.checked_mul(unit_ms) {
        Some(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        Some(_) | None => Err(ArgumentError::Range),
    }
}
