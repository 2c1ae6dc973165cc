//! What this process is told by signals while a session is under way.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Something that the process was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// To end, by this signal.
    End(i32),
    /// That the terminal has another size.
    Resized,
    /// That it goes on after it was stopped.
    Resumed,
}

/// The signals that a session takes.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
    window: Signal,
    resume: Signal,
}

impl Interrupts {
    /// Begins to take them.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            window: signal(SignalKind::window_change())?,
            resume: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Told {
        let end = |kind: SignalKind| Told::End(kind.as_raw_value());
        // What is cancelled here has only waited.
        tokio::select! {
            _ = self.interrupt.recv() => end(SignalKind::interrupt()),
            _ = self.terminate.recv() => end(SignalKind::terminate()),
            _ = self.hang_up.recv() => end(SignalKind::hangup()),
            _ = self.quit.recv() => end(SignalKind::quit()),
            _ = self.window.recv() => Told::Resized,
            _ = self.resume.recv() => Told::Resumed,
        }
    }
}
