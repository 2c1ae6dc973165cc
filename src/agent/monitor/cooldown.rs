//! Which events are worth an alert: the bad ones, once in a while, and what
//! ends one that was told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kind::{Class, EventKind, Tone};

/// What has been told of which component.
#[derive(Debug, Default)]
pub struct Cooldown {
    told: BTreeMap<(String, String, Class), Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Duration,
    open: bool,
}

impl Cooldown {
    /// Tells whether an event is to be told now, by a clock that only goes
    /// forward. A bad one is not told again for `pause`; what ends a bad one
    /// is told if that was.
    pub fn takes(
        &mut self,
        (service, component): (&str, &str),
        kind: EventKind,
        now: Duration,
        pause: Duration,
    ) -> bool {
        if kind == EventKind::Test {
            return true;
        }
        let key = (service.to_owned(), component.to_owned(), kind.class());
        match (kind.tone(), self.told.get_mut(&key)) {
            (Tone::Plain, _) | (Tone::Over, None) => false,
            (Tone::Over, Some(told)) => std::mem::take(&mut told.open),
            (Tone::Bad, Some(told)) if now.saturating_sub(told.at) < pause => false,
            (Tone::Bad, _) => {
                self.told.retain(|_, told| told.open || now.saturating_sub(told.at) < pause);
                self.told.insert(key, Told { at: now, open: true });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_event_is_told_once_a_while_and_its_end_once() {
        let mut cooldown = Cooldown::default();
        let mut takes = |component: &str, kind, seconds| {
            let (now, pause) = (Duration::from_secs(seconds), Duration::from_secs(900));
            cooldown.takes(("shop", component), kind, now, pause)
        };
        assert!(!takes("api", EventKind::DriftSettled, 0));
        assert!(takes("api", EventKind::Drift, 1));
        assert!(!takes("api", EventKind::Drift, 2));
        assert!(takes("api", EventKind::DriftSettled, 3));
        assert!(!takes("api", EventKind::DriftSettled, 4));
        assert!(!takes("api", EventKind::Drift, 899));
        assert!(!takes("api", EventKind::DriftSettled, 900));
        assert!(takes("api", EventKind::Drift, 901));
        // Another class, another component.
        assert!(takes("api", EventKind::Flapping, 902));
        assert!(takes("web", EventKind::Drift, 902));
        assert!(!takes("web", EventKind::Started, 903));
        assert!(takes("", EventKind::Test, 904) && takes("", EventKind::Test, 904));
    }
}
