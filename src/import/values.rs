//! The small grammars that compose files, Quadlet files and command lines
//! have in common.

use std::time::Duration;

use crate::names::MAX_LABEL;

/// Makes a DNS label of a name: lower case, every other character a hyphen.
pub(super) fn label(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(MAX_LABEL);
    let out = out.trim_matches('-');
    if out.is_empty() { "unnamed".to_owned() } else { out.to_owned() }
}

/// Returns a name that is not taken yet: with a number behind it, if need be.
pub(super) fn untaken(name: String, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(&name) {
        return name;
    }
    let stem: String = name.chars().take(MAX_LABEL - 4).collect();
    (2..1000).map(|n| format!("{stem}-{n}")).find(|name| !is_taken(name)).unwrap_or(name)
}

/// Tells whether an image's name begins with its registry.
pub(super) fn names_registry(name: &str) -> bool {
    name.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

/// Writes out an image's registry as docker implies it: `redis` is
/// `docker.io/library/redis`.
pub(super) fn image(name: &str) -> String {
    if names_registry(name) {
        name.to_owned()
    } else if name.contains('/') {
        format!("docker.io/{name}")
    } else {
        format!("docker.io/library/{name}")
    }
}

/// Reads a size as docker writes it (`512M`, `1.5gb`, `1024`) and writes it as
/// a definition does.
pub(super) fn size(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at_checked(digits)?;
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        _ => return None,
    };
    let bytes = match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_shl(shift)?,
        Some((whole, part)) => {
            let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
            let digits = part.get(..part.len().min(9))?;
            let scale = 10_u64.checked_pow(u32::try_from(digits.len()).ok()?)?;
            let part = if digits.is_empty() { 0 } else { digits.parse::<u64>().ok()? };
            let unit = 1_u64 << shift;
            let fraction = u128::from(part) * u128::from(unit) / u128::from(scale);
            whole.checked_mul(unit)?.checked_add(u64::try_from(fraction).ok()?)?
        }
    };
    let exact = [(30, 'g'), (20, 'm'), (10, 'k')]
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    Some(match exact {
        Some((shift, letter)) => format!("{}{letter}", bytes >> shift),
        // A letter for octets is unknown to the kernel, in `size=` of a tmpfs.
        None => bytes.to_string(),
    })
}

/// Reads a duration: `1m30s`, `500ms`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let signed: jiff::SignedDuration = text.trim().parse().ok()?;
    Duration::try_from(signed).ok()
}

/// Writes a duration as a definition does.
pub(super) fn duration_text(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match (minutes, rest, millis) {
        (0, 0, millis) if millis > 0 => format!("{millis}ms"),
        (_, _, millis) if millis > 0 => format!("{seconds}s{millis}ms"),
        (0, rest, _) => format!("{rest}s"),
        (minutes, 0, _) => format!("{minutes}m"),
        (minutes, rest, _) => format!("{minutes}m{rest}s"),
    }
}

/// What a text says of published ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ports {
    /// As a definition has them.
    Published(Vec<String>),
    /// A port of the container that gets any port of the node.
    Anywhere(String),
}

/// The most ports that a range is written out to.
const LONGEST_RANGE: u16 = 1000;

/// Reads `[address:][host[-host]:]container[-container][/protocol]`.
///
/// # Errors
///
/// Why it cannot be read.
pub(super) fn ports(text: &str) -> Result<Ports, String> {
    let (numbers, protocol) = match text.split_once('/') {
        None => (text, ""),
        Some((numbers, "tcp" | "TCP")) => (numbers, ""),
        Some((numbers, "udp" | "UDP")) => (numbers, "/udp"),
        Some((_, other)) => return Err(format!("the protocol {other:?} is not offered")),
    };
    let Some((rest, container)) = numbers.rsplit_once(':') else {
        return Ok(Ports::Anywhere(text.to_owned()));
    };
    let (address, host) = match rest.rsplit_once(':') {
        None if rest.contains(['.', '[']) => (rest, ""),
        None => ("", rest),
        Some((address, host)) if host.ends_with(']') => {
            (rest, if address.is_empty() { host } else { "" })
        }
        Some(pair) => pair,
    };
    if host.is_empty() {
        return Ok(Ports::Anywhere(text.to_owned()));
    }
    let bad = || format!("{text:?} is not a port");
    let range = |text: &str| -> Option<(u16, u16)> {
        match text.split_once('-') {
            None => text.parse().ok().map(|port| (port, port)),
            Some((from, to)) => Some((from.parse().ok()?, to.parse().ok()?)),
        }
    };
    let (first, last) = range(host).ok_or_else(bad)?;
    let (inner, inner_last) = range(container).ok_or_else(bad)?;
    let many = last.checked_sub(first).ok_or_else(bad)?;
    if inner_last.checked_sub(inner) != Some(many) {
        return Err(format!("{text:?} has ranges of different lengths"));
    }
    if many >= LONGEST_RANGE {
        return Err(format!("{text:?} is a range of more than {LONGEST_RANGE} ports"));
    }
    let address = match address {
        "" => String::new(),
        address if address.contains(':') && !address.starts_with('[') => format!("[{address}]:"),
        address => format!("{address}:"),
    };
    let one = |n: u16| format!("{address}{}:{}{protocol}", first + n, inner + n);
    Ok(Ports::Published((0..=many).map(one).collect()))
}

/// Splits a command line into words as a POSIX shell does; lines that end
/// with a backslash go on.
///
/// # Errors
///
/// A quote or a backslash that nothing follows.
pub(super) fn shell_words(text: &str) -> Result<Vec<String>, String> {
    shlex::split(text).ok_or_else(|| "a quote is not closed, or a backslash is the end".to_owned())
}

/// Returns a mount as `--volume` says it, `source:target[:ro]`; none if that
/// says less, or nothing (`podman-run(1)`, `--mount`).
pub(super) fn as_volume(mount: &str) -> Option<String> {
    let (mut kind, mut source, mut target, mut is_read_only) = ("volume", "", "", false);
    for part in mount.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        match (key, value) {
            ("type", _) => kind = value,
            ("source" | "src", _) => source = value,
            ("target" | "destination" | "dst", _) => target = value,
            ("readonly" | "ro", "true") | ("rw", "false") => is_read_only = true,
            ("readonly" | "ro", "false") | ("rw", "true") => is_read_only = false,
            _ => return None,
        }
    }
    let is_path = source.starts_with(['/', '.', '~', '$', '`']);
    let fits = !source.is_empty() && target.starts_with('/') && !mount.contains([':', '"']);
    if !fits || !matches!((kind, is_path), ("bind", _) | ("volume", false)) {
        return None;
    }
    let here = if is_path || kind == "volume" { "" } else { "./" };
    let options = if is_read_only { ":ro" } else { "" };
    Some(format!("{here}{source}:{target}{options}"))
}

/// Writes a mount in one form: its parts by one name each, in one order.
pub(super) fn mount_text(mount: &str) -> String {
    let mut parts: Vec<String> = mount
        .split(',')
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, "true"));
            let key = match key {
                "src" => "source",
                "dst" | "target" => "destination",
                "readonly" => "ro",
                other => other,
            };
            format!("{key}={value}")
        })
        .collect();
    parts.sort();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_labels() {
        assert_eq!(label("Immich_Server.1"), "immich-server-1");
        assert_eq!(label("__"), "unnamed");
        assert_eq!(label(&"a".repeat(80)).len(), 63);
        assert_eq!(untaken("a".to_owned(), |name| name == "a" || name == "a-2"), "a-3");
    }

    #[test]
    fn images_get_the_registry_that_docker_implies() {
        for (short, long) in [
            ("redis", "docker.io/library/redis"),
            ("redis:7-alpine", "docker.io/library/redis:7-alpine"),
            ("gitea/gitea:1", "docker.io/gitea/gitea:1"),
            ("ghcr.io/a/b", "ghcr.io/a/b"),
            ("localhost/a", "localhost/a"),
            ("reg:5000/a", "reg:5000/a"),
        ] {
            assert_eq!(image(short), long);
        }
    }

    #[test]
    fn sizes_and_durations() {
        for (docker, ours) in [
            ("512M", "512m"),
            ("1gb", "1g"),
            ("1.5g", "1536m"),
            ("64MiB", "64m"),
            ("1Gi", "1g"),
            ("1073741824", "1g"),
            ("1000", "1000"),
            ("0.5k", "512"),
        ] {
            assert_eq!(size(docker).as_deref(), Some(ours), "{docker}");
        }
        assert_eq!(size("many"), None);
        assert_eq!(size("1x"), None);
        assert_eq!(size("99999999999999999999g"), None);
        for (from, to) in [("90s", "1m30s"), ("1h", "60m"), ("1500ms", "1s500ms"), ("0s", "0s")] {
            assert_eq!(duration_text(duration(from).unwrap()), to);
        }
    }

    #[test]
    fn ports_of_every_form() {
        let read = |text: &str| match ports(text) {
            Ok(Ports::Published(list)) => list.join(" "),
            Ok(Ports::Anywhere(text)) => format!("any {text}"),
            Err(error) => error,
        };
        assert_eq!(read("8080:80"), "8080:80");
        assert_eq!(read("127.0.0.1:53:53/udp"), "127.0.0.1:53:53/udp");
        assert_eq!(read("3000-3002:4000-4002"), "3000:4000 3001:4001 3002:4002");
        assert_eq!(read("[::1]:80:80"), "[::1]:80:80");
        assert_eq!(read("::1:80:80"), "[::1]:80:80");
        assert_eq!(read("3000"), "any 3000");
        assert_eq!(read("127.0.0.1::80"), "any 127.0.0.1::80");
        assert_eq!(read("1-9:1-2"), "\"1-9:1-2\" has ranges of different lengths");
        assert_eq!(
            read("1-65535:1-65535"),
            "\"1-65535:1-65535\" is a range of more than 1000 ports"
        );
        assert_eq!(read("9-1:9-1"), "\"9-1:9-1\" is not a port");
        assert_eq!(read("1:1/sctp"), "the protocol \"sctp\" is not offered");
    }

    proptest! {
        #[test]
        fn quoted_words_are_split_back(words in proptest::collection::vec("[^\\x00]*", 0..6)) {
            let line = shlex::try_join(words.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(shell_words(&line).unwrap(), words);
        }

        #[test]
        fn no_text_is_too_much(text in "\\PC*|[0-9:/.\\-\\[\\]a-z]*") {
            drop((ports(&text), size(&text), shell_words(&text)));
            prop_assert!(label(&text).parse::<crate::names::ComponentName>().is_ok());
        }
    }

    #[test]
    fn a_plain_mount_is_a_volume() {
        for (mount, volume) in [
            ("type=bind,src=/a,dst=/b,ro", Some("/a:/b:ro")),
            ("type=bind,source=/a,target=/b,readonly=false", Some("/a:/b")),
            ("type=bind,source=a,destination=/b,rw=false", Some("./a:/b:ro")),
            ("src=data,dst=/b", Some("data:/b")),
            ("type=volume,source=data,target=/b,readonly", Some("data:/b:ro")),
            ("type=volume,dst=/b", None),
            ("type=volume,src=/a,dst=/b", None),
            ("type=tmpfs,dst=/b", None),
            ("type=bind,src=/a,dst=/b,bind-propagation=rshared", None),
            ("type=bind,src=/a:b,dst=/b", None),
        ] {
            assert_eq!(as_volume(mount).as_deref(), volume, "{mount}");
        }
        let text = "destination=/b,ro=true,type=tmpfs";
        assert_eq!(mount_text("type=tmpfs,dst=/b,readonly"), text);
        assert_eq!(mount_text("type=tmpfs,ro=true,target=/b"), text);
    }
}
