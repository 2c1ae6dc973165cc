//! What goes over the wire.

use super::error::TransferError;
use super::path::TreePath;

/// The most content in one frame, in bytes.
pub const CHUNK: usize = 256 * 1024;
/// From this size on, in bytes, the receiver is asked what it has of a file
/// already, and keeps what it has of it when the wire is cut.
pub const LARGE: u64 = 8 * 1024 * 1024;

/// One message between the two ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// From the sender: a directory.
    Directory {
        /// Its path, relative to what is sent.
        path: TreePath,
        /// Permission bits.
        mode: u32,
    },
    /// From the sender: a file, whose content follows.
    File {
        /// Its path, relative to what is sent.
        path: TreePath,
        /// Permission bits.
        mode: u32,
        /// How many bytes it has.
        size: u64,
        /// Whether the sender waits for [`Frame::Held`].
        asks: bool,
    },
    /// From the receiver: what it has of the file.
    Held {
        /// How many bytes of an earlier attempt, and their hash.
        part: Option<(u64, Hash)>,
        /// The hash of a file of that name and size that is there.
        same: Option<Hash>,
    },
    /// From the sender, to [`Frame::Held`]: content follows from here on.
    From(u64),
    /// From the sender, to [`Frame::Held`]: what is there is the same.
    Same,
    /// From the sender: the next bytes.
    Data(Vec<u8>),
    /// From the sender: the file is over, and this is the hash of all of it.
    End(Hash),
    /// From the sender: something that is not sent, and why.
    LeftOut {
        /// Its name, as it may be shown.
        name: String,
        /// Why, such as `a symbolic link`.
        why: String,
    },
    /// From the sender: that was all.
    Done,
    /// From the receiver: everything is in place.
    Received(Summary),
}

/// SHA-256 (FIPS 180-4).
pub type Hash = [u8; 32];

/// What the content of a file comes as.
pub(super) enum Piece {
    /// The next bytes.
    Data(Vec<u8>),
    /// It is over, and this is the hash of all of it.
    End(Hash),
}

impl Piece {
    /// Waits for the next one; anything else is an error.
    pub(super) fn next(wire: &mut impl Wire) -> Result<Self, TransferError> {
        match wire.receive()? {
            Frame::Data(data) => Ok(Self::Data(data)),
            Frame::End(hash) => Ok(Self::End(hash)),
            Frame::Directory { .. }
            | Frame::File { .. }
            | Frame::Held { .. }
            | Frame::From(_)
            | Frame::Same
            | Frame::LeftOut { .. }
            | Frame::Done
            | Frame::Received(_) => {
                Err(TransferError::Protocol("the content of a file was to come"))
            }
        }
    }
}

/// What became of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files that were written.
    pub files: u64,
    /// Files that were the same already.
    pub unchanged: u64,
    /// Directories that were made.
    pub directories: u64,
    /// Bytes of the files that were written.
    pub bytes: u64,
    /// Those of them that an earlier attempt had brought.
    pub resumed: u64,
}

/// The other end cannot be spoken to any more; whoever owns the wire knows
/// why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the other end has gone")]
pub struct WireError;

/// Carries frames in both directions, in order.
pub trait Wire {
    /// Sends a frame; waits while the other end is slow.
    ///
    /// # Errors
    ///
    /// The other end has gone.
    fn send(&mut self, frame: Frame) -> Result<(), WireError>;

    /// Waits for the next frame.
    ///
    /// # Errors
    ///
    /// The other end has gone.
    fn receive(&mut self) -> Result<Frame, WireError>;
}
