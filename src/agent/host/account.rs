//! Whether the system's agent has the user that it has on every node: `mcp`,
//! with the uid 850.

use crate::agent::environment::{MCP_HOME, MCP_UID};
use crate::agent::finding::{Finding, shell_word};
use crate::agent::identity::Users;

/// The user that owns the containers of a node.
pub const USER: &str = "mcp";

/// Uids that an administrator gives away begin here (`login.defs(5)`).
const FIRST_UID: u32 = 1000;

/// Judges the users of the machine.
pub fn judge(users: &Users) -> Finding {
    let (check, uid) = ("user", users.uid(USER));
    match (users.name(MCP_UID), uid) {
        (Some(holder), _) if holder != USER => Finding::failed(
            check,
            USER,
            format!("The uid {MCP_UID} belongs to user {holder}, and is that of user {USER} on every node."),
        )
        .mend(move_away(users, holder)),
        (_, None) => Finding::failed(check, USER, format!("There is no user {USER}.")).mend(format!(
            "sudo useradd --system --uid {MCP_UID} --user-group --home-dir {MCP_HOME} --shell /usr/sbin/nologin {USER}"
        )),
        (_, Some(uid)) if uid != MCP_UID => Finding::warning(
            check,
            USER,
            format!("User {USER} has the uid {uid}, and {MCP_UID} on every other node; the service of the package knows that one only."),
        )
        .mend(format!(
            "sudo systemctl stop mcp-agent user@{uid} && sudo usermod --uid {MCP_UID} {USER} && sudo chown -R -h --from={uid} {USER} {MCP_HOME}"
        )),
        (_, Some(_)) => Finding::fine(check, USER, format!("User {USER} has the uid {MCP_UID}.")),
    }
}

/// The command that gives a user a uid that is free, with its files.
fn move_away(users: &Users, holder: &str) -> String {
    let free = (FIRST_UID..u32::MAX).find(|uid| users.name(*uid).is_none()).unwrap_or(FIRST_UID);
    let holder = shell_word(holder);
    format!(
        "sudo usermod --uid {free} {holder} && sudo find / -xdev -uid {MCP_UID} -exec chown -h {holder} {{}} +"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    fn judged(passwd: &str) -> Finding {
        judge(&Users::parse(passwd))
    }

    #[test]
    fn the_user_has_one_number_and_nobody_else_has_it() {
        let right = "mcp:x:850:850::/srv/mcp:/bin/sh\n";
        assert_eq!(judged(right).level, Level::Fine);
        let none = judged("root:x:0:0:root:/root:/bin/sh\n");
        assert_eq!(none.level, Level::Failed);
        assert!(none.mend.contains("useradd --system --uid 850"), "{none:?}");
        let other = judged("mcp:x:999:999::/srv/mcp:/bin/sh\n");
        assert_eq!(other.level, Level::Warning);
        assert!(other.mend.contains("usermod --uid 850 mcp"), "{other:?}");
        for taken in ["", "mcp:x:999:999::/srv/mcp:/bin/sh\n"] {
            let taken = judged(&format!("eve:x:850:850::/:/bin/sh\nkim:x:1000:1000::/:\n{taken}"));
            assert_eq!(taken.level, Level::Failed);
            assert!(taken.message.contains("belongs to user eve"), "{taken:?}");
            assert!(taken.mend.starts_with("sudo usermod --uid 1001 eve &&"), "{taken:?}");
        }
    }
}
