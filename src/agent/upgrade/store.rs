//! The directory of upgraded programs, `<state>/upgrade/`: whose it is, what
//! is in it, and files whose content is known.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::record::{Program, Record};
use crate::atomic_file;
use crate::names::Sha256Text;

/// The record's file.
const RECORD: &str = "record.json";
/// The copy of the registry that is made before a trial.
const COPY: &str = "registry-before.db";
/// What a file is called while it comes in.
const INCOMING: &str = ".incoming";
/// A record is small; what is larger is none.
const RECORD_LIMIT: u64 = 64 * 1024;

/// Says why the directory, the record or a program cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else may write there.
    #[error("{} is not this user's alone; chown it to uid {uid} and take the write permission of others away", path.display())]
    NotOurs {
        /// The file or directory.
        path: PathBuf,
        /// The user that it should belong to.
        uid: u32,
    },
    /// A file is not what its name promises.
    #[error("{} is not the file that was sent: {problem}", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// What is different.
        problem: &'static str,
    },
    /// The record is no record.
    #[error("{} cannot be read; remove it to go on without upgrades", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// The directory of upgraded programs.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Returns the store of an agent with this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self { directory: state_dir.join("upgrade") }
    }

    /// Returns the directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns where a program is.
    pub fn path(&self, program: &Program) -> PathBuf {
        self.directory.join(format!("mcp-agent-{}", program.sha256.short()))
    }

    /// Returns where a program is put together.
    pub fn incoming(&self) -> PathBuf {
        self.directory.join(INCOMING)
    }

    /// Returns where the registry is copied to before a trial.
    pub fn copy(&self) -> PathBuf {
        self.directory.join(COPY)
    }

    /// Makes the directory, if it is not there, and makes sure that nobody
    /// else writes into it.
    ///
    /// # Errors
    ///
    /// It is somebody else's, or cannot be made.
    pub fn prepare(&self) -> Result<(), StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(self.at("make"))?;
        self.check_directory()
    }

    fn check_directory(&self) -> Result<(), StoreError> {
        let metadata = fs::symlink_metadata(&self.directory).map_err(self.at("look at"))?;
        if metadata.is_dir() {
            ours(&self.directory, &metadata)
        } else {
            Err(not_ours(&self.directory))
        }
    }

    fn at(&self, action: &'static str) -> impl FnOnce(io::Error) -> StoreError + use<> {
        at(action, &self.directory)
    }

    /// Reads the record; none at all is an empty one.
    ///
    /// # Errors
    ///
    /// It is not ours, or no record.
    pub fn load(&self) -> Result<Record, StoreError> {
        if !self.directory.exists() {
            return Ok(Record::default());
        }
        self.check_directory()?;
        let path = self.directory.join(RECORD);
        let file = match open(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Record::default());
            }
            other => other?,
        };
        ours(&path, &file.metadata().map_err(at("look at", &path))?)?;
        let mut text = Vec::new();
        file.take(RECORD_LIMIT).read_to_end(&mut text).map_err(at("read", &path))?;
        serde_json::from_slice(&text).map_err(|source| StoreError::Record { path, source })
    }

    /// Writes the record, and has it on the disk before it returns.
    ///
    /// # Errors
    ///
    /// The file system refuses; the record is then as it was.
    pub fn save(&self, record: &Record) -> Result<(), StoreError> {
        let path = self.directory.join(RECORD);
        let text = serde_json::to_vec_pretty(record)
            .map_err(|source| StoreError::Record { path: path.clone(), source })?;
        atomic_file::write(&path, &text, 0o600).map_err(at("write", &path))
    }

    /// Opens a program whose content is what was sent. Whoever runs it runs
    /// this open file, not whatever has its name by then.
    ///
    /// # Errors
    ///
    /// It is gone, not ours, or has another content.
    pub fn open(&self, program: &Program) -> Result<File, StoreError> {
        self.check_directory()?;
        let path = self.path(program);
        let mut file = open(&path)?;
        let metadata = file.metadata().map_err(at("look at", &path))?;
        ours(&path, &metadata)?;
        let altered = |problem| StoreError::Altered { path: path.clone(), problem };
        if !metadata.is_file() {
            return Err(altered("it is no regular file"));
        }
        if metadata.len() != program.size {
            return Err(altered("it has another size"));
        }
        if sha256(&mut file).map_err(at("read", &path))? != program.sha256 {
            return Err(altered("it has another content"));
        }
        Ok(file)
    }

    /// Removes what the record does not name: programs that are given up, and
    /// what an upgrade that was cut off left.
    pub fn clean(&self, record: &Record) {
        let trial = record.trial.as_ref().map(|trial| &trial.program);
        let mut kept: Vec<PathBuf> =
            record.current.iter().chain(trial).map(|program| self.path(program)).collect();
        kept.push(self.directory.join(RECORD));
        if record.begun().is_some() {
            kept.push(self.copy());
        }
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if !kept.contains(&entry)
                && let Err(error) = fs::remove_file(&entry)
            {
                tracing::warn!(%error, path = %entry.display(), "cannot be removed");
            }
        }
    }
}

/// Demands that only this user may change a file.
fn ours(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
    let uid = rustix::process::geteuid().as_raw();
    if metadata.uid() == uid && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(not_ours(path))
}

fn not_ours(path: &Path) -> StoreError {
    StoreError::NotOurs { path: path.to_owned(), uid: rustix::process::geteuid().as_raw() }
}

/// Returns the SHA-256 of the program that runs, if its file can be read.
pub fn own_sha256() -> Option<Sha256Text> {
    sha256_of(Path::new("/proc/self/exe"))
}

/// Returns the SHA-256 of a file, if it can be read.
pub fn sha256_of(path: &Path) -> Option<Sha256Text> {
    sha256(&mut File::open(path).ok()?).ok()
}

/// Opens a file, and never through a symbolic link in its place.
fn open(path: &Path) -> Result<File, StoreError> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(at("open", path))
}

/// Reads a file to its end for its SHA-256.
fn sha256(file: &mut File) -> io::Result<Sha256Text> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Text::of(&hasher.finalize().into())),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.prepare().unwrap();
        (dir, store)
    }

    fn program(content: &[u8]) -> Program {
        let sha256 = Sha256Text::of(&Sha256::digest(content).into());
        Program {
            version: "0.2.0".parse().unwrap(),
            installed: sha256.clone(),
            sha256,
            size: u64::try_from(content.len()).unwrap(),
            schema: 3,
            by: "kyle".to_owned(),
            at_ms: 1,
        }
    }

    #[test]
    fn without_a_directory_there_is_an_empty_record() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Store::new(dir.path()).load().unwrap(), Record::default());
    }

    #[test]
    fn a_record_is_kept_and_garbage_is_named() {
        let (_dir, store) = store();
        let record = Record { current: Some(program(b"x")), ..Record::default() };
        store.save(&record).unwrap();
        assert_eq!(store.load().unwrap(), record);
        atomic_file::write(&store.directory().join(RECORD), b"{\"cur", 0o600).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Record { .. })));
    }

    #[test]
    fn only_the_file_that_was_sent_is_opened() {
        let (dir, store) = store();
        let program = program(b"good");
        let path = store.path(&program);
        assert!(matches!(store.open(&program), Err(StoreError::Io { .. })));
        atomic_file::write(&path, b"good", 0o500).unwrap();
        store.open(&program).unwrap();
        for (content, mode, word) in
            [(&b"goo"[..], 0o500, "size"), (b"evil", 0o500, "content"), (b"good", 0o520, "alone")]
        {
            atomic_file::write(&path, content, mode).unwrap();
            let error = store.open(&program).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let elsewhere = dir.path().join("elsewhere");
        atomic_file::write(&elsewhere, b"good", 0o500).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(
            matches!(store.open(&program), Err(StoreError::Io { .. })),
            "a link is not followed"
        );
    }

    #[test]
    fn a_directory_of_others_is_not_used() {
        let (_dir, store) = store();
        fs::set_permissions(store.directory(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(store.load(), Err(StoreError::NotOurs { .. })));
        assert!(matches!(store.prepare(), Err(StoreError::NotOurs { .. })));
        let elsewhere = tempfile::tempdir().unwrap();
        let linked = Store::new(elsewhere.path());
        symlink(store.directory(), linked.directory()).unwrap();
        assert!(matches!(linked.load(), Err(StoreError::NotOurs { .. })));
    }

    #[test]
    fn what_the_record_does_not_name_is_removed() {
        let (_dir, store) = store();
        let (kept, old) = (program(b"kept"), program(b"old"));
        let record = Record { current: Some(kept.clone()), ..Record::default() };
        store.save(&record).unwrap();
        for path in [store.path(&kept), store.path(&old), store.incoming(), store.copy()] {
            atomic_file::write(&path, b"x", 0o600).unwrap();
        }
        store.clean(&record);
        let left: Vec<_> = fs::read_dir(store.directory()).unwrap().collect();
        assert_eq!(left.len(), 2);
        assert!(store.path(&kept).exists());
    }
}
