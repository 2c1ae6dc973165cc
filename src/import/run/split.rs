//! Lines of a shell to commands in words.

use super::Wrong;
use crate::import::note::Place;
use crate::import::values::shell_words;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Command {
    pub(in crate::import) place: Place,
    /// The words with their places: columns count words.
    pub(in crate::import) words: Vec<(String, Place)>,
    /// Whether a shell has been at it: then a `$` is one.
    pub(in crate::import) is_split: bool,
}

/// Takes words that the shell has split.
pub(in crate::import) fn of_words(words: &[String]) -> Command {
    let place = Place { file: "command line".into(), line: 1, column: 1 };
    command(&place, words.to_vec(), true)
}

/// Takes the words that a container was made with.
pub(in crate::import) fn of_container(name: &str, words: &[String]) -> Command {
    let place = Place { file: format!("container {name}"), line: 1, column: 1 };
    command(&place, words.to_vec(), true)
}

fn command(place: &Place, words: Vec<String>, is_split: bool) -> Command {
    let at = |column| Place { column, ..place.clone() };
    let words = words.into_iter().enumerate().map(|(n, word)| (word, at(n + 1))).collect();
    Command { place: place.clone(), words, is_split }
}

/// Splits lines into commands: at line ends, `;`, `&` and `|` outside of
/// quotes. Comments go; a backslash at the end of a line joins the next.
///
/// # Errors
///
/// A quote that is not closed.
pub(in crate::import) fn of_text(name: &str, text: &str) -> Result<Vec<Command>, Wrong> {
    let mut commands = Vec::new();
    for (line, piece) in pieces(text) {
        let place = Place { file: name.to_owned(), line, column: 1 };
        let words =
            shell_words(&piece).map_err(|message| Wrong { place: place.clone(), message })?;
        if !words.is_empty() {
            commands.push(command(&place, words, false));
        }
    }
    Ok(commands)
}

/// Returns the pieces between the ends of commands, each with its first line.
fn pieces(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut line, mut start, mut piece) = (1, 1, String::new());
    let mut quote = None;
    let mut chars = text.chars().filter(|c| *c != '\r').peekable();
    while let Some(c) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        match (c, quote) {
            ('\\', None | Some('"')) => {
                match chars.next() {
                    // As the shell: both are as if they were not there.
                    Some('\n') => line += 1,
                    Some(next) => piece.extend([c, next]),
                    None => piece.push(c),
                }
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(own)) if c == own => quote = None,
            ('#', None) if piece.is_empty() || piece.ends_with([' ', '\t']) => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            ('\n' | ';' | '&' | '|', None) => {
                found.push((start, std::mem::take(&mut piece)));
                start = line;
                continue;
            }
            _ => {}
        }
        if piece.is_empty() {
            if c == ' ' || c == '\t' {
                continue;
            }
            start = line;
        }
        piece.push(c);
    }
    found.push((start, piece));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        of_text("f", text)
            .unwrap()
            .into_iter()
            .map(|command| {
                let words: Vec<String> = command.words.into_iter().map(|(word, _)| word).collect();
                format!("{}: {}", command.place.line, words.join("|"))
            })
            .collect()
    }

    #[test]
    fn commands_are_split_as_a_shell_does() {
        let text = "#!/bin/sh\nset -e; a 'b; c' \\\n  \"d \\\" e\" \\\n  f # no\n\ng && h | i\r\nj 'x\ny' k\nl#m\n";
        assert_eq!(
            shown(text),
            ["2: set|-e", "2: a|b; c|d \" e|f", "6: g", "6: h", "6: i", "7: j|x\ny|k", "9: l#m"]
        );
        assert!(of_text("f", "a 'b").unwrap_err().to_string().starts_with("f:1:1: "));
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec("[^\\x00\\r]*", 1..5)) {
            let line = shlex::try_join(words.iter().map(String::as_str)).unwrap();
            let commands = of_text("f", &format!("{line}\necho next\n")).unwrap();
            prop_assert_eq!(commands.len(), 2);
            let found: Vec<String> =
                commands[0].words.iter().map(|(word, _)| word.clone()).collect();
            prop_assert_eq!(found, words);
        }

        #[test]
        fn nothing_panics(text in "[a'\"\\\\\n;&|# ]*") {
            drop(of_text("f", &text));
        }
    }
}
