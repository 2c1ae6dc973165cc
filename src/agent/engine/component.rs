//! One component of a new definition in the one that is in force.

use super::prepare::parse;
use super::{Accepted, EngineError, Request};
use crate::names::{ComponentName, ServiceName};

/// Puts one component of the new definition into the one in force, which is
/// otherwise left alone.
pub(super) fn only(
    request: &Request,
    component: &ComponentName,
    service: &ServiceName,
    old: Option<&Accepted>,
) -> Result<String, EngineError> {
    let old = old.ok_or_else(|| EngineError::ComponentFirst { service: service.clone() })?;
    let named = |table: &toml_edit::Table| {
        table.get("name").and_then(toml_edit::Item::as_str) == Some(component.as_str())
    };
    let new = request.definition.parse::<toml_edit::DocumentMut>();
    let current = old.current_definition().parse::<toml_edit::DocumentMut>();
    let tables = |document: &toml_edit::DocumentMut| {
        document.get("components").and_then(toml_edit::Item::as_array_of_tables).cloned()
    };
    let (Ok(new), Ok(mut current)) = (new, current) else {
        return Ok(request.definition.clone());
    };
    let known: Vec<String> =
        parse(request)?.components.iter().map(|c| c.name.to_string()).collect();
    let missing = || EngineError::NoComponent {
        service: service.clone(),
        component: component.clone(),
        known,
    };
    let (Some(theirs), Some(mut ours)) = (tables(&new), tables(&current)) else {
        return Err(EngineError::WholeServiceOnly(
            "a single component can be deployed only where components are written as [[components]] tables; deploy the whole service",
        ));
    };
    let table = theirs.iter().find(|t| named(t)).ok_or_else(missing)?.clone();
    let version = |document: &toml_edit::DocumentMut| {
        document.get("version").and_then(toml_edit::Item::as_str).map(str::to_owned)
    };
    if table.get("image").is_none() && version(&new) != version(&current) {
        return Err(EngineError::WholeServiceOnly(
            "the component has no image of its own, and the service's `version` has changed; deploy the whole service",
        ));
    }
    let (wanted, there) = (parse(request)?, &old.deployment);
    if wanted.networks != there.network_specs || wanted.volumes != there.volume_specs {
        return Err(EngineError::WholeServiceOnly(
            "the service's `networks` or `volumes` have changed; deploy the whole service",
        ));
    }
    let place = ours.iter().position(named);
    match place {
        Some(at) => ours.iter_mut().skip(at).take(1).for_each(|place| *place = table.clone()),
        None => ours.push(table),
    }
    // Positions come from two files; without them tables are written in order.
    current.insert("components", toml_edit::Item::ArrayOfTables(renumbered(&ours)));
    Ok(current.to_string())
}

fn renumbered(tables: &toml_edit::ArrayOfTables) -> toml_edit::ArrayOfTables {
    let mut out = toml_edit::ArrayOfTables::new();
    for table in tables {
        let mut table = table.clone();
        unplace(&mut table);
        out.push(table);
    }
    out
}

fn unplace(table: &mut toml_edit::Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        if let Some(inner) = item.as_table_mut() {
            unplace(inner);
        }
        if let Some(list) = item.as_array_of_tables_mut() {
            list.iter_mut().for_each(unplace);
        }
    }
}
