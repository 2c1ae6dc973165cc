//! Its image is not there, or cannot be pulled.

use super::edited;
use crate::agent::explain::{Cause, Evidence, Explanation, Owner};
use crate::names::ImageRef;

/// Explains a missing image.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    const GONE: &[&str] = &["image not known", "no such image"];
    let said = evidence.journal.podman(GONE);
    if let Some(other) = said.and_then(|said| other(evidence, said)) {
        return Some(other);
    }
    // What podman said last may be mended since.
    if evidence.image_there == Some(true) || (said.is_none() && evidence.image_there.is_none()) {
        return None;
    }
    let image = &evidence.container.image;
    let said = said.unwrap_or_default();
    if image.is_local() {
        let reason = format!(
            "Its image {image} is not on this node, and no image registry has it (localhost/)."
        );
        return Some(
            Explanation::failed(Cause::ImageMissing, reason)
                .shown_by(said)
                .mend(evidence.owner.run("podman load -i FILE"))
                .mend(format!("mcp start {}", evidence.service)),
        );
    }
    if !evidence.pull.is_empty() {
        let mut explained = pull(image, &evidence.pull, &evidence.owner);
        explained.reason = format!("Its image {image} is not on this node. {}", explained.reason);
        return Some(explained.mend(format!("mcp deploy {}", evidence.service)));
    }
    let reason = format!("Its image {image} is not on this node; a deploy pulls it again.");
    Some(
        Explanation::failed(Cause::ImageMissing, reason)
            .shown_by(said)
            .mend(format!("mcp deploy {}", evidence.service)),
    )
}

/// Explains that the unit names another image than the one that was deployed:
/// somebody changed it.
fn other(evidence: &Evidence, said: &str) -> Option<Explanation> {
    let name = said.strip_prefix("Error: ")?.split(": image not known").next()?;
    let deployed = &evidence.container.image;
    if name == deployed.as_str() || !edited::is_it(evidence) {
        return None;
    }
    let reason = format!(
        "Its unit names the image {name}, which is not on this node; what was deployed is {deployed}."
    );
    Some(Explanation::failed(Cause::ImageMissing, reason).shown_by(said))
}

/// In which way a pull fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    Denied,
    Unknown,
    Unreachable,
    Other,
}

impl Kind {
    fn cause(self) -> Cause {
        match self {
            Self::Full => Cause::DiskFull,
            Self::Denied => Cause::PullDenied,
            Self::Unknown => Cause::PullUnknown,
            Self::Unreachable => Cause::PullUnreachable,
            Self::Other => Cause::PullFailed,
        }
    }
}

/// In the order in which they are looked for: a refusal may be followed by
/// what podman makes of it.
const KINDS: &[(Kind, &[&str])] = &[
    (Kind::Full, &["no space left on device", "disk quota exceeded"]),
    (
        Kind::Denied,
        &[
            "authentication required",
            "unauthorized",
            "access to the resource is denied",
            "denied:",
            "invalid username/password",
            "forbidden",
            "status 401",
            "status 403",
        ],
    ),
    (
        Kind::Unknown,
        &[
            "manifest unknown",
            "name unknown",
            "repository name not known",
            "not found: manifest",
            "status 404",
        ],
    ),
    (
        Kind::Unreachable,
        &[
            "no such host",
            "connection refused",
            "network is unreachable",
            "no route to host",
            "i/o timeout",
            "context deadline exceeded",
            "server misbehaving",
            "x509:",
            "tls:",
            "server gave HTTP response to HTTPS client",
            "connection reset",
        ],
    ),
];

/// Explains a pull that failed, from what podman said of it.
pub fn pull(image: &ImageRef, said: &[String], owner: &Owner) -> Explanation {
    let found = KINDS.iter().find_map(|(kind, words)| {
        let line = said.iter().rev().find(|line| {
            let line = line.to_lowercase();
            words.iter().any(|word| line.contains(&word.to_lowercase()))
        })?;
        Some((*kind, line.as_str()))
    });
    let error = said.iter().rev().find(|line| line.starts_with("Error"));
    let (kind, line) = found
        .unwrap_or((Kind::Other, error.or(said.last()).map(String::as_str).unwrap_or_default()));
    // The last attempt is the one without podman's remark that it goes on.
    let line = error.filter(|_| found.is_some()).map_or(line, String::as_str);
    let registry = image.as_str().split('/').next().unwrap_or_default();
    let explained = |reason: String| Explanation::failed(kind.cause(), reason).shown_by(line);
    let pull = owner.run(&format!("podman pull {image}"));
    match kind {
        Kind::Denied => explained(format!(
            "The image registry {registry} does not let this node pull it: it wants a login, or this login may not."
        ))
        .mend(owner.run(&format!("podman login {registry}"))),
        Kind::Unknown => explained(format!(
            "The image registry {registry} answers, and has no such image: the name or the tag is wrong, or was removed."
        ))
        .mend(format!("skopeo list-tags docker://{}", repository(image))),
        Kind::Unreachable => explained(format!(
            "The image registry {registry} cannot be reached from this node{}.",
            hindrance(line)
        ))
        .mend(format!("curl -v https://{}/v2/", host(registry)))
        .mend(pull),
        Kind::Full => explained("There is no room for it on this node.".to_owned())
            .mend("df -h")
            .mend(owner.run("podman image prune -a")),
        Kind::Other => explained("It cannot be pulled.".to_owned()).mend(pull),
    }
}

/// Returns the host that answers for a registry: Docker's is another than its
/// name in references (`containers-registries.conf(5)` knows it as `docker.io`).
fn host(registry: &str) -> &str {
    if registry == "docker.io" { "registry-1.docker.io" } else { registry }
}

/// Says what is in the way of a connection.
fn hindrance(line: &str) -> &'static str {
    let has = |word: &str| line.contains(word);
    if has("no such host") || has("server misbehaving") {
        ": its name is not known here"
    } else if has("connection refused") {
        ": nothing listens there"
    } else if has("unreachable") || has("no route") {
        ": there is no way to it"
    } else if has("x509") || has("tls:") {
        ": its certificate is not trusted here"
    } else if has("HTTP response to HTTPS") {
        ": it does not speak TLS"
    } else if has("timeout") || has("deadline") {
        ": it does not answer in time"
    } else {
        ""
    }
}

/// Returns an image's name without tag and digest.
fn repository(image: &ImageRef) -> &str {
    let name = image.as_str().split('@').next().unwrap_or_default();
    let slash = name.rfind('/').unwrap_or_default();
    match name.rfind(':') {
        Some(colon) if colon > slash => name.get(..colon).unwrap_or(name),
        Some(_) | None => name,
    }
}
