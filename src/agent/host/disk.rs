//! Whether the file systems that matter can be written to, and have room.

use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::agent::finding::Finding;

/// Below this much room nothing can be relied on.
const LAST: u64 = 16 << 20;
/// Below this much room somebody should look.
const LITTLE: u64 = 256 << 20;

/// A file system, and what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// A directory on it.
    pub path: PathBuf,
    /// What is there, in words.
    pub holds: &'static str,
    /// Its room; or why that cannot be seen.
    pub room: Result<Room, String>,
}

/// The room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Whether it cannot be written to.
    pub read_only: bool,
    /// Octets that are free.
    pub free: u64,
    /// All octets.
    pub size: u64,
    /// Files that can still be made; none: without limit.
    pub files: Option<u64>,
}

/// Looks at the file system of a directory, or of the nearest one above it
/// that is there.
pub fn look(path: &Path, holds: &'static str) -> Disk {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let room = statvfs(there).map_err(|error| error.to_string()).map(|found| Room {
        read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        free: found.f_bavail.saturating_mul(found.f_frsize),
        size: found.f_blocks.saturating_mul(found.f_frsize),
        files: (found.f_files > 0).then_some(found.f_favail),
    });
    Disk { path: there.to_owned(), holds, room }
}

/// Judges a file system.
pub fn judge(disk: &Disk) -> Finding {
    let Disk { path, holds, room } = disk;
    let (check, shown) = ("disk", path.display());
    let subject = shown.to_string();
    let room = match room {
        Ok(room) => room,
        Err(why) => {
            let text = format!("{shown}, which holds {holds}, cannot be looked at: {why}.");
            return Finding::failed(check, subject, text).mend(format!("stat -f {shown}"));
        }
    };
    let Room { read_only, free, size, files } = *room;
    if read_only {
        let text = format!("{shown}, which holds {holds}, cannot be written to.");
        return Finding::failed(check, subject, text)
            .mend(format!("sudo mount -o remount,rw \"$(findmnt -n -o TARGET -T {shown})\""));
    }
    let mib = |octets: u64| octets >> 20;
    let find = format!("sudo du -xh --max-depth=2 {shown} | sort -h | tail");
    // A small file system is not full because it is small.
    let (last, little) = (LAST.min(size / 50), LITTLE.min(size / 20));
    if free <= last {
        let text = format!("{shown}, which holds {holds}, is full: {} MiB are free.", mib(free));
        return Finding::failed(check, subject, text).mend(find);
    }
    if files.is_some_and(|files| files < 100) {
        let text = format!("{shown}, which holds {holds}, has no room for more files (inodes).");
        return Finding::failed(check, subject, text)
            .mend(format!("sudo du -x --inodes --max-depth=2 {shown} | sort -n | tail"));
    }
    if free <= little {
        let text =
            format!("{shown}, which holds {holds}, is nearly full: {} MiB are free.", mib(free));
        return Finding::warning(check, subject, text).mend(find);
    }
    Finding::fine(check, subject, format!("{} MiB are free for {holds}.", mib(free)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    #[test]
    fn full_and_read_only_file_systems_fail() {
        let good = Room { read_only: false, free: 1 << 30, size: 1 << 40, files: Some(1000) };
        let level = |room| {
            judge(&Disk { path: "/srv".into(), holds: "the registry", room: Ok(room) }).level
        };
        assert_eq!(level(good), Level::Fine);
        assert_eq!(level(Room { files: None, ..good }), Level::Fine);
        assert_eq!(level(Room { free: 100 << 20, ..good }), Level::Warning);
        assert_eq!(level(Room { free: 1 << 20, ..good }), Level::Failed);
        assert_eq!(level(Room { files: Some(3), ..good }), Level::Failed);
        assert_eq!(level(Room { read_only: true, ..good }), Level::Failed);
        // 8 of 16 MiB free.
        assert_eq!(level(Room { free: 8 << 20, size: 16 << 20, ..good }), Level::Fine);
    }

    #[test]
    fn the_nearest_directory_that_is_there_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let disk = look(&dir.path().join("not/there"), "nothing");
        assert_eq!(disk.path, dir.path());
        assert!(disk.room.unwrap().size > 0);
    }
}
