//! Networks and volumes of a definition that is being put together.

use std::collections::BTreeMap;

use super::sheet::verbatim;
use super::values::{label, untaken};
use crate::definition::model::{Extra, Network, Volume};
use crate::names::{ServiceName, VolumeName};

/// What is said of them, by their names in the definition.
#[derive(Debug, Default)]
pub(super) struct Things {
    pub(super) networks: BTreeMap<String, Network>,
    pub(super) volumes: BTreeMap<String, Volume>,
    /// The volumes by podman's names.
    called: BTreeMap<String, String>,
}

impl Things {
    /// Returns what a definition calls a volume of podman's, which is that very
    /// volume; none for what is no name of one.
    pub(super) fn volume(&mut self, service: &ServiceName, podmans: &str) -> Option<String> {
        if let Some(known) = self.called.get(podmans) {
            return Some(known.clone());
        }
        let good = podmans.starts_with(|c: char| c.is_ascii_alphanumeric())
            && podmans.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !good {
            return None;
        }
        let own = podmans.strip_prefix(&format!("{service}-"));
        let wish = own.filter(|own| own.parse::<VolumeName>().is_ok());
        let wish = wish.map_or_else(|| label(podmans), str::to_owned);
        let name = untaken(wish, |name| self.called.values().any(|own| own == name));
        if name.parse::<VolumeName>().is_err() {
            return None;
        }
        if format!("{service}-{name}") != podmans {
            self.volumes.entry(name.clone()).or_default().name = Some(podmans.to_owned());
        }
        self.called.insert(podmans.to_owned(), name.clone());
        Some(name)
    }

    /// Returns the name of a new volume of the service, which no other has.
    pub(super) fn new_volume(&mut self, service: &ServiceName, wish: String) -> String {
        let name = untaken(wish, |name| self.called.values().any(|own| own == name));
        self.called.insert(format!("{service}-{name}"), name.clone());
        name
    }

    /// Has a network be made also where no component names it alone.
    pub(super) fn network(&mut self, name: &str) -> &mut Network {
        self.networks.entry(name.to_owned()).or_default()
    }

    /// Returns the volumes that have a name of podman's, with their own.
    pub(super) fn called(&self) -> Vec<(String, String)> {
        self.called.iter().map(|(podmans, own)| (podmans.clone(), own.clone())).collect()
    }

    /// Adds a verbatim line to a network.
    pub(super) fn network_line(&mut self, name: &str, line: (&str, &str, &str)) {
        add(&mut self.network(name).extra, line);
    }

    /// Adds a verbatim line to a volume.
    pub(super) fn volume_line(&mut self, name: &str, line: (&str, &str, &str)) {
        add(&mut self.volumes.entry(name.to_owned()).or_default().extra, line);
    }
}

fn add(extra: &mut Option<Extra>, (section, key, value): (&str, &str, &str)) {
    verbatim(extra.get_or_insert_default(), section, key, value.to_owned());
}
