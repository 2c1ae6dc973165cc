//! `mcp-agent doctor`: what is wrong with the node, with or without an agent.

use std::path::PathBuf;
use std::process::ExitStatus;

use clap::Args;
use serde::Serialize;
use tokio::process::Command;

use super::args::{CommandError, Output};
use crate::agent::config;
use crate::agent::doctor::Patient;
use crate::agent::environment::Environment;
use crate::agent::finding::{Finding, Level};
use crate::agent::host::account::{self, USER};
use crate::agent::identity::Users;
use crate::agent::last_good;
use crate::telemetry::Chain;

/// The arguments of `mcp-agent doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Read this configuration [default: as `mcp-agent server`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON, with what is fine
    #[arg(long)]
    pub json: bool,
}

/// Says why the node was not looked at, or that it is not well.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// As root, it is looked at as the user who owns the containers.
    #[error("cannot look at the node as user {USER}; run `runuser -u {USER} -- mcp-agent doctor`")]
    User(#[source] std::io::Error),
    /// Something fails.
    #[error("{0} of the checks failed")]
    Failed(usize),
    /// Something failed, and was told.
    #[error("the node is not well ({0})")]
    Told(ExitStatus),
}

/// A finding as `--json` shows it.
#[derive(Serialize)]
struct FindingView<'a> {
    check: &'a str,
    subject: &'a str,
    level: &'a str,
    message: &'a str,
    mend: &'a str,
}

/// Runs `mcp-agent doctor`.
///
/// # Errors
///
/// A check failed, which is told before; or the output cannot be written.
pub async fn run(
    args: &DoctorArgs,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    if environment.uid == 0 && environment.system {
        let users = Users::load_or_empty();
        if let Some(uid) = users.uid(USER) {
            return Ok(as_user(args, uid).await?);
        }
        return told(&[account::judge(&users)], args.json, output);
    }
    let mut findings = Vec::new();
    let settings = match last_good::load_or_last_good(args.config.as_deref(), environment) {
        Ok(loaded) => Some(loaded.settings),
        Err(error) => {
            let finding = Finding::failed("configuration", "", format!("{}.", Chain(&error)));
            findings.push(finding.mend("mcp-agent check-config"));
            let nowhere = environment.default_config();
            config::parse("", &nowhere, environment).ok()
        }
    };
    if let Some(settings) = settings {
        findings.extend(Patient::new(&settings, environment).examine().await);
    }
    told(&findings, args.json, output)
}

/// Runs the same as the user, with its groups; output is passed on.
async fn as_user(args: &DoctorArgs, uid: u32) -> Result<(), DoctorError> {
    let program = std::env::current_exe().map_err(DoctorError::User)?;
    let mut command = Command::new("runuser");
    command.args(["-u", USER, "--", "env", "HOME=/srv/mcp"]);
    command.arg(format!("XDG_RUNTIME_DIR=/run/user/{uid}")).arg(program).arg("doctor");
    command.current_dir("/");
    if args.json {
        command.arg("--json");
    }
    if let Some(path) = &args.config {
        command.arg("--config").arg(path);
    }
    let status = command.status().await.map_err(DoctorError::User)?;
    if status.success() { Ok(()) } else { Err(DoctorError::Told(status)) }
}

fn told(findings: &[Finding], json: bool, output: &mut Output<'_>) -> Result<(), CommandError> {
    let failed = findings.iter().filter(|finding| finding.level == Level::Failed).count();
    if json {
        let views: Vec<FindingView<'_>> = findings.iter().map(view).collect();
        serde_json::to_writer_pretty(&mut *output.data, &views).map_err(std::io::Error::from)?;
        writeln!(output.data)?;
    } else {
        for finding in findings.iter().filter(|finding| finding.level != Level::Fine) {
            let Finding { check, subject, level, message, mend } = finding;
            let about = if subject.is_empty() { String::new() } else { format!(" {subject}") };
            writeln!(output.data, "{:<7}  {check}{about}: {message}", level.as_str())?;
            if !mend.is_empty() {
                writeln!(output.data, "         {mend}")?;
            }
        }
        let fine = findings.iter().filter(|finding| finding.level == Level::Fine).count();
        writeln!(output.words, "{fine} of {} checks are fine", findings.len())?;
    }
    if failed == 0 { Ok(()) } else { Err(DoctorError::Failed(failed).into()) }
}

fn view(finding: &Finding) -> FindingView<'_> {
    FindingView {
        check: finding.check,
        subject: &finding.subject,
        level: finding.level.as_str(),
        message: &finding.message,
        mend: &finding.mend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_fine_is_told_with_its_command() {
        let findings = vec![
            Finding::fine("journal", "mcp", "User mcp can read it."),
            Finding::failed("linger", "mcp", "User mcp does not linger.").mend("enable-linger mcp"),
        ];
        let (mut data, mut words) = (Vec::new(), Vec::new());
        let mut output = Output { data: &mut data, words: &mut words };
        let error = told(&findings, false, &mut output).unwrap_err();
        assert_eq!(error.to_string(), "1 of the checks failed");
        assert_eq!(
            String::from_utf8(data).unwrap(),
            "failed   linger mcp: User mcp does not linger.\n         enable-linger mcp\n"
        );
        assert_eq!(String::from_utf8(words).unwrap(), "1 of 2 checks are fine\n");
    }
}
