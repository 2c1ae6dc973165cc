//! Whether the user has subordinate ids for its containers (`subuid(5)`,
//! `subgid(5)`), enough of them and nobody else's.

use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::agent::finding::Finding;

/// How many ids an image may use.
const ENOUGH: u64 = 65_536;

/// One of the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubIds {
    /// `subuid` or `subgid`.
    pub name: &'static str,
    /// Its text, or why it cannot be read.
    pub text: Result<String, String>,
}

/// Reads both files.
pub fn look() -> [SubIds; 2] {
    ["subuid", "subgid"].map(|name| {
        let read = fs::read_to_string(Path::new("/etc").join(name));
        SubIds { name, text: read.map_err(|error| error.to_string()) }
    })
}

struct Line {
    owner: String,
    range: Range<u64>,
}

fn parse(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let (first, count): (u64, u64) = (first.parse().ok()?, count.parse().ok()?);
        Some(Line { owner: owner.to_owned(), range: first..first.checked_add(count)? })
    };
    text.lines().filter_map(line).collect()
}

/// Judges one file for a user.
pub fn judge(user: &str, uid: u32, file: &SubIds) -> Finding {
    let SubIds { name, text } = file;
    let check = "subids";
    let text = match text {
        Ok(text) => text,
        Err(why) => {
            return Finding::failed(check, *name, format!("/etc/{name} cannot be read: {why}."))
                .mend(format!("sudo touch /etc/{name} && sudo chmod 644 /etc/{name}"));
        }
    };
    let lines = parse(text);
    let number = uid.to_string();
    let is_ours = |line: &&Line| line.owner == user || line.owner == number;
    let ours: Vec<&Line> = lines.iter().filter(is_ours).collect();
    let others: Vec<&Line> = lines.iter().filter(|line| !is_ours(line)).collect();
    let overlap = ours.iter().find_map(|mine| {
        let meets = |other: &&&Line| {
            mine.range.start < other.range.end && other.range.start < mine.range.end
        };
        others.iter().find(meets).map(|other| (*mine, *other))
    });
    if let Some((mine, other)) = overlap {
        let Range { start, end } = mine.range;
        return Finding::failed(
            check,
            *name,
            format!(
                "In /etc/{name} the ids {start} to {} of user {user} overlap those of {}: containers of the two can reach each other's files.",
                end.saturating_sub(1),
                other.owner
            ),
        )
        .mend(format!(
            "sudo sed -i '/^{}:{}:/d' /etc/{name} && sudo systemctl restart user@{uid}",
            other.owner, other.range.start
        ));
    }
    let count: u64 = ours.iter().map(|line| line.range.end - line.range.start).sum();
    if count >= ENOUGH {
        return Finding::fine(check, *name, format!("User {user} has {count} ids in /etc/{name}."));
    }
    let option = if *name == "subuid" { "--add-subuids" } else { "--add-subgids" };
    let first = lines.iter().map(|line| line.range.end).max().unwrap_or(0).max(100_000);
    let message = match count {
        0 => format!("User {user} has no ids in /etc/{name}: podman can make no container."),
        some => format!(
            "User {user} has {some} ids in /etc/{name}, and images may use {ENOUGH}: some cannot be unpacked."
        ),
    };
    Finding::failed(check, *name, message).mend(format!(
        "sudo usermod {option} {first}-{} {user} && sudo systemctl restart user@{uid}",
        first + ENOUGH - 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    fn judged(text: &str) -> Finding {
        judge("mcp", 850, &SubIds { name: "subuid", text: Ok(text.to_owned()) })
    }

    #[test]
    fn a_user_needs_enough_ids_of_its_own() {
        assert_eq!(judged("alice:100000:65536\nmcp:165536:65536\n").level, Level::Fine);
        assert_eq!(judged("850:165536:65536\n").level, Level::Fine);
        assert_eq!(judged("mcp:1000000:32768\nmcp:2000000:32768\n").level, Level::Fine);
        let none = judged("alice:100000:65536\nbroken\n");
        assert_eq!(none.level, Level::Failed);
        assert!(none.mend.contains("--add-subuids 165536-231071 mcp"), "{none:?}");
        assert!(judged("mcp:100000:1000\n").message.contains("1000 ids"));
        let shared = judged("mcp:100000:65536\nalice:165535:65536\n");
        assert!(shared.message.contains("overlap those of alice"), "{shared:?}");
        let unread = SubIds { name: "subgid", text: Err("gone".to_owned()) };
        assert_eq!(judge("mcp", 850, &unread).level, Level::Failed);
    }
}
