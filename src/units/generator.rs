//! podman's generator in a dry run: will the units come out as meant?
//!
//! One file that it cannot parse, anywhere in the user's search path, makes
//! it produce nothing at all, and a reload does not say so. Hence the check
//! of the complete new set before anything is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::search::SearchPath;
use crate::quadlet::{Place, UnitSet};

/// Longest dry run; 200 files take 20 ms.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where distributions put the generator.
const CANDIDATES: &[&str] = &[
    "/usr/libexec/podman/quadlet",
    "/usr/lib/podman/quadlet",
    "/usr/lib/systemd/user-generators/podman-user-generator",
    "/usr/lib/systemd/system-generators/podman-system-generator",
];

/// The same, relative to the directory of `podman`, as on NixOS.
const RELATIVE_CANDIDATES: &[&str] = &[
    "../libexec/podman/quadlet",
    "../lib/systemd/user-generators/podman-user-generator",
    "../lib/systemd/system-generators/podman-system-generator",
];

/// Says why the generator could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum GeneratorError {
    /// There is no generator on this machine.
    #[error("podman's Quadlet generator was not found; install podman 4.4 or newer")]
    NotFound,
    /// The copy of the search path could not be made.
    #[error("cannot make a copy of the unit files in {}", path.display())]
    Copy {
        /// Where it should have been.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program could not be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// Which one.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program took too long.
    #[error("{} did not end within {seconds} s", program.display())]
    Deadline {
        /// Which one.
        program: PathBuf,
        /// How long we waited.
        seconds: u64,
    },
    /// `podman --version` said something else.
    #[error("podman gave no version but {text:?}")]
    Version {
        /// What it wrote.
        text: String,
    },
}

/// What the generator made of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GeneratorReport {
    /// The text of each unit, by the name of its file.
    pub units: BTreeMap<String, String>,
    /// Errors and warnings, in the generator's words.
    pub messages: Vec<String>,
    /// Whether it took every file.
    pub success: bool,
}

impl GeneratorReport {
    /// Returns the messages about files that cannot be parsed at all, foreign
    /// ones too. With one of these a reload would take every Quadlet unit of
    /// the user away, though the dry run still shows the others.
    pub fn fatal(&self) -> Vec<&str> {
        self.messages
            .iter()
            .map(String::as_str)
            .filter(|m| m.starts_with("error loading "))
            .collect()
    }

    /// Returns the files of the set that made no unit, by name.
    pub fn refused(&self, set: &UnitSet) -> Vec<String> {
        set.of(Place::Quadlet)
            .filter(|(name, text)| {
                unit_of(name, text).is_some_and(|unit| !self.units.contains_key(&unit))
            })
            .map(|(name, _)| name.to_owned())
            .collect()
    }
}

/// Returns the unit that a Quadlet file becomes (`podman-systemd.unit(5)`,
/// `ServiceName=`).
fn unit_of(name: &str, text: &str) -> Option<String> {
    let named = text.lines().find_map(|line| line.strip_prefix("ServiceName="));
    if let Some(named) = named {
        return Some(format!("{}.service", named.trim()));
    }
    let (stem, suffix) = name.rsplit_once('.')?;
    match suffix {
        "container" | "kube" => Some(format!("{stem}.service")),
        other => Some(format!("{stem}-{other}.service")),
    }
}

/// podman's generator on this machine.
#[derive(Debug, Clone)]
pub struct Generator {
    program: PathBuf,
}

impl Generator {
    /// Finds the generator where distributions put it, else beside `podman`.
    ///
    /// # Errors
    ///
    /// [`GeneratorError::NotFound`]
    pub fn find() -> Result<Self, GeneratorError> {
        let absolute = CANDIDATES.iter().map(PathBuf::from);
        let search = std::env::var_os("PATH").unwrap_or_default();
        let beside = podman_directories(&search)
            .flat_map(|bin| RELATIVE_CANDIDATES.iter().map(move |relative| bin.join(relative)));
        absolute
            .chain(beside)
            .find(|path| path.is_file())
            .map(|program| Self { program })
            .ok_or(GeneratorError::NotFound)
    }

    /// Takes the generator at the given path.
    pub fn at(program: &Path) -> Self {
        Self { program: program.to_owned() }
    }

    /// Returns what the generator makes of all files below a directory.
    ///
    /// # Errors
    ///
    /// [`GeneratorError::Run`] and [`GeneratorError::Deadline`]; files that it
    /// refuses are no error but [`GeneratorReport::messages`].
    pub async fn dry_run(&self, directory: &Path) -> Result<GeneratorReport, GeneratorError> {
        self.run(directory.as_os_str()).await
    }

    /// Returns what the generator will make of everything in the user's search
    /// path once `set` is installed. `live_root` is
    /// `~/.config/containers/systemd`.
    ///
    /// # Errors
    ///
    /// [`GeneratorError`]; files that it refuses are no error but
    /// [`GeneratorReport::messages`], with the paths of the real files.
    pub async fn check_set(
        &self,
        set: &UnitSet,
        live_root: &Path,
    ) -> Result<GeneratorReport, GeneratorError> {
        self.check_set_without(set, live_root, &BTreeSet::new()).await
    }

    /// As [`Self::check_set`], with some files gone.
    ///
    /// # Errors
    ///
    /// [`GeneratorError`]
    pub async fn check_set_without(
        &self,
        set: &UnitSet,
        live_root: &Path,
        left_out: &BTreeSet<PathBuf>,
    ) -> Result<GeneratorReport, GeneratorError> {
        self.check_set_in(set, SearchPath::own(live_root).without(left_out), live_root).await
    }

    /// As [`Self::check_set_without`], while `set` is being tried: before the files
    /// that are there, and with them.
    ///
    /// # Errors
    ///
    /// [`GeneratorError`]
    pub async fn check_trial(
        &self,
        set: &UnitSet,
        live_root: &Path,
        left_out: &BTreeSet<PathBuf>,
    ) -> Result<GeneratorReport, GeneratorError> {
        let path = SearchPath::own(live_root).tried().without(left_out);
        self.check_set_in(set, path, live_root).await
    }

    /// Returns what the generator makes of `set` and nothing else: no drop-ins,
    /// no other files.
    ///
    /// # Errors
    ///
    /// [`GeneratorError`]
    pub async fn check_alone(
        &self,
        set: &UnitSet,
        live_root: &Path,
    ) -> Result<GeneratorReport, GeneratorError> {
        let nothing = live_root.join(".mcp-nothing");
        self.check_set_in(set, SearchPath::only(&nothing), live_root).await
    }

    async fn check_set_in(
        &self,
        set: &UnitSet,
        path: SearchPath,
        live_root: &Path,
    ) -> Result<GeneratorReport, GeneratorError> {
        self.check_copy(Some(set.clone()), path, live_root).await
    }

    /// Returns what the generator will make of the files as they are, once
    /// the machine has booted: what is in the runtime directory is gone then.
    ///
    /// # Errors
    ///
    /// [`GeneratorError`]; files that it refuses are no error but
    /// [`GeneratorReport::messages`], with the paths of the real files.
    pub async fn check_boot(&self, live_root: &Path) -> Result<GeneratorReport, GeneratorError> {
        self.check_copy(None, SearchPath::at_boot(live_root), live_root).await
    }

    async fn check_copy(
        &self,
        set: Option<UnitSet>,
        path: SearchPath,
        live_root: &Path,
    ) -> Result<GeneratorReport, GeneratorError> {
        let name = set.as_ref().map_or("all", |set| set.service.as_str());
        let scratch = Scratch::new(live_root, name);
        let directory = scratch.0.clone();
        let copy_of = directory.clone();
        let copied = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&copy_of)?;
            path.copy(set.as_ref(), &copy_of)
        })
        .await
        .map_err(io::Error::other)
        .and_then(|copied| copied)
        .map_err(|source| GeneratorError::Copy { path: directory, source })?;
        let mut report = self.run(&copied.directories()).await?;
        for message in &mut report.messages {
            *message = copied.translate(message);
        }
        for text in report.units.values_mut() {
            *text = copied.translate(text);
        }
        Ok(report)
    }

    async fn run(&self, directories: &OsStr) -> Result<GeneratorReport, GeneratorError> {
        let mut command = Command::new(&self.program);
        command.args(["-dryrun", "-user"]).env_clear().env("QUADLET_UNIT_DIRS", directories);
        // For %h and the like, and to find podman's own configuration.
        for name in ["HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let output = output(command, &self.program).await?;
        Ok(GeneratorReport {
            units: units(&String::from_utf8_lossy(&output.stdout)),
            messages: messages(&String::from_utf8_lossy(&output.stderr)),
            success: output.status.success(),
        })
    }
}

/// A directory beside the live one, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(live_root: &Path, name: &str) -> Self {
        // The staging directory: not below the search path, and on the same
        // file system, so that files can be linked.
        let staging = live_root.parent().unwrap_or(live_root).join(".mcp-staging");
        let mut number = [0_u8; 8];
        // Two checks of one service at a time must not meet; if there is no
        // randomness, the service and the process keep them apart.
        if let Err(error) = getrandom::fill(&mut number) {
            tracing::debug!(%error, "no random number");
        }
        let number = u64::from_ne_bytes(number);
        Self(staging.join(format!("check-{name}-{}-{number:x}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "a scratch directory stays behind");
        }
    }
}

/// Returns podman's version as `podman --version` gives it.
///
/// # Errors
///
/// [`GeneratorError`]
pub async fn podman_version() -> Result<(u32, u32, u32), GeneratorError> {
    let program = Path::new("podman");
    let mut command = Command::new(program);
    command.arg("--version");
    let output = output(command, program).await?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    parse_version(&text).ok_or(GeneratorError::Version { text })
}

async fn output(mut command: Command, program: &Path) -> Result<Output, GeneratorError> {
    // podman refuses to run where its user may not be, as under `sudo -u mcp`.
    command.stdin(Stdio::null()).current_dir("/").kill_on_drop(true);
    tokio::time::timeout(DEADLINE, command.output())
        .await
        .map_err(|_| GeneratorError::Deadline {
            program: program.to_owned(),
            seconds: DEADLINE.as_secs(),
        })?
        .map_err(|source| GeneratorError::Run { program: program.to_owned(), source })
}

/// Returns the directories of `podman` in a search path, links resolved: on
/// NixOS they lead into its package.
fn podman_directories(search: &OsStr) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(search)
        .filter_map(|directory| std::fs::canonicalize(directory.join("podman")).ok())
        .filter_map(|podman| podman.parent().map(Path::to_owned))
}

/// Splits the output at its `---name.service---` lines.
fn units(stdout: &str) -> BTreeMap<String, String> {
    let mut units = BTreeMap::new();
    let mut current: Option<&mut String> = None;
    for line in stdout.lines() {
        if let Some(name) = header(line) {
            current = Some(units.entry(name.to_owned()).or_default());
        } else if let Some(text) = &mut current {
            text.push_str(line);
            text.push('\n');
        }
    }
    units
}

fn header(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---")?.strip_suffix("---")?;
    let is_unit = name.rsplit_once('.').is_some_and(|(stem, _)| !stem.is_empty());
    (is_unit && !name.contains([' ', '/'])).then_some(name)
}

/// Returns the lines of stderr, without the generator's name in front and
/// without the list of files that it found.
fn messages(stderr: &str) -> Vec<String> {
    stderr
        .lines()
        .map(|line| {
            let line = line.trim();
            match line.split_once(": ") {
                Some((name, rest)) if name.starts_with("quadlet-generator[") => rest,
                _ => line,
            }
        })
        .filter(|line| !line.is_empty() && !line.starts_with("Loading source unit file "))
        .map(str::to_owned)
        .collect()
}

/// Parses `podman version 5.4.2`, `podman version 5.6.0-dev`.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let word = text.strip_prefix("podman version ")?;
    let number = word.split(['-', '+', ' ', '~']).next()?;
    let mut parts = number.split('.').map(str::parse);
    match (parts.next()?, parts.next()?, parts.next().unwrap_or(Ok(0))) {
        (Ok(major), Ok(minor), Ok(patch)) => Some((major, minor, patch)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_split_into_units() {
        let stdout = "---a.service---\n[Unit]\nX=---\n\n[Service]\nExecStart=/usr/bin/podman run\n\n---b-network.service---\n[Unit]\n";
        let units = units(stdout);
        assert_eq!(units.len(), 2);
        assert_eq!(
            units["a.service"],
            "[Unit]\nX=---\n\n[Service]\nExecStart=/usr/bin/podman run\n\n"
        );
        assert_eq!(units["b-network.service"], "[Unit]\n");
        assert!(super::units("").is_empty());
        assert!(super::units("noise\n--- a b.service---\n------\n").is_empty());
    }

    #[test]
    fn messages_lose_the_generators_name() {
        let stderr = "quadlet-generator[712]: Loading source unit file /a\nquadlet-generator[712]: converting \"x.container\": unsupported key 'Foo' in group 'Container' in /a\nother\n\n";
        assert_eq!(
            messages(stderr),
            [
                "converting \"x.container\": unsupported key 'Foo' in group 'Container' in /a",
                "other"
            ]
        );
    }

    #[test]
    fn versions() {
        assert_eq!(parse_version("podman version 5.4.2"), Some((5, 4, 2)));
        assert_eq!(parse_version("podman version 6.0.0-dev"), Some((6, 0, 0)));
        assert_eq!(parse_version("podman version 5.6"), Some((5, 6, 0)));
        assert_eq!(parse_version("docker 1"), None);
    }

    #[test]
    fn refused_files_are_named() {
        let mut set = UnitSet::new("web".parse().unwrap(), true);
        for (name, text) in [
            ("web.container", "[Container]"),
            ("web.image", ""),
            ("net.network", "[Network]\nServiceName=mesh\n"),
        ] {
            set.files.insert((Place::Quadlet, name.to_owned()), text.to_owned());
        }
        let mut report =
            GeneratorReport { units: BTreeMap::new(), messages: Vec::new(), success: false };
        assert_eq!(report.refused(&set), ["net.network", "web.container", "web.image"]);
        for unit in ["web.service", "web-image.service", "mesh.service"] {
            report.units.insert(unit.to_owned(), String::new());
        }
        assert_eq!(report.refused(&set), [""; 0]);
    }

    /// Stands in for the generator: prints each file as a unit, and fails for
    /// one that says so.
    fn stand_in(directory: &Path) -> Generator {
        use std::os::unix::fs::PermissionsExt as _;
        let program = directory.join("generator");
        let text = r#"#!/bin/sh
for f in $(find -L $(echo "$QUADLET_UNIT_DIRS" | tr : ' ') -name '*.container'); do
    if grep -q broken "$f"; then echo "quadlet-generator[1]: error loading \"$f\"" >&2; exit 1; fi
    echo "---$(basename "$f" .container).service---"; echo "SourcePath=$f"
done
"#;
        crate::atomic_file::write(&program, text.as_bytes(), 0o755).unwrap();
        assert_eq!(std::fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
        Generator::at(&program)
    }

    #[tokio::test]
    async fn a_foreign_broken_file_is_named_by_its_real_path() {
        let dir = tempfile::tempdir().unwrap();
        let live = dir.path().join("containers/systemd");
        std::fs::create_dir_all(&live).unwrap();
        let generator = stand_in(dir.path());
        let mut set = UnitSet::new("web".parse().unwrap(), true);
        set.files.insert((Place::Quadlet, "web.container".to_owned()), "fine".to_owned());
        let check = || generator.check_set_in(&set, SearchPath::only(&live), &live);
        let report = check().await.unwrap();
        assert!(report.success);
        assert_eq!(report.refused(&set), [""; 0]);
        let source = format!("SourcePath={}/mcp/web/web.container\n", live.display());
        assert_eq!(report.units["web.service"], source);

        let hand = live.join("hand.container");
        crate::atomic_file::write(&hand, b"broken", 0o644).unwrap();
        let report = check().await.unwrap();
        assert!(!report.success);
        assert_eq!(report.fatal().len(), 1);
        assert_eq!(report.messages, [format!("error loading \"{}\"", hand.display())]);
        let staging = dir.path().join("containers/.mcp-staging");
        assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_missing_generator_is_an_error() {
        let error = Generator::at(Path::new("/nonexistent")).dry_run(Path::new("/")).await;
        assert!(matches!(error, Err(GeneratorError::Run { .. })));
    }
}
