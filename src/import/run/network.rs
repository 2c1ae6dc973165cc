//! Networks and ports of a run.

use super::Scope;
use super::apply::line;
use super::parse::Flag;
use crate::definition::model::OneOrMany;
use crate::import::note::NoteKind::{Changed, Lost};
use crate::import::sheet::{Part, push};
use crate::import::values::{Ports, label, ports};
use crate::names::NetworkName;

/// Reads the networks of a run, its names there, and what it publishes.
pub(super) fn network(scope: &mut Scope<'_>, part: &mut Part, flag: &Flag) -> bool {
    let value = flag.value.as_str();
    match flag.name.as_str() {
        // Without options it may be several.
        "network" if value.contains(',') && !value.contains([':', '=']) => {
            for one in value.split(',') {
                network(scope, part, &Flag { value: one.to_owned(), ..flag.clone() });
            }
        }
        "network" => match value {
            "host" | "none" | "private" => {
                part.component.network = Some(OneOrMany::One(value.to_owned()));
            }
            "bridge" | "default" if scope.is_docker => {}
            _ if value.parse::<NetworkName>().is_ok() => join(part, value),
            _ if scope.is_docker && !value.contains(':') => {
                let name = label(value);
                join(part, &name);
                let message = format!("the network is called {name} here");
                scope.tell(part, Changed, (&flag.place, "--network"), message);
            }
            _ => with_options(scope, part, flag),
        },
        "network-alias" => push(&mut part.component.aliases, value.to_owned()),
        "publish" => match ports(value) {
            Ok(Ports::Published(list)) => {
                for port in list {
                    push(&mut part.component.ports, port);
                }
            }
            Ok(Ports::Anywhere(text)) => {
                let message =
                    format!("{text} names no port of the node; choose one, or use a route");
                scope.tell(part, Lost, (&flag.place, "--publish"), message);
            }
            Err(why) => scope.tell(part, Lost, (&flag.place, "--publish"), why),
        },
        _ => return false,
    }
    true
}

/// Adds a network with what is said of the container in it: through its file,
/// so that it is made when it is missing.
fn with_options(scope: &mut Scope<'_>, part: &mut Part, flag: &Flag) {
    let value = match flag.value.split_once(':') {
        Some((name, options)) if name.parse::<NetworkName>().is_ok() => {
            scope.things.network(name);
            format!("{name}.network:{options}")
        }
        Some(_) | None => flag.value.clone(),
    };
    line(scope, part, "Network", (&value, flag));
}

/// Adds a podman network, and the old name of the container in it.
fn join(part: &mut Part, name: &str) {
    part.component.network = Some(match part.component.network.take() {
        Some(OneOrMany::One(first)) => OneOrMany::Many(vec![first, name.to_owned()]),
        Some(OneOrMany::Many(mut names)) => {
            names.push(name.to_owned());
            OneOrMany::Many(names)
        }
        None => OneOrMany::One(name.to_owned()),
    });
}
