//! The program's own sources, read as text: what each file names, tests and
//! comments aside.

use std::collections::BTreeSet;
use std::fs;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// One source file without its tests.
pub struct Source {
    /// Its path below `src/`.
    pub path: String,
    /// Every path that its code names, `use` groups written out:
    /// `crate::names::NodeName`, `std::net::IpAddr`. What begins with `super`
    /// begins with `crate` here.
    pub names: BTreeSet<String>,
    /// How many lines come before its tests.
    pub lines: usize,
}

/// Reads every file below `src/` that is compiled into the programs.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut of_tests) = (Vec::new(), BTreeSet::new());
    collect(&root, "", &mut files, &mut of_tests);
    files.retain(|(path, _)| !of_tests.contains(path));
    assert!(files.len() > 50, "the sources have moved");
    files.into_iter().map(|(path, text)| source(path, &text)).collect()
}

fn collect(
    root: &Path,
    below: &str,
    files: &mut Vec<(String, String)>,
    of_tests: &mut BTreeSet<String>,
) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(root, &format!("{below}{name}/"), files, of_tests);
        } else if entry.path().extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            of_tests.extend(test_files(&text).into_iter().map(|file| format!("{below}{file}")));
            files.push((format!("{below}{name}"), text));
        }
    }
}

/// The files that `#[cfg(test)] mod ...;` brings in.
fn test_files(text: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line == "#[cfg(test)]") {
        let mut named = None;
        for line in lines.by_ref() {
            if let Some(path) = line.strip_prefix("#[path = \"") {
                named = path.split('"').next().map(str::to_owned);
            } else if let Some(module) = line.strip_prefix("mod ") {
                if let Some(module) = module.strip_suffix(';') {
                    files.push(named.unwrap_or_else(|| format!("{module}.rs")));
                }
                break;
            }
        }
    }
    files
}

fn source(path: String, text: &str) -> Source {
    let code = without_tests(&code(text));
    let depth = path.trim_end_matches("/mod.rs").split('/').count();
    let names = names(&code).into_iter().map(|name| from_the_root(&name, &path, depth)).collect();
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    Source { path, names, lines }
}

/// `super::x` in `a/b.rs` is `crate::a::x`.
fn from_the_root(name: &str, path: &str, depth: usize) -> String {
    let rest = name.trim_start_matches("super::");
    let ups = (name.len() - rest.len()) / "super::".len();
    if ups == 0 {
        return name.to_owned();
    }
    let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let above: Vec<&str> = stem.split('/').take(depth.saturating_sub(ups)).collect();
    ["crate"].into_iter().chain(above).chain([rest]).collect::<Vec<_>>().join("::")
}

/// Blanks comments, texts and characters, so that only code is left.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                skip_to(&mut chars, '\n');
                out.push('\n');
            }
            '"' if raw_hashes(&out).is_some() => {
                let end = format!("\"{}", "#".repeat(raw_hashes(&out).unwrap_or(0)));
                let mut seen = String::new();
                while !seen.ends_with(&end) {
                    seen.push(chars.next().unwrap());
                }
                out.push_str("\"\"");
            }
            '"' => {
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    if c == '\\' {
                        chars.next();
                    }
                }
                out.push_str("\"\"");
            }
            // A character, not a lifetime: 'x' or '\x'.
            '\'' if !before.is_alphanumeric() && is_character(&chars) => {
                if chars.next() == Some('\\') {
                    chars.next();
                }
                skip_to(&mut chars, '\'');
                out.push_str("' '");
            }
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// The number of `#` if what was just written begins a raw text.
fn raw_hashes(out: &str) -> Option<usize> {
    let hashes = out.len() - out.trim_end_matches('#').len();
    let head = out.trim_end_matches('#');
    let marked =
        head.ends_with('r') && !head.trim_end_matches('r').ends_with(char::is_alphanumeric);
    let bytes = head.ends_with("br");
    (marked || bytes).then_some(hashes)
}

fn is_character(chars: &Peekable<Chars<'_>>) -> bool {
    let mut ahead = chars.clone();
    match ahead.next() {
        Some('\\') => true,
        Some(_) => ahead.next() == Some('\''),
        None => false,
    }
}

fn skip_to(chars: &mut Peekable<Chars<'_>>, end: char) {
    for c in chars.by_ref() {
        if c == end {
            return;
        }
    }
}

/// Takes out every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        out.push_str(before);
        let mut depth = 0_usize;
        let end = after.char_indices().find(|(_, c)| match c {
            '{' => {
                depth += 1;
                false
            }
            '}' => {
                depth = depth.saturating_sub(1);
                depth == 0
            }
            ';' => depth == 0,
            _ => false,
        });
        rest = end.map_or("", |(at, _)| after.split_at(at + 1).1);
    }
    out.push_str(rest);
    out
}

/// Every path in code, groups written out.
fn names(code: &str) -> Vec<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(word) {
        let (before, from) = rest.split_at(at);
        let length = from.find(|c| !word(c)).unwrap_or(from.len());
        let (root, after) = from.split_at(length);
        rest = match after.strip_prefix("::") {
            Some(tree) if !before.ends_with("::") => branches(root, tree, &mut found),
            Some(_) | None => after,
        };
    }
    found
}

/// Reads what follows `stem::`, and returns what is left of the text.
fn branches<'a>(stem: &str, text: &'a str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut inside) = text.strip_prefix('{') {
        loop {
            inside = inside.trim_start().trim_start_matches(',').trim_start();
            match inside.strip_prefix('}') {
                Some(rest) => return rest,
                None if inside.is_empty() => return inside,
                None => {
                    let left = branches(stem, inside, found);
                    let left = left.trim_start();
                    // `x as y`
                    let end = left.find([',', '}']).unwrap_or(left.len());
                    inside = left.split_at(end).1;
                }
            }
        }
    }
    let length = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (segment, after) = text.split_at(length);
    let path = if segment.is_empty() { stem.to_owned() } else { format!("{stem}::{segment}") };
    match after.strip_prefix("::") {
        Some(tree) if !segment.is_empty() => branches(&path, tree, found),
        _ => {
            found.push(path);
            after
        }
    }
}

#[test]
fn the_reader_sees_code_and_nothing_else() {
    let text = r##"
//! crate::comment
use crate::{a::B, c::{self, d as e}};
use std::net::IpAddr;
const T: &str = "crate::text"; // crate::trailing
const R: &str = r#"tokio::raw " "#;
fn f<'a>(x: &'a str) -> char { super::super::up::g(x); '"' }
fn h() -> Vec<u8> { Vec::<crate::deep::X>::new() }
#[cfg(test)]
mod tests { use tokio::fs; fn x() { if true {} } }
use after::tests;
"##;
    let source = source("a/b.rs".to_owned(), text);
    let names: Vec<&str> = source.names.iter().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "Vec",
            "after::tests",
            "crate::a::B",
            "crate::c::d",
            "crate::c::self",
            "crate::deep::X",
            "crate::up::g",
            "std::net::IpAddr",
        ]
    );
    assert_eq!(test_files("#[cfg(test)]\n#[path = \"x_tests.rs\"]\nmod tests;\n"), ["x_tests.rs"]);
    assert_eq!(
        test_files("#[cfg(test)]\nmod fixtures;\n#[cfg(test)]\nmod tests {\n"),
        ["fixtures.rs"]
    );
}
