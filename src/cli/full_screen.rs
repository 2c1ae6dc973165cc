//! The whole terminal for one command: another screen, and keys as they are
//! pressed. Dropping it gives the terminal back as it was.

use std::io;

use tokio::sync::mpsc;

use crate::cli::views::top::Key;
use crate::terminal::{self, RawMode};
use crate::ui::Ui;

/// What is read at once: more keys than anybody presses.
const LONGEST: usize = 256;

/// Another screen, and no cursor (`console_codes(4)`, xterm's mode 1049).
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";
/// Clears the rest of the line, and of the screen.
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// The terminal, taken.
#[derive(Debug)]
pub struct FullScreen<'a> {
    ui: &'a Ui,
    keys: mpsc::Receiver<Vec<u8>>,
    /// Ends after the screen has been left.
    _raw: RawMode,
}

impl<'a> FullScreen<'a> {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// Standard input is no terminal.
    pub fn take(ui: &'a Ui) -> io::Result<Self> {
        let raw = RawMode::begin()?;
        let keys = terminal::input(LONGEST)?;
        ui.data(ENTER)?;
        Ok(Self { ui, keys, _raw: raw })
    }

    /// Returns how many columns and lines it has.
    pub fn size() -> (usize, usize) {
        match terminal::size() {
            Some((lines, columns)) if columns > 0 => (columns.into(), lines.into()),
            Some(_) | None => (80, 24),
        }
    }

    /// Shows lines in place of what is there.
    ///
    /// # Errors
    ///
    /// It cannot be written to.
    pub fn show(&self, lines: &[String]) -> io::Result<()> {
        let mut text = String::from(HOME);
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str(CLEAR_LINE);
        }
        text.push_str(CLEAR_BELOW);
        self.ui.data(&text)
    }

    /// Waits for keys; none when the terminal is gone. May be cancelled:
    /// nothing is lost.
    pub async fn keys(&mut self) -> Option<Vec<Key>> {
        self.keys.recv().await.map(|octets| decode(&octets))
    }
}

impl Drop for FullScreen<'_> {
    fn drop(&mut self) {
        // There is nobody to tell that it did not work.
        self.ui.data(LEAVE).unwrap_or_default();
    }
}

/// Returns the keys in what a terminal sends (`console_codes(4)`); a sequence
/// is read in one piece.
fn decode(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match *first {
            0x03 => keys.push(Key::Interrupt),
            b'\r' | b'\n' => keys.push(Key::Enter),
            0x7f | 0x08 => keys.push(Key::Backspace),
            0x1b => {
                let (key, left) = sequence(after);
                keys.extend(key);
                rest = left;
            }
            byte @ 0x20..=0x7e => keys.push(Key::Char(char::from(byte))),
            // Names are of ASCII alone.
            _ => {}
        }
    }
    keys
}

/// Reads what comes after an escape character.
fn sequence(bytes: &[u8]) -> (Option<Key>, &[u8]) {
    let Some((b'[' | b'O', after)) = bytes.split_first() else {
        return (Some(Key::Escape), bytes);
    };
    let Some(end) = after.iter().position(|byte| (0x40..=0x7e).contains(byte)) else {
        return (None, &[]);
    };
    let (parameters, rest) = after.split_at(end);
    let (last, rest) = rest.split_first().map_or((0, rest), |(last, rest)| (*last, rest));
    let key = match (last, parameters) {
        (b'A', _) => Some(Key::Up),
        (b'B', _) => Some(Key::Down),
        (b'~', b"5") => Some(Key::PageUp),
        (b'~', b"6") => Some(Key::PageDown),
        _ => None,
    };
    (key, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_terminals_send() {
        for (sent, keys) in [
            ("q", vec![Key::Char('q')]),
            ("\u{3}", vec![Key::Interrupt]),
            ("\u{1b}", vec![Key::Escape]),
            ("\u{1b}[A\u{1b}OB", vec![Key::Up, Key::Down]),
            ("\u{1b}[5~\u{1b}[6~x", vec![Key::PageUp, Key::PageDown, Key::Char('x')]),
            // A function key, and a sequence that is cut off.
            ("\u{1b}[15~a\u{1b}[1;5", vec![Key::Char('a')]),
            ("ab\r\u{7f}", vec![Key::Char('a'), Key::Char('b'), Key::Enter, Key::Backspace]),
            ("é", vec![]),
        ] {
            assert_eq!(decode(sent.as_bytes()), keys, "{sent:?}");
        }
    }
}
