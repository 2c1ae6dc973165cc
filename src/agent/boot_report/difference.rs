//! How a boot differs from the one before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::timeline::Timeline;
use crate::names::UnitName;

/// A unit is slower when it took longer by this much, and by a quarter: less
/// is what two boots differ by anyway.
const SLOWER: Duration = Duration::from_secs(1);

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Units that took clearly longer: the unit, before, now.
    pub slower: Vec<(UnitName, Duration, Duration)>,
    /// Units that took clearly less long.
    pub faster: Vec<(UnitName, Duration, Duration)>,
    /// Units that are not ready now and were before.
    pub failed: Vec<UnitName>,
    /// Units that are ready now and were not before.
    pub mended: Vec<UnitName>,
    /// Units that were not part of the boot before.
    pub new: Vec<UnitName>,
    /// Units that are no longer part of the boot.
    pub gone: Vec<UnitName>,
}

/// Compares two boots.
pub fn difference(now: &[Timeline], before: &[Timeline]) -> Difference {
    let by_unit = |lines: &'_ [Timeline]| {
        lines.iter().map(|line| (line.unit.clone(), line.clone())).collect::<BTreeMap<_, _>>()
    };
    let (now, before) = (by_unit(now), by_unit(before));
    let mut found = Difference {
        gone: before.keys().filter(|unit| !now.contains_key(*unit)).cloned().collect(),
        ..Difference::default()
    };
    for (unit, line) in now {
        let Some(old) = before.get(&unit) else {
            found.new.push(unit);
            continue;
        };
        match (line.is_missing(), old.is_missing()) {
            (true, false) => found.failed.push(unit),
            (false, true) => found.mended.push(unit),
            (true, true) => {}
            (false, false) => {
                let (Some(now), Some(before)) = (line.took(), old.took()) else { continue };
                if now > before + SLOWER.max(before / 4) {
                    found.slower.push((unit, before, now));
                } else if before > now + SLOWER.max(now / 4) {
                    found.faster.push((unit, before, now));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::timeline::tests::{lines, unit};
    use super::*;

    #[test]
    fn only_what_differs_clearly_is_told() {
        let before = lines(
            "0 same.service starting
             500 same.service job done
             0 slow.service starting
             500 slow.service job done
             0 fast.service starting
             9000 fast.service job done
             0 broke.service job done
             0 bad.service starting
             9 bad.service failed timeout
             0 gone.service job done",
            &[],
        );
        let now = lines(
            "0 same.service starting
             1400 same.service job done
             0 slow.service starting
             1600 slow.service job done
             0 fast.service starting
             700 fast.service job done
             0 broke.service starting
             1 bad.service job done
             0 new.service job done",
            &[],
        );
        let ms = Duration::from_millis;
        assert_eq!(
            difference(&now, &before),
            Difference {
                slower: vec![(unit("slow.service"), ms(500), ms(1600))],
                faster: vec![(unit("fast.service"), ms(9000), ms(700))],
                failed: vec![unit("broke.service")],
                mended: vec![unit("bad.service")],
                new: vec![unit("new.service")],
                gone: vec![unit("gone.service")],
            }
        );
        assert_eq!(difference(&now, &now), Difference::default());
    }
}
