//! Podman's version, and what each brought to Quadlet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of podman.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodmanVersion {
    /// Major number.
    pub major: u16,
    /// Minor number.
    pub minor: u16,
    /// Patch number.
    pub patch: u16,
}

/// A text that is no version of podman.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of podman; write it as podman --version does, such as 5.4.2")]
pub struct NotAVersion(String);

/// A podman that is too old.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "podman {0} is too old: MCP needs {floor} or newer, the first whose Quadlet reads drop-ins and StopTimeout= (Debian 13 has 5.4)",
    floor = PodmanVersion::FLOOR
)]
pub struct TooOld(pub PodmanVersion);

impl PodmanVersion {
    /// The oldest version that is supported: the first with
    /// `StopTimeout=` and drop-ins.
    pub const FLOOR: Self = Self::new(5, 0);

    /// The version that units are rendered for when none is given: Debian
    /// 13's.
    pub const USUAL: Self = Self::new(5, 4);

    const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor, patch: 0 }
    }

    /// Refuses a version below [`Self::FLOOR`].
    ///
    /// # Errors
    ///
    /// [`TooOld`], with the version.
    pub fn check(self) -> Result<Self, TooOld> {
        if self < Self::FLOOR { Err(TooOld(self)) } else { Ok(self) }
    }

    /// Tells whether `LogOpt=`, `StopSignal=` and `NetworkAlias=` are known.
    pub fn has_keys_of_5_2(self) -> bool {
        self >= Self::new(5, 2)
    }

    /// Tells whether `AddHost=` is known.
    pub fn has_add_host(self) -> bool {
        self >= Self::new(5, 3)
    }

    /// Tells whether `$XDG_RUNTIME_DIR/containers/systemd` is searched, before
    /// `~/.config/containers/systemd`.
    pub fn has_runtime_directory(self) -> bool {
        self >= Self::new(5, 3)
    }

    /// Tells whether `[Quadlet] DefaultDependencies=` is known; before it
    /// units do not wait for the network of their own accord.
    pub fn has_default_dependencies(self) -> bool {
        self >= Self::new(5, 3)
    }
}

impl FromStr for PodmanVersion {
    type Err = NotAVersion;

    /// Reads `5.4.2`, also with a suffix as in `5.8.0-dev`.
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let bad = || NotAVersion(text.chars().take(40).collect());
        let numbers = text.trim().split(['-', '+', '~']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(|part| part.parse::<u16>().map_err(|_| bad()));
        let major = parts.next().ok_or_else(bad)??;
        let minor = parts.next().ok_or_else(bad)??;
        let patch = parts.next().transpose()?.unwrap_or(0);
        Ok(Self { major, minor, patch })
    }
}

impl fmt::Display for PodmanVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let version = |t: &str| t.parse::<PodmanVersion>().unwrap();
        assert_eq!(version("5.4.2").to_string(), "5.4.2");
        assert!(version("5.10.0-dev") > version("5.4"));
        assert_eq!(version("4.3.1").check().unwrap_err().0, version("4.3.1"));
        assert!(version("5.0").check().is_ok());
        for bad in ["", "5", "five", "5.x", "-1.2"] {
            assert!(bad.parse::<PodmanVersion>().is_err(), "{bad:?}");
        }
    }
}
