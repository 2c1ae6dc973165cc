//! One check of a running component, run by a unit.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::memory::{Memory, MemoryError};
use super::record::{Done, Miss, OfRun, Record};
use crate::agent::environment::Environment;
use crate::agent::gate::now_ms;
use crate::agent::probe::{self, ProbeTarget};
use crate::definition::service::OnFailure;
use crate::names::UnitName;
use crate::podman::{Health, health};
use crate::systemd::{ActiveState, BusAddress, JobMode, Manager, SystemdError, UnitState};
use crate::telemetry::Chain;

/// Longest wait for a stop; the limits of the two units are shorter.
const LONGEST_STOP: Duration = Duration::from_secs(24 * 3600);

/// Look once whether a running component is healthy, and act if it is not
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// Unit of the component's container
    #[arg(long)]
    pub unit: String,
    /// Time between two attempts, once one has failed
    #[arg(long, value_parser = probe::duration)]
    pub interval: Duration,
    /// Longest time for one attempt
    #[arg(long, value_parser = probe::duration)]
    pub timeout: Duration,
    /// Attempts that fail before the component is unhealthy
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub retries: u32,
    /// What is done with an unhealthy component: none, restart or stop
    #[arg(long)]
    pub on_failure: OnFailure,
    /// What to ask
    #[command(subcommand)]
    pub target: ProbeTarget,
}

/// Says why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The component is unhealthy.
    #[error("{unit} is unhealthy, {}: {reason}", told(*done, *uptime_s))]
    Unhealthy {
        /// Its unit.
        unit: UnitName,
        /// Why.
        reason: String,
        /// What was done.
        done: Done,
        /// Now, in seconds since boot.
        uptime_s: u64,
    },
    /// systemd did not say how the unit is, or did not act.
    #[error("an unhealthy component could not be looked after")]
    Systemd(#[from] SystemdError),
    /// What was found could not be kept.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The environment of the unit is not one of a user's manager.
    #[error("there is no time since boot in /proc/uptime")]
    Uptime(#[source] io::Error),
}

/// Tells what was done about an unhealthy component; the time is the one
/// since boot.
pub fn told(done: Done, uptime_s: u64) -> String {
    match done {
        Done::Nothing => "and is left alone".to_owned(),
        Done::Restarted => "and is restarted".to_owned(),
        Done::Stopped => "and is stopped".to_owned(),
        Done::Waits(due) => {
            let left = due.saturating_sub(uptime_s);
            format!("and was restarted before: the next time in {left} s")
        }
    }
}

/// What an attempt, or all of them, came to.
enum Found {
    Healthy,
    /// The run of the container, and why.
    Unhealthy(String, String),
    /// It does not run, or is just being changed: there is nothing to judge.
    Void,
}

/// Checks, remembers what was found, and acts.
///
/// # Errors
///
/// [`CheckError`]: the component is unhealthy, or cannot be looked after.
pub async fn run(args: CheckArgs, environment: &Environment) -> Result<(), CheckError> {
    let unit = UnitName::from_systemd(args.unit.clone());
    let runtime = environment.runtime_dir();
    let memory = Memory::new(&runtime);
    let before = memory.load(&unit);
    let manager = Manager::new(BusAddress::own());
    let found = match &args.target {
        ProbeTarget::Podman => podmans(&manager, &unit).await?,
        target
        @ (ProbeTarget::Tcp { .. } | ProbeTarget::Http { .. } | ProbeTarget::Grpc { .. }) => {
            nodes(&args, target, (&manager, &unit), &before).await?
        }
    };
    let (invocation, reason) = match found {
        Found::Void => return Ok(()),
        Found::Healthy if before.unhealthy.is_none() => return Ok(()),
        Found::Healthy => return Ok(memory.save(&unit, &before.recovered())?),
        Found::Unhealthy(invocation, reason) => (invocation, reason),
    };
    let uptime_s = uptime_s().map_err(CheckError::Uptime)?;
    let miss = Miss { invocation, reason: reason.clone(), at_ms: now_ms(), uptime_s };
    let after = before.clone().failed(miss, args.on_failure);
    if after != before {
        memory.save(&unit, &after)?;
    }
    let done = after.unhealthy.as_ref().map_or(Done::Nothing, |found| found.done);
    tell_systemd(&format!("unhealthy, {}: {reason}", told(done, uptime_s)));
    match done {
        Done::Nothing | Done::Waits(_) => {}
        Done::Restarted => manager.ask_restart_if_up(&unit).await?,
        Done::Stopped => stop(&manager, &unit).await?,
    }
    Err(CheckError::Unhealthy { unit, reason, done, uptime_s })
}

/// Stops a unit, it alone. What has to be killed for that has not crashed:
/// its unit does not stay failed.
async fn stop(manager: &Manager, unit: &UnitName) -> Result<(), SystemdError> {
    manager.stop(unit, JobMode::IgnoreDependencies, LONGEST_STOP).await?;
    manager.reset_failed(unit).await
}

/// Takes podman's verdict, which counts failures itself.
async fn podmans(manager: &Manager, unit: &UnitName) -> Result<Found, SystemdError> {
    let Some(state) = running(manager, unit).await? else { return Ok(Found::Void) };
    let (Some(pid), Some(invocation)) = (state.main_pid, state.invocation_id) else {
        return Ok(Found::Void);
    };
    let checks = health::read(pid);
    Ok(match checks.health {
        Health::Healthy => Found::Healthy,
        Health::Unhealthy => Found::Unhealthy(invocation, checks.reason),
        Health::Starting | Health::Unknown => Found::Void,
    })
}

/// Asks over the network until it answers once, or has failed as often as
/// the definition allows; a component that is known to be unhealthy has used
/// that up.
async fn nodes(
    args: &CheckArgs,
    target: &ProbeTarget,
    (manager, unit): (&Manager, &UnitName),
    before: &Record,
) -> Result<Found, SystemdError> {
    let mut run: Option<String> = None;
    let mut left = args.retries;
    loop {
        let began = Instant::now();
        let Err(failure) = probe::once(target, args.timeout).await else {
            return Ok(Found::Healthy);
        };
        // It may be down because somebody stopped it.
        let state = running(manager, unit).await?;
        let Some(now) = state.and_then(|s| s.invocation_id) else { return Ok(Found::Void) };
        if run.as_ref().is_some_and(|run| *run != now) {
            return Ok(Found::Void);
        }
        left = left.saturating_sub(1);
        if left == 0 || matches!(before.of_run(&now), OfRun::Unhealthy(_)) {
            return Ok(Found::Unhealthy(now, health::one_line(&Chain(&failure).to_string())));
        }
        run = Some(now);
        tokio::time::sleep_until(began + args.interval).await;
    }
}

/// Returns the state of a unit that is up and that nobody is about to change.
async fn running(manager: &Manager, unit: &UnitName) -> Result<Option<UnitState>, SystemdError> {
    let states = manager.unit_states(std::slice::from_ref(unit)).await?;
    Ok(states.into_iter().next().filter(|s| s.active == ActiveState::Active && s.job.is_none()))
}

/// Returns the seconds since boot, which no change of the clock touches.
///
/// # Errors
///
/// `/proc/uptime` is not as `proc(5)` has it.
pub fn uptime_s() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    let whole = text.split('.').next().unwrap_or_default();
    whole.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Has `systemctl status` of the check say what was found (`sd_notify(3)`).
fn tell_systemd(text: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(format!("STATUS={text}").as_bytes(), Path::new(&path)));
    if let Err(error) = told {
        tracing::debug!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_told() {
        assert_eq!(told(Done::Waits(130), 100), "and was restarted before: the next time in 30 s");
        assert_eq!(told(Done::Waits(90), 100), "and was restarted before: the next time in 0 s");
    }

    #[test]
    fn time_since_boot_goes_on() {
        assert!(uptime_s().unwrap() > 0);
    }
}
