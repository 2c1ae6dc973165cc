//! Open TCP connections, as the kernel lists them (`proc(5)`,
//! `/proc/net/tcp`).

/// States of a connection that a process still holds: established, being
/// made, or with one side ended (`include/net/tcp_states.h`).
const OPEN: &[&str] = &["01", "02", "04", "05", "08"];

/// Returns how many connections from this machine to a port of its loopback
/// address are open. A connection is listed once for each end; the one that
/// counts is that of whoever connected.
pub fn open_to(table: &str, port: u16) -> usize {
    let remote = format!("0100007F:{port:04X}");
    table
        .lines()
        .skip(1)
        .filter(|line| {
            let mut fields = line.split_whitespace().skip(2);
            let (to, state) = (fields.next(), fields.next());
            // uid, timeout and inode follow; without an inode nobody has it.
            let inode = fields.nth(5);
            to == Some(&remote)
                && state.is_some_and(|state| OPEN.contains(&state))
                && inode.is_some_and(|inode| inode != "0")
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_holds_open_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \x20  0: 0100007F:9C41 00000000:0000 0A 00000000:00000000 00:00000000 00000000   850        0 11 1 0 100 0 0 10 0\n\
             \x20  1: 0100007F:C001 0100007F:9C41 01 00000000:00000000 00:00000000 00000000   850        0 12 1 0 20 4 30 10 -1\n\
             \x20  2: 0100007F:9C41 0100007F:C001 01 00000000:00000000 00:00000000 00000000   850        0 13 1 0 20 4 30 10 -1\n\
             \x20  3: 0100007F:C002 0100007F:9C41 05 00000000:00000000 00:00000000 00000000   850        0 14 1 0 20 4 30 10 -1\n\
             \x20  4: 0100007F:C003 0100007F:9C41 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0\n\
             \x20  5: 0100007F:C004 0100007F:9C41 05 00000000:00000000 02:00000000 00000000     0        0 0 1 0\n\
             \x20  6: 0200007F:C004 0200007F:9C41 01 00000000:00000000 00:00000000 00000000   850        0 15 1 0\n";
        assert_eq!(open_to(table, 0x9C41), 2);
        assert_eq!(open_to(table, 0x9C42), 0);
        assert_eq!(open_to("", 1), 0);
    }
}
