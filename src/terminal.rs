//! The operator's terminal and streams while a command elsewhere has them.
//!
//! ```text
//!  stdin  --thread--> input() --> session
//!  stdout <--thread-- Writer <--- session
//! ```
//!
//! The threads are there because these streams may block for as long as a
//! person likes, and the session has to answer its node meanwhile. The one
//! that reads cannot be called back, and ends with the process.

use std::io::{self, Read as _, Write};
use std::panic;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::{mpsc, oneshot};

/// Chunks of output that wait to be written.
const WAITING: usize = 2;

/// How the terminal was before [`RawMode`]; here because a panic must find it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal of standard input hands on every key as it is (`cfmakeraw(3)`),
/// until this is dropped or the program panics.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Begins it.
    ///
    /// # Errors
    ///
    /// Standard input is no terminal.
    pub fn begin() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        let before = tcgetattr(io::stdin())?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        // A release aborts on a panic, and drops nothing.
        HOOK.call_once(|| {
            let usual = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                restore();
                usual(panic);
            }));
        });
        let raw = Self(());
        raw.resume()?;
        Ok(raw)
    }

    /// Begins it again, after a shell has had the terminal (`SIGCONT`).
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub fn resume(&self) -> io::Result<()> {
        let mut mode = tcgetattr(io::stdin())?;
        mode.make_raw();
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &mode)?)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let restored = before.map(|mode| tcsetattr(io::stdin(), OptionalActions::Now, &mode));
    if let Some(Err(error)) = restored {
        // A terminal that is gone needs nothing.
        tracing::debug!(%error, "the terminal is not as it was");
    }
}

/// Returns the lines and columns of the terminal, where there is one.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// Returns what comes over standard input, in pieces of at most `longest`
/// octets. It is closed at the end of the input.
///
/// # Errors
///
/// There can be no thread more.
pub fn input(longest: usize) -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(1);
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut octets = vec![0; longest];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut octets) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What cannot be read has ended.
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if sender.blocking_send(octets.split_at(count).0.to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    })?;
    Ok(receiver)
}

/// Writes to a stream that may block.
#[derive(Debug)]
pub struct Writer {
    chunks: mpsc::Sender<Vec<u8>>,
    end: oneshot::Receiver<io::Result<()>>,
}

impl Writer {
    /// Makes a writer of a stream.
    ///
    /// # Errors
    ///
    /// There can be no thread more.
    pub fn new(mut stream: impl Write + Send + 'static) -> io::Result<Self> {
        let (chunks, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let (tell, end) = oneshot::channel();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut result = Ok(());
            while let (Ok(()), Some(chunk)) = (&result, waiting.blocking_recv()) {
                result = stream.write_all(&chunk).and_then(|()| stream.flush());
            }
            // Nobody may wait for it any more.
            drop(tell.send(result));
        })?;
        Ok(Self { chunks, end })
    }

    /// Waits until something can be written; none when nobody reads any more.
    pub async fn room(&self) -> Option<mpsc::Permit<'_, Vec<u8>>> {
        self.chunks.reserve().await.ok()
    }

    /// Waits until everything is written. A reader that went away is no error.
    ///
    /// # Errors
    ///
    /// Any other error of the stream.
    pub async fn finish(self) -> io::Result<()> {
        drop(self.chunks);
        match self.end.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn everything_is_written_before_the_end() {
        let kept = Kept::default();
        let writer = Writer::new(kept.clone()).unwrap();
        for chunk in [b"a", b"b", b"c"] {
            writer.room().await.unwrap().send(chunk.to_vec());
        }
        writer.finish().await.unwrap();
        assert_eq!(*kept.0.lock().unwrap(), b"abc");
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_noticed_and_no_error() {
        for (kind, is_error) in
            [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::StorageFull, true)]
        {
            let writer = Writer::new(Broken(kind)).unwrap();
            while let Some(room) = writer.room().await {
                room.send(vec![0]);
            }
            assert_eq!(writer.finish().await.is_err(), is_error);
        }
    }
}
