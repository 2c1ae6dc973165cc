//! `mcp agent status`: which program each agent is.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::problem::NodeProblem;
use crate::cli::views::table::{self, Cell};
use crate::rpc::agent_v1 as proto;
use crate::ui::{Palette, Tone, visible};

/// The agents of nodes.
#[derive(Debug, Serialize)]
pub struct AgentsView {
    /// The nodes that answered.
    pub nodes: Vec<AgentView>,
    /// Nodes that could not be asked.
    pub problems: Vec<NodeProblem>,
}

/// One agent.
#[derive(Debug, Serialize)]
pub struct AgentView {
    /// The node.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// When it began.
    pub since: Option<String>,
    #[serde(skip)]
    uptime: Option<Duration>,
    /// The file that runs.
    pub program: String,
    /// Its SHA-256; `null`: it cannot be read.
    pub sha256: Option<String>,
    /// `package`: the installed one; `upgrade`: one in its place.
    pub from: &'static str,
    /// The path of the installed one.
    pub installed: String,
    /// The machine's architecture.
    pub arch: String,
    /// The schema of the registry.
    pub schema: i64,
    /// The program whose trial is under way or due; `null`: none.
    pub waiting: Option<ProgramView>,
    /// The last upgrade that came to an end; `null`: none is known.
    pub last_upgrade: Option<UpgradeEndView>,
    /// Why nothing is known of upgrades; `null`: it is.
    pub problem: Option<String>,
}

/// A program that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramView {
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// Who sent it.
    pub by: String,
    /// When.
    pub at: Option<String>,
}

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpgradeEndView {
    /// The program.
    pub program: ProgramView,
    /// `confirmed`, `returned`, `superseded` or `damaged`.
    pub outcome: String,
    /// Why; empty where it went well.
    pub reason: String,
    /// When it ended.
    pub at: Option<String>,
    /// The last lines of its trial, if it failed.
    pub journal: Vec<String>,
}

impl From<proto::UpgradedProgram> for ProgramView {
    fn from(program: proto::UpgradedProgram) -> Self {
        let proto::UpgradedProgram { version, sha256, by, at_ms } = program;
        Self { version, sha256, by, at: age::rfc3339(at_ms) }
    }
}

impl From<proto::UpgradeEnd> for UpgradeEndView {
    fn from(end: proto::UpgradeEnd) -> Self {
        let proto::UpgradeEnd { program, outcome, reason, at_ms, journal } = end;
        let program = program.unwrap_or_default().into();
        Self { program, outcome, reason, at: age::rfc3339(at_ms), journal }
    }
}

impl AgentView {
    fn new(node: String, answer: proto::AgentStatusResponse, now: Timestamp) -> Self {
        let filled = |text: String| (!text.is_empty()).then_some(text);
        Self {
            node,
            version: answer.version,
            since: age::rfc3339(answer.started_at_ms),
            uptime: age::since(answer.started_at_ms, now),
            program: answer.program,
            sha256: filled(answer.sha256),
            from: if answer.upgraded { "upgrade" } else { "package" },
            installed: answer.installed,
            arch: answer.arch,
            schema: answer.schema,
            waiting: answer.waiting.map(ProgramView::from),
            last_upgrade: answer.last.map(UpgradeEndView::from),
            problem: filled(answer.problem),
        }
    }

    fn row(&self) -> [Cell; 7] {
        let (upgrade, tone) = match (&self.waiting, &self.last_upgrade) {
            (Some(program), _) => (format!("{} on trial", program.version), Tone::Unsure),
            (None, Some(end)) => {
                let tone = match end.outcome.as_str() {
                    "confirmed" => Tone::Good,
                    "superseded" => Tone::Faint,
                    _ => Tone::Bad,
                };
                (format!("{} {}", end.program.version, end.outcome), tone)
            }
            (None, None) => (String::new(), Tone::Plain),
        };
        [
            Cell::new(&self.node),
            Cell::new(&self.version),
            Cell::or_dash(self.uptime.map(age::largest_two).unwrap_or_default()),
            Cell::new(self.from),
            Cell::new(&self.program),
            Cell::new(self.schema.to_string()),
            Cell::or_dash(upgrade).tone(tone),
        ]
    }

    /// What the row has no room for.
    fn more(&self, text: &mut String, palette: Palette) -> std::fmt::Result {
        let node = visible(&self.node);
        if let Some(problem) = &self.problem {
            writeln!(
                text,
                "{}",
                palette.paint(Tone::Bad, &format!("{node}: {}", visible(problem)))
            )?;
        }
        let Some(end) = &self.last_upgrade else { return Ok(()) };
        if end.outcome == "confirmed" || end.outcome == "superseded" {
            return Ok(());
        }
        writeln!(text, "{}", end.sentence(&node))?;
        end.journal_lines(text)
    }
}

impl UpgradeEndView {
    /// Says what happened, for people.
    pub fn sentence(&self, node: &str) -> String {
        let (version, reason) = (visible(&self.program.version), visible(&self.reason));
        match self.outcome.as_str() {
            "returned" => format!("{node}: the upgrade to {version} did not come up: {reason}"),
            "damaged" => format!("{node}: the upgraded {version} cannot be used: {reason}"),
            "superseded" => format!("{node}: {version} gave way: {reason}"),
            other => format!("{node}: {version} {}", visible(other)),
        }
    }

    /// Writes the lines of the journal, set off.
    ///
    /// # Errors
    ///
    /// Never: a string takes whatever is written.
    pub fn journal_lines(&self, text: &mut String) -> std::fmt::Result {
        self.journal.iter().try_for_each(|line| writeln!(text, "    {}", visible(line)))
    }
}

impl AgentsView {
    /// Makes a view of what nodes answered.
    pub fn new(
        answered: Vec<(String, proto::AgentStatusResponse)>,
        problems: Vec<NodeProblem>,
        now: Timestamp,
    ) -> Self {
        let nodes =
            answered.into_iter().map(|(node, answer)| AgentView::new(node, answer, now)).collect();
        Self { nodes, problems }
    }

    /// Returns the table, and what it has no room for.
    pub fn text(&self, palette: Palette) -> String {
        let header = ["NODE", "VERSION", "UP", "FROM", "PROGRAM", "SCHEMA", "LAST UPGRADE"];
        let rows: Vec<_> = self.nodes.iter().map(AgentView::row).collect();
        let mut text = table::render(header, &rows, palette);
        for node in &self.nodes {
            // A string takes whatever is written.
            if node.more(&mut text, palette).is_err() {
                break;
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_up_is_told_with_its_last_words() {
        let program = proto::UpgradedProgram {
            version: "0.2.0".into(),
            sha256: "ab".repeat(32),
            by: "kyle".into(),
            at_ms: 1_795_239_219_000,
        };
        let end = proto::UpgradeEnd {
            program: Some(program.clone()),
            outcome: "returned".into(),
            reason: "it ended, or systemd ended it, before it answered".into(),
            at_ms: 1_795_239_229_000,
            journal: vec!["boom \u{1b}[31m".into(), "Main process exited".into()],
        };
        let answer = |last, waiting| proto::AgentStatusResponse {
            version: "0.1.0".into(),
            started_at_ms: 1_795_239_229_000,
            program: "/usr/bin/mcp-agent".into(),
            installed: "/usr/bin/mcp-agent".into(),
            schema: 3,
            last,
            waiting,
            ..Default::default()
        };
        let upgraded = proto::AgentStatusResponse {
            version: "0.2.0".into(),
            upgraded: true,
            program: "/srv/mcp/upgrade/mcp-agent-abab".into(),
            problem: "the record cannot be read".into(),
            ..answer(Some(proto::UpgradeEnd { outcome: "confirmed".into(), ..end.clone() }), None)
        };
        let now = Timestamp::from_millisecond(1_795_239_289_000).unwrap();
        let answered = vec![
            ("rift".to_owned(), answer(Some(end), None)),
            ("svc".to_owned(), upgraded),
            ("new".to_owned(), answer(None, Some(program))),
        ];
        let view = AgentsView::new(answered, Vec::new(), now);
        insta::assert_snapshot!(view.text(Palette::PLAIN), @r"
        NODE  VERSION  UP    FROM     PROGRAM                          SCHEMA  LAST UPGRADE
        rift  0.1.0    1m0s  package  /usr/bin/mcp-agent               3       0.2.0 returned
        svc   0.2.0    1m0s  upgrade  /srv/mcp/upgrade/mcp-agent-abab  3       0.2.0 confirmed
        new   0.1.0    1m0s  package  /usr/bin/mcp-agent               3       0.2.0 on trial
        rift: the upgrade to 0.2.0 did not come up: it ended, or systemd ended it, before it answered
            boom ^[[31m
            Main process exited
        svc: the record cannot be read
        ");
    }
}
