//! Clients that never rest, and count what goes wrong for them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::wait::{pause, until};

/// Longest wait for any one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Exchanges on one connection that is kept, with pauses: about a second.
const EXCHANGES: usize = 25;

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What clients have seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that were answered as they should be.
    pub good: usize,
    /// The others: when, and why.
    pub failures: Vec<(Instant, String)>,
    /// Versions in the answers, each time it changed for one client.
    pub versions: Vec<String>,
    /// The longest time that a good answer took.
    pub slowest: Duration,
}

impl Load {
    /// Starts clients that fetch `/version`, each time on a new connection.
    pub fn of_pages(address: SocketAddr, clients: usize) -> Self {
        Self::start(clients, move || {
            let version = fetch(address)?;
            Ok((1, Some(version)))
        })
    }

    /// Starts clients that keep a connection for a while, and have what they
    /// send sent back.
    pub fn of_echoes(address: SocketAddr, clients: usize) -> Self {
        Self::start(clients, move || converse(address).map(|count| (count, None)))
    }

    fn start(
        clients: usize,
        work: impl Fn() -> Result<(usize, Option<String>), std::io::Error> + Send + Clone + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let client = || {
            let (stop, done, work) = (Arc::clone(&stop), Arc::clone(&done), work.clone());
            std::thread::spawn(move || {
                let mut tally = Tally::default();
                while !stop.load(Ordering::Relaxed) {
                    tally.count(&work, &done);
                }
                tally
            })
        };
        let clients = (0..clients).map(|_| client()).collect();
        Self { stop, done, clients }
    }

    /// Waits until so many more requests have been answered.
    #[track_caller]
    pub fn goes_on(&self, requests: usize) {
        let goal = self.done.load(Ordering::Relaxed) + requests;
        until("requests are answered", || {
            (self.done.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Returns how many requests have been answered.
    pub fn answered(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Has the clients end, and adds up what they saw.
    pub fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients {
            let one = client.join().unwrap();
            all.good += one.good;
            all.failures.extend(one.failures);
            all.versions.extend(one.versions);
            all.slowest = all.slowest.max(one.slowest);
        }
        all.failures.sort();
        all
    }
}

impl Tally {
    fn count(
        &mut self,
        work: &impl Fn() -> Result<(usize, Option<String>), std::io::Error>,
        done: &AtomicUsize,
    ) {
        let began = Instant::now();
        match work() {
            Ok((count, version)) => {
                self.good += count;
                done.fetch_add(count, Ordering::Relaxed);
                self.slowest = self.slowest.max(began.elapsed());
                if version.is_some() && self.versions.last() != version.as_ref() {
                    self.versions.extend(version);
                }
            }
            Err(error) => {
                self.failures.push((Instant::now(), error.to_string()));
                // Else a port that refuses would be asked a million times.
                pause(Duration::from_millis(5));
            }
        }
    }

    /// Demands that every request was answered.
    #[track_caller]
    pub fn all_good(&self) -> &Self {
        let first: Vec<&String> = self.failures.iter().map(|(_, why)| why).take(5).collect();
        assert!(
            self.failures.is_empty(),
            "{} of {} requests failed: {first:?}",
            self.failures.len(),
            self.good + self.failures.len()
        );
        self
    }

    /// Returns the time between the first failure and the last.
    pub fn gap(&self) -> Duration {
        match (self.failures.first(), self.failures.last()) {
            (Some((first, _)), Some((last, _))) => *last - *first,
            _ => Duration::ZERO,
        }
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Fetches `/version`, and checks the whole answer.
pub fn fetch(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = connect(address)?;
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: page\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let bad = || std::io::Error::other(format!("not an answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    if head.starts_with("HTTP/1.1 200") && body.starts_with('v') {
        Ok(body.trim().to_owned())
    } else {
        Err(bad())
    }
}

/// Sends lines and reads them back, all on one connection.
fn converse(address: SocketAddr) -> std::io::Result<usize> {
    let mut stream = connect(address)?;
    for number in 0..EXCHANGES {
        let line = format!("line {number}\n");
        stream.write_all(line.as_bytes())?;
        let mut answer = vec![0; line.len()];
        stream.read_exact(&mut answer)?;
        if answer != line.as_bytes() {
            return Err(std::io::Error::other(format!("not {line:?}: {answer:?}")));
        }
        pause(Duration::from_millis(20));
    }
    Ok(EXCHANGES)
}

/// Prints a figure; `--nocapture` shows it.
#[expect(clippy::print_stdout, reason = "figures are for people; nothing depends on them")]
pub fn tell(figure: &str) {
    println!("{figure}");
}
