//! The file that tells a forwarder where new connections go while a deploy
//! hands over: in the runtime directory, so that a reboot forgets it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::deployment::SWITCHES;
use crate::names::ContainerName;

/// Ports at the loopback address, by the port of the node that leads there.
pub type Targets = BTreeMap<u16, u16>;

/// Returns the file of a container's forwarder; `runtime` is
/// `$XDG_RUNTIME_DIR`.
pub fn path(runtime: &Path, container: &ContainerName) -> PathBuf {
    runtime.join(SWITCHES).join(container.as_str())
}

/// Reads a file; without one nothing is switched. A line that is none of ours
/// is passed over.
///
/// # Errors
///
/// There is a file, and it cannot be read.
pub fn read(path: &Path) -> io::Result<Targets> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Targets::new()),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Targets {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(port, target)| Some((port.parse().ok()?, target.parse().ok()?)))
        .collect()
}

/// Sends new connections to other targets, from one moment to the next.
///
/// # Errors
///
/// Any error of the file system; nothing is switched then.
pub fn write(path: &Path, targets: &Targets) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let lines = targets.iter().map(|(port, target)| format!("{port} {target}\n"));
    atomic_file::write(path, lines.collect::<String>().as_bytes(), 0o600)
}

/// Sends new connections to where they usually go.
///
/// # Errors
///
/// Any error of the file system; they go on to the other targets then.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_were_written_and_gone_when_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path =
            path(dir.path(), &ContainerName::new(&"s".parse().unwrap(), &"c".parse().unwrap()));
        assert_eq!(read(&path).unwrap(), Targets::new());
        let targets = Targets::from([(80, 40_001), (443, 40_002)]);
        write(&path, &targets).unwrap();
        assert_eq!(path, dir.path().join("mcp/forward/s-c"));
        assert_eq!(read(&path).unwrap(), targets);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), Targets::new());
        assert_eq!(parse("80 x\nnonsense\n 1 2\n81 9\n99999 1\n"), Targets::from([(81, 9)]));
    }
}
