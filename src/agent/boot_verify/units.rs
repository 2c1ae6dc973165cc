//! Whether systemd will load our units, and no others in their place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::agent::finding::{Finding, shell_word};
use crate::quadlet::boot_graph::{Found, Loaded, State};
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

fn moved_away(path: &Path, config: &Path) -> String {
    let path = path.to_string_lossy();
    let sudo = if path.starts_with(&*config.to_string_lossy()) { "" } else { "sudo " };
    format!("{sudo}mv {} {}", shell_word(&path), shell_word(&format!("{path}.away")))
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
                 /c/user/over.service /c/user/over.service.away",
            ]
        );
    }
}
