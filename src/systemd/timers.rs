//! Timers of ours, and how what they start went.

use std::time::{Duration, SystemTime};

use futures_util::future::{try_join_all, try_join5};

use super::manager::{Manager, SystemdError};
use super::properties::{Properties, SERVICE, UNIT};
use super::state::ActiveState;
use crate::names::UnitName;

/// The interface of what timers have.
const TIMER: &str = "org.freedesktop.systemd1.Timer";

/// A timer, and the service that it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerState {
    /// When it elapses next by the calendar; none: it does not run.
    pub next: Option<SystemTime>,
    /// When it elapsed last.
    pub last: Option<SystemTime>,
    /// Whether the service runs.
    pub running: bool,
    /// How the service ended last, `success` as long as it never did.
    pub result: String,
    /// Its exit status then.
    pub status: i32,
}

impl Manager {
    /// Looks at timers and the services that they start, in the same order.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`]; a unit that is not there is one that does not run.
    pub async fn timers(
        &self,
        pairs: &[(UnitName, UnitName)],
    ) -> Result<Vec<TimerState>, SystemdError> {
        try_join_all(pairs.iter().map(|(timer, service)| self.timer(timer, service))).await
    }

    async fn timer(
        &self,
        timer: &UnitName,
        service: &UnitName,
    ) -> Result<TimerState, SystemdError> {
        let (connection, proxy) = (self.connection().await?, self.proxy().await?);
        let object = async |unit: &UnitName| {
            let path = proxy.load_unit(unit.as_str()).await;
            let path = path.map_err(|e| SystemdError::unit("look at", unit, e))?;
            Ok::<_, SystemdError>(Properties { connection: &connection, path: path.to_string() })
        };
        let (timer, service) = (object(timer).await?, object(service).await?);
        let (next, last, active, result, status) = try_join5(
            timer.get::<u64>(TIMER, "NextElapseUSecRealtime"),
            timer.get::<u64>(TIMER, "LastTriggerUSec"),
            service.get::<String>(UNIT, "ActiveState"),
            service.get::<String>(SERVICE, "Result"),
            service.get::<i32>(SERVICE, "ExecMainStatus"),
        )
        .await
        .map_err(|e| SystemdError::call("Get", e))?;
        let active = ActiveState::from(active.as_str());
        let running = matches!(active, ActiveState::Activating | ActiveState::Active);
        Ok(TimerState { next: time(next), last: time(last), running, result, status })
    }
}

/// Returns a time that systemd counts in microseconds since 1970; 0 and the
/// highest number are none.
fn time(us: u64) -> Option<SystemTime> {
    if us == 0 || us == u64::MAX {
        return None;
    }
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_none() {
        assert_eq!((time(0), time(u64::MAX)), (None, None));
        assert_eq!(time(1_500_000), Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)));
    }
}
