//! Signals by name, as definitions have them.

/// The names of Linux's signals, in their order from 1 on (`signal(7)`; the
/// same on all machines that MCP runs on).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// `SIGRTMIN`, as programs see it: the C library keeps two for itself.
const REAL_TIME: i32 = 34;
/// `SIGTERM`.
const TERM: i32 = 15;

/// Returns a signal's number: by number, by name with or without `SIG`, or
/// counted from `RTMIN`. Without a name, and with one that only podman knows,
/// `SIGTERM`.
pub fn number(name: Option<&str>) -> i32 {
    let Some(name) = name else { return TERM };
    if let Ok(number) = name.parse() {
        return number;
    }
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(above) = plain.strip_prefix("RTMIN") {
        return above.trim_start_matches('+').parse::<i32>().map_or(REAL_TIME, |n| REAL_TIME + n);
    }
    let at = NAMES.iter().position(|known| *known == plain);
    at.and_then(|at| i32::try_from(at + 1).ok()).unwrap_or(TERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_numbers() {
        for (name, expected) in [
            (None, 15),
            (Some("SIGINT"), 2),
            (Some("quit"), 3),
            (Some("SIGWINCH"), 28),
            (Some("SIGRTMIN+3"), 37),
            (Some("9"), 9),
            (Some("SIGSYS"), 31),
            (Some("nonsense"), 15),
        ] {
            assert_eq!(number(name), expected, "{name:?}");
        }
    }
}
