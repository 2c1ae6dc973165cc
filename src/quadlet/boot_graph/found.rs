//! Unit files as they lie in the directories that systemd searches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::quadlet::unit_file;

/// What is at one place under the name of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A unit file.
    Text(String),
    /// A link to `/dev/null`, or an empty file: never to be started.
    Masked,
    /// A link to a unit of another name, which this is a name for.
    Alias(String),
    /// It cannot be read.
    Unreadable(String),
}

/// A file or link with the name of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it is; for a generated unit, where it will be.
    pub path: PathBuf,
    /// What it is.
    pub content: Content,
}

/// A file that adds to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// How one unit brings in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pull {
    /// It starts it, and does without it.
    Wants,
    /// It starts it, and cannot do without it.
    Requires,
}

/// A link `<by>.wants/<unit>` or `<by>.requires/<unit>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullIn {
    /// The unit that brings in the other.
    pub by: String,
    /// How.
    pub pull: Pull,
    /// The unit that is brought in.
    pub unit: String,
    /// Where the link is; for a generated unit, its own file.
    pub path: PathBuf,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The files of each name, the one that counts first.
    pub sources: BTreeMap<String, Vec<Source>>,
    /// The drop-ins of each name (without `.d`), by the name of their file:
    /// of two with one name the stronger directory's.
    pub drop_ins: BTreeMap<String, BTreeMap<String, DropIn>>,
    /// The links, from all directories.
    pub pulls: Vec<PullIn>,
}

impl Found {
    /// Adds a file, weaker than those of its name that are there.
    pub fn add_source(&mut self, name: &str, source: Source) {
        self.sources.entry(name.to_owned()).or_default().push(source);
    }

    /// Adds a drop-in, weaker than one of its name that is there.
    pub fn add_drop_in(&mut self, unit: &str, file: &str, drop_in: DropIn) {
        let own = self.drop_ins.entry(unit.to_owned()).or_default();
        own.entry(file.to_owned()).or_insert(drop_in);
    }

    /// Adds a unit that a generator makes, with the links that its
    /// `[Install]` section becomes.
    pub fn add_generated(&mut self, name: &str, path: &Path, text: &str) {
        let content = Content::Text(text.to_owned());
        self.add_source(name, Source { path: path.to_owned(), content });
        let directives = unit_file::directives(text);
        for (key, pull) in
            [("WantedBy", Pull::Wants), ("UpheldBy", Pull::Wants), ("RequiredBy", Pull::Requires)]
        {
            for by in unit_file::values(&directives, "Install", key).flat_map(str::split_whitespace)
            {
                self.pulls.push(PullIn {
                    by: by.to_owned(),
                    pull,
                    unit: name.to_owned(),
                    path: path.to_owned(),
                });
            }
        }
        for alias in
            unit_file::values(&directives, "Install", "Alias").flat_map(str::split_whitespace)
        {
            let content = Content::Alias(name.to_owned());
            self.add_source(alias, Source { path: path.to_owned(), content });
        }
    }
}
