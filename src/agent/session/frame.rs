//! Frames on the socket between the agent and a session: a length, four octets
//! in network order, and as many octets.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest frame, in octets: a command line with its environment.
pub const LONGEST: usize = 1024 * 1024;

/// Reads a frame; none when the other end is closed.
///
/// # Errors
///
/// The socket fails, ends within a frame, or announces a frame that is too
/// long.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    if from.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..]).await?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

/// Writes a frame.
///
/// # Errors
///
/// The socket fails, or the frame is too long.
pub async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|_| frame.len() <= LONGEST);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a frame is too long"))?;
    let mut whole = Vec::with_capacity(4 + frame.len());
    whole.extend(length.to_be_bytes());
    whole.extend(frame);
    to.write_all(&whole).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let long = vec![7_u8; 100_000];
        let sent = long.clone();
        let writer = tokio::spawn(async move {
            for frame in [&b""[..], b"a", &sent] {
                write(&mut ours, frame).await.unwrap();
            }
        });
        for frame in [&b""[..], b"a", &long] {
            assert_eq!(read(&mut theirs).await.unwrap().unwrap(), frame);
        }
        writer.await.unwrap();
        assert_eq!(read(&mut theirs).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_cut_off_or_too_long_is_an_error() {
        for bytes in [&b"\0\0"[..], b"\0\0\0\x05abc", b"\xff\xff\xff\xffabc"] {
            assert!(read(&mut &*bytes).await.is_err(), "{bytes:?}");
        }
        assert!(write(&mut Vec::<u8>::new(), &vec![0; LONGEST + 1]).await.is_err());
    }
}
