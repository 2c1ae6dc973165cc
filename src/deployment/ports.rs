//! Leasing ports to routes.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::resolve::Leases;
use crate::definition::Service;
use crate::definition::service::{Network, Strategy};
use crate::names::{ComponentName, RouteName};

/// No port of the range is free.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no port from {first} to {last} is free for route {component}/{route}")]
pub struct Exhausted {
    /// Start of the range.
    pub first: u16,
    /// End of the range.
    pub last: u16,
    /// Component that needs a port.
    pub component: ComponentName,
    /// Route that needs a port.
    pub route: RouteName,
}

/// Gives every route of a service a port, and with strategy `blue-green` every
/// published port another one behind it: the one it `had`, else the first
/// free one from a place in the range that depends on the names alone, so
/// that a lost registry mostly finds the old ports again.
///
/// `taken` are the ports of others; `is_free` tells whether nothing listens
/// on a port, and is asked for new leases only.
///
/// # Errors
///
/// [`Exhausted`] when the range has no port left.
pub fn lease(
    service: &Service,
    had: &Leases,
    taken: &BTreeSet<u16>,
    range: &RangeInclusive<u16>,
    is_free: impl Fn(u16) -> bool,
) -> Result<Leases, Exhausted> {
    let mut leases = Leases::new();
    let fixed: BTreeSet<u16> =
        service.components.iter().flat_map(|c| c.ports.iter().map(|p| p.host)).collect();
    let mut used = taken.clone();
    used.extend(&fixed);
    // Not even what is given up can be had again at once: the old generation
    // may come back.
    used.extend(had.values());
    let routes: Vec<(ComponentName, RouteName)> = service
        .components
        .iter()
        .flat_map(|c| c.routes.iter().map(move |r| (c.name.clone(), r.name.clone())))
        .collect();
    let pool = Pool { service, had, range, fixed, is_free };
    pool.lease(routes, &mut used, &mut leases)?;
    if service.deploy.strategy == Strategy::BlueGreen {
        let behind = behind(service, &leases);
        pool.lease(behind, &mut used, &mut leases)?;
    }
    Ok(leases)
}

/// Returns a port that is free for a moment, looked for from a place that
/// depends on a name; `taken` and `is_free` are as for [`lease`].
pub fn spare(
    name: &str,
    taken: &BTreeSet<u16>,
    range: &RangeInclusive<u16>,
    is_free: impl Fn(u16) -> bool,
) -> Option<u16> {
    candidates(range, place(&[name])).find(|port| !taken.contains(port) && is_free(*port))
}

/// Returns the names of the ports behind the forwarded ones.
fn behind(service: &Service, leases: &Leases) -> Vec<(ComponentName, RouteName)> {
    let mut wanted = Vec::new();
    for component in service.components.iter().filter(|c| c.network != Network::Host) {
        let ports = component.ports.iter().map(|p| p.host);
        let routes = component
            .routes
            .iter()
            .filter_map(|r| leases.get(&(component.name.clone(), r.name.clone())).copied());
        for port in ports.chain(routes) {
            let name = (component.name.clone(), RouteName::behind(port));
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
    }
    wanted
}

/// Where leases come from.
struct Pool<'a, F> {
    service: &'a Service,
    had: &'a Leases,
    range: &'a RangeInclusive<u16>,
    fixed: BTreeSet<u16>,
    is_free: F,
}

impl<F: Fn(u16) -> bool> Pool<'_, F> {
    fn lease(
        &self,
        wanted: Vec<(ComponentName, RouteName)>,
        used: &mut BTreeSet<u16>,
        leases: &mut Leases,
    ) -> Result<(), Exhausted> {
        let (range, fixed) = (self.range, &self.fixed);
        for key in &wanted {
            if let Some(port) = self.had.get(key).filter(|port| !fixed.contains(port)) {
                used.insert(*port);
                leases.insert(key.clone(), *port);
            }
        }
        for key in wanted {
            if leases.contains_key(&key) {
                continue;
            }
            let start = place(&[self.service.name.as_str(), key.0.as_str(), key.1.as_str()]);
            let port = candidates(range, start)
                .find(|port| !used.contains(port) && (self.is_free)(*port))
                .ok_or_else(|| Exhausted {
                    first: *range.start(),
                    last: *range.end(),
                    component: key.0.clone(),
                    route: key.1.clone(),
                })?;
            used.insert(port);
            leases.insert(key, port);
        }
        Ok(())
    }
}

/// Every port of the range once, from a place in it upwards and round.
fn candidates(range: &RangeInclusive<u16>, place: u32) -> impl Iterator<Item = u16> + use<> {
    let (first, last) = (u32::from(*range.start()), u32::from(*range.end()));
    let count = (last + 1).saturating_sub(first);
    (0..count).filter_map(move |step| u16::try_from(first + (place % count + step) % count).ok())
}

/// FNV-1a over the names: a fixed function, unlike the standard hasher.
fn place(names: &[&str]) -> u32 {
    names
        .iter()
        .flat_map(|name| name.bytes().chain([b'/']))
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn service(routes: usize) -> Service {
        let head = "name = \"s\"\n[[components]]\nname = \"c\"\nimage = \"i:1\"\n".to_owned();
        let routes =
            (0..routes).map(|n| format!("[[components.routes]]\nname = \"r{n}\"\nport = 443\n"));
        let text = head + &routes.collect::<Vec<_>>().concat();
        crate::definition::load(&text).unwrap()
    }

    proptest! {
        #[test]
        fn leases_are_distinct_free_in_range_and_kept(
            routes in 1usize..8,
            taken in prop::collection::btree_set(10_000u16..10_020, 0..10),
            busy in prop::collection::btree_set(10_000u16..10_020, 0..3),
        ) {
            let service = service(routes);
            let range = 10_000..=10_030;
            let leases = lease(&service, &Leases::new(), &taken, &range, |p| !busy.contains(&p)).unwrap();
            let ports: BTreeSet<u16> = leases.values().copied().collect();
            prop_assert_eq!(ports.len(), routes);
            prop_assert!(ports.iter().all(|p| range.contains(p) && !taken.contains(p) && !busy.contains(p)));
            // Once leased, kept: even though the port is now busy.
            let again = lease(&service, &leases, &taken, &range, |_| false).unwrap();
            prop_assert_eq!(again, leases);
        }
    }

    #[test]
    fn a_full_range_is_told() {
        let error =
            lease(&service(3), &Leases::new(), &BTreeSet::new(), &(10_000..=10_001), |_| true)
                .unwrap_err();
        assert_eq!(error.to_string(), "no port from 10000 to 10001 is free for route c/r2");
    }
}
