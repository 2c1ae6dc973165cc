//! Changes of units, as they happen.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use zbus::message::{Message, Type};
use zbus::{MatchRule, MessageStream, OwnedObjectPath, OwnedVariant};

use super::manager::{Manager, SystemdError};
use crate::names::UnitName;

const UNITS: &str = "/org/freedesktop/systemd1/unit";

/// Says which units to look at again. It carries no state: read it with
/// [`Manager::unit_states`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These came into another state, or a job of theirs ended.
    Units(BTreeSet<UnitName>),
    /// systemd was reloaded: any unit may have come, gone or changed.
    All,
}

/// Changes since the last look; changes that come faster than they are read
/// become one.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    collected: Mutex<Collected>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Collected {
    units: BTreeSet<UnitName>,
    all: bool,
    ended: bool,
}

impl Manager {
    /// Watches all units of the manager but podman's health checks. Ignore
    /// what is not yours.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but those that name a unit.
    pub async fn watch(&self) -> Result<Watch, SystemdError> {
        Ok(Watch::of(self.signals().await?))
    }

    async fn signals(
        &self,
    ) -> Result<impl Stream<Item = zbus::Result<Message>> + use<>, SystemdError> {
        let connection = self.connection().await?;
        let rules = || {
            let properties = MatchRule::builder()
                .msg_type(Type::Signal)
                .interface("org.freedesktop.DBus.Properties")
                .member("PropertiesChanged")
                .path_namespace(UNITS)
                .add_arg("org.freedesktop.systemd1.Unit")
                .build()?;
            let manager = MatchRule::builder()
                .msg_type(Type::Signal)
                .interface("org.freedesktop.systemd1.Manager")
                .path("/org/freedesktop/systemd1")
                .build()?;
            Ok((properties, manager))
        };
        let (properties, manager) = rules().map_err(|e| SystemdError::call("AddMatch", e))?;
        let properties = MessageStream::for_match_rule(properties, &connection, None)
            .await
            .map_err(|e| SystemdError::call("AddMatch", e))?;
        let manager = MessageStream::for_match_rule(manager, &connection, None)
            .await
            .map_err(|e| SystemdError::call("AddMatch", e))?;
        // The end of either is the end of the connection.
        let end = || stream::once(async { None });
        let both =
            stream::select(properties.map(Some).chain(end()), manager.map(Some).chain(end()));
        Ok(both
            .take_while(|item| std::future::ready(item.is_some()))
            .filter_map(std::future::ready))
    }
}

impl Watch {
    /// Collects what messages say, until they end.
    pub(super) fn of(signals: impl Stream<Item = zbus::Result<Message>> + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(collect(signals, Arc::clone(&shared)));
        Self { shared, _task: AbortOnDropHandle::new(task) }
    }

    /// Waits for the next change.
    ///
    /// May be cancelled: nothing is lost.
    ///
    /// # Errors
    ///
    /// [`SystemdError::Disconnected`] when the connection broke. Call
    /// [`Manager::watch`] again, then look at all units: what happened in
    /// between is not told.
    pub async fn next(&mut self) -> Result<Change, SystemdError> {
        loop {
            if let Some(change) = self.take() {
                return change;
            }
            // A wake-up between the look and this wait is stored as a permit.
            self.shared.wake.notified().await;
        }
    }

    fn take(&self) -> Option<Result<Change, SystemdError>> {
        let mut collected = self.shared.lock();
        if collected.all {
            collected.all = false;
            collected.units.clear();
            return Some(Ok(Change::All));
        }
        if !collected.units.is_empty() {
            return Some(Ok(Change::Units(std::mem::take(&mut collected.units))));
        }
        collected.ended.then_some(Err(SystemdError::Disconnected))
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Collected> {
        // The set stays whole wherever a holder panics.
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn collect(signals: impl Stream<Item = zbus::Result<Message>>, shared: Arc<Shared>) {
    let mut signals = std::pin::pin!(signals);
    let mut known = Known::default();
    while let Some(signal) = signals.next().await {
        let seen = match signal.and_then(|message| known.look(&message)) {
            Ok(seen) => seen,
            Err(error) => {
                tracing::debug!(%error, "systemd sent a signal that cannot be read");
                None
            }
        };
        match seen {
            Some(Seen::Unit(unit)) if is_health_check(&unit) => continue,
            Some(Seen::Unit(unit)) => {
                shared.lock().units.insert(unit);
            }
            Some(Seen::Reloaded) => shared.lock().all = true,
            None => continue,
        }
        shared.wake.notify_one();
    }
    shared.lock().ended = true;
    shared.wake.notify_one();
}

enum Seen {
    Unit(UnitName),
    Reloaded,
}

/// The last states told, because systemd repeats properties that have not
/// changed.
#[derive(Default)]
struct Known(HashMap<UnitName, (String, String)>);

impl Known {
    fn look(&mut self, message: &Message) -> zbus::Result<Option<Seen>> {
        let header = message.header();
        let member = header.member().map(zbus::names::MemberName::as_str);
        Ok(match member {
            Some("PropertiesChanged") => {
                let unit = header.path().and_then(|path| unit_of_path(path.as_str()));
                let body = message.body();
                let (_, mut changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
                    body.deserialize()?;
                let mut word = |name| changed.remove(name).and_then(|v| String::try_from(v).ok());
                match (unit, word("ActiveState"), word("SubState")) {
                    (Some(unit), Some(active), Some(sub)) => self.differs(unit, &(active, sub)),
                    _ => None,
                }
            }
            Some("JobRemoved") => {
                let body = message.body();
                let (_, _, unit, _): (u32, OwnedObjectPath, String, String) = body.deserialize()?;
                Some(Seen::Unit(UnitName::from_systemd(unit)))
            }
            Some("UnitRemoved") => {
                let body = message.body();
                let (unit, _): (String, OwnedObjectPath) = body.deserialize()?;
                self.0.remove(&UnitName::from_systemd(unit));
                None
            }
            Some("Reloading") => {
                let reloading: bool = message.body().deserialize()?;
                (!reloading).then_some(Seen::Reloaded)
            }
            Some(_) | None => None,
        })
    }

    fn differs(&mut self, unit: UnitName, state: &(String, String)) -> Option<Seen> {
        match self.0.insert(unit.clone(), state.clone()) {
            Some(before) if before == *state => None,
            Some(_) | None => Some(Seen::Unit(unit)),
        }
    }
}

/// podman runs each check in a unit of its own, `<container's number>-<hash>`:
/// five signals a second and container.
fn is_health_check(unit: &UnitName) -> bool {
    let number = unit.as_str().as_bytes().get(..65);
    number
        .and_then(<[u8]>::split_last)
        .is_some_and(|(end, number)| *end == b'-' && number.iter().all(u8::is_ascii_hexdigit))
}

/// Returns the unit that an object path stands for: every byte outside
/// `[A-Za-z0-9]` is written `_xx` (`sd_bus_path_encode(3)`).
fn unit_of_path(path: &str) -> Option<UnitName> {
    let label = path.strip_prefix(UNITS)?.strip_prefix('/')?;
    let mut bytes = Vec::with_capacity(label.len());
    let mut rest = label.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'_' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(UnitName::from_systemd)
}

/// Returns the object path that stands for a unit (`sd_bus_path_encode(3)`).
/// A unit's name is never empty.
pub(super) fn path_of_unit(unit: &UnitName) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |number: u8| DIGITS.get(usize::from(number)).copied();
    let mut path = format!("{UNITS}/");
    for (index, byte) in unit.as_str().bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(char::from(byte));
        } else {
            path.push('_');
            path.extend(digit(byte >> 4));
            path.extend(digit(byte & 15));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_paths_name_units() {
        for name in ["mc-proxy.service", "0day_x.service"] {
            let unit = UnitName::from_systemd(name);
            assert_eq!(unit_of_path(&path_of_unit(&unit)), Some(unit));
        }
        let unit = unit_of_path("/org/freedesktop/systemd1/unit/mc_2dproxy_2eservice").unwrap();
        assert_eq!(unit.as_str(), "mc-proxy.service");
        assert!(unit_of_path("/org/freedesktop/systemd1/unit/a_2").is_none());
        assert!(unit_of_path("/org/freedesktop/systemd1/job/1").is_none());
    }

    #[test]
    fn health_checks_are_told_apart() {
        let check = |name: &str| is_health_check(&UnitName::from_systemd(name));
        assert!(check(&format!("{}-2dc65052e934aacb.timer", "9d".repeat(32))));
        assert!(!check(&format!("{}.service", "9d".repeat(32))));
        assert!(!check("web-api.service"));
    }

    fn message(member: &str, path: &str, body: &(impl serde::Serialize + zbus::Type)) -> Message {
        Message::signal(path, "org.freedesktop.systemd1.Manager", member).build(body).unwrap()
    }

    #[tokio::test]
    async fn changes_are_merged_and_the_end_comes_last() {
        let job = OwnedObjectPath::try_from("/job/1").unwrap();
        let removed = |unit: &str| Ok(message("JobRemoved", "/", &(1u32, &job, unit, "done")));
        let signals =
            stream::iter([removed("b.service"), removed("a.service"), removed("b.service")]);
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(collect(signals, Arc::clone(&shared)));
        let mut watch = Watch { shared: Arc::clone(&shared), _task: AbortOnDropHandle::new(task) };
        let mut seen = BTreeSet::new();
        while let Ok(change) = watch.next().await {
            match change {
                Change::Units(units) => seen.extend(units),
                Change::All => panic!("no reload happened"),
            }
        }
        let names: Vec<&str> = seen.iter().map(UnitName::as_str).collect();
        assert_eq!(names, ["a.service", "b.service"]);
    }

    #[test]
    fn repeated_states_are_no_change_and_a_finished_reload_is() {
        let mut known = Known::default();
        let path = "/org/freedesktop/systemd1/unit/a_2eservice";
        let changed = |active: &str| {
            let properties = HashMap::from([
                ("ActiveState", zbus::Variant::from(active)),
                ("SubState", zbus::Variant::from("x")),
            ]);
            message("PropertiesChanged", path, &("i", properties, Vec::<String>::new()))
        };
        assert!(known.look(&changed("active")).unwrap().is_some());
        assert!(known.look(&changed("active")).unwrap().is_none());
        assert!(known.look(&changed("failed")).unwrap().is_some());
        assert!(known.look(&message("Reloading", "/", &true)).unwrap().is_none());
        assert!(matches!(
            known.look(&message("Reloading", "/", &false)).unwrap(),
            Some(Seen::Reloaded)
        ));
    }
}
