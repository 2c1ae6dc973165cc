//! What packages ship beside a program, made from its command line: manual
//! pages, and scripts with which a shell completes its arguments.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::env::Shells;
use clap_mangen::Man;

/// The shells that there are completion scripts for.
pub const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// A section of the manual (`man(1)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Commands that anybody may run.
    Commands,
    /// Daemons, and what an administrator runs.
    Administration,
}

impl Section {
    fn number(self) -> &'static str {
        match self {
            Self::Commands => "1",
            Self::Administration => "8",
        }
    }
}

/// Says which file or directory could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct PageError {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Writes the manual page of a program and those of its commands into a
/// directory, which is made if it is missing: `NAME.SECTION`,
/// `NAME-COMMAND.SECTION`. Returns the files.
///
/// # Errors
///
/// [`PageError`]
pub fn write_pages(
    mut program: Command,
    section: Section,
    directory: &Path,
) -> Result<Vec<PathBuf>, PageError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| PageError { path, source }
    };
    fs::create_dir_all(directory).map_err(at(directory))?;
    program = program.disable_help_subcommand(true);
    program.build();
    let version = program.get_version().unwrap_or_default().to_owned();
    let (mut left, mut written) = (vec![program], Vec::new());
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|c| !c.is_hide_set()).cloned());
        let man = Man::new(command).section(section.number()).source(format!("MCP {version}"));
        let file = directory.join(man.get_filename());
        let mut page = Vec::new();
        man.render(&mut page).map_err(at(&file))?;
        let page = with_usual_sections(&String::from_utf8_lossy(&page));
        crate::atomic_file::write(&file, page.as_bytes(), 0o644).map_err(at(&file))?;
        written.push(file);
    }
    written.sort();
    Ok(written)
}

/// Gives what stands below the options the headings that pages have
/// (`man-pages(7)`): all of it comes as one section, EXTRA.
fn with_usual_sections(page: &str) -> String {
    [
        (".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n"),
        (".SH EXTRA\nExample:\n", ".SH EXAMPLES\n"),
        (".SH EXTRA\nExit codes: ", ".SH \"EXIT STATUS\"\n"),
        (".SH EXTRA\n", ".SH NOTES\n"),
    ]
    .into_iter()
    .fold(page.to_owned(), |page, (begin, usual)| page.replace(begin, usual))
}

/// Returns the script with which a shell of [`SHELLS`] completes a program's
/// arguments: it asks the program itself as they are typed. `None` for another
/// shell.
///
/// # Errors
///
/// The script cannot be made.
pub fn completion_script(program: &Command, shell: &str) -> io::Result<Option<String>> {
    let name = program.get_name();
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(shell) else { return Ok(None) };
    let mut script = Vec::new();
    completer.write_registration("COMPLETE", name, name, name, &mut script)?;
    Ok(Some(String::from_utf8_lossy(&script).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        Command::new("prog")
            .version("1.2")
            .after_help("Exit codes: 0 done")
            .subcommand(
                Command::new("do")
                    .about("Do it")
                    .after_help("Example:\n  prog do twice")
                    .subcommand(Command::new("twice").after_help("Twice is enough.")),
            )
            .subcommand(Command::new("secret").hide(true))
    }

    #[test]
    fn each_command_has_its_page_in_the_section_of_the_program() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("new/man");
        let written = write_pages(program(), Section::Administration, &below).unwrap();
        assert_eq!(written.len(), 3);
        let mut names: Vec<_> =
            fs::read_dir(&below).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["prog-do-twice.8", "prog-do.8", "prog.8"]);
        let page = fs::read_to_string(below.join("prog.8")).unwrap();
        assert!(page.contains("prog\\-do(8)") && !page.contains("secret"), "{page}");
        let page = fs::read_to_string(below.join("prog-do.8")).unwrap();
        assert!(page.contains(".TH prog-do 8  \"MCP 1.2\""), "{page}");
        assert!(page.contains(".SH EXAMPLES\n  prog do twice\n"), "{page}");
        let section = |file: &str, text: &str| {
            let page = fs::read_to_string(below.join(file)).unwrap();
            assert!(page.contains(text) && !page.contains("EXTRA"), "{page}");
        };
        section("prog.8", ".SH \"EXIT STATUS\"\n0 done");
        section("prog-do-twice.8", ".SH NOTES\nTwice is enough");
    }

    #[test]
    fn every_shell_gets_a_script_that_asks_the_program() {
        for shell in SHELLS {
            let script = completion_script(&program(), shell).unwrap().unwrap();
            assert!(script.contains("COMPLETE"), "{shell}: {script}");
        }
        assert_eq!(completion_script(&program(), "tcsh").unwrap(), None);
    }
}
