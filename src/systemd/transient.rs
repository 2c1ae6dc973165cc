//! Units without files (`StartTransientUnit()` of
//! `org.freedesktop.systemd1(5)`): they go when they have ended, and with the
//! user manager.

use std::os::fd::OwnedFd;
use std::time::Duration;

use zbus::{Fd, Variant};

use super::jobs::JobMode;
use super::manager::{Manager, SystemdError};
use crate::names::UnitName;

/// A service without a file.
#[derive(Debug)]
pub struct TransientService {
    /// Its name.
    pub unit: UnitName,
    /// What it is, for people.
    pub description: String,
    /// The program and its arguments. systemd expands `$` and `%` in them.
    pub command: Vec<String>,
    /// Commands that are run when it has ended, however that came. The failure
    /// of one keeps none of the rest from running.
    pub after_end: Vec<Vec<String>>,
    /// Its standard input.
    pub input: OwnedFd,
    /// A directory below `$XDG_RUNTIME_DIR` that it has to itself.
    pub directory: String,
    /// Units that it requires and starts after.
    pub requires: Vec<UnitName>,
    /// Whether it makes control groups of its own below its own
    /// (`Delegate=`).
    pub delegate: bool,
    /// How long it may take to end after `SIGTERM`.
    pub stop_timeout: Duration,
}

impl Manager {
    /// Queues the start of a service without a file.
    ///
    /// # Errors
    ///
    /// Any [`SystemdError`] but [`SystemdError::Deadline`].
    pub async fn start_transient(&self, service: TransientService) -> Result<(), SystemdError> {
        let proxy = self.proxy().await?;
        let unit = service.unit.clone();
        let properties = properties(service);
        let mode = JobMode::Replace.as_str();
        let job = proxy.start_transient_unit(unit.as_str(), mode, &properties, &[]).await;
        job.map(drop).map_err(|e| SystemdError::unit("start", &unit, e))
    }
}

type Property = (&'static str, Variant<'static>);

fn properties(service: TransientService) -> Vec<Property> {
    let TransientService {
        unit: _,
        description,
        command,
        after_end,
        input,
        directory,
        requires,
        delegate,
        stop_timeout,
    } = service;
    let requires: Vec<String> = requires.iter().map(ToString::to_string).collect();
    let timeout = u64::try_from(stop_timeout.as_micros()).unwrap_or(u64::MAX);
    let mut properties: Vec<Property> = vec![
        ("Description", Variant::from(description)),
        ("Type", Variant::from("exec")),
        ("ExecStart", exec(vec![(command, false)])),
        ("StandardInputFileDescriptor", Variant::from(Fd::from(input))),
        ("StandardOutput", Variant::from("journal")),
        ("StandardError", Variant::from("journal")),
        ("RuntimeDirectory", Variant::from(vec![directory])),
        ("RuntimeDirectoryMode", Variant::from(0o700_u32)),
        // Nothing is left to be looked at: who asked has been told.
        ("CollectMode", Variant::from("inactive-or-failed")),
        // What does not end with the main process is killed.
        ("KillMode", Variant::from("mixed")),
        ("TimeoutStopUSec", Variant::from(timeout)),
        ("Delegate", Variant::from(delegate)),
        ("Requires", Variant::from(requires.clone())),
        ("After", Variant::from(requires)),
    ];
    if !after_end.is_empty() {
        let last = after_end.len() - 1;
        let commands = after_end.into_iter().enumerate();
        let commands = commands.map(|(at, command)| (command, at < last)).collect();
        properties.push(("ExecStopPost", exec(commands)));
    }
    properties
}

/// Command lines as `ExecStart` has them: program, argument vector, and whether
/// a failure of it is none.
fn exec(commands: Vec<(Vec<String>, bool)>) -> Variant<'static> {
    let of = |(command, may_fail): (Vec<String>, bool)| {
        (command.first().cloned().unwrap_or_default(), command, may_fail)
    };
    Variant::from(commands.into_iter().map(of).collect::<Vec<_>>())
}
