//! A Quadlet file as its directives, each with its place, and what a value
//! means once systemd has read it.

use crate::import::files::file_name;
use crate::import::note::Place;
use crate::quadlet::{command_line, unit_file};

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: Place,
}

/// Keys with one value, off which podman's generator takes the quotes around it
/// (`UnitFile.Lookup` of `podman-systemd.unit(5)`).
const SINGLE: &[&str] = &[
    "AutoUpdate",
    "CgroupsMode",
    "ContainerName",
    "Entrypoint",
    "Group",
    "HealthCmd",
    "HealthInterval",
    "HealthOnFailure",
    "HealthRetries",
    "HealthStartPeriod",
    "HealthStartupCmd",
    "HealthStartupInterval",
    "HealthStartupRetries",
    "HealthStartupSuccess",
    "HealthStartupTimeout",
    "HealthTimeout",
    "HostName",
    "IP",
    "IP6",
    "Image",
    "ImageTag",
    "LogDriver",
    "Memory",
    "NetworkName",
    "Notify",
    "PidsLimit",
    "Pod",
    "PodName",
    "Pull",
    "ReadOnly",
    "Rootfs",
    "RunInit",
    "ServiceName",
    "ShmSize",
    "StopSignal",
    "StopTimeout",
    "SubGIDMap",
    "SubUIDMap",
    "Timezone",
    "User",
    "UserNS",
    "VolumeName",
    "WorkingDir",
];

/// Returns what podman or systemd takes a value for.
fn looked_up<'a>(section: &str, key: &str, value: &'a str) -> &'a str {
    let is_podmans = !matches!(section, "Unit" | "Service" | "Install");
    let value = value.trim_end();
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    // Podman 5.4 takes one off alone as well, which leaves a value that
    // nobody means: `sh -c "a b`.
    quoted.filter(|_| is_podmans && SINGLE.contains(&key)).unwrap_or(value)
}

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) path: String,
    /// The name without its suffix.
    pub(super) stem: String,
    /// The suffix, such as `container`.
    pub(super) kind: String,
    pub(super) lines: Vec<Line>,
    pub(super) place: Place,
}

impl Unit {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let at = |line| Place { file: path.to_owned(), line, column: 1 };
        let lines = unit_file::directives(text).into_iter().map(|directive| Line {
            place: at(directive.line),
            value: looked_up(&directive.section, &directive.key, &directive.value).to_owned(),
            section: directive.section,
            key: directive.key,
        });
        let name = file_name(path);
        let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
        Self {
            path: path.to_owned(),
            stem: stem.to_owned(),
            kind: kind.to_owned(),
            lines: lines.collect(),
            place: at(1),
        }
    }

    /// Returns the lines of a section; an empty value takes back what the key
    /// said before (`systemd.syntax(7)`).
    pub(super) fn section<'a>(&'a self, section: &'a str) -> Vec<&'a Line> {
        let mut found: Vec<&Line> = Vec::new();
        for line in self.lines.iter().filter(|line| line.section == section) {
            if line.value.is_empty() {
                found.retain(|own| own.key != line.key);
            } else {
                found.push(line);
            }
        }
        found
    }

    /// Returns the last value of a key.
    pub(super) fn last<'a>(&'a self, section: &'a str, key: &str) -> Option<&'a Line> {
        self.section(section).into_iter().rfind(|line| line.key == key)
    }
}

/// Returns what a value that is taken as it is means; `None` when systemd puts
/// something in its place.
pub(super) fn plain(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '%' | '$' if chars.next_if_eq(&c).is_some() => out.push(c),
            '%' | '$' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// Returns the words that a value is split into; `None` when systemd puts
/// something in the place of a part of them.
pub(super) fn words(value: &str) -> Option<Vec<String>> {
    let words = command_line::words(value).ok()?;
    words.iter().all(|word| command_line::is_resolved(word)).then_some(words)
}

/// Returns the words of a value as near as can be: what systemd puts in is
/// left as it is written.
pub(super) fn near_words(value: &str) -> Option<Vec<String>> {
    let words = command_line::words(value).ok()?;
    Some(words.iter().map(|word| command_line::shown(word)).collect())
}

/// Reads a truth value of systemd.
pub(super) fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_places_and_empty_ones_take_back() {
        let unit = Unit::new(
            "/d/web.container",
            "[Container]\nEnvironment=A=1\nEnvironment=\n# c\nEnvironment=B=2 \\\n  C=3\nImage=x\n",
        );
        let lines: Vec<_> = unit
            .section("Container")
            .iter()
            .map(|line| format!("{}={} {}", line.key, line.value, line.place.line))
            .collect();
        assert_eq!(lines, ["Environment=B=2 C=3 5", "Image=x 7"]);
        assert_eq!((unit.stem.as_str(), unit.kind.as_str()), ("web", "container"));
    }

    #[test]
    fn one_value_is_without_the_quotes_around_it() {
        let unit = Unit::new(
            "/d/a.container",
            "[Container]\nEntrypoint=\"/bin/sh\"\nHealthCmd=sh -c \"a b\"\nPod=\"x.pod\"\nExec=\"a b\"\n[Service]\nUser=\"u\"\n",
        );
        let values: Vec<&str> = unit.lines.iter().map(|line| line.value.as_str()).collect();
        assert_eq!(values, ["/bin/sh", "sh -c \"a b\"", "x.pod", "\"a b\"", "\"u\""]);
    }

    #[test]
    fn what_systemd_fills_in_is_seen() {
        assert_eq!(plain("100%% $$x").as_deref(), Some("100% $x"));
        assert_eq!(plain("%h/x"), None);
        assert_eq!(words("a \"b c\" 5%%").unwrap(), ["a", "b c", "5%"]);
        assert_eq!(words("a %h"), None);
        assert_eq!(near_words("%h ${X}").unwrap(), ["%h", "${X}"]);
    }
}
