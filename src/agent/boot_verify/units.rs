//! Whether systemd will load our units, and no others in their place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::agent::finding::{Finding, shell_word};
use crate::quadlet::boot_graph::{Found, Loaded, State};
use crate::quadlet::render;
use crate::units::load_path::Override;

const CHECK: &str = "unit";

/// A unit of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Where its file will be.
    pub path: PathBuf,
    /// What writes it again.
    pub mend: String,
}

/// Judges each unit of ours; `config` is the user's `~/.config/systemd`.
pub fn judge(found: &Found, expected: &BTreeMap<String, Expected>, config: &Path) -> Vec<Finding> {
    expected.iter().filter_map(|(name, expected)| one(found, name, expected, config)).collect()
}

fn one(found: &Found, name: &str, expected: &Expected, config: &Path) -> Option<Finding> {
    let unit = Loaded::load(found, name);
    let path = unit.path.as_deref().unwrap_or(Path::new(""));
    let shown = path.display();
    let failed = |message: String| Finding::failed(CHECK, name, message);
    match unit.state {
        State::Loaded if path == expected.path => None,
        State::Loaded => Some(
            failed(format!("{shown} will be loaded in the place of MCP's {name}."))
                .mend(moved_away(path, config)),
        ),
        State::Masked => Some(
            failed(format!("{name} is masked by {shown}: it cannot be started."))
                .mend(unmasked(name, path, config)),
        ),
        State::Missing => {
            Some(failed(format!("There will be no unit {name}.")).mend(expected.mend.clone()))
        }
        State::Unreadable(why) => {
            Some(failed(format!("{shown} cannot be read: {why}.")).mend(expected.mend.clone()))
        }
    }
}

/// Judges a file of a network, a volume or an image that podman's generator
/// reads in the place of `file`, which is ours; `unsaid` is what it does not
/// say, and `config` is the user's `~/.config`.
pub fn shadowed(file: &str, path: &Path, unsaid: &[String], config: &Path) -> Option<Finding> {
    let (first, shown) = (unsaid.first()?, path.display());
    let more = if unsaid.len() > 1 { " and more" } else { "" };
    let message = format!(
        "podman's generator reads {shown} in the place of MCP's {file}, and that does not say {first}{more}."
    );
    Some(Finding::failed(CHECK, render::unit_of(file), message).mend(moved_away(path, config)))
}

fn moved_away(path: &Path, config: &Path) -> String {
    let path = path.to_string_lossy();
    let sudo = if path.starts_with(&*config.to_string_lossy()) { "" } else { "sudo " };
    format!(
        "{sudo}mv --backup=numbered {} {}",
        shell_word(&path),
        shell_word(&format!("{path}.away"))
    )
}

fn unmasked(name: &str, path: &Path, config: &Path) -> String {
    if path.starts_with(config) {
        format!("systemctl --user unmask {name}")
    } else {
        format!("sudo systemctl --global unmask {name}")
    }
}

/// Judges what lies in the runtime directory and overrides our units until
/// the machine is restarted.
pub fn temporary(overrides: &[Override]) -> Vec<Finding> {
    overrides
        .iter()
        .map(|over| {
            let path = over.path.to_string_lossy();
            Finding::warning(
                CHECK,
                over.name.as_str(),
                format!(
                    "{path} overrides {} now, and is gone after a reboot: what runs now is not \
                     what will run then.",
                    over.name
                ),
            )
            .mend(format!("rm -r {} && systemctl --user daemon-reload", shell_word(&path)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadlet::boot_graph::{Content, Source};

    #[test]
    fn a_file_that_is_read_in_the_place_of_ours_is_told_with_its_end() {
        let path = Path::new("/c/containers/systemd/a.network");
        let told = |unsaid: &[&str]| {
            let unsaid: Vec<String> = unsaid.iter().map(|&line| line.to_owned()).collect();
            let found = shadowed("a.network", path, &unsaid, Path::new("/c"));
            found.map(|f| format!("{} {} | {}", f.subject, f.message, f.mend))
        };
        assert_eq!(told(&[]), None);
        assert_eq!(
            told(&["Internal=true", "IPv6=true"]).unwrap(),
            "a-network.service podman's generator reads /c/containers/systemd/a.network in the \
             place of MCP's a.network, and that does not say Internal=true and more. | mv \
             --backup=numbered /c/containers/systemd/a.network /c/containers/systemd/a.network.away"
        );
    }

    #[test]
    fn what_takes_the_place_of_a_unit_is_named_with_its_end() {
        let mut found = Found::default();
        let mut add = |name: &str, path: &str, content: Content| {
            found.add_source(name, Source { path: path.into(), content });
        };
        let text = || Content::Text("[Unit]\n".to_owned());
        add("fine.service", "/r/fine.service", text());
        add("over.service", "/c/user/over.service", text());
        add("over.service", "/r/over.service", text());
        add("masked.service", "/c/user/masked.service", Content::Masked);
        add("global.service", "/etc/systemd/user/global.service", Content::Masked);
        let names = ["fine", "over", "masked", "global", "gone"];
        let expected = names
            .iter()
            .map(|name| {
                let path = format!("/r/{name}.service").into();
                (format!("{name}.service"), Expected { path, mend: "mcp deploy x".to_owned() })
            })
            .collect();
        let said: Vec<String> = judge(&found, &expected, Path::new("/c"))
            .into_iter()
            .map(|f| format!("{} | {}", f.message, f.mend))
            .collect();
        assert_eq!(
            said,
            [
                "global.service is masked by /etc/systemd/user/global.service: it cannot be \
                 started. | sudo systemctl --global unmask global.service",
                "There will be no unit gone.service. | mcp deploy x",
                "masked.service is masked by /c/user/masked.service: it cannot be started. | \
                 systemctl --user unmask masked.service",
                "/c/user/over.service will be loaded in the place of MCP's over.service. | mv \
                 --backup=numbered /c/user/over.service /c/user/over.service.away",
            ]
        );
    }
}
