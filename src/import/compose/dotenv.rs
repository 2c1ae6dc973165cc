//! Files of variables: `.env`, and those that `env_file` names
//! (<https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/>).

use super::interpolate::{Variables, fill};

/// One line of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) name: String,
    /// `None`: the variable is passed on, if it is set.
    pub(super) value: Option<String>,
    /// Whether podman reads the line as compose does.
    pub(super) is_plain: bool,
}

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) number: usize,
    pub(super) message: String,
}

/// Reads the lines in order; earlier ones are known to later ones.
///
/// # Errors
///
/// [`BadLine`], the first of them.
pub(super) fn parse(text: &str, outer: &Variables) -> Result<Vec<Line>, BadLine> {
    let mut lines: Vec<Line> = Vec::new();
    // What is known outside wins over what the file says itself.
    let mut known = outer.clone();
    let mut number = 0;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        number += 1;
        let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = behind;
        let line = line.trim_end_matches('\r');
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let bad = |message: &str| BadLine { number, message: message.to_owned() };
        let exported = trimmed.strip_prefix("export ").map(str::trim_start);
        let body = exported.unwrap_or(trimmed);
        let (name, raw) = match body.find(['=', ':']) {
            None => (body.trim(), None),
            Some(at) => (body.get(..at).unwrap_or_default().trim(), body.get(at + 1..)),
        };
        let good = |c: char| c.is_ascii_alphanumeric() || "_.-[]".contains(c);
        if name.is_empty() || !name.chars().all(good) {
            return Err(bad("the line is not NAME=value"));
        }
        let first = number;
        let (value, is_plain) = match raw {
            None => (outer.get(name).map(str::to_owned), true),
            Some(raw) => {
                let (value, lines_taken) = value(raw.trim_start(), rest, &known)
                    .map_err(|message| BadLine { number, message })?;
                for _ in 0..lines_taken {
                    rest = rest.split_once('\n').map_or("", |(_, behind)| behind);
                    number += 1;
                }
                let is_plain = exported.is_none()
                    && lines_taken == 0
                    && line == format!("{name}={value}")
                    && !line.contains('\t');
                (Some(value), is_plain)
            }
        };
        if let Some(value) = &value
            && outer.get(name).is_none()
        {
            known.known.insert(name.to_owned(), value.clone());
        }
        lines.push(Line { number: first, name: name.to_owned(), value, is_plain });
    }
    Ok(lines)
}

/// Reads the lines of a file of the format `raw`: what is behind the equals
/// sign is the value.
///
/// # Errors
///
/// [`BadLine`], the first of them.
pub(super) fn parse_raw(text: &str, outer: &Variables) -> Result<Vec<Line>, BadLine> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().zip(1..).filter(|(line, _)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    let read = |(line, number): (&str, usize)| {
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim(), outer.get(line.trim()).map(str::to_owned)),
        };
        let name = name.trim_start();
        if name.is_empty() || name.contains(char::is_whitespace) {
            let message = "the line is not NAME=value".to_owned();
            return Err(BadLine { number, message });
        }
        Ok(Line { number, name: name.to_owned(), value, is_plain: !line.contains('\t') })
    };
    lines.map(read).collect()
}

/// Reads a value; returns how many of the lines that follow it takes as well.
fn value(raw: &str, following: &str, known: &Variables) -> Result<(String, usize), String> {
    let Some(quote) = raw.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let bare = raw.split_once(" #").map_or(raw, |(bare, _)| bare).trim_end();
        return Ok((filled(bare, known), 0));
    };
    let mut text = String::new();
    let mut lines = 0;
    let mut chars = raw.chars().skip(1).chain("\n".chars()).chain(following.chars()).peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => {
                let text = if quote == '"' { filled(&text, known) } else { text };
                return Ok((text, lines));
            }
            '\\' if quote == '"' => {
                if chars.peek() == Some(&'\n') {
                    lines += 1;
                }
                escape(&mut chars, &mut text);
            }
            '\\' => match chars.next_if(|c| matches!(c, '\'' | '\\')) {
                Some('\'') => text.push('\''),
                Some(c) => text.extend(['\\', c]),
                None => text.push('\\'),
            },
            '\n' => {
                lines += 1;
                text.push('\n');
            }
            c => text.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}

/// Reads what stands behind a backslash within `"`.
fn escape(chars: &mut std::iter::Peekable<impl Iterator<Item = char>>, text: &mut String) {
    match chars.next() {
        Some('a') => text.push('\u{7}'),
        Some('b') => text.push('\u{8}'),
        Some('f') => text.push('\u{c}'),
        Some('n') => text.push('\n'),
        Some('r') => text.push('\r'),
        Some('t') => text.push('\t'),
        Some('v') => text.push('\u{b}'),
        Some('0') => {
            let mut digits = String::new();
            while digits.len() < 3
                && let Some(digit) = chars.next_if(|c| c.is_digit(8))
            {
                digits.push(digit);
            }
            // Another byte is no text.
            match u8::from_str_radix(&digits, 8) {
                Ok(code @ 1..=127) => text.push(char::from(code)),
                Ok(_) | Err(_) => text.push_str(&format!("\\0{digits}")),
            }
        }
        // Left for what fills variables in.
        Some('$') => text.push_str("$$"),
        Some(c @ ('"' | '\\')) => text.push(c),
        Some(c) => text.extend(['\\', c]),
        None => {}
    }
}

/// Fills variables in; what is no variable is left as it is.
fn filled(text: &str, known: &Variables) -> String {
    fill(text, known).map_or_else(|_| text.to_owned(), |filled| filled.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, bool)> {
        let outer = Variables { known: [("OUT".to_owned(), "out".to_owned())].into() };
        parse(text, &outer)
            .unwrap()
            .into_iter()
            .map(|line| (line.name, line.value.unwrap_or_else(|| "-".to_owned()), line.is_plain))
            .collect()
    }

    #[test]
    fn lines_of_every_form() {
        let text = "# c\n\nA=1\nexport B=two words # c\nC='$A #x'\nD=\"$A\\n${B}\\$\"\nE=\"l1\nl2\"\nF: y\nOUT\nNONE\nG=a#b\nH=\nI=$\n";
        let found = read(text);
        let shown: Vec<_> =
            found.iter().map(|(n, v, plain)| format!("{n}={v:?} {plain}")).collect();
        assert_eq!(
            shown,
            [
                "A=\"1\" true",
                "B=\"two words\" false",
                "C=\"$A #x\" false",
                "D=\"1\\ntwo words$\" false",
                "E=\"l1\\nl2\" false",
                "F=\"y\" false",
                "OUT=\"out\" true",
                "NONE=\"-\" true",
                "G=\"a#b\" true",
                "H=\"\" true",
                "I=\"$\" true",
            ]
        );
    }

    #[test]
    fn quotes_escapes_and_comments_are_those_of_compose() {
        let text = "P='C:\\dir\\\\'\nQ=\"a\\\nb\"\nE=\"\\a\\b\\f\\v\\033\\0101\\0\"\nCOLOR=#fff\nA= #x\nB=c #d\nT=a\t#b\nOUT=own\nR=$OUT\nbad line\n";
        let outer = Variables { known: [("OUT".to_owned(), "out".to_owned())].into() };
        assert_eq!(parse(text, &outer).unwrap_err().number, 11);
        let found = read(text.strip_suffix("bad line\n").unwrap());
        let values: Vec<&str> = found.iter().map(|(_, value, _)| value.as_str()).collect();
        assert_eq!(
            values,
            [
                "C:\\dir\\\\",
                "a\\\nb",
                "\u{7}\u{8}\u{c}\u{b}\u{1b}A\\0",
                "#fff",
                "#x",
                "c",
                "a\t#b",
                "own",
                "out",
            ]
        );
        let raw = parse_raw("\u{feff}A=1\n", &outer).unwrap();
        assert_eq!(raw[0].name, "A");
    }

    #[test]
    fn what_is_no_escape_stays() {
        let found = read("A=\"^\\d+\\\\$\"\nB='let\\'s go\\n'\nC[0]=c\n");
        let values: Vec<&str> = found.iter().map(|(_, value, _)| value.as_str()).collect();
        assert_eq!(values, ["^\\d+\\$", "let's go\\n", "c"]);
        let raw = parse_raw("# c\nA=\"$B\"  \n\nC\n", &Variables::default()).unwrap();
        let raw: Vec<_> = raw.iter().map(|line| (line.number, line.value.as_deref())).collect();
        assert_eq!(raw, [(2, Some("\"$B\"  ")), (4, None)]);
    }

    #[test]
    fn lines_that_are_none_are_told() {
        let none = Variables::default();
        assert_eq!(parse("A=1\nwhat is this\n", &none).unwrap_err().number, 2);
        assert_eq!(parse("A=\"x", &none).unwrap_err().message, "a quote is not closed");
    }
}
