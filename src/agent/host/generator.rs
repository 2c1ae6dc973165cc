//! Whether podman's generator can read everything in the user's search path:
//! one file that it cannot parse takes every unit away with the next reload.

use crate::agent::finding::Finding;
use crate::units::GeneratorReport;

/// Judges what the generator says; or why it could not be asked.
pub fn judge(report: &Result<GeneratorReport, String>) -> Finding {
    let check = "generator";
    let report = match report {
        Ok(report) => report,
        Err(why) => {
            return Finding::failed(
                check,
                "",
                format!("Podman's generator cannot be asked: {why}."),
            )
            .mend("sudo apt install --reinstall podman");
        }
    };
    let Some(fatal) = report.fatal().first().map(|message| (*message).to_owned()) else {
        return Finding::fine(check, "", "Podman's generator reads every file.");
    };
    let file = fatal.split('"').nth(1).unwrap_or_default().to_owned();
    Finding::failed(
        check,
        file.as_str(),
        format!(
            "Podman's generator cannot parse a file, and will make no unit at all at the next reload or boot: {fatal}."
        ),
    )
    .mend(format!("sudo mv {file} {file}.broken"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    #[test]
    fn the_file_that_takes_all_units_away_is_named() {
        let mut report = GeneratorReport::default();
        assert_eq!(judge(&Ok(report.clone())).level, Level::Fine);
        report.messages.push("error loading \"/x/a.container\", file contains line 1".to_owned());
        assert_eq!(judge(&Ok(report)).mend, "sudo mv /x/a.container /x/a.container.broken");
        assert_eq!(judge(&Err("not found".to_owned())).level, Level::Failed);
    }
}
