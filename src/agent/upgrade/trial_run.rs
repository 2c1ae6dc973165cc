//! What a program says of itself: the question that each version answers.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::names::ProgramVersion;

/// How long a program may take to say what it is.
const ANSWER: Duration = Duration::from_secs(20);
/// How much it may say.
const WORDS: u64 = 16 * 1024;
/// How often one is started that is still open elsewhere for writing.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// What `mcp-agent version --json` writes. Fields may be added; none of these
/// is ever taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `mcp-agent`.
    pub program: String,
    /// The version.
    pub version: ProgramVersion,
    /// The schema of the registry that it works with.
    pub schema: i64,
    /// The machine that it is for.
    pub arch: String,
}

/// The name that our program answers with.
pub const PROGRAM: &str = "mcp-agent";

impl Identity {
    /// Returns what this program is.
    pub fn own() -> Self {
        Self {
            program: PROGRAM.to_owned(),
            version: ProgramVersion::own(),
            schema: crate::registry::newest_schema(),
            arch: std::env::consts::ARCH.to_owned(),
        }
    }
}

/// Says why a program is not put on trial.
#[derive(Debug, thiserror::Error)]
pub enum TrialRunError {
    /// It may not be run there.
    #[error(
        "nothing can be run from {}: its file system is mounted noexec; mount it without, or set another state directory",
        directory.display()
    )]
    NoExec {
        /// Where it is.
        directory: PathBuf,
    },
    /// The kernel does not run it.
    #[error("it cannot be run on this node")]
    Start(#[source] io::Error),
    /// It does not answer.
    #[error("asked for its version, it did not answer within {} s", ANSWER.as_secs())]
    Silent,
    /// It ended with an error.
    #[error("asked for its version, it failed ({status}): {words}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to stderr.
        words: String,
    },
    /// It is another program, or one from before there were upgrades.
    #[error("asked for its version, it answered as no mcp-agent does that can be upgraded to")]
    Stranger,
    /// Its answer could not be read.
    #[error("its answer could not be read")]
    Read(#[source] io::Error),
}

/// Asks a program what it is. Run as it will be: by this user, on this node,
/// with what it needs of libraries.
///
/// # Errors
///
/// It cannot be run, or is no `mcp-agent`.
pub async fn identity(program: &Path) -> Result<Identity, TrialRunError> {
    let mut child = start(program).await?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let answer = async {
        let (out, err) = tokio::try_join!(words(out), words(err))?;
        Ok::<_, io::Error>((child.wait().await?, out, err))
    };
    let (status, out, err) = tokio::time::timeout(ANSWER, answer)
        .await
        .map_err(|_elapsed| TrialRunError::Silent)?
        .map_err(TrialRunError::Read)?;
    if !status.success() {
        let words = String::from_utf8_lossy(&err).lines().collect::<Vec<_>>().join(" ");
        return Err(TrialRunError::Failed { status, words });
    }
    serde_json::from_slice::<Identity>(&out)
        .ok()
        .filter(|identity| identity.program == PROGRAM)
        .ok_or(TrialRunError::Stranger)
}

async fn start(program: &Path) -> Result<Child, TrialRunError> {
    let mut attempt = 0;
    loop {
        let started = Command::new(program)
            .args(["version", "--json"])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match started {
            Ok(child) => return Ok(child),
            // A process that was forked while the file was written still has
            // it, until it is another program.
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && attempt < ATTEMPTS =>
            {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_noexec(program) => {
                let directory = program.parent().unwrap_or(program).to_owned();
                return Err(TrialRunError::NoExec { directory });
            }
            Err(error) => return Err(TrialRunError::Start(error)),
        }
    }
}

fn is_noexec(program: &Path) -> bool {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    statvfs(program).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

async fn words(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    if let Some(from) = from {
        from.take(WORDS).read_to_end(&mut words).await?;
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_file;

    async fn ask(script: &str) -> Result<Identity, TrialRunError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        atomic_file::write(&path, format!("#!/bin/sh\n{script}\n").as_bytes(), 0o700).unwrap();
        identity(&path).await
    }

    #[tokio::test]
    async fn a_program_says_what_it_is_or_is_refused() {
        let own = serde_json::to_string(&Identity::own()).unwrap();
        let asked = format!("test \"$*\" = 'version --json' && test -z \"$HOME\" && echo '{own}'");
        assert_eq!(ask(&asked).await.unwrap(), Identity::own());
        let error = ask("echo libfoo.so.9 not found >&2; exit 127").await.unwrap_err();
        assert!(error.to_string().contains("libfoo.so.9 not found"), "{error}");
        for stranger in [
            "echo hello",
            "echo '{\"program\":\"sh\",\"version\":\"1.0.0\",\"schema\":1,\"arch\":\"x\"}'",
        ] {
            assert!(matches!(ask(stranger).await, Err(TrialRunError::Stranger)), "{stranger}");
        }
        let missing = identity(Path::new("/nonexistent/mcp-agent")).await;
        assert!(matches!(missing, Err(TrialRunError::Start(_))));
    }
}
