//! What the installed program does first: it decides which program is to run,
//! and becomes that.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process;

use super::record::{Begun, Choice, Installed, Program, Record, Trial};
use super::store::{Store, own_sha256};
use super::trial_run::PROGRAM;
use crate::agent::backup::stamp;
use crate::agent::commands::Command;
use crate::agent::environment::{Environment, INSTALLED};
use crate::agent::gate::now_ms;
use crate::agent::run::{self, RunError};
use crate::names::ProgramVersion;
use crate::registry::snapshot::{self, SnapshotError};
use crate::telemetry::Chain;

/// Paths that stay the same when a package is upgraded, whatever they lead to.
const STABLE: &[&str] = &["/usr/bin/mcp-agent", "/run/current-system/sw/bin/mcp-agent"];

/// Says why nothing can be decided.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The state directory cannot be used, or another agent has it.
    #[error("this agent cannot be started")]
    State(#[source] Box<RunError>),
    /// The registry of before a trial could not be put back.
    #[error(
        "the registry of before the upgrade cannot be put back, and this program cannot read the one of the upgrade"
    )]
    PutBack(#[source] SnapshotError),
    /// The program did not take this one's place, and may the next time.
    #[error("cannot run the upgraded program {}", path.display())]
    Exec {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Returns the path by which units call the installed program: one that
/// outlives its upgrade, if there is one.
pub fn installed_path(environment: &Environment) -> String {
    if let Some(installed) = &environment.installed {
        return installed.to_string_lossy().into_owned();
    }
    let Ok(running) = std::env::current_exe() else { return "mcp-agent".to_owned() };
    let running = running.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    let same =
        |path: &&&str| std::fs::canonicalize(path).is_ok_and(|found| found == Path::new(&running));
    STABLE.iter().find(same).map_or(running.clone(), |path| (*path).to_owned())
}

/// Becomes the program that is to serve, if it is another one; returns the
/// words to log if it is this one.
///
/// # Errors
///
/// Another agent runs, or the state cannot be changed: nothing has begun, and
/// the next start decides anew.
fn serve(environment: &Environment) -> Result<Vec<String>, HandoverError> {
    if !decides(environment) {
        return Ok(Vec::new());
    }
    let state_dir = environment.state_dir();
    // Held until this process becomes another program, or returns.
    let _alone = run::take(&state_dir).map_err(|error| HandoverError::State(Box::new(error)))?;
    let store = Store::new(&state_dir);
    let before = match store.load() {
        Ok(record) => record,
        // Without upgrades the installed program is as good as ever.
        Err(error) => return Ok(vec![format!("upgrades are left out: {}", Chain(&error))]),
    };
    let version = ProgramVersion::own();
    let installed = Installed { version: &version, sha256: own_sha256 };
    let settled = before.clone().settle(&installed, &environment.boot_id, now_ms());
    let mut words = Vec::new();
    let mut record = settled.record;
    if let Some(trial) = &settled.failed {
        let returned = put_back(&store, trial)?;
        if let Some(last) = &mut record.last {
            if let Some(returned) = returned {
                last.reason = format!("{}; {returned}", last.reason);
            }
            words.push(format!(
                "the upgrade to {} did not come up: {}",
                trial.program.version, last.reason
            ));
        }
    }
    let saved = if record == before { Ok(()) } else { save(&store, &record) };
    match saved {
        // What an upgrade that was cut off left is in nobody's way, and large.
        Ok(()) => store.clean(&record),
        // The next start looks at the same record, and needs what it names.
        Err(why) => words.push(why),
    }
    words.extend(become_chosen(environment, &store, record, settled.choice)?);
    Ok(words)
}

/// Tells whether this process is one that decides: not root, whom nobody
/// else's files may lead, and not a program that was chosen already.
fn decides(environment: &Environment) -> bool {
    environment.uid != 0 && environment.installed.is_none()
}

/// Writes the record down. What cannot be written, say because the disk is
/// full, the next start finds out again; only a trial may not begin then.
fn save(store: &Store, record: &Record) -> Result<(), String> {
    store.save(record).map_err(|error| Chain(&error).to_string())
}

/// Becomes the chosen program; one that cannot be run is given up, and what
/// is chosen then is tried.
fn become_chosen(
    environment: &Environment,
    store: &Store,
    mut record: Record,
    mut choice: Choice,
) -> Result<Vec<String>, HandoverError> {
    let mut words = Vec::new();
    loop {
        let ready = match &choice {
            Choice::Installed => return Ok(words),
            Choice::Current(program) => open(store, program),
            Choice::Trial(program) => begin(environment, store, &record, program),
        };
        let reason = match ready {
            Ok((program, file, begun)) => {
                record = begun.unwrap_or(record);
                let source = become_program(&file, &installed_path(environment));
                if !is_lasting(&source) {
                    return Err(HandoverError::Exec { path: store.path(&program), source });
                }
                format!("it cannot be run: {source}")
            }
            Err(reason) => reason,
        };
        words.push(format!("an upgraded mcp-agent is left out: {reason}"));
        record = record.give_up(reason, now_ms());
        words.extend(save(store, &record).err());
        choice = match &record.current {
            Some(program) => Choice::Current(program.clone()),
            None => Choice::Installed,
        };
    }
}

/// A program that can be run, and the record that says that its trial began.
type Ready = (Program, File, Option<Record>);

fn open(store: &Store, program: &Program) -> Result<Ready, String> {
    let file = store.open(program).map_err(|error| Chain(&error).to_string())?;
    Ok((program.clone(), file, None))
}

/// Makes a trial ready: the program is what was sent, the registry is copied
/// if need be, and it is written down that the trial begins.
fn begin(
    environment: &Environment,
    store: &Store,
    record: &Record,
    program: &Program,
) -> Result<Ready, String> {
    let (program, file, _) = open(store, program)?;
    let copied = copy_registry(store, record, &program)
        .map_err(|error| format!("the registry cannot be copied first: {}", Chain(&error)))?;
    let record = record.clone().begin(Begun {
        at_ms: now_ms(),
        boot_id: environment.boot_id.clone(),
        invocation: environment.invocation.clone().unwrap_or_default(),
        pid: Some(process::id()),
        copied,
    });
    save(store, &record)?;
    Ok((program, file, Some(record)))
}

/// Tells whether a program cannot be run at another time either
/// (`execve(2)`).
fn is_lasting(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lasting = [Errno::ACCESS, Errno::PERM, Errno::NOEXEC, Errno::NOENT, Errno::LIBBAD];
    Errno::from_io_error(error).is_some_and(|errno| lasting.contains(&errno))
}

/// Runs the program in an open file in the place of this one, with the same
/// arguments; returns only if that fails.
fn become_program(file: &File, installed: &str) -> io::Error {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // The very file whose content was looked at (`proc(5)`).
    process::Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .arg0(PROGRAM)
        .args(arguments)
        .env(INSTALLED, installed)
        .exec()
}

/// Copies the registry, if the program would bring it to another schema.
fn copy_registry(store: &Store, record: &Record, program: &Program) -> Result<bool, SnapshotError> {
    let Some(Trial { database, .. }) = record.trial.as_ref().filter(|t| t.database.exists()) else {
        return Ok(false);
    };
    if snapshot::schema(database)? >= program.schema {
        return Ok(false);
    }
    snapshot::keep(database, &store.copy())?;
    Ok(true)
}

/// Puts the registry of before a trial back, if the trial brought it to
/// another schema; returns what was done.
fn put_back(store: &Store, trial: &Trial) -> Result<Option<String>, HandoverError> {
    let Trial { program: _, database, begun } = trial;
    if !begun.as_ref().is_some_and(|begun| begun.copied) || !store.copy().exists() {
        return Ok(None);
    }
    let before = snapshot::schema(&store.copy()).map_err(HandoverError::PutBack)?;
    // One that cannot be read is not the one of before either.
    if snapshot::schema(database).is_ok_and(|schema| schema == before) {
        return Ok(None);
    }
    let kept = snapshot::put_back(&store.copy(), database, &stamp(now_ms()))
        .map_err(HandoverError::PutBack)?;
    let kept = kept.map_or_else(String::new, |kept| format!(", and its own is {}", kept.display()));
    Ok(Some(format!("the registry of before is back{kept}")))
}

/// Becomes the program that is to do what was asked for, if that is another
/// one; returns words to show if it is this one.
///
/// What units run for containers is this one, always: no container waits for
/// an upgrade.
///
/// # Errors
///
/// The agent cannot be started now; see [`HandoverError`].
pub fn before(command: &Command) -> Result<Vec<String>, HandoverError> {
    let environment = Environment::of_process();
    if environment.installed.is_some() {
        take_name();
    }
    match command {
        Command::Server(_) => serve(&environment),
        Command::CheckConfig(_)
        | Command::Token(_)
        | Command::Snapshot(_)
        | Command::Restore(_)
        | Command::Doctor(_) => Ok(ask_newer(&environment).into_iter().collect()),
        Command::Install(_)
        | Command::Probe(_)
        | Command::Check(_)
        | Command::Forward(_)
        | Command::Files(_)
        | Command::Session(_)
        | Command::Version(_)
        | Command::Completions(_)
        | Command::Man(_) => Ok(Vec::new()),
    }
}

/// Has `ps` show the program's name: a program that was run from an open file
/// is called by that file's number (`proc_pid_comm(5)`).
fn take_name() {
    use std::io::Write as _;
    let named = OpenOptions::new()
        .write(true)
        .open("/proc/self/comm")
        .and_then(|mut comm| comm.write_all(PROGRAM.as_bytes()));
    if let Err(error) = named {
        tracing::debug!(%error, "the process keeps its odd name");
    }
}

/// Becomes the confirmed program for a command line that this one does not
/// understand: a newer one may have written it into a unit. Returns words to
/// show if there is none.
pub fn unless_understood(error: &clap::Error) -> Option<String> {
    use clap::error::ErrorKind;
    let asked_for = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayVersion,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    if asked_for.contains(&error.kind()) {
        return None;
    }
    ask_newer(&Environment::of_process())
}

/// Becomes the confirmed program, if that is newer than this one; returns the
/// words to show if it cannot be run. One that is on trial is asked nothing
/// but to serve.
fn ask_newer(environment: &Environment) -> Option<String> {
    if !decides(environment) {
        return None;
    }
    let store = Store::new(&environment.state_dir());
    let program = match store.load() {
        Ok(record) => record.current.filter(|program| program.version > ProgramVersion::own())?,
        Err(error) => return Some(format!("upgrades are left out: {}", Chain(&error))),
    };
    let error = match store.open(&program) {
        Ok(file) => become_program(&file, &installed_path(environment)).to_string(),
        Err(error) => Chain(&error).to_string(),
    };
    Some(format!("the upgraded mcp-agent {} is left out: {error}", program.version))
}
