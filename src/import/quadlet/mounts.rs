//! Mounts of a container.

use super::set::Scope;
use super::unit::{Line, Unit, plain};
use crate::definition::is_mount_option;
use crate::import::files::{absolute, directory};
use crate::import::note::NoteKind::Todo;
use crate::import::sheet::{Part, Section, push};

/// Reads `Volume=`, `Mount=` and `Tmpfs=`.
pub(super) fn read(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit, line: &Line) -> bool {
    match line.key.as_str() {
        "Volume" => volume(scope, part, unit, line),
        "Mount" => {
            let value = mount(scope, unit, &line.value);
            part.extra(Section::Container, "Mount", value);
        }
        "Tmpfs" => match plain(&line.value) {
            Some(text) if is_tmpfs(&text) => push(&mut part.component.tmpfs, text),
            Some(_) | None => return false,
        },
        _ => return false,
    }
    true
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(',') && !text.split('/').any(|part| part == "..")
}

fn is_tmpfs(text: &str) -> bool {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    is_path(path) && options.chars().all(|c| c.is_ascii_alphanumeric() || ",=%._-".contains(c))
}

fn volume(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit, line: &Line) {
    let mut parts = line.value.splitn(2, ':');
    let (source, rest) = (parts.next().unwrap_or_default(), parts.next());
    let Some(rest) = rest else {
        // Only a path in the container.
        part.extra(Section::Container, "Volume", line.value.clone());
        return;
    };
    // As the generator has it: what begins with a dot is beside the file.
    let source = if source.starts_with('.') {
        absolute(directory(&unit.path), "/", source).replace('%', "%%").replace('$', "$$")
    } else if source.ends_with(".volume") && !source.starts_with('/') {
        scope.podman_name(source, "Volume", "VolumeName")
    } else {
        source.to_owned()
    };
    let whole = format!("{source}:{rest}");
    let (target, options) = rest.split_once(':').unwrap_or((rest, ""));
    let is_known = options.is_empty() || options.split(',').all(is_mount_option);
    match plain(&whole) {
        Some(_) if !is_known || !is_path(target) => {
            part.extra(Section::Container, "Volume", whole);
        }
        Some(text) if is_path(&source) => {
            let host = plain(&source).unwrap_or_default();
            if !scope.files.exists(&host) {
                let message = format!("there is no {host} here; without it a deploy is refused");
                scope.tell(part, Todo, line, message);
            }
            push(&mut part.component.volumes, text);
        }
        // The volume that there is, with what is in it.
        Some(text) => match scope.things.volume(&scope.service, &source) {
            Some(name) => {
                let rest = text.split_once(':').map_or("", |(_, rest)| rest);
                push(&mut part.component.volumes, format!("{name}:{rest}"));
            }
            None => part.extra(Section::Container, "Volume", whole),
        },
        None => part.extra(Section::Container, "Volume", whole),
    }
}

/// Writes the source of a mount out: the name of a volume, a path beside the
/// file.
fn mount(scope: &mut Scope<'_>, unit: &Unit, value: &str) -> String {
    let parts: Vec<String> = value
        .split(',')
        .map(|part| match part.split_once('=') {
            Some((key @ ("source" | "src"), source)) if source.ends_with(".volume") => {
                let podmans = scope.podman_name(source, "Volume", "VolumeName");
                match scope.things.volume(&scope.service, &podmans) {
                    Some(name) => {
                        scope.things.volumes.entry(name.clone()).or_default();
                        format!("{key}={}-{name}.volume", scope.service)
                    }
                    None => format!("{key}={podmans}"),
                }
            }
            Some((key @ ("source" | "src"), source)) if source.starts_with('.') => {
                format!("{key}={}", absolute(directory(&unit.path), "/", source))
            }
            _ => part.to_owned(),
        })
        .collect();
    parts.join(",")
}
