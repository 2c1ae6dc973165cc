//! The words of a run to options, image and command.

use super::Wrong;
use super::split::Command;
use crate::import::files::file_name;
use crate::import::note::Place;
use crate::quadlet::arguments::WITHOUT_VALUE;

/// A call of `run` or `create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Run {
    pub(in crate::import) is_docker: bool,
    pub(in crate::import) place: Place,
    pub(in crate::import) flags: Vec<Flag>,
    pub(in crate::import) image: String,
    pub(in crate::import) command: Vec<(String, Place)>,
    /// Whether a shell has filled in what it does.
    pub(in crate::import) is_split: bool,
    /// Whether a container that runs was made by it.
    pub(in crate::import) is_live: bool,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Flag {
    /// Its long name without hyphens.
    pub(in crate::import) name: String,
    /// Its value; `true` or `false` for those without one.
    pub(in crate::import) value: String,
    pub(in crate::import) place: Place,
}

impl Run {
    /// Returns what the container is called: its name, or what its image is.
    pub(in crate::import) fn name(&self) -> String {
        let given = self.flags.iter().rfind(|flag| flag.name == "name");
        if let Some(flag) = given {
            flag.value.clone()
        } else {
            let last = file_name(&self.image);
            last.split([':', '@']).next().unwrap_or(last).to_owned()
        }
    }
}

/// The long names of options by their letters, and of those with two names.
const NAMES: &[(&str, &str)] = &[
    ("a", "attach"),
    ("c", "cpu-shares"),
    ("d", "detach"),
    ("e", "env"),
    ("h", "hostname"),
    ("i", "interactive"),
    ("l", "label"),
    ("m", "memory"),
    ("p", "publish"),
    ("P", "publish-all"),
    ("q", "quiet"),
    ("t", "tty"),
    ("u", "user"),
    ("v", "volume"),
    ("w", "workdir"),
    ("net", "network"),
    ("net-alias", "network-alias"),
    ("dns-opt", "dns-option"),
    ("rm", "rm"),
];

/// Options that take a value, beside those of health checks (`podman-run(1)`,
/// `docker run --help`).
const WITH_VALUE: &[&str] = &[
    "add-host",
    "annotation",
    "arch",
    "attach",
    "authfile",
    "blkio-weight",
    "blkio-weight-device",
    "cap-add",
    "cap-drop",
    "cert-dir",
    "cgroup-conf",
    "cgroup-parent",
    "cgroupns",
    "cgroups",
    "chrootdirs",
    "cidfile",
    "conmon-pidfile",
    "cpu-count",
    "cpu-percent",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "creds",
    "decryption-key",
    "detach-keys",
    "device",
    "device-cgroup-rule",
    "device-read-bps",
    "device-read-iops",
    "device-write-bps",
    "device-write-iops",
    "dns",
    "dns-option",
    "dns-search",
    "domainname",
    "entrypoint",
    "env",
    "env-file",
    "env-merge",
    "expose",
    "gidmap",
    "gpus",
    "group-add",
    "group-entry",
    "hostname",
    "hosts-file",
    "hostuser",
    "image-volume",
    "init-ctr",
    "init-path",
    "ip",
    "ip6",
    "ipc",
    "isolation",
    "kernel-memory",
    "label",
    "label-file",
    "link",
    "link-local-ip",
    "log-driver",
    "log-opt",
    "mac-address",
    "memory",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "mount",
    "name",
    "network",
    "network-alias",
    "oom-score-adj",
    "os",
    "passwd-entry",
    "personality",
    "pid",
    "pidfile",
    "pids-limit",
    "platform",
    "pod",
    "pod-id-file",
    "preserve-fd",
    "preserve-fds",
    "publish",
    "pull",
    "rdt-class",
    "requires",
    "restart",
    "retry",
    "retry-delay",
    "runtime",
    "sdnotify",
    "seccomp-policy",
    "secret",
    "security-opt",
    "shm-size",
    "shm-size-systemd",
    "signature-policy",
    "stop-signal",
    "stop-timeout",
    "storage-opt",
    "subgidname",
    "subuidname",
    "sysctl",
    "systemd",
    "timeout",
    "tmpfs",
    "tz",
    "uidmap",
    "ulimit",
    "umask",
    "unsetenv",
    "user",
    "userns",
    "uts",
    "variant",
    "volume",
    "volume-driver",
    "volumes-from",
    "workdir",
];

fn long(name: &str) -> String {
    let own = NAMES.iter().find(|(short, _)| *short == name);
    own.map_or(name, |(_, long)| *long).to_owned()
}

fn takes_value(name: &str) -> bool {
    !WITHOUT_VALUE.iter().any(|own| own.trim_start_matches('-') == name) && name != "help"
}

/// Reads a command; `None` when it is no run.
///
/// # Errors
///
/// A run without an image, or an option without its value.
pub(in crate::import) fn parse(command: &Command) -> Result<Option<Run>, Wrong> {
    let words = &command.words;
    let program = words
        .iter()
        .take(6)
        .position(|(word, _)| matches!(file_name(word), "podman" | "docker" | "nerdctl"));
    let Some(program) = program else { return Ok(None) };
    let verb = words
        .iter()
        .skip(program + 1)
        .position(|(word, _)| matches!(word.as_str(), "run" | "create"));
    let Some(verb) = verb.map(|verb| verb + program + 1) else { return Ok(None) };
    // Between the two stand options of the program, and `container`.
    let between = words.iter().take(verb).skip(program + 1);
    let other = words.iter().skip(program).zip(between).find(|((before, _), (word, _))| {
        !word.starts_with('-')
            && word != "container"
            && !word.contains(['/', '=', ':'])
            && !GLOBAL.contains(&before.as_str())
    });
    if other.is_some() {
        return Ok(None);
    }
    let is_docker =
        words.get(program).is_some_and(|(word, _)| !file_name(word).starts_with("podman"));
    let mut flags = Vec::new();
    let mut rest = words.iter().skip(verb + 1).peekable();
    while let Some((word, place)) = rest.next_if(|(word, _)| word.starts_with('-') && word != "-") {
        if word == "--" {
            break;
        }
        let mut value = || rest.next().map(|(word, _)| word.clone());
        if let Some(body) = word.strip_prefix("--") {
            flags.push(long_flag(body, place, &mut value)?);
        } else {
            letters(word.trim_start_matches('-'), place, &mut value, &mut flags)?;
        }
    }
    let Some((image, _)) = rest.next() else {
        return Err(Wrong {
            place: command.place.clone(),
            message: "the run names no image".to_owned(),
        });
    };
    Ok(Some(Run {
        is_docker,
        place: command.place.clone(),
        flags,
        image: image.clone(),
        command: rest.cloned().collect(),
        is_split: command.is_split,
        is_live: false,
    }))
}

/// Options before the verb that take the next word (`podman(1)`, `docker(1)`).
const GLOBAL: &[&str] = &[
    "-H",
    "-c",
    "-l",
    "--cgroup-manager",
    "--config",
    "--conmon",
    "--connection",
    "--context",
    "--db-backend",
    "--events-backend",
    "--host",
    "--identity",
    "--imagestore",
    "--log-level",
    "--module",
    "--network-cmd-path",
    "--network-config-dir",
    "--out",
    "--root",
    "--runroot",
    "--runtime",
    "--runtime-flag",
    "--ssh",
    "--storage-driver",
    "--storage-opt",
    "--tmpdir",
    "--url",
    "--volumepath",
];

/// Tells whether it is known if an option takes a value.
fn is_known(name: &str) -> bool {
    !takes_value(name) || name.starts_with("health-") || WITH_VALUE.contains(&name)
}

fn unknown(option: &str, place: &Place) -> Wrong {
    let message = format!(
        "{option} is no option known here, so what follows it may be its value or not; write {option}=VALUE, or take it out"
    );
    Wrong { place: place.clone(), message }
}

fn no_value(name: &str, place: &Place) -> Wrong {
    Wrong { place: place.clone(), message: format!("the option {name} has no value") }
}

fn long_flag(
    body: &str,
    place: &Place,
    value: &mut dyn FnMut() -> Option<String>,
) -> Result<Flag, Wrong> {
    let (name, given) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (body, None),
    };
    let name = long(name);
    let value = match given {
        Some(value) => value,
        None if !is_known(&name) => return Err(unknown(&format!("--{name}"), place)),
        None if takes_value(&name) => value().ok_or_else(|| no_value(&name, place))?,
        None => "true".to_owned(),
    };
    Ok(Flag { name, value, place: place.clone() })
}

/// Reads options of one letter: `-it`, `-p80:80`, `-dp 80:80`.
fn letters(
    body: &str,
    place: &Place,
    value: &mut dyn FnMut() -> Option<String>,
    flags: &mut Vec<Flag>,
) -> Result<(), Wrong> {
    let mut rest = body;
    while let Some(letter) = rest.chars().next() {
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        let name = long(&letter.to_string());
        if !is_known(&name) {
            return Err(unknown(&format!("-{letter}"), place));
        }
        let text = if takes_value(&name) {
            let own = rest.strip_prefix('=').unwrap_or(rest).to_owned();
            rest = "";
            if own.is_empty() { value().ok_or_else(|| no_value(&name, place))? } else { own }
        } else if let Some(given) = rest.strip_prefix('=') {
            rest = "";
            given.to_owned()
        } else {
            "true".to_owned()
        };
        flags.push(Flag { name, value: text, place: place.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::split::of_words;
    use super::*;

    fn read(line: &str) -> Option<Run> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&of_words(&words)).unwrap()
    }

    #[test]
    fn options_of_every_form() {
        let run = read(
            "sudo -E docker --log-level=debug container run -dit -p8080:80 -e A=1 --env=B=2 --rm=false --net x --name=n img:1 -c 5",
        )
        .unwrap();
        let flags: Vec<String> =
            run.flags.iter().map(|flag| format!("{}={}", flag.name, flag.value)).collect();
        assert_eq!(
            flags.join(" "),
            "detach=true interactive=true tty=true publish=8080:80 env=A=1 env=B=2 rm=false network=x name=n"
        );
        assert_eq!((run.image.as_str(), run.is_docker), ("img:1", true));
        assert_eq!(run.command.len(), 2);
        assert_eq!(run.command[0].1.to_string(), "command line:1:17");
    }

    #[test]
    fn an_option_that_nobody_knows_swallows_no_word() {
        for (option, line) in [
            ("--unknown-option", "podman run --unknown-option value image"),
            ("-z", "podman run -dz value image"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let wrong = parse(&of_words(&words)).unwrap_err().to_string();
            assert!(wrong.contains(&format!("{option}=VALUE")), "{wrong}");
        }
        let run = read("podman run --unknown-option=value image sh").unwrap();
        assert_eq!((run.image.as_str(), run.flags[0].value.as_str()), ("image", "value"));
    }

    #[test]
    fn what_is_no_run_is_not_taken() {
        for line in ["echo run", "podman pull x", "podman network create run", "ls"] {
            assert_eq!(read(line), None, "{line}");
        }
        for line in [
            "docker --context foo run --name z x",
            "podman --log-level debug run --name z x",
            "podman --remote=false --connection here container create --name z x",
        ] {
            assert_eq!(read(line).unwrap().name(), "z", "{line}");
        }
        for line in ["podman run", "podman run -d", "podman run --name"] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(parse(&of_words(&words)).is_err(), "{line}");
        }
        assert_eq!(read("podman run docker.io/a/b:1@sha256:x").unwrap().name(), "b");
    }
}
