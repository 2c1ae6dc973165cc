//! Variables in the values of a compose file
//! (<https://docs.docker.com/reference/compose-file/interpolation/>).

use std::collections::BTreeMap;

/// How deep one default may stand in another.
const MAX_DEPTH: usize = 16;
/// The longest that a value may become, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The variables that are known.
#[derive(Debug, Default, Clone)]
pub(super) struct Variables {
    pub(super) known: BTreeMap<String, String>,
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }
}

/// What filling in a value came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Variables that are not set and have no default: empty.
    pub(super) unset: Vec<String>,
    /// Variables that have to be set and are not, with what the file says.
    pub(super) required: Vec<(String, String)>,
}

/// Fills variables in: `$A`, `${A}`, `${A:-b}`, `${A-b}`, `${A:?b}`,
/// `${A?b}`, `${A:+b}`, `${A+b}`; `$$` is a dollar sign.
///
/// # Errors
///
/// What is wrong with the spelling.
pub(super) fn fill(text: &str, variables: &Variables) -> Result<Filled, String> {
    let mut filled = Filled::default();
    let mut walk = Filler { variables, filled: &mut filled };
    let text = walk.fill(text, 0)?;
    filled.text = text;
    Ok(filled)
}

struct Filler<'a> {
    variables: &'a Variables,
    filled: &'a mut Filled,
}

impl Filler<'_> {
    fn fill(&mut self, text: &str, depth: usize) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err("variables stand too deep in each other".to_owned());
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(inner) = after.strip_prefix('{') {
                let end =
                    closing(inner).ok_or_else(|| format!("{text:?} has a ${{ without its }}"))?;
                let (inside, behind) = inner.split_at_checked(end).unwrap_or((inner, ""));
                out.push_str(&self.braces(inside, depth)?);
                rest = behind.strip_prefix('}').unwrap_or(behind);
            } else {
                let name = name_of(after);
                if name.is_empty() {
                    // Compose leaves it as it is: `$(date)`, `^(a|b)$`.
                    out.push('$');
                    rest = after;
                    continue;
                }
                out.push_str(&self.plain(name));
                rest = after.get(name.len()..).unwrap_or_default();
            }
            if out.len() > MAX_BYTES {
                return Err("the value becomes larger than 1 MiB".to_owned());
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn plain(&mut self, name: &str) -> String {
        if let Some(value) = self.variables.get(name) {
            value.to_owned()
        } else {
            self.filled.unset.push(name.to_owned());
            String::new()
        }
    }

    /// Fills in what stands between `${` and `}`.
    fn braces(&mut self, inside: &str, depth: usize) -> Result<String, String> {
        let name = name_of(inside);
        if name.is_empty() {
            return Err(format!("${{{inside}}} names no variable"));
        }
        let operation = inside.get(name.len()..).unwrap_or_default();
        let (or_empty, operation) = match operation.strip_prefix(':') {
            Some(rest) if rest.starts_with(['-', '?', '+']) => (true, rest),
            _ => (false, operation),
        };
        let value = self.variables.get(name).filter(|value| !or_empty || !value.is_empty());
        let value = value.map(str::to_owned);
        let word = operation.get(1..).unwrap_or_default();
        match (operation.chars().next(), value) {
            (None, _) => Ok(self.plain(name)),
            (Some('-' | '?'), Some(value)) => Ok(value),
            (Some('-'), None) | (Some('+'), Some(_)) => self.fill(word, depth + 1),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => {
                let message = self.fill(word, depth + 1)?;
                self.filled.required.push((name.to_owned(), message));
                Ok(String::new())
            }
            (Some(_), _) => Err(format!("${{{inside}}} is not a form that compose knows")),
        }
    }
}

/// Returns where the brace closes that was opened before a text; a default may
/// hold others (`${A:-^\d{4}$}`), and one of them may stand alone.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    // A brace of the default's own: `${A:-{}`.
    text.rfind('}').filter(|_| !text.contains("${"))
}

fn name_of(text: &str) -> &str {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !good(c)).unwrap_or(text.len());
    let name = text.get(..end).unwrap_or_default();
    if name.starts_with(|c: char| c.is_ascii_digit()) { "" } else { name }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Variables {
        let known = [("A", "a"), ("EMPTY", ""), ("DB", "app db")];
        Variables { known: known.map(|(n, v)| (n.to_owned(), v.to_owned())).into() }
    }

    fn filled(text: &str) -> String {
        fill(text, &variables()).unwrap().text
    }

    #[test]
    fn every_form_is_filled_in() {
        for (text, value) in [
            ("$A-${A}", "a-a"),
            ("$$A $${A}", "$A ${A}"),
            ("${EMPTY:-x}${EMPTY-x}${NONE:-x}${NONE-x}", "xxx"),
            ("${A:+y}${EMPTY:+y}${EMPTY+y}${NONE+y}", "yy"),
            ("${NONE:-${ALSO:-${A}}}", "a"),
            ("${NONE:-a}b}", "ab}"),
            ("postgres://u:${NONE:-p$$w}@db/${DB}", "postgres://u:p$w@db/app db"),
            ("${A:?needed}", "a"),
            ("${NONE-}", ""),
            ("no variables", "no variables"),
            ("${NONE:-:x}", ":x"),
            ("for i in $(seq 1 60)", "for i in $(seq 1 60)"),
            ("^(a|b)$", "^(a|b)$"),
            ("$1 $ a", "$1 $ a"),
            ("${NONE:-{}", "{"),
            ("${NONE:-{{}", "{{"),
            ("${NONE:-^(\\d{4})$}", "^(\\d{4})$"),
        ] {
            assert_eq!(filled(text), value, "{text}");
        }
        let filled = fill("$NONE ${ALSO:?say ${A}}", &variables()).unwrap();
        assert_eq!(filled.unset, ["NONE"]);
        assert_eq!(filled.required, [("ALSO".to_owned(), "say a".to_owned())]);
    }

    #[test]
    fn what_compose_refuses_is_refused() {
        for bad in ["${", "${A", "${}", "${A!x}", "${1A}", "${ A}", &"${A:+".repeat(99)] {
            assert!(fill(bad, &variables()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_text_with_its_dollars_doubled_is_itself(text in any::<String>()) {
            prop_assert_eq!(filled(&text.replace('$', "$$")), text);
        }

        #[test]
        fn nothing_panics(text in "[${}A:?+a\\-]*") {
            drop(fill(&text, &variables()));
        }
    }
}
