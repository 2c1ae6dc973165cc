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
        if let Some(value) = &value {
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
        let end = raw
            .char_indices()
            .find(|(at, c)| {
                *c == '#'
                    && raw.get(..*at).is_some_and(|b| b.is_empty() || b.ends_with([' ', '\t']))
            })
            .map_or(raw.len(), |(at, _)| at);
        let bare = raw.get(..end).unwrap_or(raw).trim_end();
        return Ok((filled(bare, known), 0));
    };
    let whole = format!("{}\n{following}", raw.get(1..).unwrap_or_default());
    let mut text = String::new();
    let mut lines = 0;
    let mut chars = whole.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => {
                let text = if quote == '"' { filled(&text, known) } else { text };
                return Ok((text, lines));
            }
            '\\' if quote == '"' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                // Left for what fills variables in.
                Some('$') => text.push_str("$$"),
                Some(c @ ('"' | '\\')) => text.push(c),
                Some(c) => text.extend(['\\', c]),
                None => break,
            },
            '\\' if chars.as_str().starts_with('\'') => {
                text.extend(chars.next());
            }
            '\n' => {
                lines += 1;
                text.push('\n');
            }
            c => text.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
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
