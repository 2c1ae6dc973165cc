//! Why a transfer fails.

use rustix::io::Errno;

use super::frame::WireError;
use super::path::PathError;

/// Says why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A path cannot be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The other end has gone.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The file system refuses.
    #[error("cannot {action} {path}: {}", meaning(*.errno))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file, as it may be shown.
        path: String,
        /// What the kernel says.
        errno: Errno,
    },
    /// Something that is no plain file or directory has the name.
    #[error("{path} is {found} there, not {wanted}; it is left alone")]
    InTheWay {
        /// The path.
        path: String,
        /// What is there.
        found: &'static str,
        /// What should be.
        wanted: &'static str,
    },
    /// A file would take the place of a directory.
    #[error("{path} is a directory there; to put the file into it, write {path}/")]
    IsDirectory {
        /// The path.
        path: String,
    },
    /// What is asked for is neither a file nor a directory.
    #[error("{path} is {found}; only files and directories are sent")]
    NotSent {
        /// The path.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// Another transfer writes the same file.
    #[error("another transfer is writing {path}; try again when it has ended")]
    Busy {
        /// The path.
        path: String,
    },
    /// A file shrank while it was read.
    #[error("{path} changed while it was read; try again")]
    Changed {
        /// The path.
        path: String,
    },
    /// What arrived is not what was sent.
    #[error("{path} did not arrive as it was sent, and was thrown away; try again")]
    Damaged {
        /// The path.
        path: String,
    },
    /// A directory cannot go into a stream.
    #[error("it is a directory; only a file can go to standard output")]
    OnlyFiles,
    /// What went into a stream is not what was sent.
    #[error("what came is not what was sent, and is not to be used; try again")]
    Garbled,
    /// A terminal would act on it.
    #[error("it is no text, and would go to a terminal; write it to a file or a pipe")]
    NoText,
    /// The other end does not keep to the order of frames.
    #[error("the other end does not speak as it should: {0}")]
    Protocol(&'static str),
}

impl TransferError {
    /// Returns a function for `map_err` that names the action and the file.
    pub(super) fn at<P: ToString + ?Sized>(
        action: &'static str,
        path: &P,
    ) -> impl FnOnce(Errno) -> Self + use<P> {
        let path = path.to_string();
        move |errno| Self::Io { action, path, errno }
    }

    /// The same for errors of the standard library.
    pub(super) fn io<P: ToString + ?Sized>(
        action: &'static str,
        path: &P,
    ) -> impl FnOnce(std::io::Error) -> Self + use<P> {
        let at = Self::at(action, path);
        move |error| at(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// Says what an error number means here, where its usual text says little.
fn meaning(errno: Errno) -> String {
    let text = match errno {
        Errno::NOSPC => "the disk is full",
        Errno::DQUOT => "the disk quota is used up",
        Errno::ROFS => "the file system is read-only",
        Errno::FBIG => "the file system takes no file of this size",
        Errno::LOOP => "there is a symbolic link in the path, and none is followed",
        Errno::XDEV => "the path leads out of the directory",
        Errno::NOTDIR => "there is a file where a directory should be",
        Errno::NOENT => "there is no such file or directory",
        Errno::ACCESS | Errno::PERM => "permission denied",
        Errno::INVAL => {
            "the owner's number is not one of this user's subordinate ids, or the file system does not take it"
        }
        other => return std::io::Error::from(other).to_string(),
    };
    text.to_owned()
}
