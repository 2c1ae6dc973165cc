//! Which processes a session has, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::task::Reach;

/// Podman's monitor of a command in a container: the command is its child.
const MONITOR: &str = "conmon";
/// What makes the command before it becomes it.
const RUNTIMES: [&str; 4] = ["crun", "runc", "conmon", "podman"];

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// The name of its program, of which the kernel keeps 15 octets.
    pub name: String,
}

/// Lists the processes of this machine that can be seen.
///
/// # Errors
///
/// `/proc` cannot be read; a process that ends meanwhile is passed over.
pub fn list() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_process = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        // One that has ended since has no file.
        if is_process && let Ok(text) = fs::read(path.join("stat")) {
            found.extend(parse(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(found)
}

/// Reads `/proc/<pid>/stat` (`proc_pid_stat(5)`): number, name in brackets,
/// which may hold brackets, state, parent.
fn parse(text: &str) -> Option<Process> {
    let (pid, rest) = text.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let parent = rest.split(' ').nth(1)?;
    Some(Process { pid: pid.parse().ok()?, parent: parent.parse().ok()?, name: name.to_owned() })
}

/// The descendants of one process.
#[derive(Debug)]
pub struct Family(BTreeMap<i32, Vec<Process>>, i32);

impl Family {
    /// Looks for the descendants of a process among all.
    pub fn of(pid: i32, all: Vec<Process>) -> Self {
        let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
        for process in all {
            children.entry(process.parent).or_default().push(process);
        }
        Self(children, pid)
    }

    fn below(&self, pid: i32) -> Vec<&Process> {
        let mut found: Vec<&Process> = Vec::new();
        let mut parents = vec![pid];
        while let Some(parent) = parents.pop() {
            for child in self.0.get(&parent).into_iter().flatten() {
                // Read one by one, numbers may come again meanwhile.
                if found.iter().all(|seen| seen.pid != child.pid) && child.pid != pid {
                    found.push(child);
                    parents.push(child.pid);
                }
            }
        }
        found
    }

    /// Returns the processes of the command that podman runs.
    pub fn command(&self, reach: Reach) -> Vec<i32> {
        let monitors = self.below(self.1).into_iter().filter(|p| p.name == MONITOR);
        let first = monitors.flat_map(|monitor| self.0.get(&monitor.pid).into_iter().flatten());
        let first = first.filter(|p| !RUNTIMES.contains(&p.name.as_str()));
        let mut found = Vec::new();
        for process in first {
            found.push(process.pid);
            if reach == Reach::All {
                found.extend(self.below(process.pid).into_iter().map(|p| p.pid));
            }
        }
        found
    }

    /// Tells whether podman has begun the command: its monitor is there, be it
    /// one that has ended and is still to be waited for.
    pub fn has_begun(&self) -> bool {
        self.below(self.1).into_iter().any(|process| process.name == MONITOR)
    }

    /// Returns the processes that run podman itself.
    pub fn podman(&self) -> Vec<i32> {
        self.below(self.1).into_iter().filter(|p| p.name == "podman").map(|p| p.pid).collect()
    }
}

/// Sends a signal to processes; one that has ended already is fine.
pub fn signal(pids: &[i32], signal: Signal) {
    for pid in pids {
        let Some(process) = Pid::from_raw(*pid) else { continue };
        match kill_process(process, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(pid, ?signal, %error, "a process gets no signal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_is_read() {
        let process = parse("12 (a) (b) x) S 7 12 12 0 -1").unwrap();
        assert_eq!(process, Process { pid: 12, parent: 7, name: "a) (b) x".to_owned() });
        for bad in ["", "x", "12 (a", "12 (a) S", "12 (a) S x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_command_is_below_the_monitor_and_a_stranger_is_not() {
        let table = [
            (1, 0, "systemd"),
            (10, 1, "mcp-agent"),
            (11, 10, "podman"),
            (12, 11, "podman"),
            (13, 10, "conmon"),
            (14, 13, "sh"),
            (15, 14, "sleep"),
            (16, 13, "crun"),
            (20, 1, "conmon"),
            (21, 20, "postgres"),
        ];
        let all = table.map(|(pid, parent, name)| Process { pid, parent, name: name.to_owned() });
        let family = Family::of(10, all.to_vec());
        assert_eq!(family.command(Reach::All), [14, 15]);
        assert_eq!(family.command(Reach::First), [14]);
        assert_eq!(family.podman(), [11, 12]);
        assert_eq!(Family::of(99, all.to_vec()).command(Reach::All), [0; 0]);
        assert!(family.has_begun());
        let alone = all.into_iter().filter(|process| process.name != "conmon").collect();
        assert!(!Family::of(10, alone).has_begun());
    }

    #[test]
    fn this_process_is_there() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(list().unwrap().iter().any(|process| process.pid == own));
    }
}
