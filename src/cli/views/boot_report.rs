//! What a boot did: for people as bars, for programs as numbers.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::views::age;
use crate::cli::views::boot_bars::{self, Canvas};
use crate::cli::views::problem::NodeProblem;
use crate::rpc::agent_v1 as pb;
use crate::ui::{Tone, visible};

/// The boots of the nodes that were asked.
#[derive(Debug, Serialize)]
pub struct BootReportView {
    /// One for each node that answered.
    pub boots: Vec<BootView>,
    /// The nodes that did not.
    pub problems: Vec<NodeProblem>,
}

/// What one node's boot did. Times are milliseconds since the first word of
/// the user's systemd.
#[derive(Debug, Serialize)]
pub struct BootView {
    /// The node.
    pub node: String,
    /// The number of the boot.
    pub boot_id: String,
    /// When the user's systemd said its first word.
    pub began_at: Option<String>,
    /// How long the machine had run by then.
    pub machine_ms: u64,
    /// When there was nothing more to start; `null`: not yet.
    pub finished_ms: Option<u64>,
    /// The last that is known of.
    pub span_ms: u64,
    /// Every unit, in the order in which they began.
    pub units: Vec<BootUnitView>,
    /// What decided when the last service was ready, the first link first.
    pub chain: Vec<BootLinkView>,
    /// What failed first; `null`: nothing.
    pub broken: Option<BootBrokenView>,
    /// How it differs from the boot before; `null`: there is none.
    pub difference: Option<BootDifferenceView>,
    /// What to know of the report.
    pub notes: Vec<String>,
}

/// The start of one unit.
#[derive(Debug, Serialize)]
pub struct BootUnitView {
    /// The unit.
    pub unit: String,
    /// Its service; `null`: of no one service.
    pub service: Option<String>,
    /// Its component; `null`: not a component's.
    pub component: Option<String>,
    /// Its boot stage; `null`: none.
    pub stage: Option<String>,
    /// Whether MCP made it.
    pub ours: bool,
    /// `ready`, `failed`, `retrying`, `starting`, `blocked`, `waiting`,
    /// `stopped` or `skipped`.
    pub outcome: String,
    /// systemd's word for the last failure; `null`: none.
    pub result: Option<String>,
    /// What systemd said of it; `null`: nothing.
    pub said: Option<String>,
    /// When it was ready; `null`: it was not.
    pub ready_ms: Option<u64>,
    /// When it failed although it had been ready.
    pub fell_ms: Option<u64>,
    /// Its tries.
    pub attempts: Vec<BootAttemptView>,
}

/// One try to start a unit.
#[derive(Debug, Serialize)]
pub struct BootAttemptView {
    /// When it began.
    pub from_ms: u64,
    /// When it ended; `null`: it had not.
    pub to_ms: Option<u64>,
    /// `ready`, `failed`, `stopped` or `open`.
    pub ended: String,
    /// systemd's word for the failure; `null`: none.
    pub result: Option<String>,
}

/// One link of the critical chain.
#[derive(Debug, Serialize)]
pub struct BootLinkView {
    /// The unit.
    pub unit: String,
    /// When it began.
    pub begun_ms: u64,
    /// When it was ready.
    pub ready_ms: u64,
    /// How long after the link before was ready it began.
    pub gap_ms: u64,
}

/// The unit that failed first.
#[derive(Debug, Serialize)]
pub struct BootBrokenView {
    /// The unit.
    pub unit: String,
    /// When; `null`: it hangs.
    pub at_ms: Option<u64>,
    /// What was not ready because of it.
    pub waited: Vec<String>,
    /// The last lines of that run.
    pub journal: Vec<String>,
}

/// How a boot differs from the one before.
#[derive(Debug, Serialize)]
pub struct BootDifferenceView {
    /// The boot before.
    pub boot_id: String,
    /// Units that took longer.
    pub slower: Vec<BootChangeView>,
    /// Units that took less long.
    pub faster: Vec<BootChangeView>,
    /// Units that are not ready and were.
    pub failed: Vec<String>,
    /// Units that are ready and were not.
    pub mended: Vec<String>,
    /// Units that were not there before.
    pub added: Vec<String>,
    /// Units that are not there any more.
    pub gone: Vec<String>,
}

/// How long a unit took, before and now.
#[derive(Debug, Serialize)]
pub struct BootChangeView {
    /// The unit.
    pub unit: String,
    /// Before.
    pub before_ms: u64,
    /// Now.
    pub now_ms: u64,
}

/// A unit that began this much after what it waited for began late.
const LATE_MS: u64 = 100;

fn ms(us: u64) -> u64 {
    us / 1000
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl BootView {
    /// Takes a node's answer.
    pub fn new(node: &impl ToString, answer: pb::BootReportResponse) -> Self {
        Self {
            node: node.to_string(),
            boot_id: answer.boot_id,
            began_at: Timestamp::from_microsecond(answer.began_at_us)
                .ok()
                .map(|at| format!("{at:.3}")),
            machine_ms: ms(answer.machine_us),
            finished_ms: answer.finished_us.map(ms),
            span_ms: ms(answer.span_us),
            units: answer.units.into_iter().map(BootUnitView::from).collect(),
            chain: answer
                .chain
                .into_iter()
                .map(|link| BootLinkView {
                    unit: link.unit,
                    begun_ms: ms(link.begun_us),
                    ready_ms: ms(link.ready_us),
                    gap_ms: ms(link.gap_us),
                })
                .collect(),
            broken: answer.broken.map(|broken| BootBrokenView {
                unit: broken.unit,
                at_ms: broken.at_us.map(ms),
                waited: broken.waited,
                journal: broken.journal,
            }),
            difference: answer.difference.map(BootDifferenceView::from),
            notes: answer.notes,
        }
    }
}

impl From<pb::BootUnit> for BootUnitView {
    fn from(unit: pb::BootUnit) -> Self {
        Self {
            unit: unit.unit,
            service: some(unit.service),
            component: some(unit.component),
            stage: some(unit.stage),
            ours: unit.ours,
            outcome: unit.outcome,
            result: some(unit.result),
            said: some(unit.said),
            ready_ms: unit.ready_us.map(ms),
            fell_ms: unit.fell_us.map(ms),
            attempts: unit
                .attempts
                .into_iter()
                .map(|attempt| BootAttemptView {
                    from_ms: ms(attempt.from_us),
                    to_ms: attempt.to_us.map(ms),
                    ended: attempt.ended,
                    result: some(attempt.result),
                })
                .collect(),
        }
    }
}

impl From<pb::BootDifference> for BootDifferenceView {
    fn from(found: pb::BootDifference) -> Self {
        let changes = |list: Vec<pb::BootChange>| {
            list.into_iter()
                .map(|change| BootChangeView {
                    unit: change.unit,
                    before_ms: ms(change.before_us),
                    now_ms: ms(change.now_us),
                })
                .collect()
        };
        Self {
            boot_id: found.boot_id,
            slower: changes(found.slower),
            faster: changes(found.faster),
            failed: found.failed,
            mended: found.mended,
            added: found.added,
            gone: found.gone,
        }
    }
}

impl BootUnitView {
    /// Returns how long it took from its first try until it was ready.
    pub fn took_ms(&self) -> Option<u64> {
        Some(self.ready_ms?.saturating_sub(self.attempts.first()?.from_ms))
    }

    /// Tells whether it should have been ready and was not.
    pub fn is_missing(&self) -> bool {
        !matches!(self.outcome.as_str(), "ready" | "skipped")
    }

    /// Returns how many tries failed.
    pub fn failures(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.ended == "failed").count()
    }
}

/// Returns a time of a boot: seconds with a tenth, above ten minutes the two
/// largest units.
pub(super) fn seconds(ms: u64) -> String {
    match ms {
        0..600_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => age::largest_two(Duration::from_millis(ms)),
    }
}

impl BootReportView {
    /// Returns the report for people.
    pub fn text(&self, canvas: &Canvas) -> String {
        let boots: Vec<String> = self.boots.iter().map(|boot| boot.text(canvas)).collect();
        boots.join("\n")
    }
}

impl BootView {
    fn text(&self, canvas: &Canvas) -> String {
        let mut text = self.head(canvas);
        text.push_str(&boot_bars::bars(self, canvas));
        text.push_str(&self.broken_text(canvas));
        text.push_str(&self.chain_text(canvas));
        if let Some(found) = &self.difference {
            text.push_str(&difference_text(found, canvas));
        }
        for note in &self.notes {
            let label = canvas.palette.paint(Tone::Unsure, "note:");
            text.push_str(&format!("\n{label} {}\n", visible(note)));
        }
        text
    }

    fn head(&self, canvas: &Canvas) -> String {
        let node = canvas.palette.paint(Tone::Strong, &visible(&self.node));
        let at = self.began_at.as_deref().unwrap_or("an unknown time");
        let boot = if self.boot_id.is_empty() {
            String::new()
        } else {
            format!(", boot {}", visible(&self.boot_id))
        };
        let machine = match self.machine_ms {
            0 => String::new(),
            ms => format!(", {} after the machine", seconds(ms)),
        };
        let end = match self.finished_ms {
            Some(ms) => format!("It had started everything {} later.", seconds(ms)),
            None => {
                format!("It had not started everything {} later.", seconds(self.span_ms))
            }
        };
        format!("{node}{boot}\nThe user's systemd began at {at}{machine}. {end}\n\n")
    }

    fn broken_text(&self, canvas: &Canvas) -> String {
        let Some(broken) = &self.broken else { return String::new() };
        let line = self.units.iter().find(|unit| unit.unit == broken.unit);
        let unit = canvas.palette.paint(Tone::Bad, &visible(&broken.unit));
        let how = match (broken.at_ms, line.and_then(|line| line.result.as_deref())) {
            (Some(at), Some(result)) => {
                format!("failed first at {} ({})", seconds(at), visible(result))
            }
            (Some(at), None) => format!("failed first at {}", seconds(at)),
            (None, _) => "was not ready, and nothing else is to blame for it".to_owned(),
        };
        let mut text = format!("\nFirst broken link: {unit} {how}");
        if let Some(line) = line.filter(|line| line.failures() > 1) {
            text.push_str(&format!(", {} tries failed", line.failures()));
        }
        text.push_str(".\n");
        if !broken.waited.is_empty() {
            let waited: Vec<_> = broken.waited.iter().map(|unit| visible(unit)).collect();
            text.push_str(&format!("  In vain waited for it: {}\n", waited.join(", ")));
        }
        let said = line.and_then(|line| line.said.iter().next());
        for line in said.into_iter().chain(&broken.journal) {
            let line = canvas.palette.paint(Tone::Faint, &visible(line));
            text.push_str(&format!("  | {line}\n"));
        }
        text
    }

    fn chain_text(&self, canvas: &Canvas) -> String {
        let Some(last) = self.chain.last() else { return String::new() };
        let mut text = format!(
            "\nCritical chain: why {} was ready only at {}.\n",
            visible(&last.unit),
            seconds(last.ready_ms)
        );
        // A link that took no time explains nothing.
        let links: Vec<&BootLinkView> = self
            .chain
            .iter()
            .filter(|link| {
                link.ready_ms - link.begun_ms.min(link.ready_ms) >= 10 || link.gap_ms >= LATE_MS
            })
            .collect();
        let width = links.iter().map(|l| visible(&l.unit).chars().count()).max().unwrap_or(0);
        for link in links {
            let unit = visible(&link.unit);
            let pad = " ".repeat(width - unit.chars().count());
            let took = link.ready_ms.saturating_sub(link.begun_ms);
            let gap = match link.gap_ms {
                0..LATE_MS => String::new(),
                ms => format!(", begun {} after the one above", seconds(ms)),
            };
            let unit = canvas.palette.paint(Tone::Strong, &unit);
            text.push_str(&format!(
                "  {unit}{pad}  took {:>7}, ready at {:>7}{gap}\n",
                seconds(took),
                seconds(link.ready_ms)
            ));
        }
        text
    }
}

fn difference_text(found: &BootDifferenceView, canvas: &Canvas) -> String {
    let mut text = format!("\nAgainst the boot before ({}):\n", visible(&found.boot_id));
    let mut nothing = true;
    let mut tell = |tone: Tone, word: &str, units: Vec<String>| {
        for unit in units {
            nothing = false;
            let word = canvas.palette.paint(tone, &format!("{word:<7}"));
            text.push_str(&format!("  {word}  {unit}\n"));
        }
    };
    let plain = |units: &[String]| units.iter().map(|unit| visible(unit).into_owned()).collect();
    let times = |changes: &[BootChangeView]| {
        changes
            .iter()
            .map(|change| {
                format!(
                    "{}  {} -> {}",
                    visible(&change.unit),
                    seconds(change.before_ms),
                    seconds(change.now_ms)
                )
            })
            .collect()
    };
    tell(Tone::Bad, "broken", plain(&found.failed));
    tell(Tone::Good, "mended", plain(&found.mended));
    tell(Tone::Unsure, "slower", times(&found.slower));
    tell(Tone::Good, "faster", times(&found.faster));
    tell(Tone::Plain, "new", plain(&found.added));
    tell(Tone::Plain, "gone", plain(&found.gone));
    if nothing {
        text.push_str("  no difference worth telling\n");
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ui::Palette;

    fn unit(name: &str, service: &str, attempts: &[(u64, Option<u64>, &str)]) -> pb::BootUnit {
        let last = attempts.last();
        let ready = last.filter(|(_, _, ended)| *ended == "ready").and_then(|(_, to, _)| *to);
        pb::BootUnit {
            unit: name.into(),
            service: service.into(),
            component: service.into(),
            ours: !service.is_empty(),
            outcome: match last.map(|(_, _, ended)| *ended) {
                Some("ready") => "ready",
                Some("failed") => "retrying",
                Some(_) => "starting",
                None => "waiting",
            }
            .into(),
            result: if last.is_some_and(|l| l.2 == "failed") { "exit-code" } else { "" }.into(),
            ready_us: ready.map(|ms| ms * 1000),
            attempts: attempts
                .iter()
                .map(|(from, to, ended)| pb::BootAttempt {
                    from_us: from * 1000,
                    to_us: to.map(|ms| ms * 1000),
                    ended: (*ended).into(),
                    result: String::new(),
                })
                .collect(),
            ..Default::default()
        }
    }

    /// A boot with one of everything; its names are not to be trusted.
    pub(in super::super) fn boot() -> BootView {
        let stage = |stage: &str, unit: pb::BootUnit| pb::BootUnit { stage: stage.into(), ..unit };
        let mut broken =
            unit("bad.service", "bad", &[(100, Some(900), "failed"), (1900, Some(2600), "failed")]);
        broken.said = "bad.service: Main process exited\u{1b}[31m".into();
        let answer = pb::BootReportResponse {
            boot_id: "b9c5a2f3b17f43bfb894302b6b2fcb75".into(),
            began_at_us: 1_795_239_219_839_963,
            machine_us: 1_900_000,
            finished_us: None,
            span_us: 8_000_000,
            units: vec![
                pb::BootUnit {
                    ours: true,
                    ..unit("mcp-podman.service", "", &[(0, Some(700), "ready")])
                },
                stage("core", unit("mcr.service", "mcr", &[(100, Some(1700), "ready")])),
                broken,
                unit(
                    "pair-api.service",
                    "pair",
                    &[(700, Some(1000), "failed"), (2000, Some(2900), "ready")],
                ),
                unit("pair-front.service", "pair", &[(2900, Some(4000), "ready")]),
                unit("slow.service", "slow", &[(700, None, "open")]),
                unit("dep.service", "dep", &[]),
                unit("dbus.service", "", &[(3, Some(5), "ready")]),
                unit("<b>&\"foreign\u{7}.service", "", &[(3, Some(505), "ready")]),
            ],
            chain: vec![
                pb::BootLink {
                    unit: "pair-api.service".into(),
                    begun_us: 700_000,
                    ready_us: 2_900_000,
                    gap_us: 700_000,
                },
                pb::BootLink {
                    unit: "pair-front.service".into(),
                    begun_us: 2_900_000,
                    ready_us: 4_000_000,
                    gap_us: 0,
                },
            ],
            broken: Some(pb::BootBroken {
                unit: "bad.service".into(),
                at_us: Some(900_000),
                waited: vec!["dep.service".into()],
                journal: vec!["panic: \u{1b}]0;x\u{7}".into()],
            }),
            difference: Some(pb::BootDifference {
                boot_id: "b70538fcbdec4fe08763de93ac64ec9a".into(),
                slower: vec![pb::BootChange {
                    unit: "pair-api.service".into(),
                    before_us: 900_000,
                    now_us: 2_200_000,
                }],
                failed: vec!["bad.service".into()],
                added: vec!["slow.service".into()],
                ..Default::default()
            }),
            notes: vec!["There is a note.".into()],
        };
        BootView::new(&"rift", answer)
    }

    fn text(width: usize, unicode: bool) -> String {
        let canvas = Canvas { width, unicode, palette: Palette::PLAIN };
        BootReportView { boots: vec![boot()], problems: Vec::new() }.text(&canvas)
    }

    #[test]
    fn the_report_for_people() {
        insta::assert_snapshot!(text(80, true), @r#"
        rift, boot b9c5a2f3b17f43bfb894302b6b2fcb75
        The user's systemd began at 2026-11-21T05:33:39.839Z, 1.9 s after the machine. It had not started everything 8.0 s later.

                                           0                                       5.0 s
        the node
          mcp-podman.service         0.7 s ███████
        mcr (stage core)
          mcr.service                1.7 s ████████████████
        bad
          bad.service             retrying ×××××××××········×××××××
        pair
          pair-api.service           2.9 s       ××××········█████████
          pair-front.service         4.0 s                           ███████████
        slow
          slow.service            starting       ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
        dep
          dep.service              waiting
        not of MCP
          <b>&"foreign^G.service     0.5 s █████

        First broken link: bad.service failed first at 0.9 s (exit-code), 2 tries failed.
          In vain waited for it: dep.service
          | bad.service: Main process exited^[[31m
          | panic: ^[]0;x^G

        Critical chain: why pair-front.service was ready only at 4.0 s.
          pair-api.service    took   2.2 s, ready at   2.9 s, begun 0.7 s after the one above
          pair-front.service  took   1.1 s, ready at   4.0 s

        Against the boot before (b70538fcbdec4fe08763de93ac64ec9a):
          broken   bad.service
          slower   pair-api.service  0.9 s -> 2.2 s
          new      slow.service

        note: There is a note.
        "#);
    }

    #[test]
    fn a_narrow_terminal_without_unicode_shows_the_same() {
        insta::assert_snapshot!(text(50, false), @r#"
        rift, boot b9c5a2f3b17f43bfb894302b6b2fcb75
        The user's systemd began at 2026-11-21T05:33:39.839Z, 1.9 s after the machine. It had not started everything 8.0 s later.

                                         0           5.0 s
        the node
          mcp-podman.service       0.7 s ###
        mcr (stage core)
          mcr.service              1.7 s ######
        bad
          bad.service           retrying xxxx..xxx
        pair
          pair-api.service         2.9 s   xx..####
          pair-front.service       4.0 s          #####
        slow
          slow.service          starting   >>>>>>>>>>>>>>>
        dep
          dep.service            waiting
        not of MCP
          <b>&"fore..G.service     0.5 s ##

        First broken link: bad.service failed first at 0.9 s (exit-code), 2 tries failed.
          In vain waited for it: dep.service
          | bad.service: Main process exited^[[31m
          | panic: ^[]0;x^G

        Critical chain: why pair-front.service was ready only at 4.0 s.
          pair-api.service    took   2.2 s, ready at   2.9 s, begun 0.7 s after the one above
          pair-front.service  took   1.1 s, ready at   4.0 s

        Against the boot before (b70538fcbdec4fe08763de93ac64ec9a):
          broken   bad.service
          slower   pair-api.service  0.9 s -> 2.2 s
          new      slow.service

        note: There is a note.
        "#);
        assert!(text(10, false).lines().take(20).all(|line| line.is_ascii()));
    }

    #[test]
    fn the_document_has_numbers() {
        let boot = serde_json::to_value(boot()).unwrap();
        assert_eq!(boot["began_at"], "2026-11-21T05:33:39.839Z");
        assert_eq!(boot["finished_ms"], serde_json::Value::Null);
        insta::assert_snapshot!(serde_json::to_string_pretty(&boot["units"][2]).unwrap(), @r#"
        {
          "attempts": [
            {
              "ended": "failed",
              "from_ms": 100,
              "result": null,
              "to_ms": 900
            },
            {
              "ended": "failed",
              "from_ms": 1900,
              "result": null,
              "to_ms": 2600
            }
          ],
          "component": "bad",
          "fell_ms": null,
          "ours": true,
          "outcome": "retrying",
          "ready_ms": null,
          "result": "exit-code",
          "said": "bad.service: Main process exited\u001b[31m",
          "service": "bad",
          "stage": null,
          "unit": "bad.service"
        }
        "#);
    }
}
