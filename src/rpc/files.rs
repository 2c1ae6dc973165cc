//! Frames of a file transfer on the wire, and as both ends know them.

use super::agent_v1 as pb;
use super::agent_v1::file_frame::Frame as Wire;
use crate::transfer::{Frame, PathError, Summary, TreePath};

/// Says why a frame is none that an end of a transfer takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A path leads out, or is no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is empty, or not for this place.
    #[error("a message of the transfer is empty or not for this place")]
    Unexpected,
    /// A hash is not as long as one of SHA-256.
    #[error("a hash of the transfer has not 32 bytes")]
    Hash,
}

fn hash(bytes: &[u8]) -> Result<[u8; 32], FrameError> {
    bytes.try_into().map_err(|_| FrameError::Hash)
}

fn some_hash(bytes: &[u8]) -> Result<Option<[u8; 32]>, FrameError> {
    if bytes.is_empty() { Ok(None) } else { hash(bytes).map(Some) }
}

impl TryFrom<pb::FileFrame> for Frame {
    type Error = FrameError;

    fn try_from(frame: pb::FileFrame) -> Result<Self, FrameError> {
        Ok(match frame.frame.ok_or(FrameError::Unexpected)? {
            Wire::Entry(pb::FileEntry { path, mode, directory: true, .. }) => {
                Self::Directory { path: TreePath::parse(&path)?, mode }
            }
            Wire::Entry(pb::FileEntry { path, mode, directory: false, size, asks }) => {
                Self::File { path: TreePath::parse(&path)?, mode, size, asks }
            }
            Wire::Held(pb::FileHeld { part, part_sha256, same_sha256 }) => Self::Held {
                part: some_hash(&part_sha256)?.map(|hash| (part, hash)),
                same: some_hash(&same_sha256)?,
            },
            Wire::From(at) => Self::From(at),
            Wire::Same(_) => Self::Same,
            Wire::Data(data) => Self::Data(data),
            Wire::End(bytes) => Self::End(hash(&bytes)?),
            Wire::LeftOut(pb::FileLeftOut { name, why }) => Self::LeftOut { name, why },
            Wire::Done(_) => Self::Done,
            Wire::Received(pb::FilesReceived { files, unchanged, directories, bytes, resumed }) => {
                Self::Received(Summary { files, unchanged, directories, bytes, resumed })
            }
            Wire::Begin(_) | Wire::Start(_) | Wire::Failed(_) => {
                return Err(FrameError::Unexpected);
            }
        })
    }
}

impl From<Frame> for pb::FileFrame {
    fn from(frame: Frame) -> Self {
        let entry = |path: TreePath, mode| pb::FileEntry {
            path: path.as_bytes().to_vec(),
            mode,
            ..pb::FileEntry::default()
        };
        let frame = match frame {
            Frame::Directory { path, mode } => {
                Wire::Entry(pb::FileEntry { directory: true, ..entry(path, mode) })
            }
            Frame::File { path, mode, size, asks } => {
                Wire::Entry(pb::FileEntry { size, asks, ..entry(path, mode) })
            }
            Frame::Held { part, same } => Wire::Held(pb::FileHeld {
                part: part.map_or(0, |(length, _)| length),
                part_sha256: part.map(|(_, hash)| hash.to_vec()).unwrap_or_default(),
                same_sha256: same.map(|hash| hash.to_vec()).unwrap_or_default(),
            }),
            Frame::From(at) => Wire::From(at),
            Frame::Same => Wire::Same(true),
            Frame::Data(data) => Wire::Data(data),
            Frame::End(hash) => Wire::End(hash.to_vec()),
            Frame::LeftOut { name, why } => Wire::LeftOut(pb::FileLeftOut { name, why }),
            Frame::Done => Wire::Done(true),
            Frame::Received(Summary { files, unchanged, directories, bytes, resumed }) => {
                Wire::Received(pb::FilesReceived { files, unchanged, directories, bytes, resumed })
            }
        };
        Self { frame: Some(frame) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went() {
        let path = TreePath::parse(b"a/\xe9").unwrap();
        let summary = Summary { files: 1, unchanged: 2, directories: 3, bytes: 4, resumed: 5 };
        for frame in [
            Frame::Directory { path: path.clone(), mode: 0o750 },
            Frame::File { path, mode: 0o640, size: 9, asks: true },
            Frame::Held { part: None, same: None },
            Frame::Held { part: Some((7, [1; 32])), same: Some([2; 32]) },
            Frame::From(0),
            Frame::Same,
            Frame::Data(vec![0, 255]),
            Frame::End([3; 32]),
            Frame::LeftOut { name: "a".to_owned(), why: "b".to_owned() },
            Frame::Done,
            Frame::Received(summary),
        ] {
            assert_eq!(Frame::try_from(pb::FileFrame::from(frame.clone())), Ok(frame));
        }
    }

    #[test]
    fn what_leads_out_is_no_frame() {
        let entry = |path: &[u8]| pb::FileFrame {
            frame: Some(Wire::Entry(pb::FileEntry { path: path.to_vec(), ..Default::default() })),
        };
        for bad in [&b"/etc/passwd"[..], b"../x", b"a/../../x", b"a\0b", b"a\x1bb"] {
            assert!(Frame::try_from(entry(bad)).is_err());
        }
        let end = pb::FileFrame { frame: Some(Wire::End(vec![1; 31])) };
        assert_eq!(Frame::try_from(end), Err(FrameError::Hash));
        assert_eq!(Frame::try_from(pb::FileFrame::default()), Err(FrameError::Unexpected));
    }
}
