//! A service that is not there, and a deploy that was taken back.

use super::cause::image;
use super::evidence::span;
use super::journal::Journal;
use super::{Cause, Evidence, Explanation, Owner, judge};
use crate::agent::finding::Level;
use crate::agent::monitor::kind::EventKind;
use crate::names::{ImageRef, ServiceName};

/// What happened to a service as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was deployed.
    Deployed,
    /// A deploy was taken back.
    RolledBack,
    /// A deploy was given up for a stop.
    GivenUp,
    /// A deploy failed, and was not taken back well.
    DeployFailed,
    /// It was taken off the node.
    Undeployed,
    /// It was handed over to the user.
    Released,
}

impl What {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Deployed,
        Self::RolledBack,
        Self::GivenUp,
        Self::DeployFailed,
        Self::Undeployed,
        Self::Released,
    ];

    /// Returns the kind of event that tells of it.
    pub fn event(self) -> EventKind {
        match self {
            Self::Deployed => EventKind::Deployed,
            Self::RolledBack => EventKind::RolledBack,
            Self::GivenUp => EventKind::GivenUp,
            Self::DeployFailed => EventKind::DeployFailed,
            Self::Undeployed => EventKind::Undeployed,
            Self::Released => EventKind::Released,
        }
    }
}

/// The last that happened to a service as a whole.
#[derive(Debug, Clone)]
pub struct Past {
    /// What.
    pub kind: What,
    /// Why, in words.
    pub reason: String,
    /// The unit that failed; empty: not known, or none.
    pub unit: String,
    /// How long ago, in milliseconds.
    pub ago_ms: i64,
    /// What was written about that unit.
    pub journal: Journal,
    /// What is known of the component that failed; none: nothing more.
    pub component: Option<Box<Evidence>>,
}

/// Explains a service that is not deployed; `near` is a service with a name
/// like it.
pub fn explain(
    service: &ServiceName,
    past: Option<&Past>,
    near: Option<&ServiceName>,
    owner: &Owner,
) -> Explanation {
    let deploy = format!("mcp deploy {service}");
    if let Some(taken_back) = past.and_then(|past| rolled_back(service, past, owner)) {
        return Explanation { cause: Cause::NotDeployed, level: Level::Failed, ..taken_back };
    }
    match (past, near) {
        (Some(past), _) if past.kind == What::Undeployed => {
            let reason = format!(
                "It is not deployed here: it was taken off this node {} ago ({}).",
                span(past.ago_ms),
                past.reason
            );
            Explanation::failed(Cause::NotDeployed, reason).mend(deploy)
        }
        (Some(past), _) if past.kind == What::Released => {
            let reason = format!(
                "It is not MCP's any more: it was released to the user {} ago ({}).",
                span(past.ago_ms),
                past.reason
            );
            Explanation::failed(Cause::NotDeployed, reason)
                .mend(owner.systemctl(&format!("status '{service}*'")))
                .mend(format!("mcp adopt {service}"))
        }
        (_, Some(near)) => Explanation::failed(
            Cause::NotDeployed,
            format!("It was never deployed here. Is {near} meant?"),
        )
        .mend(format!("mcp explain {near}"))
        .mend(deploy),
        (_, None) => Explanation::failed(
            Cause::NotDeployed,
            "It was never deployed here, as far as this node remembers.",
        )
        .mend("mcp list")
        .mend(deploy),
    }
}

/// Explains that the last deploy was taken back; none: it was not.
pub fn rolled_back(service: &ServiceName, past: &Past, owner: &Owner) -> Option<Explanation> {
    let (what, level) = match past.kind {
        What::RolledBack => ("was rolled back", Explanation::warning as fn(_, String) -> _),
        What::GivenUp => ("was given up", Explanation::warning as fn(_, String) -> _),
        What::DeployFailed => ("failed", Explanation::failed as fn(_, String) -> _),
        What::Deployed | What::Undeployed | What::Released => return None,
    };
    let reason = format!("Its last deploy, {} ago, {what}: {}.", span(past.ago_ms), past.reason);
    let mut explained: Explanation = level(Cause::RolledBack, reason);
    let said: Vec<String> = past.journal.failed.iter().map(|said| said.text.clone()).collect();
    if past.unit.ends_with("-image.service")
        && let Some(image) = pulled(&said)
    {
        let pull = image::pull(&image, &said, owner);
        explained.reason = format!("{} {}", explained.reason, pull.reason);
        explained = explained.shown_by(pull.evidence);
        explained.mend = pull.mend;
    } else if let Some((component, found)) = past.component.as_deref().and_then(cause) {
        explained.reason = format!("{} {}: {}", explained.reason, component.path(), found.reason);
        explained = explained.shown_by(found.evidence);
        let (edit, logs) = (format!("mcp service edit {service}"), component.logs());
        let mend =
            found.mend.into_iter().map(|c| if c == logs { journal_of(&past.unit) } else { c });
        // What starts it again is the deploy.
        explained.mend = mend.filter(|c| *c == edit || !c.starts_with("mcp ")).collect();
    } else {
        explained = explained.shown_by(past.journal.last_words().unwrap_or_default());
        if past.unit.ends_with(".service") && !past.unit.ends_with("-image.service") {
            explained = explained.mend(journal_of(&past.unit));
        }
    }
    Some(explained.mend(format!("mcp deploy {service}")))
}

/// Says why the component failed with which a deploy did.
fn cause(evidence: &Evidence) -> Option<(&Evidence, Explanation)> {
    Some((evidence, judge::of_its_last_run(evidence)?))
}

/// Returns the command that shows what was written about a unit that is gone.
fn journal_of(unit: &str) -> String {
    format!("sudo journalctl _SYSTEMD_USER_UNIT={unit} -n 20")
}

/// Returns the image that podman said it was trying to pull.
fn pulled(said: &[String]) -> Option<ImageRef> {
    let said = said.iter().find_map(|line| line.strip_prefix("Trying to pull "))?;
    said.trim_end_matches("...").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::explain::judge::tests::failing;
    use crate::agent::explain::{Said, Speaker};
    use crate::agent::monitor::seen::ComponentState;

    fn past(kind: What, unit: &str, said: &[&str]) -> Past {
        let line = |speaker, text: &str| Said { speaker, text: text.to_owned() };
        let mut lines = vec![line(Speaker::Systemd, "Starting x...")];
        lines.extend(said.iter().map(|text| line(Speaker::Podman, text)));
        lines.push(line(Speaker::Systemd, "x: Failed with result 'exit-code'."));
        Past {
            kind,
            reason: "generation 3 is in force again: why".to_owned(),
            unit: unit.to_owned(),
            ago_ms: 61_000,
            journal: Journal::of(lines),
            component: None,
        }
    }

    fn owner() -> Owner {
        Owner { user: "mcp".to_owned(), uid: 850, home: "/srv/mcp".to_owned() }
    }

    #[test]
    fn a_deploy_that_was_taken_back_is_told_with_what_failed() {
        let service = "shop".parse().unwrap();
        let said = ["Trying to pull r.net/shop:1...", "Error: reading manifest: manifest unknown"];
        let pull = past(What::RolledBack, "shop-api-image.service", &said);
        let told = rolled_back(&service, &pull, &owner()).unwrap();
        assert_eq!(told.cause, Cause::RolledBack);
        assert!(told.reason.starts_with("Its last deploy, 1 min 1 s ago, was rolled back: gen"));
        assert_eq!(told.evidence, said[1]);
        assert_eq!(told.mend.last().unwrap(), "mcp deploy shop");
        let start = past(What::DeployFailed, "shop-api.service", &["Error: no such thing"]);
        let told = rolled_back(&service, &start, &owner()).unwrap();
        assert_eq!((told.level, told.evidence.as_str()), (Level::Failed, "Error: no such thing"));
        let mut stopped = past(What::GivenUp, "", &[]);
        stopped.reason = "somebody stopped the service before it was ready".to_owned();
        let told = rolled_back(&service, &stopped, &owner()).unwrap();
        assert_eq!(
            (told.level, told.reason.as_str()),
            (
                Level::Warning,
                "Its last deploy, 1 min 1 s ago, was given up: somebody stopped the service before it was ready."
            )
        );
        let fine = past(What::Deployed, "", &[]);
        assert_eq!(rolled_back(&service, &fine, &owner()), None);
    }

    #[test]
    fn what_a_deploy_lacked_is_named_with_what_mends_it() {
        let service = "shop".parse().unwrap();
        let said = "Error: no secret with name or id \"key\": no such secret";
        let mut lacking = past(What::RolledBack, "shop-api.service", &[said]);
        let mut evidence = failing(125, &[]);
        evidence.journal = lacking.journal.clone();
        evidence.state = ComponentState::Failed;
        lacking.component = Some(Box::new(evidence));
        let told = explain(&service, Some(&lacking), None, &owner());
        assert!(
            told.reason.ends_with(
                "shop/api: Podman has no secret key, which it uses and MCP does not make."
            ),
            "{told:?}"
        );
        let make = owner().run("podman secret create key FILE");
        assert_eq!(told.mend, [make, "mcp deploy shop".to_owned()]);
        assert_eq!(told.evidence, said);
    }

    #[test]
    fn a_service_that_is_not_there_is_told_with_what_became_of_it() {
        let service = "shop".parse().unwrap();
        let near = "shops".parse().unwrap();
        let told = |past: Option<&Past>, near| explain(&service, past, near, &owner());
        assert_eq!(told(None, None).mend, ["mcp list", "mcp deploy shop"]);
        assert_eq!(told(None, Some(&near)).mend[0], "mcp explain shops");
        let gone = past(What::Undeployed, "", &[]);
        assert!(told(Some(&gone), None).reason.contains("taken off this node 1 min 1 s ago"));
        // A name that is like it was not meant.
        let released = past(What::Released, "", &[]);
        let away = told(Some(&released), Some(&near));
        assert!(away.reason.contains("it was released to the user 1 min 1 s ago"), "{away:?}");
        assert_eq!(away.mend, ["sudo systemctl --user -M mcp@ status 'shop*'", "mcp adopt shop"]);
        let back = past(What::RolledBack, "", &[]);
        let told = told(Some(&back), None);
        assert_eq!((told.cause, told.level), (Cause::NotDeployed, Level::Failed));
    }
}
