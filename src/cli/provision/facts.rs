//! What a machine says about itself, and whether it can become a node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The oldest systemd that the agent works with.
const SYSTEMD: u32 = 254;
/// The first Debian whose podman the agent works with.
const DEBIAN: u32 = 13;

/// What a machine says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// `ID` of `os-release(5)`.
    pub os: String,
    /// `ID_LIKE`: what it comes from.
    pub like: Vec<String>,
    /// `PRETTY_NAME`.
    pub pretty: String,
    /// The whole number that `VERSION_ID` begins with.
    pub version: Option<u32>,
    /// Debian's name of its architecture.
    pub arch: String,
    /// Its host name, up to the first dot.
    pub host: String,
    /// Who we are there.
    pub uid: Option<u32>,
    /// The name of its first process.
    pub init: String,
    /// The version of its systemd.
    pub systemd: Option<u32>,
    /// The address at which it was reached.
    pub address: Option<IpAddr>,
    /// Which of the programs asked for it has.
    pub programs: BTreeSet<String>,
}

/// Says why a machine cannot be made a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There are no packages for it.
    #[error(
        "{host} runs {pretty}; packages are for Debian {DEBIAN} and newer, and what comes from it"
    )]
    Os {
        /// The machine.
        host: String,
        /// What it runs.
        pretty: String,
    },
    /// Its podman is too old.
    #[error("{host} runs Debian {version}, whose podman is too old; upgrade it to Debian {DEBIAN}")]
    OldDebian {
        /// The machine.
        host: String,
        /// Its version.
        version: u32,
    },
    /// It was not booted by systemd.
    #[error("{host} was booted by {init}, not by systemd, which runs the containers")]
    Init {
        /// The machine.
        host: String,
        /// Its first process.
        init: String,
    },
    /// Its systemd is too old.
    #[error("{host} has systemd {version}; the agent needs {SYSTEMD} or newer")]
    OldSystemd {
        /// The machine.
        host: String,
        /// Its version.
        version: u32,
    },
    /// We are not root there and cannot become so.
    #[error("on {host} this user is not root, and there is neither sudo nor doas")]
    NotRoot {
        /// The machine.
        host: String,
    },
}

impl Facts {
    /// Reads the lines `key=value` that [`super::scripts::FACTS`] prints; what
    /// is missing or makes no sense is not known.
    pub fn parse(text: &str) -> Self {
        let mut values: BTreeMap<&str, &str> = BTreeMap::new();
        let mut programs = BTreeSet::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            if key == "has" {
                programs.insert(value.to_owned());
            } else {
                values.insert(key, value.trim());
            }
        }
        let text = |key: &str| values.get(key).copied().unwrap_or_default().to_owned();
        let number = |key: &str| {
            let digits = text(key);
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits.get(..end).and_then(|digits| digits.parse().ok())
        };
        Self {
            os: text("os"),
            like: text("like").split_whitespace().map(str::to_owned).collect(),
            pretty: text("pretty"),
            version: number("version"),
            arch: text("arch"),
            host: text("host").split('.').next().unwrap_or_default().to_ascii_lowercase(),
            uid: number("uid"),
            init: text("init"),
            systemd: number("systemd"),
            // SSH_CONNECTION of sshd(8): client, its port, server, its port.
            address: text("connection").split_whitespace().nth(2).and_then(|a| a.parse().ok()),
            programs,
        }
    }

    /// Tells whether the machine can become a node.
    ///
    /// # Errors
    ///
    /// The first reason why not.
    pub fn judge(&self) -> Result<(), Refusal> {
        let host = self.host.clone();
        // Its configuration makes it a node; it is shown which.
        if self.os == "nixos" {
            return Ok(());
        }
        let debian = self.os == "debian" || self.like.iter().any(|like| like == "debian");
        if !debian || !self.programs.contains("apt-get") {
            return Err(Refusal::Os { host, pretty: self.pretty.clone() });
        }
        if let Some(version) = self.version.filter(|v| self.os == "debian" && *v < DEBIAN) {
            return Err(Refusal::OldDebian { host, version });
        }
        if self.init != "systemd" {
            return Err(Refusal::Init { host, init: self.init.clone() });
        }
        if let Some(version) = self.systemd.filter(|version| *version < SYSTEMD) {
            return Err(Refusal::OldSystemd { host, version });
        }
        if self.uid != Some(0) && !["sudo", "doas"].iter().any(|p| self.programs.contains(*p)) {
            return Err(Refusal::NotRoot { host });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIXIE: &str = "os=debian\nlike=\npretty=Debian GNU/Linux 13 (trixie)\nversion=13\narch=amd64\n\
        host=Rift.example.net\nuid=1000\ninit=systemd\nsystemd=257 (257.13-1)\n\
        connection=10.0.0.1 50022 10.0.0.7 22\nhas=apt-get\nhas=sudo\n";

    #[test]
    fn a_machine_is_read_from_its_lines() {
        let facts = Facts::parse(TRIXIE);
        assert_eq!((facts.host.as_str(), facts.arch.as_str()), ("rift", "amd64"));
        assert_eq!((facts.version, facts.systemd, facts.uid), (Some(13), Some(257), Some(1000)));
        assert_eq!(facts.address, Some("10.0.0.7".parse().unwrap()));
        assert_eq!(facts.judge(), Ok(()));
        assert_eq!(Facts::parse("no lines\n==\nuid=x"), Facts::default());
    }

    #[test]
    fn what_cannot_become_a_node_is_refused_by_its_first_reason() {
        let judged = |from: &str, to: &str| {
            assert!(TRIXIE.contains(from), "{from}");
            Facts::parse(&TRIXIE.replace(from, to)).judge().unwrap_err().to_string()
        };
        let told = [
            judged("os=debian", "os=fedora"),
            judged("has=apt-get", "has=dnf"),
            judged("version=13", "version=12"),
            judged("init=systemd", "init=runit"),
            judged("systemd=257 (257.13-1)", "systemd=252"),
            judged("has=sudo", "has=su"),
        ];
        insta::assert_snapshot!(told.join("\n"), @r"
        rift runs Debian GNU/Linux 13 (trixie); packages are for Debian 13 and newer, and what comes from it
        rift runs Debian GNU/Linux 13 (trixie); packages are for Debian 13 and newer, and what comes from it
        rift runs Debian 12, whose podman is too old; upgrade it to Debian 13
        rift was booted by runit, not by systemd, which runs the containers
        rift has systemd 252; the agent needs 254 or newer
        on rift this user is not root, and there is neither sudo nor doas
        ");
    }

    #[test]
    fn what_comes_from_debian_and_root_without_sudo_are_taken() {
        let ubuntu = TRIXIE.replace("os=debian", "os=ubuntu").replace("like=", "like=debian");
        assert_eq!(Facts::parse(&ubuntu.replace("version=13", "version=26.04")).judge(), Ok(()));
        let root = TRIXIE.replace("uid=1000", "uid=0").replace("has=sudo\n", "");
        assert_eq!(Facts::parse(&root).judge(), Ok(()));
    }
}
