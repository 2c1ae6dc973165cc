//! The networks of a component, and its names in them.

use super::{Checker, unique};
use crate::definition::service::Network;
use crate::definition::{model, values};
use crate::names::NetworkName;

impl Checker<'_> {
    /// Reads the first network, and those after it.
    pub(super) fn networks(
        &mut self,
        at: &str,
        network: Option<model::OneOrMany>,
    ) -> (Network, Vec<NetworkName>) {
        let path = format!("{at}.network");
        match network {
            None => (Network::Private, Vec::new()),
            Some(model::OneOrMany::One(name)) => (self.network(&path, &name), Vec::new()),
            Some(model::OneOrMany::Many(list)) => {
                let mut named = Vec::new();
                for (index, name) in list.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    match self.network(&path, name) {
                        Network::Named(name) => named.push(name),
                        Network::Private | Network::Host | Network::None
                            if matches!(name.as_str(), "private" | "host" | "none") =>
                        {
                            self.complain(
                                &path,
                                format!(
                                    "{name:?} does not go together with other networks; write `network = {name:?}`"
                                ),
                            );
                        }
                        Network::Private | Network::Host | Network::None => {}
                    }
                }
                let mut named = unique(named).into_iter();
                let first = named.next().map_or(Network::Private, Network::Named);
                (first, named.collect())
            }
        }
    }

    fn network(&mut self, path: &str, network: &str) -> Network {
        match network {
            "private" => Network::Private,
            "host" => Network::Host,
            "none" => Network::None,
            name => self.keep(path, name.parse()).map_or(Network::Private, Network::Named),
        }
    }

    pub(super) fn aliases(
        &mut self,
        at: &str,
        aliases: Option<Vec<String>>,
        network: &Network,
    ) -> Vec<String> {
        let path = format!("{at}.aliases");
        let aliases = self.list(&path, aliases, |alias| {
            values::word(alias, "a name in a network", "._-").map(|()| alias.to_owned())
        });
        if !aliases.is_empty() && !matches!(network, Network::Named(_)) {
            self.complain(
                &path,
                "only a podman network has names; add `network = \"NAME\"`, or take `aliases` out",
            );
        }
        unique(aliases)
    }
}
