//! Networks of a container.

use super::set::Scope;
use super::unit::{Line, Unit, plain};
use crate::definition::model::OneOrMany;
use crate::import::note::NoteKind::{Changed, Todo};
use crate::import::sheet::{Part, Section, push};
use crate::import::values::label;
use crate::names::NetworkName;

/// Tells whether a component's network is a mode instead of names.
pub(super) fn is_mode(network: &OneOrMany) -> bool {
    matches!(network, OneOrMany::One(name) if matches!(name.as_str(), "host" | "none" | "private"))
}

/// Reads `Network=` and `NetworkAlias=`.
pub(super) fn read(scope: &mut Scope<'_>, part: &mut Part, unit: &Unit, line: &Line) -> bool {
    match line.key.as_str() {
        "Network" => {
            let section = unit.section("Container");
            let all: Vec<&Line> =
                section.into_iter().filter(|line| line.key == "Network").collect();
            // All of them at once, at the first: a definition's own networks
            // and verbatim ones would come in another order.
            if all.first().is_some_and(|first| *first == line) {
                networks(scope, part, &all);
            }
            true
        }
        "NetworkAlias" => {
            let is_native = unit
                .last("Container", "Network")
                .is_some_and(|line| native(scope, name_only(&line.value)).is_some());
            match plain(&line.value) {
                Some(alias) if is_native => push(&mut part.component.aliases, alias),
                Some(_) | None => return false,
            }
            true
        }
        _ => false,
    }
}

/// Returns a network without options that go elsewhere.
fn name_only(value: &str) -> &str {
    match value.split_once(':') {
        Some((name, options)) if plain_options(options).is_some() => name,
        Some(_) | None => value,
    }
}

/// Returns the name of a network that a definition can name, and whether it is
/// podman's as well.
pub(super) fn native(scope: &Scope<'_>, value: &str) -> Option<(String, bool)> {
    let (name, options) = value.split_once(':').unwrap_or((value, ""));
    if !options.is_empty() {
        return None;
    }
    if name.ends_with(".network") {
        let podmans = scope.podman_name(name, "Network", "NetworkName");
        let own = label(&podmans);
        let own = if own.parse::<NetworkName>().is_ok() { own } else { format!("{own}-network") };
        return Some((own.clone(), own == podmans));
    }
    let name = plain(name)?;
    name.parse::<NetworkName>().ok().map(|_| (name, true))
}

fn networks(scope: &mut Scope<'_>, part: &mut Part, all: &[&Line]) {
    if let [line] = all
        && matches!(line.value.as_str(), "host" | "none" | "private")
    {
        part.component.network = Some(OneOrMany::One(line.value.clone()));
        return;
    }
    if let [line] = all
        && let Some((name, options)) = line.value.split_once(':')
        && name.strip_suffix(".network").is_some()
        && let Some(options) = plain_options(options)
    {
        let whole = Line { value: name.to_owned(), ..(*line).clone() };
        networks(scope, part, &[&whole]);
        for (key, value) in options {
            match key {
                "alias" => push(&mut part.component.aliases, value.to_owned()),
                "mac" => part.podman_arg(&format!("--mac-address={value}")),
                key => part.extra(Section::Container, &key.to_ascii_uppercase(), value),
            }
        }
        return;
    }
    let found: Vec<Option<(String, bool)>> =
        all.iter().map(|line| native(scope, &line.value)).collect();
    let mut names = Vec::new();
    for (line, found) in all.iter().zip(found) {
        match found {
            Some((name, is_same)) => {
                told_of(scope, part, (line, &line.value), (&name, is_same));
                names.push(name);
            }
            None => verbatim(scope, part, line),
        }
    }
    part.component.network = match names.len() {
        0 => None,
        1 => names.pop().map(OneOrMany::One),
        _ => Some(OneOrMany::Many(names)),
    };
}

/// Tells of a network that is another one here, or may be.
fn told_of(
    scope: &mut Scope<'_>,
    part: &mut Part,
    (line, file): (&Line, &str),
    (name, is_same): (&str, bool),
) {
    if !is_same {
        let message = format!("the network is called {name} here; it is another one");
        scope.tell(part, Changed, line, message);
    }
    if file.ends_with(".network") && !scope.set.units.contains_key(file) {
        let message = format!("there is no {file} beside it; its name is a guess");
        scope.tell(part, Todo, line, message);
    }
}

/// A network with options, a container's, or a mode.
fn verbatim(scope: &mut Scope<'_>, part: &mut Part, line: &Line) {
    let (name, options) = line.value.split_once(':').unwrap_or((&line.value, ""));
    let options = if options.is_empty() { String::new() } else { format!(":{options}") };
    if let Some(stem) = name.strip_suffix(".container") {
        let Some(container) = scope.container(stem) else {
            scope.tell(part, Todo, line, "that container is not imported with it");
            part.extra(Section::Container, "Network", line.value.clone());
            return;
        };
        part.extra(Section::Container, "Network", format!("{container}.container"));
        let name = scope.names.get(stem).map(ToString::to_string).unwrap_or_default();
        part.depend(&name);
    } else if name.ends_with(".network") {
        let Some((own, is_same)) = native(scope, name) else { return };
        told_of(scope, part, (line, name), (&own, is_same));
        // A table of it, so that it is made though no component names it alone.
        scope.things.network(&own);
        part.extra(Section::Container, "Network", format!("{own}.network{options}"));
    } else {
        part.extra(Section::Container, "Network", line.value.clone());
    }
}

/// Reads options of a network that a container may have without it.
fn plain_options(options: &str) -> Option<Vec<(&str, &str)>> {
    let pairs: Option<Vec<(&str, &str)>> =
        options.split(',').map(|option| option.split_once('=')).collect();
    let known = |(key, value): &(&str, &str)| {
        matches!(*key, "alias" | "ip" | "ip6" | "mac") && plain(value).is_some()
    };
    pairs.filter(|pairs| pairs.iter().all(known))
}
