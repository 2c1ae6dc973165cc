//! Pauses between attempts: twice as long each time, up to a longest.

use std::time::Duration;

/// Returns the pause after so many attempts, the first being 1. `chance`
/// spreads it by up to a quarter both ways, so that many do not come at once.
pub fn pause(attempt: u32, first: Duration, longest: Duration, chance: u8) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
    let pause = doubled.min(longest);
    pause * 3 / 4 + pause / 2 * u32::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let middle = |n| pause(n, first, longest, 127).as_secs_f64().round();
        let pauses: Vec<f64> = (1..10).map(middle).collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
        for chance in [0, 255] {
            let spread = pause(4, first, longest, chance).as_secs_f64();
            assert!((6.0..=10.0).contains(&spread), "{spread}");
        }
        assert!(pause(u32::MAX, first, longest, 255) <= longest * 5 / 4);
    }
}
