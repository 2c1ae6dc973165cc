//! What a component uses between two looks.

use crate::systemd::Usage;

/// One look at a run of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The number of the run; none: it is down.
    pub run: Option<String>,
    /// When, in nanoseconds of a clock that never goes back.
    pub at_ns: u64,
    /// What it has used by then.
    pub usage: Option<Usage>,
}

/// What is used per second, between two looks at the same run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Processors.
    pub cpu: Option<f64>,
    /// Octets read a second.
    pub io_read: Option<f64>,
    /// Octets written a second.
    pub io_written: Option<f64>,
}

impl Look {
    /// Returns what was used since an earlier look; nothing of another run.
    pub fn rates(&self, before: &Self) -> Rates {
        let same = self.run.is_some() && self.run == before.run;
        let elapsed = self.at_ns.saturating_sub(before.at_ns);
        let (Some(now), Some(then)) = (&self.usage, &before.usage) else {
            return Rates::default();
        };
        if !same || elapsed == 0 {
            return Rates::default();
        }
        let seconds = float(elapsed) / 1e9;
        let per_second = |now: Option<u64>, then: Option<u64>| {
            // A counter that went back was begun anew.
            Some(float(now?.checked_sub(then?)?) / seconds)
        };
        Rates {
            cpu: per_second(now.cpu_ns, then.cpu_ns).map(|ns| ns / 1e9),
            io_read: per_second(now.io_read, then.io_read),
            io_written: per_second(now.io_written, then.io_written),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, and 2^53 is enough")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::UnitName;

    fn look(run: &str, at_s: u64, cpu_s: u64) -> Look {
        let usage = Usage {
            unit: UnitName::from_systemd("a.service"),
            cpu_ns: Some(cpu_s * 1_000_000_000),
            memory: None,
            io_read: Some(cpu_s * 100),
            io_written: None,
            tasks: None,
        };
        Look { run: Some(run.to_owned()), at_ns: at_s * 1_000_000_000, usage: Some(usage) }
    }

    #[test]
    fn rates_are_those_of_one_run() {
        let rates = look("a", 14, 5).rates(&look("a", 10, 3));
        assert_eq!(rates.cpu, Some(0.5));
        assert_eq!((rates.io_read, rates.io_written), (Some(50.0), None));
        assert_eq!(look("b", 14, 5).rates(&look("a", 10, 3)), Rates::default());
        assert_eq!(look("a", 14, 2).rates(&look("a", 10, 3)).cpu, None);
        assert_eq!(look("a", 10, 5).rates(&look("a", 10, 3)), Rates::default());
        let down = Look { run: None, at_ns: 0, usage: None };
        assert_eq!(look("a", 10, 5).rates(&down), Rates::default());
    }
}
