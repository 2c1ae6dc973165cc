//! A port of the node is taken, or may not be used: what pasta and rootlessport
//! say.

use crate::agent::explain::{Cause, Evidence, Explanation, Holder};
use crate::agent::finding::shell_word;

/// The user's systemd itself (`systemd.special(7)`): what it holds it listens
/// on for socket units. Others that are in there came from outside.
const MANAGER: &str = "init.scope";

/// Explains a port that cannot be published.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    let said = evidence.journal.podman(&["address already in use", "Failed to bind port"]);
    if let Some(said) = said.filter(|said| !said.to_lowercase().contains("permission denied")) {
        return Some(taken(evidence, said));
    }
    let words = &["cannot expose privileged port", "permission denied) for option"];
    let said = evidence.journal.podman(words)?;
    let number = port_in(said);
    let reason = format!(
        "It may not publish port {}: ports this low need a right.",
        number.map_or_else(|| "of its".to_owned(), |n| n.to_string())
    );
    let start = number.map_or_else(|| "80".to_owned(), |n| n.to_string());
    Some(
        Explanation::failed(Cause::PortDenied, reason)
            .shown_by(said)
            .mend(format!("sudo sysctl -w net.ipv4.ip_unprivileged_port_start={start}"))
            .mend(evidence.restart()),
    )
}

fn taken(evidence: &Evidence, said: &str) -> Explanation {
    let number = port_in(said);
    let holder = evidence
        .holders
        .iter()
        .find(|holder| number.is_none_or(|number| holder.port.host == number));
    let number = number.or_else(|| holder.map(|holder| holder.port.host));
    let which = number.map_or_else(|| "A port of its".to_owned(), |n| format!("Port {n}"));
    let reason = match holder {
        Some(Holder { unit: Some(unit), manager: true, .. }) if unit == MANAGER => {
            format!("{which} of this node is taken by a socket unit of the user's systemd.")
        }
        Some(Holder { by, .. }) => format!("{which} of this node is taken by {by}."),
        None => format!("{which} of this node was taken when it was started; it is free now."),
    };
    let explained = Explanation::failed(Cause::PortTaken, reason).shown_by(said);
    let explained = match holder {
        Some(Holder { unit: Some(unit), manager: true, .. }) if unit == MANAGER => {
            explained.mend(evidence.owner.systemctl("list-sockets --all"))
        }
        Some(Holder { unit: Some(unit), .. }) if may_be_stopped(unit) => {
            explained.mend(evidence.owner.systemctl(&format!("stop {}", shell_word(unit))))
        }
        Some(Holder { port, .. }) => {
            explained.mend(format!("sudo ss -Hlntup 'sport = {}'", port.host))
        }
        None => explained,
    };
    explained.mend(evidence.restart())
}

/// Tells whether a unit is a person's own, and not one that others live on.
fn may_be_stopped(unit: &str) -> bool {
    let of_system = ["systemd-", "dbus", "mcp-"];
    unit != MANAGER && of_system.iter().all(|start| !unit.starts_with(start))
}

/// Returns the port in `Failed to bind port 9000 (Address...`, `listen tcp
/// 0.0.0.0:9001: bind: ...` and `privileged port 80, ...`.
fn port_in(said: &str) -> Option<u16> {
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    if let Some(port) = said.split("port ").skip(1).find_map(number) {
        return Some(port);
    }
    let before = said.split(": bind:").next()?;
    number(before.rsplit(':').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_in_the_words() {
        for (said, port) in [
            (
                "Failed to bind port 9000 (Address already in use) for option '-t 9000-9000:8080-8080'",
                Some(9000),
            ),
            (
                "Error: rootlessport listen tcp 0.0.0.0:9001: bind: address already in use",
                Some(9001),
            ),
            (
                "Error: rootlessport cannot expose privileged port 80, you can add 'net.ipv4...'",
                Some(80),
            ),
            ("Error: rootlessport listen tcp [::1]:53: bind: address already in use", Some(53)),
            ("nothing of it", None),
        ] {
            assert_eq!(port_in(said), port, "{said}");
        }
    }
}
