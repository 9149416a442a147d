//! When a delivery that was not accepted is tried again.

use jiff::{SignedDuration, Timestamp};
use suture_core::limits::MAX_DELIVERY_TRIES;

/// The wait after each try, in seconds: about as Standard Webhooks has it. Three days in all.
const WAITS_SECS: [u32; MAX_DELIVERY_TRIES as usize - 1] =
    [5, 60, 300, 1_800, 3_600, 7_200, 18_000, 36_000, 50_400, 57_600, 86_400];

/// When the try after the `tries`th is due, up to a quarter later by chance, so that what failed together does not come again
/// together; none after the last.
pub(super) fn again(tries: u32, now: Timestamp, random: u32) -> Option<Timestamp> {
    let wait = *WAITS_SECS.get(usize::try_from(tries.checked_sub(1)?).ok()?)?;
    let late = u64::from(wait) * u64::from(random) / (4 * u64::from(u32::MAX));
    now.checked_add(SignedDuration::from_secs(i64::from(wait)))
        .ok()?
        .checked_add(SignedDuration::from_secs(i64::try_from(late).ok()?))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_a_chance_of_a_quarter_and_end() {
        let now: Timestamp = "2026-11-24T15:00:00Z".parse().unwrap();
        let wait = |tries, random| again(tries, now, random).map(|at| at.duration_since(now).as_secs());
        let least: Vec<i64> = (1..MAX_DELIVERY_TRIES).map(|n| wait(n, 0).unwrap()).collect();
        assert!(least.is_sorted_by(|a, b| a < b), "{least:?}");
        assert!((2 * 86_400..4 * 86_400).contains(&least.iter().sum::<i64>()), "{least:?}");
        for tries in 1..MAX_DELIVERY_TRIES {
            let (early, late) = (wait(tries, 0).unwrap(), wait(tries, u32::MAX).unwrap());
            assert_eq!(late, early + early / 4, "{tries}");
        }
        assert_eq!((wait(MAX_DELIVERY_TRIES, 7), wait(0, 7), wait(u32::MAX, 7)), (None, None, None));
    }
}
