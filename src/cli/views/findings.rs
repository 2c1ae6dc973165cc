//! What was looked at on a node, and what came of it.

use serde::Serialize;

use crate::rpc::agent_v1 as pb;
use crate::ui::{Palette, Tone, visible};

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct FindingView {
    /// The kind of look, such as `linger`.
    pub check: String,
    /// What it is about; empty: the node.
    pub subject: String,
    /// `ok`, `warning` or `failed`.
    pub level: &'static str,
    /// What was found.
    pub message: String,
    /// The command that mends it; empty: none.
    pub mend: String,
}

impl From<pb::Finding> for FindingView {
    fn from(finding: pb::Finding) -> Self {
        let level = level_word(finding.level());
        let pb::Finding { check, subject, level: _, message, mend } = finding;
        Self { check, subject, level, message, mend }
    }
}

/// Returns the word for a level.
pub fn level_word(level: pb::FindingLevel) -> &'static str {
    match level {
        pb::FindingLevel::Fine => "ok",
        pb::FindingLevel::Warning => "warning",
        // What a newer agent tells is not to be overlooked.
        pb::FindingLevel::Failed | pb::FindingLevel::Unspecified => "failed",
    }
}

/// Returns a paragraph for each finding: its level, what it is about, what
/// was found, and below it the command that mends it.
pub fn text(findings: &[FindingView], palette: Palette) -> String {
    findings.iter().map(|finding| paragraph(finding, palette)).collect()
}

fn paragraph(finding: &FindingView, palette: Palette) -> String {
    let tone = match finding.level {
        "ok" => Tone::Good,
        "warning" => Tone::Unsure,
        _ => Tone::Bad,
    };
    let level = palette.paint(tone, &format!("{:<7}", finding.level));
    let mut subject = visible(&finding.check).into_owned();
    if !finding.subject.is_empty() {
        subject.push(' ');
        subject.push_str(&visible(&finding.subject));
    }
    let subject = palette.paint(Tone::Strong, &subject);
    let mut text = format!("{level}  {subject}: {}\n", visible(&finding.message));
    if !finding.mend.is_empty() {
        text.push_str("         ");
        text.push_str(&palette.paint(Tone::Faint, &visible(&finding.mend)));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_tells_the_command_that_mends_it() {
        let finding = |level: pb::FindingLevel, subject: &str, mend: &str| {
            FindingView::from(pb::Finding {
                check: "linger".into(),
                subject: subject.into(),
                level: level.into(),
                message: "The user is not allowed to linger.".into(),
                mend: mend.into(),
            })
        };
        let findings = [
            finding(pb::FindingLevel::Failed, "mcp", "loginctl enable-linger mcp"),
            finding(pb::FindingLevel::Fine, "", ""),
        ];
        insta::assert_snapshot!(text(&findings, Palette::PLAIN), @r"
        failed   linger mcp: The user is not allowed to linger.
                 loginctl enable-linger mcp
        ok       linger: The user is not allowed to linger.
        ");
    }
}
