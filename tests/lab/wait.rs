//! Waiting for a condition.

use std::time::{Duration, Instant};

use crate::run::last_answer;

/// The one deadline: far beyond what anything needs, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// Looks again and again until there is something to see.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, look)
}

/// Looks again and again, for longer than the one deadline.
#[track_caller]
pub fn until_within<T>(time: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + time;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            Instant::now() < end,
            "it did not come to this within {time:?}: {what}\nlast answer: {}",
            last_answer()
        );
        pause(Duration::from_millis(50));
    }
}

/// Lets a while pass: between two looks, or until a moment that is chosen
/// for being no particular one.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that lets time pass; whoever waits for something calls `until`"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
