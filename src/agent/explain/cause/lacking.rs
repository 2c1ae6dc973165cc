//! Podman has no secret, network or volume of a name that its unit uses, and
//! none of MCP's units makes it.

use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::finding::shell_word;
use crate::agent::monitor::seen::ComponentState;

/// What podman lacks.
#[derive(Debug, Clone, Copy)]
struct Lack {
    /// What podman says before the name.
    said: &'static str,
    cause: Cause,
    what: &'static str,
    /// What makes one, before the name and after it.
    made_by: (&'static str, &'static str),
}

const LACKS: [Lack; 3] = [
    Lack {
        said: "no secret with name or id ",
        cause: Cause::SecretMissing,
        what: "secret",
        made_by: ("podman secret create", " FILE"),
    },
    Lack {
        said: "unable to find network with name or ID ",
        cause: Cause::NetworkMissing,
        what: "network",
        made_by: ("podman network create", ""),
    },
    Lack {
        said: "no volume with name ",
        cause: Cause::VolumeMissing,
        what: "volume",
        made_by: ("podman volume create", ""),
    },
];

/// Explains that podman lacks something.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    // What runs again lacked it, and does not any more.
    if evidence.state == ComponentState::Running {
        return None;
    }
    LACKS.iter().find_map(|lack| {
        let said = evidence.journal.podman(&[lack.said])?;
        let name = name_after(said, lack.said)?;
        let Lack { cause, what, made_by: (make, rest), .. } = lack;
        let explained = |reason| Explanation::failed(*cause, reason).shown_by(said);
        // A start makes the networks of the definition again.
        let ours = evidence.networks.iter().any(|network| network.as_str() == name);
        Some(if *what == "network" && ours {
            explained(format!("Its {what} {name} was removed from podman: a start makes it again."))
                .mend(evidence.restart())
        } else {
            let reason =
                format!("Podman has no {what} {name}, which it uses and MCP does not make.");
            explained(reason)
                .mend(evidence.owner.run(&format!("{make} {}{rest}", shell_word(name))))
                .mend(evidence.restart())
        })
    })
}

/// Returns the name in `no secret with name or id "a": no such secret` and
/// `unable to find network with name or ID a: network not found`.
fn name_after<'a>(said: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = said.split_once(words)?;
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(": ").next()?,
    };
    (!name.is_empty()).then_some(name)
}
