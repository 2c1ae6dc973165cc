//! One-off containers on the wire: each is told with the schedules of its
//! component, as one that has no name and runs.

use super::agent_v1::ScheduleStatus;

impl ScheduleStatus {
    /// Returns how a one-off is told: its unit, and when it began in
    /// milliseconds since the Unix epoch, 0 if that is not known.
    pub fn of_one_off(unit: String, since_ms: i64) -> Self {
        Self { unit, last_ms: since_ms, running: true, ..Self::default() }
    }

    /// Tells whether this is a one-off; a schedule always has a name.
    pub fn is_one_off(&self) -> bool {
        self.name.is_empty()
    }
}
