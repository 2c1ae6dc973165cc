//! A program as it comes in: written beside the others, and looked at before
//! it is put on trial.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::record::Program;
use super::store::{Store, StoreError};
use super::trial_run::{self, Identity, TrialRunError};
use crate::atomic_file::sync_directory;
use crate::elf::{self, ElfError};
use crate::names::{NoSha256, Sha256Text};

/// A program is smaller, with all that a debugger wants.
const LIMIT: u64 = 512 << 20;
/// Room that the registry and the rest are to keep.
const RESERVE: u64 = 16 << 20;

/// What is sent, as the sender says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its SHA-256.
    pub sha256: Sha256Text,
    /// Its size in octets.
    pub size: u64,
}

/// Says why what was sent is not put on trial. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The hash is none.
    #[error(transparent)]
    Sha256(#[from] NoSha256),
    /// It is too large for a program.
    #[error("{size} octets are too many for a program; at most {LIMIT} are taken")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// There is no room for it.
    #[error(
        "{} has room for {free} octets, and {needed} are needed; `podman image prune -a` makes room",
        directory.display()
    )]
    NoRoom {
        /// Where it was to be.
        directory: PathBuf,
        /// Octets that are free.
        free: u64,
        /// Octets that are needed.
        needed: u64,
    },
    /// The directory of upgrades cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was cut off, or more came than was said.
    #[error("{got} octets came of {size}; nothing has changed, send it again")]
    Size {
        /// What came.
        got: u64,
        /// What was said.
        size: u64,
    },
    /// Its content is another.
    #[error(
        "what came has the SHA-256 {found}, and {wanted} was announced; nothing has changed, send it again"
    )]
    Content {
        /// What came.
        found: Sha256Text,
        /// What was said.
        wanted: Sha256Text,
    },
    /// It is no program for a machine of ours.
    #[error("this is not an mcp-agent for this node")]
    Elf(#[source] ElfError),
    /// It is for another machine.
    #[error("this program is for {found} and this node is {own}; send the one for {own}")]
    OtherMachine {
        /// What it is for.
        found: &'static str,
        /// What the node is.
        own: &'static str,
    },
    /// It does not run, or is another program.
    #[error("this program cannot take the agent's place")]
    TrialRun(#[source] TrialRunError),
    /// It is too old for the registry.
    #[error(
        "mcp-agent {version} works with schema {schema} of the registry, which has schema {registry} now; \
         stop the agent, put a copy of before in place (`mcp-agent restore FILE`, those made before a change of the schema are called mcp-schema-N-*.db), and install {version} by hand"
    )]
    TooOld {
        /// The version.
        version: String,
        /// What it works with.
        schema: i64,
        /// What the registry has.
        registry: i64,
    },
}

/// A program that is coming in; removed again unless it is kept.
#[derive(Debug)]
pub struct Incoming {
    head: Head,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    got: u64,
    begins: Vec<u8>,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What is kept has another name by then.
        drop(fs::remove_file(&self.path));
    }
}

impl Incoming {
    /// Makes room for a program.
    ///
    /// # Errors
    ///
    /// There is none, or the directory cannot be used.
    pub fn begin(store: &Store, head: Head) -> Result<Self, ReceiveError> {
        if head.size > LIMIT {
            return Err(ReceiveError::TooLarge { size: head.size });
        }
        store.prepare()?;
        room(store.directory(), head.size)?;
        let path = store.incoming();
        // What an earlier upgrade left when it was cut off.
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(ReceiveError::Write { path, source: error });
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| ReceiveError::Write { path: path.clone(), source })?;
        let file = File::from_std(file);
        Ok(Self { head, path, file, hasher: Sha256::new(), got: 0, begins: Vec::new() })
    }

    /// Returns what was announced.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Takes the next part.
    ///
    /// # Errors
    ///
    /// It is for another machine, more than was announced, or cannot be
    /// written.
    pub async fn write(&mut self, part: &[u8]) -> Result<(), ReceiveError> {
        self.got = self.got.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        if self.got > self.head.size {
            return Err(ReceiveError::Size { got: self.got, size: self.head.size });
        }
        if self.begins.len() < elf::HEAD {
            let missing = elf::HEAD - self.begins.len();
            self.begins.extend(part.iter().take(missing));
            if self.begins.len() == elf::HEAD {
                fits(&self.begins)?;
            }
        }
        self.hasher.update(part);
        self.file.write_all(part).await.map_err(|source| self.failed(source))
    }

    /// Looks at what came, when all has come, and asks it what it is.
    ///
    /// # Errors
    ///
    /// It is not what was announced, does not run here, or cannot take the
    /// agent's place.
    pub async fn finish(&mut self) -> Result<Identity, ReceiveError> {
        let Head { sha256: wanted, size } = self.head.clone();
        if self.got != size {
            return Err(ReceiveError::Size { got: self.got, size });
        }
        let found = Sha256Text::of(&std::mem::take(&mut self.hasher).finalize().into());
        if found != wanted {
            return Err(ReceiveError::Content { found, wanted });
        }
        // Also where there is less than a head.
        fits(&self.begins)?;
        self.close().await.map_err(|source| self.failed(source))?;
        let identity = trial_run::identity(&self.path).await.map_err(ReceiveError::TrialRun)?;
        let registry = crate::registry::newest_schema();
        if identity.schema < registry {
            let Identity { version, schema, program: _, arch: _ } = identity;
            return Err(ReceiveError::TooOld { version: version.to_string(), schema, registry });
        }
        Ok(identity)
    }

    /// Has what came on the disk, as a file that can be run and that nobody
    /// has open for writing.
    async fn close(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.set_permissions(fs::Permissions::from_mode(0o500)).await?;
        self.file.sync_all().await?;
        self.file = File::open(&self.path).await?;
        Ok(())
    }

    /// Puts a program that was looked at on trial: its one start is the next.
    ///
    /// # Errors
    ///
    /// The file or the record cannot be written.
    pub fn keep(
        self,
        store: &Store,
        program: &Program,
        database: &Path,
    ) -> Result<(), ReceiveError> {
        let record = store.load()?.try_out(program.clone(), database.to_owned());
        let to = store.path(program);
        fs::rename(&self.path, &to)
            .and_then(|()| sync_directory(store.directory()))
            .map_err(|source| ReceiveError::Write { path: to, source })?;
        store.save(&record)?;
        store.clean(&record);
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ReceiveError {
        ReceiveError::Write { path: self.path.clone(), source }
    }
}

fn fits(begins: &[u8]) -> Result<(), ReceiveError> {
    let found = elf::machine(begins).map_err(ReceiveError::Elf)?.as_str();
    let own = std::env::consts::ARCH;
    if found == own { Ok(()) } else { Err(ReceiveError::OtherMachine { found, own }) }
}

/// Demands room for a program, and some for everything else.
fn room(directory: &Path, size: u64) -> Result<(), ReceiveError> {
    let needed = size.saturating_add(RESERVE);
    let found = statvfs(directory).map_err(|errno| ReceiveError::Write {
        path: directory.to_owned(),
        source: errno.into(),
    })?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < needed {
        return Err(ReceiveError::NoRoom { directory: directory.to_owned(), free, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::upgrade::record::Record;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        (dir, store)
    }

    fn sha256(bytes: &[u8]) -> Sha256Text {
        Sha256Text::of(&Sha256::digest(bytes).into())
    }

    async fn send(
        store: &Store,
        bytes: &[u8],
        announced: (Sha256Text, usize),
    ) -> Result<Identity, ReceiveError> {
        let (sha256, size) = (announced.0, u64::try_from(announced.1).unwrap());
        let mut incoming = Incoming::begin(store, Head { sha256, size })?;
        for part in bytes.chunks(7) {
            incoming.write(part).await?;
        }
        incoming.finish().await
    }

    fn files(store: &Store) -> usize {
        fs::read_dir(store.directory()).map_or(0, Iterator::count)
    }

    #[tokio::test]
    async fn what_is_not_whole_or_not_right_is_refused_and_leaves_nothing() {
        let (_dir, store) = store();
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let head = own.get(..4_000).unwrap();
        let mut arm = head.to_vec();
        arm[18] = if std::env::consts::ARCH == "aarch64" { 62 } else { 183 };
        for (bytes, announced, word) in [
            (head, (sha256(head), 4_001), "4000 octets came of 4001"),
            (head, (sha256(head), 3_999), "came of 3999"),
            (
                head,
                (sha256(b"other"), 4_000),
                "and d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa was announced",
            ),
            (&arm, (sha256(&arm), 4_000), "send the one for"),
            (
                b"#!/bin/sh\nexit 0\n# a script",
                (sha256(b"#!/bin/sh\nexit 0\n# a script"), 28),
                "not an mcp-agent",
            ),
            (b"short", (sha256(b"short"), 5), "not an mcp-agent"),
            // The head of a program alone.
            (head, (sha256(head), 4_000), "cannot take the agent's place"),
            (b"", (sha256(b""), 600 << 20), "too many"),
            (b"", (sha256(b""), 0), "not an mcp-agent"),
        ] {
            let error = send(&store, bytes, announced).await.unwrap_err();
            let told = error.to_string();
            assert!(told.contains(word), "{word}: {told}");
            assert_eq!(files(&store), 0, "{word}");
        }
    }

    #[tokio::test]
    async fn what_was_cut_off_is_no_hindrance_and_what_is_kept_waits_for_its_trial() {
        let (dir, store) = store();
        store.prepare().unwrap();
        crate::atomic_file::write(&store.incoming(), b"half", 0o400).unwrap();
        let head = Head { sha256: sha256(b"whole"), size: 5 };
        let mut incoming = Incoming::begin(&store, head).unwrap();
        incoming.write(b"whole").await.unwrap();
        incoming.close().await.unwrap();
        let program = Program {
            version: "0.2.0".parse().unwrap(),
            sha256: sha256(b"whole"),
            size: 5,
            schema: 3,
            installed: sha256(b"installed"),
            by: "kyle".to_owned(),
            at_ms: 1,
        };
        let database = dir.path().join("mcp.db");
        incoming.keep(&store, &program, &database).unwrap();
        let wanted = Record::default().try_out(program.clone(), database);
        assert_eq!((store.load().unwrap(), files(&store)), (wanted, 2));
        store.open(&program).unwrap();
    }
}
