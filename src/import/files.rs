//! Where an import gets what files hold.

/// The files of the operator, as far as an import looks at them: those that
/// were named, and those that they name.
pub trait Files {
    /// Returns the text of a file, given by an absolute path; `None` when it
    /// is not there.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in one sentence.
    fn text(&mut self, path: &str) -> Result<Option<String>, String>;

    /// Tells whether there is anything at an absolute path.
    fn exists(&self, path: &str) -> bool;
}

/// Joins a path to the directory that it is relative to, `.` and `..` taken
/// out; `~` is the home directory.
pub fn absolute(directory: &str, home: &str, path: &str) -> String {
    let whole = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ if path.starts_with('/') => path.to_owned(),
        _ => format!("{directory}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Returns the directory of an absolute path.
pub fn directory(path: &str) -> &str {
    match path.rsplit_once('/') {
        None | Some(("", _)) => "/",
        Some((directory, _)) => directory,
    }
}

/// Returns the last part of a path.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute() {
        assert_eq!(absolute("/srv/app", "/home/u", "./data"), "/srv/app/data");
        assert_eq!(absolute("/srv/app", "/home/u", "../x/./y"), "/srv/x/y");
        assert_eq!(absolute("/srv/app", "/home/u", "~/y"), "/home/u/y");
        assert_eq!(absolute("/srv/app", "/home/u", "~x"), "/srv/app/~x");
        assert_eq!(absolute("/", "/", "../../.."), "/");
        assert_eq!(directory("/a/b"), "/a");
        assert_eq!(directory("/a"), "/");
        assert_eq!(file_name("/a/b.container"), "b.container");
    }
}
