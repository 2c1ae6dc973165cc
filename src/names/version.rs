//! Versions of our programs.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The version of one of our programs: `major.minor.patch`, and after a dash
/// what it is on the way to that (Semantic Versioning 2.0.0; build metadata is
/// not taken).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramVersion {
    major: u32,
    minor: u32,
    patch: u32,
    before: Option<String>,
}

/// The longest text that is a version.
const MAX: usize = 64;

/// The text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version such as 0.2.0 or 0.2.0-rc.1")]
pub struct VersionError(String);

impl ProgramVersion {
    /// Returns the version of this program.
    pub fn own() -> Self {
        let text = env!("CARGO_PKG_VERSION");
        // Cargo has checked its own version; what it wrote otherwise is kept
        // as a name that sorts before every release.
        text.parse().unwrap_or_else(|_| Self {
            major: 0,
            minor: 0,
            patch: 0,
            before: Some(text.to_owned()),
        })
    }

    /// Tells whether two programs may work together: the same major version,
    /// and minor versions that are at most one apart.
    pub fn is_near(&self, other: &Self) -> bool {
        self.major == other.major && self.minor.abs_diff(other.minor) <= 1
    }
}

impl FromStr for ProgramVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let refused = || VersionError(text.chars().take(MAX).collect());
        if text.len() > MAX {
            return Err(refused());
        }
        let (numbers, before) = match text.split_once('-') {
            Some((numbers, before)) => (numbers, Some(before)),
            None => (text, None),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        if before.is_some_and(|before| before.is_empty() || !before.bytes().all(plain)) {
            return Err(refused());
        }
        let mut parts = numbers.split('.').map(|part| {
            let digits = part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty();
            digits.then(|| part.parse::<u32>().ok()).flatten()
        });
        let mut next = || parts.next().flatten().ok_or_else(refused);
        let (major, minor, patch) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(refused());
        }
        Ok(Self { major, minor, patch, before: before.map(str::to_owned) })
    }
}

impl TryFrom<String> for ProgramVersion {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<ProgramVersion> for String {
    fn from(version: ProgramVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch, before } = self;
        write!(f, "{major}.{minor}.{patch}")?;
        before.as_ref().map_or(Ok(()), |before| write!(f, "-{before}"))
    }
}

impl PartialOrd for ProgramVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ProgramVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (&self.before, &other.before) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => by_part(a, b),
        })
    }
}

/// Compares what stands after the dash, part by part: numbers by value and
/// before words, a shorter one first (section 11).
fn by_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ProgramVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_sort_as_releases_do() {
        let sorted =
            ["0.1.0-alpha", "0.1.0-rc.2", "0.1.0-rc.10", "0.1.0", "0.1.9", "0.1.10", "1.0.0"];
        for pair in sorted.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(ProgramVersion::own().to_string(), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn one_minor_version_apart_is_near() {
        for (a, b, near) in [
            ("0.1.0", "0.1.7", true),
            ("0.1.0", "0.2.0", true),
            ("0.2.0", "0.1.0-rc.1", true),
            ("0.1.0", "0.3.0", false),
            ("0.9.0", "1.0.0", false),
        ] {
            assert_eq!(version(a).is_near(&version(b)), near, "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.+3",
            "1.2.3-",
            "1.2.3-a b",
            "v1.2.3",
            "1.2.99999999999",
        ] {
            assert!(bad.parse::<ProgramVersion>().is_err(), "{bad}");
        }
        assert!(format!("1.2.3-{}", "a".repeat(90)).parse::<ProgramVersion>().is_err());
    }
}
