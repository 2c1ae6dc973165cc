//! How what would run differs from what runs.

use std::collections::BTreeMap;

use super::settle::{HELD, Joined, fold_addresses, is_of_a_keeper, joined, own_env, published};
use super::{ContainersError, Live};
use crate::definition::model::Command;
use crate::import::check::check_words;
use crate::import::run::parse::{Flag, Run, parse};
use crate::import::run::split::of_container;
use crate::import::values::{Ports, as_volume, duration, duration_text, mount_text, ports, size};

/// What only one of two calls of podman has, each as a person would write it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// What runs has it, and what would run has not.
    pub gone: Vec<String>,
    /// What would run has it, and what runs has not.
    pub new: Vec<String>,
}

impl Difference {
    /// Tells whether the two are alike.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty()
    }
}

/// Options that are compared by what they came to, or not at all: when systemd
/// starts a container is not what is in it.
const SETTLED: &[&str] =
    &["env-file", "env-host", "env-merge", "publish-all", "requires", "restart"];

/// Compares a container with the words of the call that would make the next
/// one.
///
/// # Errors
///
/// One of the two is no call of `podman run`.
pub fn difference(live: &Live, next: &[String]) -> Result<Difference, ContainersError> {
    let name = &live.container.name;
    let call = |words: &[String]| -> Result<Run, ContainersError> {
        let run = parse(&of_container(name, words))?;
        run.ok_or_else(|| ContainersError::NoCommand { container: name.clone() })
    };
    let (was, will) = (call(&live.container.config.create_command)?, call(next)?);
    let mut difference = Difference::default();
    compare(&as_it_is(&was, live), &lines(&will), &mut difference);
    if was.image != will.image && live.image != will.image {
        difference.gone.push(live.image.clone());
        difference.new.push(will.image.clone());
    }
    let (before, after) = (command(&was), command(&will));
    if before != after {
        difference.gone.push(before);
        difference.new.push(after);
    }
    Ok(difference)
}

/// Writes what follows the image as a shell would want it.
fn command(run: &Run) -> String {
    let words: Vec<&str> = run.command.iter().map(|(word, _)| word.as_str()).collect();
    shlex::try_join(words.iter().copied()).unwrap_or_else(|_| words.join(" "))
}

/// Returns the options of a container: what its call left open is as the
/// container has it.
fn as_it_is(run: &Run, live: &Live) -> Lines {
    let container = &live.container;
    let says = |name: &str| run.flags.iter().any(|flag| flag.name == name);
    let mut open = run.clone();
    open.flags.retain(|flag| !matches!(flag.name.as_str(), "env" | "publish"));
    let mut lines = lines(&open);
    let mut add = |line: String| *lines.entry(line).or_default() += 1;
    for pair in own_env(run, live) {
        add(shown("env", &pair));
    }
    for port in published(live) {
        add(shown("publish", &port_line(&port)));
    }
    for (name, value) in joined(run, live).iter().flat_map(Joined::flags) {
        add(shown(name, &value));
    }
    let stop_timeout = container.config.stop_timeout.to_string();
    for (name, value) in [
        ("name", &container.name),
        ("log-driver", &container.host_config.log_config.driver),
        ("stop-timeout", &stop_timeout),
    ] {
        if !says(name) {
            add(shown(name, value));
        }
    }
    settle_mounts(&mut lines, live);
    lines
}

type Lines = BTreeMap<String, usize>;

fn compare(old: &Lines, new: &Lines, difference: &mut Difference) {
    for (line, count) in old {
        let missing = count.saturating_sub(new.get(line).copied().unwrap_or_default());
        difference.gone.extend(std::iter::repeat_n(line.clone(), missing));
    }
    for (line, count) in new {
        let more = count.saturating_sub(old.get(line).copied().unwrap_or_default());
        difference.new.extend(std::iter::repeat_n(line.clone(), more));
    }
}

/// Puts what is mounted in the place of what was asked for: a path may have
/// begun where somebody stood, and a volume may have no name.
fn settle_mounts(lines: &mut Lines, live: &Live) {
    // Volumes that go with it have no name afterwards either.
    let stays = live.container.host_config.auto_remove;
    let mut asked: Vec<String> = Vec::new();
    for mounted in &live.container.mounts {
        let at = |line: &str| {
            let value = line.strip_prefix("--volume=")?;
            let (source, rest) = value.split_once(':').unwrap_or(("", value));
            let target = rest.split(':').next()?.trim_end_matches('/');
            let open = (source.is_empty() && !stays) || source.starts_with(['.', '~']);
            (target == mounted.destination && open).then(|| rest.to_owned())
        };
        let found = lines.keys().find_map(|line| Some((line.clone(), at(line)?)));
        let source = if mounted.kind == "bind" { &mounted.source } else { &mounted.name };
        if let Some((line, rest)) = found {
            lines.remove(&line);
            asked.push(format!("--volume={source}:{rest}"));
        } else if !stays && live.container.anonymous_volumes().any(|own| own == mounted) {
            asked.push(format!("--volume={source}:{}", mounted.destination));
        }
    }
    for line in asked {
        *lines.entry(line).or_default() += 1;
    }
}

/// What podman checks with where a call does not say (`podman-run(1)`).
const CHECKED: &[(&str, &str)] = &[
    ("health-interval", "30s"),
    ("health-timeout", "30s"),
    ("health-retries", "3"),
    ("health-start-period", "0s"),
];

/// Returns the options of a run in one form each.
fn lines(run: &Run) -> Lines {
    let mut run = run.clone();
    fold_addresses(&mut run);
    let says = |name: &str| run.flags.iter().any(|flag| flag.name == name);
    let is_unchecked = run.flags.iter().any(|flag| {
        matches!(
            (flag.name.as_str(), flag.value.as_str()),
            ("no-healthcheck", "true") | ("health-cmd", "none")
        )
    });
    let mut all = Vec::new();
    if is_unchecked {
        all.push(shown("health-cmd", "none"));
    } else if says("health-cmd") {
        let usual = CHECKED.iter().filter(|(name, _)| !says(name));
        all.extend(usual.map(|(name, usual)| shown(name, usual)));
    }
    for Flag { name, value, .. } in &run.flags {
        let is_left_out = HELD.contains(&name.as_str())
            || SETTLED.contains(&name.as_str())
            || name == "no-healthcheck"
            || (is_unchecked && name.starts_with("health-"))
            || (name == "label" && is_of_a_keeper(value));
        if !is_left_out {
            all.extend(option_lines(name, value));
        }
    }
    let mut lines = Lines::new();
    for line in all {
        *lines.entry(line).or_default() += 1;
    }
    lines
}

/// Returns an option in one form; one that says several things becomes several.
fn option_lines(name: &str, value: &str) -> Vec<String> {
    let one = |value: &str| vec![shown(name, value)];
    match name {
        "cap-add" | "cap-drop" => {
            let lower = value.to_ascii_lowercase();
            let all = lower.split(',').map(|one| one.trim_start_matches("cap_"));
            all.map(|value| shown(name, value)).collect()
        }
        "memory" | "shm-size" | "memory-swap" | "memory-reservation" => {
            one(&size(value).unwrap_or_else(|| value.to_owned()))
        }
        "cpus" => match value.parse::<f64>() {
            Ok(cpus) => one(&cpus.to_string()),
            Err(_) => one(value),
        },
        "publish" => match ports(value) {
            Ok(Ports::Published(all)) => all.iter().map(|p| shown(name, &port_line(p))).collect(),
            Ok(Ports::Anywhere(_)) | Err(_) => one(value),
        },
        "network" if !value.contains(':') => value.split(',').map(|n| shown(name, n)).collect(),
        "label" | "annotation" if !value.contains('=') => one(&format!("{value}=")),
        "security-opt" => match value.split_once([':', '=']) {
            Some(("no-new-privileges", "true")) => one("no-new-privileges"),
            Some(("no-new-privileges", "false")) => Vec::new(),
            Some((kind, rest)) => one(&format!("{kind}={rest}")),
            None => one(value),
        },
        "add-host" => one(&value.replacen('=', ":", 1)),
        "entrypoint" => {
            let words: Option<Vec<String>> = serde_json::from_str(value).ok();
            let words = words.unwrap_or_else(|| vec![value.to_owned()]);
            one(&serde_json::Value::from(words).to_string())
        }
        "health-cmd" | "health-startup-cmd" => one(&check_line(value)),
        "health-interval" | "health-timeout" | "health-start-period" => {
            one(&duration(value).map_or_else(|| value.to_owned(), duration_text))
        }
        "health-on-failure" if value == "none" => Vec::new(),
        "mount" => match as_volume(value) {
            Some(volume) => vec![shown("volume", &volume)],
            None => one(&mount_text(value)),
        },
        _ => one(value),
    }
}

/// Writes the command of a check in one form.
fn check_line(value: &str) -> String {
    match check_words(value) {
        Command::Shell(line) => line,
        Command::Words(words) => serde_json::Value::from(words).to_string(),
    }
}

/// Writes a port in one form: no address is any, no protocol is TCP.
fn port_line(port: &str) -> String {
    let (numbers, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let numbers = numbers.strip_prefix("0.0.0.0:").unwrap_or(numbers);
    format!("{numbers}/{protocol}")
}

fn shown(name: &str, value: &str) -> String {
    if value == "true" { format!("--{name}") } else { format!("--{name}={value}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::containers::Inspected;
    use crate::import::containers::inspected::Binding;

    fn live(command: &str, more: &str) -> Live {
        let words: Vec<&str> = command.split(' ').collect();
        let words = serde_json::to_string(&words).unwrap();
        let text = format!(
            r#"{{"Id": "{}", "Name": "web-a", "ImageName": "localhost/a:1", {more}
            "Config": {{"CreateCommand": {words}, "Env": ["PATH=/bin", "HOME=/", "X=1"], "StopTimeout": 10}},
            "HostConfig": {{"LogConfig": {{"Type": "journald"}}}}}}"#,
            "ab".repeat(32)
        );
        let container: Inspected = serde_json::from_str(&text).unwrap();
        let image_env = vec!["PATH=/bin".to_owned()];
        Live { container, image_env, image: "localhost/a:1".to_owned(), unit: None, given: None }
    }

    fn differ(live: &Live, next: &str) -> (String, String) {
        let words: Vec<String> = next.split(' ').map(str::to_owned).collect();
        let found = difference(live, &words).unwrap();
        (found.gone.join(" "), found.new.join(" "))
    }

    #[test]
    fn the_same_in_other_words_is_no_difference() {
        let old = live(
            "podman run -d --name web-a -e X --cap-add NET_RAW,CAP_CHOWN -m 1024m --restart=always -p 80 localhost/a:1 go",
            "",
        );
        let mut old = old;
        let bound = Binding { host_ip: "0.0.0.0".to_owned(), host_port: "8080".to_owned() };
        old.container.host_config.port_bindings.insert("80/tcp".to_owned(), Some(vec![bound]));
        let next = "/usr/bin/podman run --name web-a --replace --rm --cgroups=split --sdnotify=conmon -d --env X=1 --cap-add net_raw --cap-add chown --memory 1g --publish 8080:80 --log-driver journald --stop-timeout 10 --pull never --label mcp.service=web localhost/a:1 go";
        assert_eq!(differ(&old, next), (String::new(), String::new()));
    }

    #[test]
    fn a_check_is_compared_with_what_podman_does_by_itself() {
        let old = live(
            "podman run --name web-a --health-cmd true --health-interval 90s localhost/a:1",
            "",
        );
        let usual = "podman run --name web-a --env X=1 --log-driver journald --stop-timeout 10 --health-cmd true --health-interval 1m30s --health-retries 3";
        let next = format!("{usual} --health-timeout 30s localhost/a:1");
        assert_eq!(differ(&old, &next), (String::new(), String::new()));
        let next = format!("{usual} --health-start-period 2m localhost/a:1");
        let (gone, new) = differ(&old, &next);
        assert_eq!(
            (gone.as_str(), new.as_str()),
            ("--health-start-period=0s", "--health-start-period=2m")
        );
    }

    #[test]
    fn a_mount_is_the_same_in_every_spelling() {
        let old = live(
            "podman run --name web-a --mount type=bind,src=/a,dst=/b,ro --mount src=data,target=/d --mount type=tmpfs,dst=/t,tmpfs-size=1m localhost/a:1",
            "",
        );
        let next = "podman run --name web-a --env X=1 --log-driver journald --stop-timeout 10 -v data:/d -v /a:/b:ro --mount type=tmpfs,tmpfs-size=1m,destination=/t localhost/a:1";
        assert_eq!(differ(&old, next), (String::new(), String::new()));
        let (gone, new) = differ(&old, &next.replace(":ro", ""));
        assert_eq!((gone.as_str(), new.as_str()), ("--volume=/a:/b:ro", "--volume=/a:/b"));
    }

    #[test]
    fn what_podman_does_anyway_is_no_difference() {
        let usual = "podman run --name web-a --env X=1 --log-driver journald --stop-timeout 10";
        let same = |old: &str, new: &str| {
            let old = live(&format!("podman run --name web-a {old} localhost/a:1"), "");
            let (gone, added) = differ(&old, &format!("{usual} {new} localhost/a:1"));
            assert_eq!((gone, added), (String::new(), String::new()), "{new}");
        };
        same("--no-healthcheck --health-interval 10s", "--health-cmd none");
        same("--init --no-healthcheck=false --health-on-failure=none", "--init");
        same("--security-opt no-new-privileges:true", "--security-opt no-new-privileges");
        same("--security-opt label:disable", "--security-opt label=disable");
        same("--label plain --label a=b", "--label plain= --label a=b");
        same("--network one,two", "--network one --network two");
        same("--network one --ip6 fd::7 --ip 10.1.0.7", "--network one:ip6=fd::7,ip=10.1.0.7");
    }

    #[test]
    fn what_differs_is_told() {
        let mount = r#""Mounts": [{"Type": "bind", "Source": "/srv/d", "Destination": "/d"}],"#;
        let old = live("podman run --name web-a -v ./d:/d:ro --privileged localhost/a:1", mount);
        let next = "podman run --name web-b --env X=2 --log-driver none --stop-timeout 10 -v /srv/d:/d:ro localhost/a:1 x";
        let (gone, new) = differ(&old, next);
        assert_eq!(gone, "--env=X=1 --log-driver=journald --name=web-a --privileged ");
        assert_eq!(new, "--env=X=2 --log-driver=none --name=web-b x");
    }
}
