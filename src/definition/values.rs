//! The small grammars inside a definition's texts: ports, mounts, sizes...

use std::net::IpAddr;
use std::time::Duration;

use super::service::{Device, Mount, MountSource, Port, Protocol};

/// Why a small value was refused, and how to mend it.
pub(super) type Refusal = String;

/// Reads a duration such as `10s`, `1m30s` or `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, Refusal> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| {
        format!("{text:?} is not a duration; write for example \"10s\" or \"1m30s\"")
    })?;
    let duration =
        Duration::try_from(parsed).map_err(|_| "a duration cannot be negative".to_owned())?;
    if duration > Duration::from_secs(24 * 3600) {
        return Err("a duration here is at most 24 hours".to_owned());
    }
    Ok(duration)
}

/// Checks a size as podman takes it: a number and `b`, `k`, `m` or `g`.
pub(super) fn size(text: &str) -> Result<String, Refusal> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(['b', 'k', 'm', 'g']);
    let good = !digits.is_empty()
        && digits.len() <= 15
        && lower.len() - digits.len() <= 1
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.bytes().any(|b| b != b'0');
    if good {
        Ok(lower)
    } else {
        Err(format!("{text:?} is not a size; write a number and b, k, m or g, such as \"512m\""))
    }
}

/// Refuses characters that no value of a unit may hold.
pub(super) fn plain(text: &str) -> Result<(), Refusal> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("the value holds the control character {c:?}; take it out")),
        None => Ok(()),
    }
}

/// As [`plain`], but newlines and tabs are allowed: they can be escaped.
pub(super) fn text(text: &str) -> Result<(), Refusal> {
    match text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t') {
        Some(c) => Err(format!("the value holds the control character {c:?}; take it out")),
        None => Ok(()),
    }
}

/// Reads a published port, `[address:]host:container[/tcp|udp]`
/// (`podman-run(1)`, `--publish`).
pub(super) fn port(text: &str) -> Result<Port, Refusal> {
    let bad = || format!("{text:?} is not a port; write \"[address:]host:container[/udp]\"");
    let (numbers, protocol) = match text.rsplit_once('/') {
        None => (text, Protocol::Tcp),
        Some((numbers, "tcp")) => (numbers, Protocol::Tcp),
        Some((numbers, "udp")) => (numbers, Protocol::Udp),
        Some((_, other)) => return Err(format!("{other:?} is not a protocol; write tcp or udp")),
    };
    if numbers.contains('-') {
        return Err("port ranges are not taken; list each port".to_owned());
    }
    let (rest, container) = numbers.rsplit_once(':').ok_or_else(|| {
        format!("{text:?} names no port of the host; write \"host:container\", or use a route to have one leased")
    })?;
    let (address, host) = match rest.rsplit_once(':') {
        None => (None, rest),
        Some((address, host)) => {
            let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
            let parsed: IpAddr = bare
                .unwrap_or(address)
                .parse()
                .map_err(|_| format!("{address:?} is not an IP address"))?;
            if parsed.is_ipv6() != bare.is_some() {
                return Err(format!(
                    "write the IPv6 address in brackets, as in \"[{parsed}]:80:80\""
                ));
            }
            (Some(parsed), host)
        }
    };
    let number = |digits: &str| match digits.parse::<u16>() {
        Ok(number) if number > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err(bad()),
    };
    Ok(Port { address, host: number(host)?, container: number(container)?, protocol })
}

/// Checks an absolute path without `..`, newlines or colons.
pub(super) fn path(text: &str) -> Result<String, Refusal> {
    plain(text)?;
    if !text.starts_with('/') {
        return Err(format!("{text:?} is not an absolute path"));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(format!("{text:?} goes upwards; write the path without \"..\""));
    }
    if text.contains([':', ',']) || text.len() > 4000 {
        return Err(format!(
            "{text:?} cannot be mounted: paths hold no ':' or ',' and at most 4000 characters"
        ));
    }
    Ok(text.to_owned())
}

const MOUNT_OPTIONS: &[&str] = &[
    "rw", "ro", "z", "Z", "U", "O", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "rbind",
    "bind", "shared", "rshared", "slave", "rslave", "private", "rprivate", "copy", "nocopy",
    "idmap",
];

/// Tells whether a word is an option of a mount.
pub fn is_mount_option(word: &str) -> bool {
    MOUNT_OPTIONS.contains(&word)
}

/// Reads a mount, `source:target[:options]` (`podman-run(1)`, `--volume`).
pub(super) fn mount(text: &str) -> Result<Mount, Refusal> {
    plain(text)?;
    let mut parts = text.split(':');
    let (source, target) = match (parts.next(), parts.next()) {
        (Some(source), Some(target)) => (source, path(target)?),
        _ => {
            return Err(format!(
                "{text:?} is not a mount; write \"/host/path:/path[:options]\" or \"name:/path[:options]\""
            ));
        }
    };
    let options: Vec<String> =
        parts.next().map(|o| o.split(',').map(str::to_owned).collect()).unwrap_or_default();
    if parts.next().is_some() {
        return Err(format!("{text:?} has too many parts; write \"source:target[:options]\""));
    }
    if let Some(unknown) = options.iter().find(|o| !MOUNT_OPTIONS.contains(&o.as_str())) {
        let likely = super::suggest::closest(unknown, MOUNT_OPTIONS.iter().copied());
        return Err(format!(
            "{unknown:?} is not a mount option; {}",
            likely.map_or_else(
                || format!("known: {}", MOUNT_OPTIONS.join(", ")),
                |l| format!("did you mean {l:?}?"),
            )
        ));
    }
    let source = if source.starts_with('/') {
        MountSource::Path(path(source)?)
    } else {
        MountSource::Volume(source.parse().map_err(|e| format!("{e}; a path starts with '/'"))?)
    };
    Ok(Mount { source, target, options })
}

/// Checks a subnet in CIDR notation (RFC 4632).
pub(super) fn subnet(text: &str) -> Result<String, Refusal> {
    let read = || {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.parse().ok()?;
        (bits <= most && text.split('/').nth(1) == Some(&bits.to_string())).then_some(())
    };
    read()
        .map(|()| text.to_owned())
        .ok_or_else(|| format!("{text:?} is not a subnet; write for example \"10.89.7.0/24\""))
}

/// Checks a name that podman gives a volume (`podman-volume-create(1)`).
pub(super) fn podman_volume(text: &str) -> Result<(), Refusal> {
    let good = text.len() <= 250
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if good {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is not a name of a volume; it begins with a letter or digit and holds letters, digits and \"_.-\""
        ))
    }
}

/// Reads a device, `/dev/host[:/dev/container[:rwm]]`.
pub(super) fn device(text: &str) -> Result<Device, Refusal> {
    let mut parts = text.split(':');
    let host = path(parts.next().unwrap_or_default())?;
    let container = parts.next().map(path).transpose()?;
    let permissions = parts.next().map(str::to_owned);
    if let Some(p) = &permissions
        && (p.is_empty() || !p.chars().all(|c| matches!(c, 'r' | 'w' | 'm')))
    {
        return Err(format!("{p:?} are not device permissions; write letters of \"rwm\""));
    }
    if parts.next().is_some() {
        return Err(format!(
            "{text:?} has too many parts; write \"/dev/host[:/dev/container[:rwm]]\""
        ));
    }
    Ok(Device { host, container, permissions })
}

/// Reads a line for `/etc/hosts`, `name:address` (`podman-run(1)`,
/// `--add-host`).
pub(super) fn host(text: &str) -> Result<String, Refusal> {
    let (name, address) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} is not a line for /etc/hosts; write \"name:address\""))?;
    word(name, "a host name", "._-")?;
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if address != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(format!(
            "{address:?} is not an IP address; write one, or \"host-gateway\" for the node"
        ));
    }
    Ok(format!("{name}:{bare}"))
}

/// Checks that a text holds only the given kinds of characters.
pub(super) fn word(text: &str, what: &str, also: &str) -> Result<(), Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    if text.is_empty() || text.starts_with('-') || text.len() > 255 || !text.chars().all(good) {
        return Err(format!("{text:?} is not {what}: it may hold letters, digits and {also:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_every_form() {
        let read = |t: &str| port(t).unwrap();
        assert_eq!(read("8080:80").host, 8080);
        assert_eq!(read("127.0.0.1:8080:80").address, Some("127.0.0.1".parse().unwrap()));
        assert_eq!(read("192.168.88.181:53:53/udp").protocol, Protocol::Udp);
        assert_eq!(read("[::1]:53:53").address, Some("::1".parse().unwrap()));
        for bad in [
            "80",
            "",
            "a:b",
            "0:80",
            "80:0",
            "70000:80",
            "80:80/sctp",
            "1-2:1-2",
            "::1:80:80",
            "x:80:80",
            "+8:80",
            "80:80\n",
        ] {
            assert!(port(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mounts_of_every_form() {
        assert!(mount("/srv/mcq:/srv/mcq").is_ok());
        assert_eq!(mount("data:/data:ro,Z").unwrap().options, ["ro", "Z"]);
        for bad in [
            "/a",
            "a/b:/c",
            "/a:b",
            "/a:/b:ro:x",
            "/a:/b:privileged",
            "/a/../b:/c",
            "../x:/c",
            "/a\n:/b",
            "/a:/b:ro,",
        ] {
            assert!(mount(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn subnets_and_volumes_of_podman() {
        assert!(subnet("10.89.7.0/24").is_ok() && subnet("fd00:1::/64").is_ok());
        for bad in
            ["10.89.7.0", "10.89.7.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/+8", "x/1", "/"]
        {
            assert!(subnet(bad).is_err(), "{bad:?}");
        }
        assert!(podman_volume("photos_pg.data-1").is_ok());
        for bad in ["", "-a", "a b", "a/b", "%n", "ä"] {
            assert!(podman_volume(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts_of_every_form() {
        assert_eq!(host("node:host-gateway").unwrap(), "node:host-gateway");
        assert_eq!(host("six:[2001:db8::1]").unwrap(), "six:2001:db8::1");
        assert_eq!(host("four:192.0.2.1").unwrap(), "four:192.0.2.1");
        for bad in ["", "name", "name:", ":192.0.2.1", "a b:192.0.2.1", "a:192.0.2", "a:b.example"]
        {
            assert!(host(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!(size("512M").unwrap(), "512m");
        for bad in ["", "m", "0m", "1.5g", "1mb", "-1m", "1 m"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        for bad in ["", "10", "-1s", "s", "25h", "1d"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
