//! What a push or a pull did.

use serde::Serialize;

use crate::cli::views::operation::OperationView;
use crate::rpc::agent_v1 as proto;
use crate::transfer::Summary;
use crate::ui::{Palette, Tone, visible};

/// How many of the things that were left out are named.
pub const MOST_LEFT_OUT: usize = 100;

/// Something that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its path, relative to what was sent.
    pub name: String,
    /// Why.
    pub why: String,
}

/// What the agent and the sender told on the way.
#[derive(Debug)]
pub struct Told {
    /// What the agent began with.
    pub start: proto::FilesStart,
    /// The first things that were left out.
    pub left_out: Vec<LeftOut>,
    /// How many there were.
    pub left_out_count: u64,
}

/// What a push or a pull did.
#[derive(Debug, Serialize)]
pub struct TransferView {
    /// The service.
    pub service: String,
    /// The node.
    pub node: String,
    /// The path here.
    pub local: String,
    /// The path on the node.
    pub remote: String,
    /// Files that were written.
    pub files: u64,
    /// Files that were the same already.
    pub unchanged: u64,
    /// Directories that were made.
    pub directories: u64,
    /// Bytes of the files that were written.
    pub bytes: u64,
    /// Those of them that an earlier attempt had brought.
    pub resumed: u64,
    /// Who got them, `user:group` as the component sees it; `null`: of a pull.
    pub owner: Option<String>,
    /// The components that mount the path.
    pub components: Vec<String>,
    /// What was not sent: the first of it.
    pub left_out: Vec<LeftOut>,
    /// How much of that there was.
    pub left_out_count: u64,
    /// What to know besides.
    pub warnings: Vec<String>,
    /// The restarts that followed.
    pub restarts: Vec<OperationView>,
}

/// The ends of a transfer.
#[derive(Debug)]
pub struct Ends {
    /// The service.
    pub service: String,
    /// The node.
    pub node: String,
    /// The path here.
    pub local: String,
    /// Whether the node received.
    pub pushed: bool,
}

impl TransferView {
    /// Puts together what became of a transfer.
    pub fn new(ends: Ends, summary: Summary, told: Told) -> Self {
        let Summary { files, unchanged, directories, bytes, resumed } = summary;
        let Ends { service, node, local, pushed } = ends;
        let proto::FilesStart { path, user, group, components, notes } = told.start;
        Self {
            service,
            node,
            local,
            remote: path,
            files,
            unchanged,
            directories,
            bytes,
            resumed,
            owner: pushed.then(|| format!("{user}:{group}")),
            components,
            left_out: told.left_out,
            left_out_count: told.left_out_count,
            warnings: notes,
            restarts: Vec::new(),
        }
    }

    /// Returns what is warned of: what was left out, and what the agent notes.
    pub fn told(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.warnings.iter().map(|note| visible(note).into_owned()).collect();
        lines.extend(
            self.left_out
                .iter()
                .map(|l| format!("left out {}: {}", visible(&l.name), visible(&l.why))),
        );
        let named = u64::try_from(self.left_out.len()).unwrap_or(u64::MAX);
        if self.left_out_count > named {
            lines.push(format!("left out {} more", self.left_out_count - named));
        }
        lines
    }

    /// Returns one line, and one for each restart.
    pub fn text(&self, palette: Palette) -> String {
        let remote = format!("{}:{}", visible(&self.node), visible(&self.remote));
        let (from, to) = match &self.owner {
            Some(_) => (visible(&self.local).into_owned(), remote),
            None => (remote, visible(&self.local).into_owned()),
        };
        let what = if self.files == 0 && self.directories == 0 {
            palette.paint(Tone::Good, "nothing to do")
        } else {
            let mut what = vec![format!("{} written", count(self.files, "file"))];
            what.push(size(self.bytes));
            if self.unchanged > 0 {
                what.push(format!("{} unchanged", self.unchanged));
            }
            if self.resumed > 0 {
                what.push(format!("{} of it had been there", size(self.resumed)));
            }
            what.extend(self.owner.iter().map(|owner| format!("owner {owner}")));
            what.join(", ")
        };
        let mut text = format!("{from} -> {to}: {what}\n");
        text.extend(self.restarts.iter().map(|restart| restart.text(palette)));
        text
    }
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Returns a size with one digit after the point: `17 B`, `1.2 MiB`.
pub fn size(bytes: u64) -> String {
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, next);
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_300_000, "1.2 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_hostile_name_does_not_reach_the_terminal() {
        let left = LeftOut { name: "\u{1b}[2J".to_owned(), why: "\u{7}".to_owned() };
        let told = Told {
            start: proto::FilesStart { path: "/srv/\u{1b}c".to_owned(), ..Default::default() },
            left_out: vec![left],
            left_out_count: 1_000,
        };
        let ends = Ends {
            service: "web".to_owned(),
            node: "rift".to_owned(),
            local: "a\u{1b}b".to_owned(),
            pushed: false,
        };
        let view = TransferView::new(ends, Summary::default(), told);
        let shown = view.told().join("\n") + &view.text(Palette::PLAIN);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(shown.contains("left out 999 more"), "{shown}");
    }
}
