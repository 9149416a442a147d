//! Where the places of a program went.

use proptest::prelude::*;

use crate::delta::binary::{Binary, Moved, Shifts, steps};
use crate::delta::map::Copy;

fn moved(from: u32, length: u32, shift: i32) -> Moved {
    Moved { from, length, shift }
}

#[test]
fn a_long_run_that_begins_inside_a_short_one_takes_all_of_its_places() {
    // The second is shorter than the first and begins to count behind it; the third is longer than both.
    let steps = steps(vec![moved(0, 100, 1), moved(50, 60, 2), moved(60, 500, 3)]);
    assert_eq!(steps, [(0, 1), (60, 3)]);
}

proptest! {
    #[test]
    fn places_are_in_order_and_each_went_with_a_run_that_it_is_in(
        runs in prop::collection::vec((0_u32..3_000, 1_u32..1_500, 0..4_u32), 0..40),
        places in prop::collection::vec(0_u32..5_000, 40),
    ) {
        let old_length = 5_000;
        let all: Vec<Moved> = runs.iter().map(|(from, length, shift)| moved(*from, *length, *shift as i32 * 9)).collect();
        let steps = steps(all.clone());
        prop_assert!(steps.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 != w[1].1), "{steps:?}");

        // The same by way of a map, in which copies stand one behind another in the new file.
        let mut new = 0;
        let copies: Vec<Copy> = runs.iter().map(|(from, length, _)| {
            new += length;
            Copy { new: new - length, length: *length, old: u64::from(*from) }
        }).collect();
        let binary = Binary { old_length, new_length: new.max(1), ..Binary::default() };
        let shifts = Shifts::new(&binary, &copies);
        for place in places {
            let went = |runs: &[Moved], shift| {
                let mut within = runs.iter().filter(|m| m.from <= place && place < m.from + m.length).peekable();
                within.peek().is_none() || within.any(|m| m.shift == shift)
            };
            let last = steps.iter().take_while(|(step, _)| *step <= place).last().or(steps.first()).map_or(0, |s| s.1);
            prop_assert!(went(&all, last), "{place}: {last} of {all:?}");
            let runs: Vec<Moved> =
                copies.iter().map(|c| moved(c.old as u32, c.length, c.new as i32 - c.old as i32)).collect();
            prop_assert!(went(&runs, shifts.at(place)), "{place}: {} of {runs:?}", shifts.at(place));
        }
    }
}
