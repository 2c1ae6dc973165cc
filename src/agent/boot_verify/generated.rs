//! What podman's generator will make of the files, in a dry run.

use std::path::PathBuf;

use crate::agent::finding::{Finding, shell_word};
use crate::deployment::Deployment;
use crate::names::ServiceName;
use crate::quadlet::UnitSet;
use crate::quadlet::proof::{self, Mismatch};
use crate::units::GeneratorReport;

const CHECK: &str = "generator";

/// Judges what the generator says of all files, whoever has written them.
pub fn messages(report: &GeneratorReport) -> Vec<Finding> {
    let fatal = report.fatal();
    let mut found: Vec<Finding> = fatal
        .iter()
        .map(|message| {
            let path = path(message).unwrap_or_default();
            let finding = Finding::failed(
                CHECK,
                path,
                format!(
                    "podman's generator cannot read a file, and will make no unit at all because \
                     of it: {message}."
                ),
            );
            if path.is_empty() {
                return finding;
            }
            let word = shell_word(path);
            finding.mend(format!("mv {word} {}", shell_word(&format!("{path}.broken"))))
        })
        .collect();
    let rest = report.messages.iter().filter(|m| !fatal.contains(&m.as_str()));
    found.extend(rest.filter(|m| m.starts_with("converting ")).map(|message| {
        let path = message.rsplit_once(" in /").map(|(_, path)| format!("/{path}"));
        Finding::warning(
            CHECK,
            path.unwrap_or_default(),
            format!("podman's generator will not make a unit of one file: {message}."),
        )
    }));
    found
}

/// Returns the path in `error loading "/path", ...`.
fn path(message: &str) -> Option<&str> {
    message.strip_prefix("error loading ")?.split('"').nth(1)
}

/// A service, as podman's generator is to make it.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// What is in force.
    pub deployment: &'a Deployment,
    /// Its files.
    pub set: &'a UnitSet,
    /// In what its `extra` keys have it differ from the rest of the definition.
    pub extra: &'a [Mismatch],
    /// What a person adds to its files.
    pub drop_ins: &'a [PathBuf],
}

/// Judges the units that become of a service's files: that each is made, and
/// that each container will run as it was deployed.
pub fn service(made: &Made<'_>, agent: &str, report: &GeneratorReport) -> Vec<Finding> {
    let Made { deployment, set, extra, drop_ins } = *made;
    let service = &deployment.service;
    let refused = report.refused(set);
    let mut found: Vec<Finding> =
        refused.iter().map(|file| refusal(service, file, report)).collect();
    let made = |unit: &str| report.units.contains_key(unit);
    for mismatch in proof::compare(deployment, agent, &report.units) {
        if let Mismatch::Missing { unit } = &mismatch
            && !made(unit)
            && !refused.is_empty()
        {
            continue;
        }
        if extra.contains(&mismatch) {
            continue;
        }
        let differs = format!("After a boot something differs from what was deployed: {mismatch}.");
        found.push(match drop_ins.first() {
            Some(path) => {
                let (shown, word) = (path.display(), shell_word(&path.to_string_lossy()));
                let message =
                    format!("{differs} The drop-in {shown} changes it, which nobody deployed.");
                Finding::warning(CHECK, service.as_str(), message)
                    .mend(format!("rm {word} && systemctl --user daemon-reload"))
            }
            None => Finding::warning(CHECK, service.as_str(), differs)
                .mend(format!("mcp deploy {service}")),
        });
    }
    found
}

fn refusal(service: &ServiceName, file: &str, report: &GeneratorReport) -> Finding {
    let said = report.messages.iter().find(|message| message.contains(file));
    let why = said.map(|said| format!(": {said}")).unwrap_or_default();
    Finding::failed(
        CHECK,
        service.as_str(),
        format!("podman's generator will make no unit of {file}{why}."),
    )
    .mend(format!("mcp deploy {service}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;
    use crate::deployment::{Leases, NodeFacts, resolve};
    use crate::names::Generation;

    #[test]
    fn a_file_that_takes_all_units_away_fails_and_another_is_a_warning() {
        let report = GeneratorReport {
            messages: vec![
                "error loading \"/q/my file.container\", file contains line 1: \"[x\" which is \
                 not a key-value pair"
                    .to_owned(),
                "converting \"x.container\": unsupported key 'Foo' in group 'Container' in \
                 /q/x.container"
                    .to_owned(),
                "other noise".to_owned(),
            ],
            ..GeneratorReport::default()
        };
        let found = messages(&report);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].level, found[0].subject.as_str()),
            (Level::Failed, "/q/my file.container")
        );
        assert_eq!(found[0].mend, "mv '/q/my file.container' '/q/my file.container.broken'");
        assert_eq!((found[1].level, found[1].subject.as_str()), (Level::Warning, "/q/x.container"));
    }

    #[test]
    fn what_extra_keys_add_is_no_difference_and_what_a_drop_in_adds_is() {
        let text = "name = \"web\"\n[[components]]\nname = \"web\"\nimage = \"localhost/x:1\"\n";
        let definition = crate::definition::load(text).unwrap();
        let deployment =
            resolve(&definition, &NodeFacts::default(), &Leases::new(), None, Generation(1))
                .unwrap();
        let different = |what: &str| Mismatch::Different {
            unit: "web.service".to_owned(),
            what: what.to_owned(),
        };
        let unreadable = proof::compare(&deployment, "", &made("podman run --rm localhost/x:1"));
        assert!(!unreadable.is_empty());
        let set = UnitSet::new("web".parse().unwrap(), true);
        let report = GeneratorReport {
            units: made("podman run --rm localhost/x:1"),
            ..GeneratorReport::default()
        };
        let judged = |extra: &[Mismatch], drop_ins: &[PathBuf]| {
            let made = Made { deployment: &deployment, set: &set, extra, drop_ins };
            service(&made, "", &report)
        };
        assert_eq!(judged(&unreadable, &[]), []);
        let other = [different("podman would also get --volume \"x:/x\"")];
        let found = judged(&other, &[]);
        assert_eq!(found.len(), unreadable.len());
        assert_eq!((found[0].level, found[0].mend.as_str()), (Level::Warning, "mcp deploy web"));
        let drop_in = PathBuf::from("/q/web.container.d/my own.conf");
        let found = judged(&[], &[drop_in]);
        assert!(found[0].message.contains("The drop-in /q/web.container.d/my own.conf changes it"));
        assert!(found[0].mend.starts_with("rm '/q/web.container.d/my own.conf' && "));
    }

    fn made(line: &str) -> std::collections::BTreeMap<String, String> {
        let text = format!("[Service]\nExecStart={line}\n");
        std::collections::BTreeMap::from([("web.service".to_owned(), text)])
    }
}
