//! Reading a unit file (`systemd.syntax(7)`).

/// One directive of a unit file. Two are equal if they say the same, wherever
/// they stand.
#[derive(Debug, Clone, Eq)]
pub struct Directive {
    /// Section that it is in, without brackets.
    pub section: String,
    /// Its key.
    pub key: String,
    /// Its value in one line.
    pub value: String,
    /// The line that it begins on, from 1.
    pub line: usize,
}

impl PartialEq for Directive {
    fn eq(&self, other: &Self) -> bool {
        let Self { section, key, value, line: _ } = self;
        (section, key, value) == (&other.section, &other.key, &other.value)
    }
}

/// Sections that podman's generator reads. In a file that has one it puts
/// nothing in the place of a backslash at the end of a line, where systemd puts
/// a blank, and passes over empty lines that follow.
const OF_PODMAN: &[&str] =
    &["Artifact", "Build", "Container", "Image", "Kube", "Network", "Pod", "Quadlet", "Volume"];

/// What systemd takes for a blank; other blanks of Unicode are text.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace()
}

/// Tells whether a file is podman's, and not a unit of systemd.
fn is_quadlet(text: &str) -> bool {
    text.lines().any(|line| {
        let name = line.trim_matches(is_blank).strip_prefix('[');
        name.and_then(|name| name.strip_suffix(']')).is_some_and(|n| OF_PODMAN.contains(&n))
    })
}

/// Tells whether a line within a value that goes on is passed over.
fn is_between(line: &str, is_quadlet: bool) -> bool {
    let line = line.trim_start_matches(is_blank);
    line.starts_with(['#', ';']) || is_quadlet && line.is_empty()
}

/// Returns the first line that is no directive, section or comment, by number:
/// systemd passes it over, and podman's generator refuses the file.
pub fn unreadable(text: &str) -> Option<(usize, &str)> {
    let mut goes_on = false;
    let is_quadlet = is_quadlet(text);
    for (line, number) in text.lines().zip(1..) {
        let plain = line.trim_matches(is_blank);
        let is_comment = plain.is_empty() || plain.starts_with(['#', ';']);
        let is_section = plain.starts_with('[') && plain.ends_with(']');
        let is_directive = plain
            .split_once('=')
            .is_some_and(|(key, _)| !key.trim().is_empty() && !plain.starts_with('['));
        if !(goes_on || is_comment || is_section || is_directive) {
            return Some((number, plain));
        }
        goes_on = plain.ends_with('\\') && (goes_on || is_directive)
            || (goes_on && is_between(plain, is_quadlet));
    }
    None
}

/// Reads the directives of a unit file, in order. Comments, and lines that
/// are no directive, are passed over, as systemd does.
pub fn directives(text: &str) -> Vec<Directive> {
    let mut found = Vec::new();
    let mut section = String::new();
    let is_quadlet = is_quadlet(text);
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let mut line = line.trim_matches(is_blank).to_owned();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        while line.ends_with('\\') {
            line.pop();
            match lines.next().map(|(next, _)| next) {
                Some(next) if is_between(next, is_quadlet) => line.push('\\'),
                Some(next) => {
                    if !is_quadlet {
                        line.push(' ');
                    }
                    line.push_str(next.trim_matches(is_blank));
                }
                None => break,
            }
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            found.push(Directive {
                section: section.clone(),
                key: key.trim_end_matches(is_blank).to_owned(),
                value: value.trim_start_matches(is_blank).to_owned(),
                line: number,
            });
        }
    }
    found
}

/// Returns the values of one key, in order.
pub fn values<'a>(
    directives: &'a [Directive],
    section: &'a str,
    key: &'a str,
) -> impl Iterator<Item = &'a str> {
    directives
        .iter()
        .filter(move |d| d.section == section && d.key == key)
        .map(|d| d.value.as_str())
}

/// Returns a file without the comment that heads it: two files that differ
/// only there mean the same.
pub fn body(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with('#') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_of_every_form() {
        let text = "# c\n[Unit]\nA=1\n; c\nB = x \\\n  y\nnonsense\n[Service]\nA=\n";
        let found = directives(text);
        let shown: Vec<_> =
            found.iter().map(|d| (d.section.as_str(), d.key.as_str(), d.value.as_str())).collect();
        assert_eq!(shown, [("Unit", "A", "1"), ("Unit", "B", "x  y"), ("Service", "A", "")]);
        let podmans = directives("[Container]\nA=x \\\n  y\\\n# c\n  z\n");
        assert_eq!(podmans[0].value, "x yz");
        let podmans = directives("[Container]\n[Service]\nA=x \\\n\n  y\\\nz\nB=1\n");
        assert_eq!((podmans[0].value.as_str(), podmans[1].key.as_str()), ("x yz", "B"));
        let systemds = directives("[Service]\nA=x\\\n\nB=1\n");
        assert_eq!((systemds[0].value.as_str(), systemds[1].key.as_str()), ("x ", "B"));
        let wide = directives("[Service]\nA= x\u{2028}\u{a0} \n");
        assert_eq!(wide[0].value, "x\u{2028}\u{a0}");
        assert_eq!(values(&found, "Unit", "A").collect::<Vec<_>>(), ["1"]);
        assert_eq!(body("# a\n# b\n\n[Unit]\n# c\n"), "\n[Unit]\n# c\n");
    }

    #[test]
    fn a_line_that_is_nothing_is_found() {
        let good = "# c\n[Container]\nImage=a\nExec=a \\\n  no key here \\\n# between\n  the end\n\n; d\nX=[1]\n";
        assert_eq!(unreadable(good), None);
        assert_eq!(unreadable("[Container]\nExec=a \\\n\n  no key here\n"), None);
        for (bad, number) in
            [("[Container\nImage=x\n", 1), ("[A]\nnot a key\n", 2), ("[A]\n=x\n", 2)]
        {
            assert_eq!(unreadable(bad).map(|(n, _)| n), Some(number), "{bad}");
        }
    }
}
