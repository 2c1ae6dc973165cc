//! Ends of containers, as soon as they happen.
//!
//! Measured with podman 5.4: conmon writes `<number>` with the exit code into
//! `$XDG_RUNTIME_DIR/libpod/tmp/exits` when a container's process has ended,
//! and only then runs `podman container cleanup`, on whose end systemd waits:
//! 200 ms later. Commands in a container (`podman exec`, health checks) have
//! their exit files elsewhere.

use std::path::{Path, PathBuf};

use super::health;

/// Returns the directory of exit files; `runtime` is `$XDG_RUNTIME_DIR`.
pub fn directory(runtime: &Path) -> PathBuf {
    runtime.join("libpod/tmp/exits")
}

/// Returns the container that an exit file is about, and its exit code; no
/// code where the file is gone already.
pub fn read(path: &Path) -> Option<(String, Option<i32>)> {
    let number = path.file_name()?.to_str()?;
    if !health::is_number(number) {
        return None;
    }
    let code = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    Some((number.to_owned(), code))
}

/// Returns the number of the container whose unit has this main process.
pub fn container(main_pid: u32) -> Option<String> {
    let arguments = std::fs::read(format!("/proc/{main_pid}/cmdline")).ok()?;
    health::container_of(&arguments).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_file_names_its_container() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0f".repeat(32));
        assert_eq!(read(&path), Some(("0f".repeat(32), None)));
        crate::atomic_file::write(&path, b"137", 0o600).unwrap();
        assert_eq!(read(&path), Some(("0f".repeat(32), Some(137))));
        assert_eq!(read(&dir.path().join(".0f0f.tmp")), None);
    }
}
