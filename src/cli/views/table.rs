//! Tables without lines: two blanks between columns, as `ps` does.

use comfy_table::presets::NOTHING;

use crate::ui::{Palette, Tone, visible};

/// One cell: harmless text and its tone.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Takes any text; what would act on a terminal is made visible.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { text: visible(text.as_ref()).into_owned(), tone: Tone::Plain }
    }

    /// Takes any text, and `-` for none.
    pub fn or_dash(text: impl AsRef<str>) -> Self {
        Self::new(if text.as_ref().is_empty() { "-" } else { text.as_ref() })
    }

    /// Gives the cell a tone.
    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// Returns the text between marks of no width. Colours would count as
    /// width, so they are put in the place of the marks after the layout;
    /// [`visible`] has left no such character in the text.
    fn marked(&self) -> String {
        match mark(self.tone) {
            Some(mark) => format!("{mark}{}{END}", self.text),
            None => self.text.clone(),
        }
    }
}

const TONES: [Tone; 5] = [Tone::Good, Tone::Unsure, Tone::Bad, Tone::Faint, Tone::Strong];
const END: char = '\u{2060}';

fn mark(tone: Tone) -> Option<char> {
    match tone {
        Tone::Plain => None,
        Tone::Good => Some('\u{2061}'),
        Tone::Unsure => Some('\u{2062}'),
        Tone::Bad => Some('\u{2063}'),
        Tone::Faint => Some('\u{2064}'),
        Tone::Strong => Some('\u{200b}'),
    }
}

/// Lays a table out.
///
/// Without rows there is only the header, which says that there is nothing.
pub fn render<const N: usize>(header: [&str; N], rows: &[[Cell; N]], palette: Palette) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING);
    let head = |text: &&str| Cell::new(text).tone(Tone::Strong);
    let cells = |row: &[Cell]| -> Vec<String> {
        row.iter()
            .map(|cell| if palette.paints() { cell.marked() } else { cell.text.clone() })
            .collect()
    };
    let header: Vec<Cell> = header.iter().map(head).collect();
    table.set_header(cells(&header));
    for row in rows {
        table.add_row(cells(row));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    if palette.paints() {
        for tone in TONES {
            let painted = palette.paint(tone, "\n");
            if let (Some(mark), Some((start, _))) = (mark(tone), painted.split_once('\n')) {
                text = text.replace(mark, start);
            }
        }
        text = text.replace(END, "\u{1b}[0m");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(palette: Palette) -> String {
        render(
            ["NAME", "STATE", "END"],
            &[
                [Cell::new("mcq"), Cell::new("running").tone(Tone::Good), Cell::or_dash("")],
                [Cell::new("漢字é\n"), Cell::new("failed").tone(Tone::Bad), Cell::new("x")],
            ],
            palette,
        )
    }

    #[test]
    fn two_blanks_part_the_columns_and_none_end_a_line() {
        insta::assert_snapshot!(sample(Palette::PLAIN), @r"
        NAME     STATE    END
        mcq      running  -
        漢字é^J  failed   x
        ");
    }

    #[test]
    fn colours_do_not_move_the_columns() {
        let painted = sample(Palette::COLOUR);
        assert!(painted.contains("\u{1b}[32mrunning\u{1b}[0m  -"));
        let mut plain = painted;
        for code in ["0", "1", "31", "32"] {
            plain = plain.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(plain, sample(Palette::PLAIN));
    }
}
