//! The receiving end of one file that goes into a stream.

use std::io::{ErrorKind, Write};

use sha2::{Digest as _, Sha256};

use super::error::TransferError;
use super::frame::{Frame, Piece, Summary, Wire};
use crate::ui::visible_lines;

/// Receives one file up to [`Frame::Done`] and writes its content as it comes.
/// A reader of the stream that has gone is no error.
///
/// # Errors
///
/// [`TransferError`]: a directory comes, or the stream takes no more.
pub fn pour(to: &mut impl Write, wire: &mut impl Wire) -> Result<Summary, TransferError> {
    let mut summary = Summary::default();
    loop {
        match wire.receive()? {
            Frame::File { asks, .. } if summary.files == 0 => {
                if asks {
                    wire.send(Frame::Held { part: None, same: None })?;
                    let Frame::From(0) = wire.receive()? else {
                        return Err(TransferError::Protocol("all of a file was to come"));
                    };
                }
                let Some(bytes) = content(to, wire)? else { return Ok(summary) };
                summary = Summary { files: 1, bytes, ..summary };
            }
            Frame::Directory { .. } => return Err(TransferError::OnlyFiles),
            Frame::LeftOut { .. } => {}
            Frame::Done => break,
            Frame::File { .. }
            | Frame::Held { .. }
            | Frame::From(_)
            | Frame::Same
            | Frame::Data(_)
            | Frame::End(_)
            | Frame::Received(_) => {
                return Err(TransferError::Protocol("one file was to come"));
            }
        }
    }
    wire.send(Frame::Received(summary))?;
    Ok(summary)
}

/// Writes the content of a file; returns its size, or nothing if nobody reads
/// it any more.
fn content(to: &mut impl Write, wire: &mut impl Wire) -> Result<Option<u64>, TransferError> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    loop {
        let written = match Piece::next(wire)? {
            Piece::Data(data) => {
                hash.update(&data);
                bytes += data.len() as u64;
                to.write_all(&data)
            }
            Piece::End(sent) if sent == <[u8; 32]>::from(hash.finalize()) => {
                return to.flush().map(|()| Some(bytes)).or_else(gone);
            }
            Piece::End(_) => return Err(TransferError::Garbled),
        };
        if let Err(error) = written {
            return gone(error);
        }
    }
}

fn gone(error: std::io::Error) -> Result<Option<u64>, TransferError> {
    let kind = error.kind();
    if kind == ErrorKind::BrokenPipe {
        return Ok(None);
    }
    // What a terminal is spared.
    if kind == ErrorKind::InvalidData {
        return Err(TransferError::NoText);
    }
    Err(TransferError::io("write to", "standard output")(error))
}

/// A terminal: shows text, with what it would act upon made visible, and takes
/// nothing with a zero byte in it.
#[derive(Debug)]
pub struct Terminal<W> {
    to: W,
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl<W: Write> Terminal<W> {
    /// Shows text on that.
    pub fn new(to: W) -> Self {
        Self { to, rest: Vec::new() }
    }
}

/// Returns how much of a text can be shown before the rest of it is known: not
/// half of a character, nor of the end of a line.
fn whole_characters(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(Err(error)) = text.get(at..).map(std::str::from_utf8) {
        at += error.valid_up_to();
        match error.error_len() {
            Some(bad) => at += bad,
            None => return at,
        }
    }
    text.len() - usize::from(text.ends_with(b"\r"))
}

impl<W: Write> Write for Terminal<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.contains(&0) {
            return Err(ErrorKind::InvalidData.into());
        }
        self.rest.extend_from_slice(bytes);
        let whole = whole_characters(&self.rest);
        let text: Vec<u8> = self.rest.drain(..whole).collect();
        let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
        self.to.write_all(visible_lines(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        self.to.write_all(String::from_utf8_lossy(&rest).as_bytes())?;
        self.to.flush()
    }
}
