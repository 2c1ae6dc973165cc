//! A path of the node that it uses is missing, or may not be used.

use crate::agent::explain::{Cause, Evidence, Explanation, Mount};
use crate::agent::finding::shell_word;

/// Explains a path that cannot be used.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    missing(evidence).or_else(|| denied(evidence))
}

fn missing(evidence: &Evidence) -> Option<Explanation> {
    const GONE: &[&str] = &["no such file or directory"];
    let said = evidence.journal.podman(GONE).filter(|said| is_of_podman(said))?;
    let named = |mount: &&Mount| said.contains(mount.path.as_str());
    let mount = evidence.mounts.iter().filter(|mount| mount.problem.is_some()).find(named);
    let mount = mount.or_else(|| evidence.mounts.iter().find(named))?;
    let path = shell_word(&mount.path);
    let reason = match (&mount.problem, mount.mounted) {
        (None, _) => format!("{} was not there when it was started; it is there now.", mount.path),
        (Some(_), true) => {
            format!("The path {} that it mounts is not on this node; MCP makes none.", mount.path)
        }
        (Some(_), false) => {
            format!("The environment file {} that it reads is not on this node.", mount.path)
        }
    };
    let explained = Explanation::failed(Cause::PathMissing, reason).shown_by(said);
    let user = &evidence.owner.user;
    let explained = match (&mount.problem, mount.mounted) {
        (None, _) => explained,
        (Some(_), true) => explained.mend(format!("sudo install -d -o {user} -g {user} {path}")),
        (Some(_), false) => {
            explained.mend(format!("sudo install -m 0600 -o {user} -g {user} FILE {path}"))
        }
    };
    Some(explained.mend(evidence.restart()))
}

fn denied(evidence: &Evidence) -> Option<Explanation> {
    const DENIED: &[&str] = &["permission denied", "operation not permitted"];
    let by_podman = evidence
        .journal
        .podman(DENIED)
        .and_then(|said| Some((said, evidence.mounts.iter().find(|m| said.contains(&m.path))?)));
    if let Some((said, mount)) = by_podman {
        let user = &evidence.owner.user;
        let path = shell_word(&mount.path);
        let reason = format!(
            "User {user} may not use {}, which it mounts or reads (owner uid {}, mode {:o}).",
            mount.path, mount.uid, mount.mode
        );
        return Some(
            Explanation::failed(Cause::PathDenied, reason)
                .shown_by(said)
                .mend(format!("namei -l {path}"))
                .mend(format!("sudo chown {user}: {path}"))
                .mend(evidence.restart()),
        );
    }
    within(evidence)
}

/// The container itself may not use what is mounted: its users are others
/// than those of the node.
fn within(evidence: &Evidence) -> Option<Explanation> {
    let said = evidence.journal.container(&["permission denied"])?;
    let mounts = || evidence.container.spec.volumes.iter();
    let mount = mounts().find(|mount| said.contains(mount.target.as_str()))?;
    let crate::definition::service::MountSource::Path(path) = &mount.source else { return None };
    let found = evidence.mounts.iter().find(|m| m.path == *path)?;
    let inside = evidence.container.spec.user.as_deref().unwrap_or("0");
    let number = inside.split(':').next().filter(|u| u.bytes().all(|b| b.is_ascii_digit()));
    let reason = format!(
        "The container may not use {}, the node's {path} (owner uid {}, mode {:o}): its users are subordinate ids of user {}; with SELinux the mount needs the option Z.",
        mount.target, found.uid, found.mode, evidence.owner.user
    );
    let chown = format!("podman unshare chown -R {} {}", number.unwrap_or("UID"), shell_word(path));
    Some(
        Explanation::failed(Cause::PathDenied, reason)
            .shown_by(said)
            .mend(format!("ls -ldnZ {}", shell_word(path)))
            .mend(evidence.owner.run(&chown))
            .mend(evidence.restart()),
    )
}

/// The commands that an image lacks are told with the same words.
fn is_of_podman(said: &str) -> bool {
    !said.contains("executable file") && !said.contains("attempted to invoke a command")
}
