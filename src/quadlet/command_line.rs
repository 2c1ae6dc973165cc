//! Reading a command line of systemd back into words.

use super::escape::{EMPTY, SEMICOLON};

/// Marks what systemd would expand and we did not mean: no value of ours can
/// hold it, for it is no character that text uses.
const UNRESOLVED: char = '\u{10FFFE}';

/// A command line that systemd would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("systemd cannot read the command line: {reason}")]
pub struct BadCommandLine {
    reason: &'static str,
}

/// Splits a command line as `systemd.service(5)` ("COMMAND LINES") and
/// `systemd.syntax(7)` (quoting) say; `%%` and `$$` become `%` and `$`.
///
/// Specifiers and variables stay in, marked so that they equal nothing but
/// themselves; [`EMPTY`] and [`SEMICOLON`], which our units set, are filled in.
///
/// # Errors
///
/// [`BadCommandLine`] for open quotes and unknown escapes.
pub fn words(line: &str) -> Result<Vec<String>, BadCommandLine> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        if chars.peek().is_none() {
            return Ok(words);
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', _) => word.push(unescape(&mut chars)?),
                (c, Some(q)) if c == q => quote = None,
                ('"' | '\'', None) => quote = Some(c),
                (c, None) if c.is_ascii_whitespace() => break,
                (c, _) => word.push(c),
            }
        }
        if quote.is_some() {
            return Err(BadCommandLine { reason: "a quote is not closed" });
        }
        words.push(expanded(&word));
    }
}

fn unescape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadCommandLine> {
    let bad = BadCommandLine { reason: "an escape sequence is not known" };
    let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
                  digits: usize,
                  radix: u32,
                  first: Option<char>| {
        let mut text: String = first.into_iter().collect();
        while text.len() < digits {
            text.push(chars.next()?);
        }
        char::from_u32(u32::from_str_radix(&text, radix).ok()?).filter(|c| *c != '\0')
    };
    let found = match chars.next() {
        Some('a') => Some('\x07'),
        Some('b') => Some('\x08'),
        Some('f') => Some('\x0c'),
        Some('n') => Some('\n'),
        Some('r') => Some('\r'),
        Some('t') => Some('\t'),
        Some('v') => Some('\x0b'),
        Some('s') => Some(' '),
        Some(c @ ('\\' | '"' | '\'')) => Some(c),
        Some('x') => number(chars, 2, 16, None),
        Some('u') => number(chars, 4, 16, None),
        Some('U') => number(chars, 8, 16, None),
        Some(c @ '0'..='7') => number(chars, 3, 8, Some(c)),
        Some(_) | None => None,
    };
    found.ok_or(bad)
}

/// What systemd does to a word after splitting: specifiers, then variables.
fn expanded(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '%' if chars.next_if_eq(&'%').is_some() => out.push('%'),
            '$' if chars.next_if_eq(&'$').is_some() => out.push('$'),
            '%' | '$' => {
                out.push(UNRESOLVED);
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.replace(&format!("{UNRESOLVED}${{{EMPTY}}}"), "")
        .replace(&format!("{UNRESOLVED}${{{SEMICOLON}}}"), ";")
}

/// Tells whether nothing stayed in a word that systemd would fill in.
pub fn is_resolved(word: &str) -> bool {
    !word.contains(UNRESOLVED)
}

/// Shows a word to a person: what stayed unresolved without its mark.
pub fn shown(word: &str) -> String {
    word.replace(UNRESOLVED, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_systemd_does() {
        let w = |line| words(line).unwrap();
        assert_eq!(w(r#"a "b c" d'e f'g"#), ["a", "b c", "de fg"]);
        assert_eq!(w(r#""a\"b" "l1\nl2" \x41"#), ["a\"b", "l1\nl2", "A"]);
        assert_eq!(w("100%% $$X ${MCP_EMPTY} x"), ["100%", "$X", "", "x"]);
        for bad in ["\"a", "'a", "\\q", "\\x0", "a\\"] {
            assert!(words(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_specifier_never_equals_a_text() {
        assert_ne!(words("%n").unwrap(), ["%n"]);
        assert_ne!(words("$X").unwrap(), ["$X"]);
        assert_eq!(words("%%n").unwrap(), ["%n"]);
        assert_eq!(shown(&words("%t/x").unwrap()[0]), "%t/x");
    }
}
