//! The environment of a component.

use std::collections::BTreeMap;

use super::sheet::{Part, Section};
use crate::definition::model::{Environment, Scalar};
use crate::quadlet::escape::word;

/// Adds variables; names that a definition does not take go into the unit as
/// they are.
pub(super) fn add_env(part: &mut Part, pairs: impl IntoIterator<Item = (String, String)>) {
    let mut table = match part.component.env.take() {
        Some(Environment::Table(table)) => table,
        Some(Environment::List(_)) | None => BTreeMap::new(),
    };
    for (name, value) in pairs {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let starts = name.starts_with(|c: char| !c.is_ascii_digit());
        if starts && name.chars().all(good) {
            table.insert(name, Scalar::Text(value));
        } else {
            part.extra(Section::Container, "Environment", word(&format!("{name}={value}")));
        }
    }
    if !table.is_empty() {
        part.component.env = Some(Environment::Table(table));
    }
}
