//! Who listens on a port of the node (`proc_pid_net(5)`).

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::definition::service::Protocol;
use crate::deployment::Publish;

/// A socket that is bound to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Whose it is.
    pub uid: u32,
    /// Its number.
    pub inode: u64,
}

/// Who has a socket, as far as that can be seen: the processes of others are
/// out of sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Whose it is.
    pub uid: u32,
    /// The process, and what it is called.
    pub process: Option<(u32, String)>,
    /// The unit of the user's that the process belongs to.
    pub unit: Option<String>,
    /// Its control group, from the root; empty: not known.
    pub cgroup: String,
}

/// Finds who is bound to a port.
pub fn look(port: &Publish) -> Option<Listener> {
    let tables: &[&str] = match port.protocol {
        Protocol::Tcp => &["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => &["/proc/net/udp", "/proc/net/udp6"],
    };
    // A table that is missing has no sockets: IPv6 may be switched off.
    let texts = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    let socket = texts.into_iter().find_map(|text| bound(&text, port))?;
    let process = owner(socket.inode);
    let cgroup = process.as_ref().map(|(pid, _)| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        cgroup_in(&text).unwrap_or_default().to_owned()
    });
    let cgroup = cgroup.unwrap_or_default();
    Some(Listener { uid: socket.uid, process, unit: unit_in(&cgroup), cgroup })
}

/// Finds the socket in a table of the kernel that keeps others from a port:
/// one that listens, or, of UDP, one that is bound.
pub fn bound(table: &str, port: &Publish) -> Option<Socket> {
    const LISTENS: &str = "0A";
    let wanted = match port.protocol {
        Protocol::Tcp => LISTENS,
        Protocol::Udp => "07",
    };
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, number) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(number, 16).ok()? == port.host
            && *fields.get(3)? == wanted
            && covers(address, port.address);
        if !is_it {
            return None;
        }
        Some(Socket { uid: fields.get(7)?.parse().ok()?, inode: fields.get(9)?.parse().ok()? })
    })
}

/// Tells whether an address of a table, in the byte order of the machine, is
/// the one wanted, or one of the two means all.
fn covers(address: &str, wanted: Option<IpAddr>) -> bool {
    if address.bytes().all(|b| b == b'0') {
        return true;
    }
    match wanted {
        None => true,
        Some(wanted) if wanted.is_unspecified() => true,
        Some(IpAddr::V4(wanted)) => {
            address == format!("{:08X}", u32::from_ne_bytes(wanted.octets()))
        }
        Some(IpAddr::V6(wanted)) => {
            let words = wanted.octets();
            let shown: String = words
                .chunks_exact(4)
                .filter_map(|word| <[u8; 4]>::try_from(word).ok())
                .map(|word| format!("{:08X}", u32::from_ne_bytes(word)))
                .collect();
            address == shown
        }
    }
}

/// Finds the process that has a socket, among those that may be looked at.
fn owner(inode: u64) -> Option<(u32, String)> {
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find_map(|pid| {
        let directory = format!("/proc/{pid}");
        let descriptors = fs::read_dir(Path::new(&directory).join("fd")).ok()?;
        let has = descriptors
            .filter_map(Result::ok)
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_str() == Some(&link)));
        let name = fs::read_to_string(format!("{directory}/comm")).unwrap_or_default();
        has.then(|| (pid, name.trim().to_owned()))
    })
}

/// Returns the control group in `/proc/<pid>/cgroup`.
fn cgroup_in(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Returns the service of the user's systemd that a control group is of.
fn unit_in(path: &str) -> Option<String> {
    let (_, below) = path.split_once("/user@")?;
    below.rsplit('/').find(|part| has_ending(part)).map(str::to_owned)
}

fn has_ending(part: &str) -> bool {
    Path::new(part).extension().is_some_and(|e| e == "service" || e == "scope")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2328 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000   850        0 4711 1 0 100 0 0 10 0
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
";

    fn port(address: Option<&str>, host: u16) -> Publish {
        let address = address.map(|a| a.parse().unwrap());
        Publish { address, host, container: 1, protocol: Protocol::Tcp }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn who_listens_is_in_the_table() {
        assert_eq!(bound(TABLE, &port(None, 9000)), Some(Socket { uid: 850, inode: 4711 }));
        let own = port(Some("127.0.0.1"), 9000);
        assert_eq!(bound(TABLE, &own), Some(Socket { uid: 850, inode: 4711 }));
        assert_eq!(bound(TABLE, &port(Some("10.0.0.1"), 9000)), None);
        assert_eq!(bound(TABLE, &port(Some("10.0.0.1"), 80)), Some(Socket { uid: 0, inode: 12 }));
        assert_eq!(bound(TABLE, &port(None, 81)), None);
        assert_eq!(bound("", &own), None);
    }

    #[test]
    fn a_process_belongs_to_a_unit() {
        let of = |path: &str| unit_in(cgroup_in(&format!("1:x:/y\n0::{path}\n")).unwrap());
        let user = "/user.slice/user-850.slice/user@850.service";
        assert_eq!(of(&format!("{user}/app.slice/a.service")).as_deref(), Some("a.service"));
        assert_eq!(
            of(&format!("{user}/app.slice/a.service/libpod-payload-0")).as_deref(),
            Some("a.service")
        );
        assert_eq!(of("/system.slice/nginx.service"), None);
    }
}
