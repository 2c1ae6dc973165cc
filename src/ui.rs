//! The one way to the terminal: data to stdout; status, warnings, hints and
//! errors to stderr. Colour and quiet are decided once, when it is made.
//!
//! A reader that went away (`mcp ps | head -1`) is not an error: what follows
//! is dropped, and [`Ui::is_closed`] tells a long stream to end.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IsTerminal as _, Write};

/// Columns of what is no terminal.
const WIDTH: usize = 100;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always, even into a file
    Always,
    /// Never
    Never,
}

/// What a piece of text says, from which its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be.
    Good,
    /// Under way, or to be looked at.
    Unsure,
    /// Wrong.
    Bad,
    /// Of less weight.
    Faint,
    /// Of more weight.
    Strong,
}

impl Tone {
    /// Returns the colours as ECMA-48 SGR parameters.
    fn parameters(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Good => "32",
            Self::Unsure => "33",
            Self::Bad => "31",
            Self::Faint => "2",
            Self::Strong => "1",
        }
    }
}

/// Paints text, or leaves it, as was decided for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    colour: bool,
}

impl Palette {
    /// A palette that leaves every text as it is.
    pub const PLAIN: Self = Self { colour: false };
    /// A palette that paints.
    pub const COLOUR: Self = Self { colour: true };

    /// Tells whether it paints.
    pub fn paints(self) -> bool {
        self.colour
    }

    /// Paints `text`.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{}m{text}\u{1b}[0m", tone.parameters())
    }
}

/// Where output goes and what is known of it.
pub struct Streams {
    /// Takes the data.
    pub out: Box<dyn Write>,
    /// Takes the rest.
    pub err: Box<dyn Write>,
    /// Which of them are terminals.
    pub terminals: Terminals,
}

/// Behind which of the standard streams a person sits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminals {
    /// Reading the data.
    pub out: bool,
    /// Reading the rest.
    pub err: bool,
    /// Answering.
    pub input: bool,
    /// How many columns the data's terminal has, where that is known.
    pub columns: Option<u16>,
}

impl Streams {
    /// Returns the process's own streams.
    pub fn process() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        Self {
            terminals: Terminals {
                out: out.is_terminal(),
                err: err.is_terminal(),
                input: io::stdin().is_terminal(),
                columns: rustix::termios::tcgetwinsize(&out).ok().map(|size| size.ws_col),
            },
            out: Box::new(out),
            err: Box::new(err),
        }
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("terminals", &self.terminals).finish_non_exhaustive()
    }
}

/// What the operator chose about output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices {
    /// When to colour.
    pub color: ColorChoice,
    /// `NO_COLOR` is set to something (<https://no-color.org>).
    pub no_color: bool,
    /// Only data, warnings and errors.
    pub quiet: bool,
}

/// Writes to the terminal, or to what stands in for it.
pub struct Ui {
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    palette: Palette,
    err_palette: Palette,
    quiet: bool,
    terminals: Terminals,
    closed: Cell<bool>,
}

impl fmt::Debug for Ui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ui")
            .field("palette", &self.palette)
            .field("quiet", &self.quiet)
            .finish_non_exhaustive()
    }
}

impl Ui {
    /// Decides on colour and quiet for these streams.
    pub fn new(streams: Streams, choices: Choices) -> Self {
        let palette = |is_terminal: bool| match choices.color {
            ColorChoice::Always => Palette::COLOUR,
            ColorChoice::Auto if is_terminal && !choices.no_color => Palette::COLOUR,
            ColorChoice::Auto | ColorChoice::Never => Palette::PLAIN,
        };
        Self {
            palette: palette(streams.terminals.out),
            err_palette: palette(streams.terminals.err),
            quiet: choices.quiet,
            terminals: streams.terminals,
            out: RefCell::new(streams.out),
            err: RefCell::new(streams.err),
            closed: Cell::new(false),
        }
    }

    /// Returns the palette of the data.
    pub fn palette(&self) -> Palette {
        self.palette
    }

    /// Returns the palette of the rest.
    pub fn err_palette(&self) -> Palette {
        self.err_palette
    }

    /// Tells whether a person reads the data.
    pub fn out_is_terminal(&self) -> bool {
        self.terminals.out
    }

    /// Tells whether a person reads the data and has a keyboard.
    pub fn is_a_person(&self) -> bool {
        self.terminals.out && self.terminals.input
    }

    /// Returns how many columns the data may take.
    pub fn width(&self) -> usize {
        self.columns().unwrap_or(WIDTH)
    }

    /// Returns how many columns the terminal of the data has; none: nothing
    /// limits it.
    pub fn columns(&self) -> Option<usize> {
        let known = self.terminals.columns.filter(|columns| *columns > 0);
        known.filter(|_| self.terminals.out).map(usize::from)
    }

    /// Tells whether live progress makes sense.
    pub fn is_live(&self) -> bool {
        self.terminals.err && !self.quiet
    }

    /// Tells whether a person can be asked.
    pub fn can_ask(&self) -> bool {
        self.terminals.input && self.terminals.err
    }

    /// Tells whether a person both types the input and reads the data.
    pub fn is_at_terminal(&self) -> bool {
        self.terminals.input && self.terminals.out
    }

    /// Tells whether the reader of the data has gone.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Writes data as it is.
    ///
    /// # Errors
    ///
    /// Any error of the stream but a reader that went away.
    pub fn data(&self, text: &str) -> io::Result<()> {
        if self.closed.get() {
            return Ok(());
        }
        let mut out = self.out.borrow_mut();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed.set(true);
                Ok(())
            }
            other => other,
        }
    }

    /// Writes data and ends the line.
    ///
    /// # Errors
    ///
    /// As [`Ui::data`].
    pub fn data_line(&self, text: &str) -> io::Result<()> {
        self.data(&format!("{text}\n"))
    }

    /// Says what goes on; quiet drops it.
    pub fn status(&self, text: &str) {
        if !self.quiet {
            self.complain(&format!("{text}\n"));
        }
    }

    /// Warns.
    pub fn warning(&self, text: &str) {
        self.labelled("warning", Tone::Unsure, text);
    }

    /// Warns of what can be read elsewhere too; quiet drops it.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            self.warning(text);
        }
    }

    /// Says what to type next; quiet drops it.
    pub fn hint(&self, text: &str) {
        if !self.quiet {
            self.labelled("hint", Tone::Good, text);
        }
    }

    /// Says what went wrong.
    pub fn error(&self, text: &str) {
        self.labelled("error", Tone::Bad, text);
    }

    /// Writes what belongs to an error, such as the place in a file.
    pub fn error_detail(&self, text: &str) {
        self.complain(&format!("{text}\n"));
    }

    /// Asks a yes-or-no question; the answer to silence is no.
    ///
    /// # Errors
    ///
    /// Any error of reading; [`io::ErrorKind::NotConnected`] without a
    /// terminal.
    pub fn ask(&self, question: &str) -> io::Result<bool> {
        if !self.can_ask() {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "there is no terminal to ask on",
            ));
        }
        self.complain(&format!("{question} [y/N] "));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    fn labelled(&self, label: &str, tone: Tone, text: &str) {
        let label = self.err_palette.paint(tone, &format!("{label}:"));
        self.complain(&format!("{label} {text}\n"));
    }

    fn complain(&self, text: &str) {
        let mut err = self.err.borrow_mut();
        // There is no third stream to say that stderr failed.
        drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
    }
}

/// Tells whether a terminal would act on the character instead of showing it:
/// controls (ECMA-48 C0 and C1, DEL), and the marks that reorder or hide text
/// (Unicode Bidi and other zero-width format characters).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn shown(c: char) -> String {
    match c {
        '\u{0}'..='\u{1f}' => {
            format!("^{}", char::from_u32(u32::from(c) + 0x40).unwrap_or('?'))
        }
        '\u{7f}' => "^?".to_owned(),
        other => format!("<U+{:04X}>", u32::from(other)),
    }
}

fn replaced<'a>(text: &'a str, keep: &[char]) -> Cow<'a, str> {
    let bad = |c: char| acts(c) && !keep.contains(&c);
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if bad(c) {
            result.push_str(&shown(c));
        } else {
            result.push(c);
        }
    }
    Cow::Owned(result)
}

/// Returns `text` as one line: every control character is shown (`^[`,
/// `<U+202E>`) instead of obeyed.
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, &[])
}

/// As [`visible`], but keeps line feeds and tabs.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    replaced(text, &['\n', '\t'])
}

/// As [`visible_lines`], but every such character becomes another one of as
/// many bytes, so that places in the text stay true.
pub fn masked(text: &str) -> String {
    let mask = |c: char| match (acts(c) && c != '\n' && c != '\t', c.len_utf8()) {
        (false, _) => c,
        (true, 1) => '?',
        (true, 2) => '\u{b7}',
        (true, 3) => '\u{fffd}',
        (true, _) => '\u{1f6ab}',
    };
    text.chars().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn streams(out: Box<dyn Write>, terminal: bool) -> Streams {
        Streams {
            out,
            err: Box::new(io::sink()),
            terminals: Terminals { out: terminal, err: terminal, input: terminal, columns: None },
        }
    }

    #[test]
    fn a_reader_that_went_away_is_silent() {
        let ui = Ui::new(streams(Box::new(Gone), false), Choices::default());
        assert!(!ui.is_closed());
        ui.data("x").unwrap();
        assert!(ui.is_closed());
        ui.data("y").unwrap();
    }

    #[test]
    fn colour_follows_the_choice_the_terminal_and_no_color() {
        let paints = |color, no_color, terminal| {
            let choices = Choices { color, no_color, quiet: false };
            Ui::new(streams(Box::new(io::sink()), terminal), choices).palette().paints()
        };
        assert!(paints(ColorChoice::Auto, false, true));
        assert!(!paints(ColorChoice::Auto, true, true));
        assert!(!paints(ColorChoice::Auto, false, false));
        assert!(paints(ColorChoice::Always, true, false));
        assert!(!paints(ColorChoice::Never, false, true));
    }

    #[test]
    fn nobody_is_asked_without_a_terminal() {
        let ui = Ui::new(streams(Box::new(io::sink()), false), Choices::default());
        assert_eq!(ui.ask("really?").unwrap_err().kind(), io::ErrorKind::NotConnected);
    }

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        for (text, shown) in [
            ("plain é 漢", "plain é 漢"),
            ("\u{1b}[2J\u{1b}]0;x\u{7}", "^[[2J^[]0;x^G"),
            ("a\rb\nc\td\0\u{7f}", "a^Mb^Jc^Id^@^?"),
            ("\u{9b}31m", "<U+009B>31m"),
            ("a\u{202e}b\u{200b}", "a<U+202E>b<U+200B>"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible_lines("a\nb\tc\u{1b}"), "a\nb\tc^[");
    }

    #[test]
    fn masking_keeps_every_place() {
        let text = "a\u{1b}b\u{9b}c\u{202e}d\u{e0001}e\n";
        let masked = masked(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked, "a?b\u{b7}c\u{fffd}d\u{1f6ab}e\n");
    }

    #[test]
    fn harmless_text_is_not_copied() {
        assert!(matches!(visible("harmless"), Cow::Borrowed(_)));
    }
}
