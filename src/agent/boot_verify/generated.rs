//! What podman's generator will make of the files, in a dry run.

use crate::agent::finding::{Finding, shell_word};
use crate::deployment::Deployment;
use crate::names::ServiceName;
use crate::quadlet::{UnitSet, proof};
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

/// Judges the units that become of a service's files: that each is made, and
/// that each container will run as it was deployed.
pub fn service(
    deployment: &Deployment,
    set: &UnitSet,
    agent: &str,
    report: &GeneratorReport,
) -> Vec<Finding> {
    let service = &deployment.service;
    let refused = report.refused(set);
    let mut found: Vec<Finding> =
        refused.iter().map(|file| refusal(service, file, report)).collect();
    let made = |unit: &str| report.units.contains_key(unit);
    for mismatch in proof::compare(deployment, agent, &report.units) {
        if let proof::Mismatch::Missing { unit } = &mismatch
            && !made(unit)
            && !refused.is_empty()
        {
            continue;
        }
        found.push(Finding::warning(
            CHECK,
            service.as_str(),
            format!("After a boot something differs from what was deployed: {mismatch}."),
        ));
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
}
