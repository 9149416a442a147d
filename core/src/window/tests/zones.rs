//! Clock changes, in every zone of the database.

use super::*;

/// A time at which a clock may jump, and a length, from the number of a jump: no dice, but no pattern either.
fn chosen(number: i64) -> (i64, i64) {
    let mixed = number.wrapping_mul(0x5851_F42D_4C95_7F2D) >> 24;
    (mixed.rem_euclid(181) - 90, (mixed >> 10).rem_euclid(300) + 1)
}

/// Each jump of each clock from 2024 to 2034: a window that begins within an hour and a half of it, by the wall before it,
/// lasts its length and begins at the first instant at which the wall shows its start or later. That instant is found by
/// looking at the wall, minute by minute.
#[test]
fn every_zone_keeps_the_rules_at_every_jump_of_its_clock() {
    let (begin, end) = (at("2024-01-01T00:00:00Z"), at("2035-01-01T00:00:00Z"));
    let (mut zones, mut jumps) = (0, 0);
    for name in TimeZoneDatabase::bundled().available() {
        let mut c = calendar(name.as_str(), &[], &[]);
        let zone = c.time_zone().unwrap();
        zones += 1;
        for jump in zone.following(begin).map(|t| t.timestamp()).take_while(|t| *t < end) {
            jumps += 1;
            let (offset, minutes) = chosen(jump.as_second() / 60 + zones);
            let just_before = zone.to_datetime(jump - SignedDuration::from_secs(60));
            let start = just_before.saturating_add(SignedDuration::from_mins(offset));
            let duration_secs = u32::try_from(minutes * 60).unwrap();
            c.windows = vec![
                Window { begins: Recurrence::Once { start }, duration_secs },
                // The same, by a rule and by days of the week: three ways to say it, one opening.
                Window {
                    begins: Recurrence::Rule {
                        start,
                        rule: Box::new("FREQ=YEARLY;COUNT=1".parse().unwrap()),
                        except: BTreeSet::new(),
                    },
                    duration_secs,
                },
                Window {
                    begins: Recurrence::Weekly { days: [Day::of(start.date())].into(), start: start.time() },
                    duration_secs,
                },
            ];
            let from = jump - SignedDuration::from_hours(26);
            let minute = |n: i64| from + SignedDuration::from_mins(n);
            let shown = (0..53 * 60).map(minute).find(|t| zone.to_datetime(*t) >= start).unwrap();
            let found = openings(&[&c], from, jump + SignedDuration::from_hours(72), 10).unwrap();
            let expected = Opening { start: shown, end: shown + SignedDuration::from_mins(minutes) };
            assert_eq!(found, [expected], "{} at {jump}, start {start}", name.as_str());
        }
    }
    assert!(zones > 400 && jumps > 4_000, "{zones} zones, {jumps} jumps");
}
