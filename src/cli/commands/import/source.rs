//! The files that an import reads.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::cli::error::{CliError, FileError};
use crate::import::Files;

/// The most that is read of one file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The files of this machine.
#[derive(Debug)]
pub(super) struct LocalFiles;

impl Files for LocalFiles {
    fn text(&mut self, path: &str) -> Result<Option<String>, String> {
        // A pipe that nobody writes to must not be waited for.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        // Neither a device nor a pipe: reading those need not end.
        match file.metadata() {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err("it is not a file".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err("it is larger than 1 MiB".to_owned());
        }
        String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8 text".to_owned())
    }

    fn exists(&self, path: &str) -> bool {
        Path::new(path).exists()
    }
}

/// Returns the paths as absolute texts, links left as they are.
///
/// # Errors
///
/// There is no current directory, or a path is no UTF-8.
pub(super) fn absolute<'a>(
    paths: impl IntoIterator<Item = &'a std::path::PathBuf>,
) -> Result<Vec<String>, CliError> {
    paths
        .into_iter()
        .map(|path| {
            let whole = std::path::absolute(path).map_err(FileError::at("read", path))?;
            match whole.to_str() {
                Some(text) => Ok(crate::import::files::absolute("/", "/", text)),
                None => Err(CliError::usage(FileError {
                    action: "read",
                    path: path.clone(),
                    source: std::io::Error::other("its name is not UTF-8 text"),
                })),
            }
        })
        .collect()
}

/// Reads all of stdin, or of a file.
///
/// # Errors
///
/// It cannot be read, or is no text.
pub(super) fn text(path: Option<&Path>) -> Result<String, CliError> {
    let (name, read) = match path {
        Some(path) if path != Path::new("-") => {
            let file = std::fs::File::open(path).map_err(FileError::at("read", path))?;
            (path, read(file))
        }
        Some(_) | None => (Path::new("-"), read(std::io::stdin().lock())),
    };
    read.map_err(|source| {
        CliError::usage(FileError { action: "read", path: name.to_owned(), source })
    })
}

fn read(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}
