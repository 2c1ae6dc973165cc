//! References to images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::NameError;

/// An image reference as podman takes it:
/// `[host[:port]/]path[:tag][@sha256:digest]`.
///
/// The grammar is that of the OCI distribution specification, section
/// "Pulling manifests", and of `containers-transports(5)` for `docker://`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef(String);

impl ImageRef {
    /// Returns the reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        let name = self.0.split('@').next().unwrap_or_default();
        let last = name.rsplit('/').next().unwrap_or_default();
        last.split_once(':').map(|(_, tag)| tag)
    }

    /// Returns the reference without tag and digest.
    pub fn without_tag(&self) -> &str {
        let name = self.0.split('@').next().unwrap_or_default();
        let tag = self.tag().map_or(0, |tag| tag.len() + 1);
        name.get(..name.len() - tag).unwrap_or(name)
    }

    /// Returns the name under which podman lists the image: a tag that is not
    /// written is `latest`, and beside a digest a tag means nothing.
    pub fn listed_name(&self) -> String {
        match (self.0.split_once('@'), self.tag()) {
            (Some((_, digest)), _) => format!("{}@{digest}", self.without_tag()),
            (None, Some(_)) => self.0.clone(),
            (None, None) => format!("{}:latest", self.0),
        }
    }

    /// Tells whether the reference is pinned by digest.
    pub fn is_pinned(&self) -> bool {
        self.0.contains('@')
    }

    /// Tells whether the image can only be in the node's own store.
    pub fn is_local(&self) -> bool {
        self.0.starts_with("localhost/")
    }

    /// Returns what a person calls the version: the tag, else the start of
    /// the digest, else `latest`.
    pub fn version(&self) -> &str {
        match (self.tag(), self.0.split_once("@sha256:")) {
            (Some(tag), _) => tag,
            (None, Some((_, digest))) => digest.get(..12).unwrap_or(digest),
            (None, None) => "latest",
        }
    }
}

fn image_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > 512 {
        return Some("it is longer than 512 characters");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Some("the digest must be sha256: and 64 hexadecimal digits in lower case");
        }
    }
    let (path, last) = name.rsplit_once('/').map_or(("", name), |(path, last)| (path, last));
    let (last, tag) = last.split_once(':').map_or((last, None), |(last, tag)| (last, Some(tag)));
    if let Some(tag) = tag {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let good = tag.len() <= 128
            && tag.bytes().next().is_some_and(word)
            && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if !good {
            return Some(
                "the tag may hold letters, digits, '_', '.' and '-', and starts with none of the last two",
            );
        }
    }
    let mut parts: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
    if let Some(host) = parts.first().copied()
        && (host.contains(['.', ':']) || host == "localhost")
    {
        if let Some(problem) = host_problem(host) {
            return Some(problem);
        }
        parts.remove(0);
    }
    parts.push(last);
    let part = |p: &str| {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        p.bytes().next().is_some_and(word)
            && p.bytes().last().is_some_and(word)
            && p.bytes().all(|b| word(b) || matches!(b, b'.' | b'_' | b'-'))
    };
    if !parts.into_iter().all(part) {
        return Some(
            "each part of the path may hold a-z, 0-9, '.', '_' and '-', and starts and ends with a letter or digit",
        );
    }
    None
}

fn host_problem(host: &str) -> Option<&'static str> {
    let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !host.split('.').all(label) {
        return Some("the host of the image registry is not a host name");
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Some("the port of the image registry is not a port number");
    }
    None
}

impl FromStr for ImageRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match image_problem(text) {
            Some(reason) => Err(NameError::Image { name: text.chars().take(80).collect(), reason }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ImageRef {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> String {
        image.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references() {
        let digest = format!("busybox@sha256:{}", "0".repeat(64));
        for good in [
            "mcr.svc.mcp.metacircular.net:8443/mcq:v0.4.0",
            "localhost/lab/web:v1",
            "docker.io/library/nginx:1.27",
            "busybox",
            &digest,
        ] {
            assert!(good.parse::<ImageRef>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "a b",
            "a:",
            "a:\n",
            "A",
            "a//b",
            "../a",
            "a@sha256:12",
            "--privileged",
            "a:b:c",
            "h.x:99999/a",
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
        let image: ImageRef = "mcr.x.net:8443/mcq:v0.4.0".parse().unwrap();
        assert_eq!(image.tag(), Some("v0.4.0"));
        assert_eq!(image.version(), "v0.4.0");
        assert_eq!("h.x:80/a".parse::<ImageRef>().unwrap().version(), "latest");
        let listed = |text: &str| text.parse::<ImageRef>().unwrap().listed_name();
        assert_eq!(listed("h.x:80/a"), "h.x:80/a:latest");
        assert_eq!(listed("h.x:80/a:1"), "h.x:80/a:1");
        assert_eq!(listed(&digest.replace('@', ":1@")), digest);
    }
}
