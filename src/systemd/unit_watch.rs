//! Changes of some units, for a long time: nothing else wakes the listener.
//!
//! podman runs each of its health checks in a unit of its own, and systemd
//! tells about ten things of each. A match rule cannot leave those out, so
//! there is one for each unit that is of interest, on a connection of its own
//! (the session's bus takes 50,000 rules of one connection).

use std::collections::BTreeSet;

use zbus::fdo::DBusProxy;
use zbus::message::Type;
use zbus::{MatchRule, MessageStream};

use super::manager::{Manager, SystemdError};
use super::watch::{Change, Watch, path_of_unit};
use crate::names::UnitName;

/// Watches a set of units, and reloads of systemd.
#[derive(Debug)]
pub struct UnitWatch {
    bus: DBusProxy<'static>,
    watch: Watch,
    units: BTreeSet<UnitName>,
}

impl Manager {
    /// Watches no unit yet, on a connection of its own.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn watch_units(&self) -> Result<UnitWatch, SystemdError> {
        let connection = self.own_connection().await?;
        let call = |e| SystemdError::call("AddMatch", e);
        let bus = DBusProxy::builder(&connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .map_err(call)?;
        // Answers to calls come here too, and mean nothing to it.
        let watch = Watch::of(MessageStream::from(&connection));
        let reloads = reloads().map_err(call)?;
        bus.add_match_rule(reloads).await.map_err(|e| call(e.into()))?;
        Ok(UnitWatch { bus, watch, units: BTreeSet::new() })
    }
}

impl UnitWatch {
    /// Watches exactly these units.
    ///
    /// # Errors
    ///
    /// [`SystemdError::Disconnected`], or the bus refuses.
    pub async fn set(&mut self, units: BTreeSet<UnitName>) -> Result<(), SystemdError> {
        let call = |e: zbus::Error| SystemdError::call("AddMatch", e);
        for unit in units.difference(&self.units) {
            let rule = rule(unit).map_err(call)?;
            self.bus.add_match_rule(rule).await.map_err(|e| call(e.into()))?;
        }
        for unit in self.units.difference(&units) {
            let rule = rule(unit).map_err(call)?;
            self.bus.remove_match_rule(rule).await.map_err(|e| call(e.into()))?;
        }
        self.units = units;
        Ok(())
    }

    /// Waits for the next change.
    ///
    /// May be cancelled: nothing is lost.
    ///
    /// # Errors
    ///
    /// [`SystemdError::Disconnected`] when the connection broke. Watch again,
    /// then look at all units: what happened in between is not told.
    pub async fn next(&mut self) -> Result<Change, SystemdError> {
        self.watch.next().await
    }
}

fn reloads() -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .interface("org.freedesktop.systemd1.Manager")
        .member("Reloading")
        .build()
}

fn rule(unit: &UnitName) -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .path(path_of_unit(unit))
        .add_arg("org.freedesktop.systemd1.Unit")
        .build()
}
