//! Whether a container listens on a port, from the kernel's own list.
//!
//! What forwards a published port takes connections for which nobody listens,
//! and needs a while to find that out. The list of the container's network
//! namespace tells at once.

use std::fs;
use std::path::Path;

/// Tells whether somebody takes connections from outside on a TCP port of
/// the container that conmon, the process `main_pid`, holds. False also when
/// that cannot be found out.
pub fn listens(main_pid: i32, port: u16) -> bool {
    let arguments = fs::read(format!("/proc/{main_pid}/cmdline")).unwrap_or_default();
    let Some(pid) = pid_file(&arguments).and_then(|file| fs::read_to_string(file).ok()) else {
        return false;
    };
    let Ok(pid) = pid.trim().parse::<u32>() else { return false };
    ["tcp", "tcp6"].iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        table.lines().skip(1).any(|line| is_listener(line, port))
    })
}

/// Returns the file with the number of the container's first process, an
/// argument of conmon (`conmon(8)`).
fn pid_file(arguments: &[u8]) -> Option<&Path> {
    let mut words = arguments.split(|byte| *byte == 0).skip_while(|word| *word != b"-p");
    let path = Path::new(std::str::from_utf8(words.nth(1)?).ok()?);
    path.is_absolute().then_some(path)
}

/// Tells whether a line of `/proc/net/tcp` is a listener (`proc_pid_net(5)`)
/// that is not for the namespace's own loopback alone.
fn is_listener(line: &str, port: u16) -> bool {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, state) = (words.next(), words.nth(1));
    let Some((address, number)) = local.and_then(|local| local.split_once(':')) else {
        return false;
    };
    let loopback = match address.len() {
        // Four bytes, the last one first.
        8 => address.ends_with("7F"),
        _ => address == "00000000000000000000000001000000",
    };
    state == Some("0A") && !loopback && u16::from_str_radix(number, 16) == Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_from_other_sockets() {
        let line = |local: &str, state: &str| {
            format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000")
        };
        assert!(is_listener(&line("00000000:1F90", "0A"), 8080));
        assert!(is_listener(&line("00000000000000000000000000000000:1F90", "0A"), 8080));
        assert!(is_listener(&line("0200580A:1F90", "0A"), 8080));
        for (local, state, port) in [
            ("00000000:1F90", "01", 8080),
            ("00000000:1F90", "0A", 8081),
            ("0100007F:1F90", "0A", 8080),
            ("00000000000000000000000001000000:1F90", "0A", 8080),
            ("nonsense", "0A", 8080),
        ] {
            assert!(!is_listener(&line(local, state), port), "{local} {state} {port}");
        }
        assert!(!is_listener("", 8080));
    }

    #[test]
    fn the_file_with_the_number_is_conmons_argument() {
        let line = b"/usr/bin/conmon\0-c\0x\0-p\0/run/user/850/pidfile\0-n\0y\0";
        assert_eq!(pid_file(line), Some(Path::new("/run/user/850/pidfile")));
        for other in [b"podman\0run\0".as_slice(), b"conmon\0-p\0", b"conmon\0-p\0../x\0"] {
            assert_eq!(pid_file(other), None);
        }
    }
}
