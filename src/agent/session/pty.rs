//! A pseudoterminal (`pty(7)`): this end of it, and how the other is given to
//! podman.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::net::unix::pipe;

use super::task::Size;

/// This end of a pseudoterminal.
#[derive(Debug)]
pub struct Pty(File);

impl Pty {
    /// Makes a pseudoterminal; returns the other end as well.
    ///
    /// # Errors
    ///
    /// The system has none to give.
    pub fn open(size: Size) -> io::Result<(Self, File)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(std::ffi::OsStr::from_bytes(name.as_bytes()))?;
        let pty = Self(File::from(ours));
        pty.resize(size)?;
        Ok((pty, theirs))
    }

    /// Returns what to read from and what to write to; both work as with a
    /// pipe.
    ///
    /// # Errors
    ///
    /// There can be no file more.
    pub fn ends(&self) -> io::Result<(pipe::Receiver, pipe::Sender)> {
        let from = pipe::Receiver::from_file_unchecked(self.0.try_clone()?)?;
        Ok((from, pipe::Sender::from_file_unchecked(self.0.try_clone()?)?))
    }

    /// Gives the terminal another size.
    ///
    /// # Errors
    ///
    /// The other end is gone.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.0, size)?)
    }
}

/// Tells whether an error of reading says that nobody has the other end any
/// more.
pub fn is_end(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_program_sees_a_terminal_of_the_given_size_and_its_end_is_an_end() {
        let (pty, theirs) = Pty::open(Size { rows: 33, columns: 77 }).unwrap();
        let (mut from, mut to) = pty.ends().unwrap();
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", "stty size; read line; echo \"<$line>\""])
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs)
            .spawn()
            .unwrap();
        to.write_all(b"hello\n").await.unwrap();
        let mut octets = Vec::new();
        assert!(is_end(&from.read_to_end(&mut octets).await.unwrap_err()));
        let text = String::from_utf8(octets).unwrap();
        assert!(text.contains("33 77") && text.contains("<hello>"), "{text:?}");
        assert!(child.wait().await.unwrap().success());
    }
}
