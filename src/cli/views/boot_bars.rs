//! The bars of a boot: one line a unit, the time from left to right.

use std::collections::BTreeMap;

use super::boot_report::{BootUnitView, BootView, seconds};
use crate::ui::{Palette, Tone, visible};

/// The fewest columns that bars have.
const NARROWEST: usize = 16;
/// A unit that is not ours is shown from here on.
const FOREIGN_MS: u64 = 100;

/// What is drawn on.
#[derive(Debug, Clone, Copy)]
pub struct Canvas {
    /// Columns.
    pub width: usize,
    /// Whether it shows more than ASCII.
    pub unicode: bool,
    /// Colours or none.
    pub palette: Palette,
}

impl Canvas {
    /// Returns the mark of a try that ended so.
    fn mark(&self, ended: &str) -> (char, Tone) {
        let (unicode, ascii, tone) = match ended {
            "ready" => ('█', '#', Tone::Good),
            "failed" => ('×', 'x', Tone::Bad),
            "stopped" => ('-', '-', Tone::Unsure),
            _ => ('░', '>', Tone::Unsure),
        };
        (if self.unicode { unicode } else { ascii }, tone)
    }

    /// Returns the mark of a pause between two tries.
    fn pause(&self) -> char {
        if self.unicode { '·' } else { '.' }
    }
}

/// Returns the part of a boot that is drawn: while units became ready, or
/// failed for the first time. A unit that is tried again for hours would
/// leave no room for the rest.
pub(super) fn drawn_ms(boot: &BootView) -> u64 {
    let ends = boot.units.iter().flat_map(|unit| {
        let first_failure = unit.attempts.first().and_then(|attempt| attempt.to_ms);
        unit.ready_ms.into_iter().chain(first_failure)
    });
    let last = ends.chain(boot.finished_ms).max().unwrap_or(boot.span_ms);
    (last + last / 4).clamp(1, boot.span_ms.max(last).max(1))
}

/// Groups the units that are shown: those of a stage, of a service, of the
/// node, and others that took a while. Each group has its title.
pub(super) fn groups(boot: &BootView) -> Vec<(String, Vec<&BootUnitView>)> {
    let mut groups: Vec<(String, Vec<&BootUnitView>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for unit in boot.units.iter().filter(|unit| is_shown(unit)) {
        let title = match (&unit.stage, &unit.service, unit.ours) {
            (Some(stage), Some(service), _) => format!("{service} (stage {stage})"),
            (Some(stage), None, _) => format!("stage {stage}"),
            (None, Some(service), _) => service.clone(),
            (None, None, true) => "the node".to_owned(),
            (None, None, false) => "not of MCP".to_owned(),
        };
        let place = *places.entry(title.clone()).or_insert_with(|| {
            groups.push((title, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, units)) = groups.get_mut(place) {
            units.push(unit);
        }
    }
    groups
}

fn is_shown(unit: &BootUnitView) -> bool {
    // A target takes no time of its own.
    unit.unit.ends_with(".service")
        && (unit.ours
            || unit.failures() > 0
            || unit.is_missing()
            || unit.took_ms().is_some_and(|ms| ms >= FOREIGN_MS))
}

/// Returns one line a unit, below the titles of the groups.
pub fn bars(boot: &BootView, canvas: &Canvas) -> String {
    let groups = groups(boot);
    let labels = groups.iter().flat_map(|(_, units)| units);
    let longest = labels.map(|unit| visible(&unit.unit).chars().count()).max().unwrap_or(0);
    let label = longest.min((canvas.width * 2 / 5).max(12));
    // Two blanks in front, the word, and blanks between.
    let taken = 2 + label + 1 + WORD + 1;
    let scale = Scale {
        columns: canvas.width.saturating_sub(taken).max(NARROWEST),
        drawn_ms: drawn_ms(boot),
    };
    let mut text = String::new();
    if !groups.is_empty() {
        let end = seconds(scale.drawn_ms);
        let ruler = format!("0{end:>width$}", width = scale.columns.saturating_sub(1));
        text.push_str(&format!("{:taken$}{}\n", "", canvas.palette.paint(Tone::Faint, &ruler)));
    }
    for (title, units) in groups {
        text.push_str(&canvas.palette.paint(Tone::Strong, &visible(&title)));
        text.push('\n');
        for unit in units {
            let (word, tone) = word(unit);
            let line = format!(
                "  {} {} {}",
                fitted(&visible(&unit.unit), label),
                canvas.palette.paint(tone, &format!("{word:>WORD$}")),
                bar(unit, &scale, canvas)
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Columns of the word that says how it went.
const WORD: usize = 9;

/// Returns when a unit was ready, or what it is instead.
fn word(unit: &BootUnitView) -> (String, Tone) {
    match unit.ready_ms {
        Some(ms) if unit.fell_ms.is_none() => (seconds(ms), Tone::Plain),
        Some(ms) => (format!("{}!", seconds(ms)), Tone::Bad),
        None => {
            let tone = match unit.outcome.as_str() {
                "starting" | "skipped" => Tone::Unsure,
                _ => Tone::Bad,
            };
            (visible(&unit.outcome).into_owned(), tone)
        }
    }
}

/// Cuts a text in its middle, or fills it up.
fn fitted(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return format!("{text}{}", " ".repeat(width - length));
    }
    let (front, back) = ((width - 2) / 2, (width - 2).div_ceil(2));
    let start: String = text.chars().take(front).collect();
    let end: String = text.chars().skip(length - back).collect();
    format!("{start}..{end}")
}

/// How time becomes columns.
struct Scale {
    columns: usize,
    drawn_ms: u64,
}

impl Scale {
    /// Returns the column of a time; the last one for all that is later.
    fn column(&self, ms: u64) -> usize {
        let columns = u64::try_from(self.columns).unwrap_or(u64::MAX);
        let column = ms.saturating_mul(columns) / self.drawn_ms;
        usize::try_from(column).unwrap_or(usize::MAX).min(self.columns.saturating_sub(1))
    }
}

fn bar(unit: &BootUnitView, scale: &Scale, canvas: &Canvas) -> String {
    let mut cells = vec![(' ', Tone::Plain); scale.columns];
    let mut fill = |from: usize, to: usize, cell: (char, Tone)| {
        for at in cells.iter_mut().take(to + 1).skip(from) {
            *at = cell;
        }
    };
    let mut before: Option<usize> = None;
    for attempt in unit.attempts.iter().filter(|attempt| attempt.from_ms <= scale.drawn_ms) {
        let from = scale.column(attempt.from_ms);
        let to = attempt.to_ms.map_or(scale.columns, |ms| scale.column(ms));
        if let Some(before) = before {
            fill(before + 1, from, (canvas.pause(), Tone::Faint));
        }
        // A try that ends in the column in which the next begins keeps it.
        let from = before.map_or(from, |before| from.max(before + 1));
        fill(from, to.max(from), canvas.mark(&attempt.ended));
        before = Some(to.max(from));
    }
    painted(&cells, canvas.palette)
}

/// Joins cells of one tone, so that each is painted once.
fn painted(cells: &[(char, Tone)], palette: Palette) -> String {
    let mut text = String::new();
    let mut run = String::new();
    let mut tone = Tone::Plain;
    for (mark, next) in cells {
        if *next != tone {
            text.push_str(&palette.paint(tone, &run));
            run.clear();
            tone = *next;
        }
        run.push(*mark);
    }
    text.push_str(&palette.paint(tone, &run));
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_too_long_loses_its_middle() {
        assert_eq!(fitted("abc", 5), "abc  ");
        assert_eq!(fitted("abcdefghij", 8), "abc..hij");
        assert_eq!(fitted("abcdefghij", 9), "abc..ghij");
    }

    #[test]
    fn a_time_has_a_column_whatever_it_is() {
        let scale = Scale { columns: 10, drawn_ms: 1000 };
        assert_eq!(
            [0, 99, 100, 999, 1000, u64::MAX].map(|ms| scale.column(ms)),
            [0, 0, 1, 9, 9, 9]
        );
    }
}
