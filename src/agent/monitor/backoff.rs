//! Pauses between attempts: twice as long each time, up to a longest.

use std::time::Duration;

/// Returns the pause after so many attempts, the first being 1. `chance`
/// spreads it by up to a quarter both ways, so that many do not come at once.
pub fn pause(attempt: u32, first: Duration, longest: Duration, chance: u8) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
    let pause = doubled.min(longest);
    let quarter = pause / 4;
    pause - quarter + quarter * 2 / 255 * u32::from(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let middle: Vec<u64> = (1..10)
            .map(|n| pause(n, first, longest, 128).as_millis().div_ceil(1000))
            .map(|s| u64::try_from(s).unwrap())
            .collect();
        assert_eq!(
            middle,
            [1, 2, 4, 8, 16, 32, 60, 60, 60].map(|s| s + u64::from(s > 0)).map(|s| s.min(61))
        );
        for chance in [0, 255] {
            let spread = pause(4, first, longest, chance).as_secs_f64();
            assert!((6.0..=10.0).contains(&spread), "{spread}");
        }
        assert!(pause(u32::MAX, first, longest, 255) <= longest * 5 / 4);
    }
}
