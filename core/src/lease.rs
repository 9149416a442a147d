//! Leases: how many devices of a ward are down at once, also where one is down beyond its slot.
//!
//! A ward's cap is signed as disjoint slots, and they keep it as long as every device returns to service within its own. What
//! they cannot know is a device that does not: one whose way back does not end, that holds until a person comes, or that is
//! dead. Where the hospital has signed that a rollout needs leases, a device asks the server for one before it claims its
//! interlock, and gives it back once it has released it; while one is missing, the ward's next device waits.
//!
//! A lease opens nothing: it is asked for in a slot, behind every signature, and a server that grants everything leaves the
//! slots as they were signed. These are the server's rules, for the leases of one ward over all rollouts of its hospital.
//!
//! | a device's lease counts | until |
//! | --- | --- |
//! | before it has begun | [`LEASE`] after its last word: a device that is lost then was never out of service |
//! | once it has begun | as long after its last word as the hospital has signed that it may be silent |
//! | at most | [`MAX_DOWN`] after it began |
//! | after a person has returned it to service | no longer, until it asks anew |
//!
//! A device that lies can give its lease back and take another, and so hold one place of its own ward for as long as it is let
//! in. Whoever waits for it is told its name; its certificate is then revoked.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::clock::format_utc;
use crate::id::{ApprovalId, DeviceId, WardId};
use crate::limits::{LEASE, LEASE_ASK_AGAIN, MAX_DOWN};
use crate::phase::{Code, Reason};

/// How far the device is that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It is in service, and wants to claim its interlock.
    Wanted,
    /// It has claimed it and has changed nothing; the switch comes next.
    Beginning,
    /// It is past the switch. It finishes or reverts, whatever the answer.
    Begun,
}

/// A device's place among those of its ward that are down, or about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The device.
    pub device: DeviceId,
    /// By which approval.
    pub approval: ApprovalId,
    /// How many of the ward that approval lets be down at once.
    pub cap: u32,
    /// How long it may be silent once it has begun.
    pub silence: SignedDuration,
    /// When it was first granted.
    pub taken: Timestamp,
    /// When the device began, where it has.
    pub begun: Option<Timestamp>,
    /// When the device last spoke of it.
    pub heard: Timestamp,
    /// When a person said that the device is back in service.
    pub returned: Option<Timestamp>,
}

/// What a device asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The device.
    pub device: DeviceId,
    /// Where it stands.
    pub ward: WardId,
    /// By which approval it is about to be down.
    pub approval: ApprovalId,
    /// How many of the ward that approval lets be down at once.
    pub cap: u32,
    /// How long it may be silent once it has begun.
    pub silence: SignedDuration,
    /// When that approval ends: by then it had begun, if it has.
    pub expires: Timestamp,
    /// How far it is.
    pub stage: Stage,
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has a lease, or has it still.
    Granted(Lease),
    /// It waits.
    Refused {
        /// For whom.
        reason: Reason,
        /// When it is to ask again.
        ask_again: Timestamp,
    },
}

impl Lease {
    /// The first instant at which it does not count any more.
    pub fn until(&self) -> Timestamp {
        let after = |at: Timestamp, span| at.saturating_add(span).unwrap_or(Timestamp::MAX);
        match (self.returned, self.begun) {
            (Some(returned), _) => returned,
            (None, None) => after(self.heard, LEASE),
            (None, Some(begun)) => after(self.heard, self.silence.max(LEASE)).min(after(begun, MAX_DOWN)),
        }
    }

    /// Whether its device counts among those that are down.
    pub fn counts(&self, now: Timestamp) -> bool {
        now < self.until()
    }

    /// For people: which device, since when and by which approval, and when it spoke last.
    pub fn to_text(&self) -> String {
        let Self { device, approval, .. } = self;
        let heard = format_utc(self.heard);
        match self.begun {
            Some(begun) => {
                format!("{device} is down since {}, by {approval}, and spoke last at {heard}", format_utc(begun))
            }
            None => format!("{device} is about to begin, by {approval}, since {}", format_utc(self.taken)),
        }
    }
}

/// Answers a device. `mine` is the lease that it has, whether or not it counts; `ward` are those of its ward, by whatever
/// rollout.
pub fn ask(ask: &Ask, mine: Option<&Lease>, ward: &[Lease], now: Timestamp) -> Answer {
    let mine = mine.filter(|mine| mine.approval == ask.approval);
    let holds = mine.is_some_and(|mine| mine.counts(now));
    let asked = match ask.stage {
        Stage::Begun => Ok(()),
        Stage::Wanted if holds => Ok(()),
        // Nothing on it has changed yet: one that was given up and speaks again, being down, comes before it.
        Stage::Beginning if holds => room(ask, ward.iter().filter(|l| l.begun.is_some()), now),
        Stage::Wanted | Stage::Beginning => room(ask, ward.iter(), now),
    };
    if let Err((reason, ask_again)) = asked {
        return Answer::Refused { reason, ask_again };
    }
    // One that is past the switch is down whatever is said to it; what a person has said of that very lease stays said.
    let kept = mine.filter(|_| holds || ask.stage == Stage::Begun);
    let (taken, begun, returned) = kept.map_or((now, None, None), |mine| (mine.taken, mine.begun, mine.returned));
    let begins = (ask.stage != Stage::Wanted).then(|| now.min(ask.expires));
    Answer::Granted(Lease {
        device: ask.device.clone(),
        approval: ask.approval.clone(),
        cap: ask.cap,
        silence: ask.silence,
        taken,
        begun: begun.or(begins),
        heard: now,
        returned,
    })
}

/// Whether one more of the ward may be down: fewer are than the least cap of all rollouts concerned. If not, for whom the
/// device waits, and when it is to ask again.
fn room<'a>(ask: &Ask, ward: impl Iterator<Item = &'a Lease>, now: Timestamp) -> Result<(), (Reason, Timestamp)> {
    let others: Vec<_> = ward.filter(|l| l.device != ask.device && l.counts(now)).collect();
    let cap = others.iter().map(|l| l.cap).min().unwrap_or(ask.cap).min(ask.cap);
    let down: BTreeSet<_> = others.iter().map(|l| &l.device).collect();
    if down.len() < cap as usize {
        return Ok(());
    }
    let first_end = others.iter().map(|l| l.until()).min().unwrap_or(now);
    let latest = now.saturating_add(LEASE_ASK_AGAIN).unwrap_or(Timestamp::MAX);
    let longest = others.iter().min_by_key(|l| l.begun.unwrap_or(l.taken));
    let who = longest.map(|l| {
        format!(
            "{}; it counts until {} unless it speaks again; where it is back in service, say so: `suturectl device return {} \
             --reason TEXT`",
            l.to_text(),
            format_utc(l.until()),
            l.device
        )
    });
    let text = format!(
        "{} of ward {} may be down at once, and as many are: {}",
        match cap {
            1 => "1 device".to_owned(),
            n => format!("{n} devices"),
        },
        ask.ward,
        who.unwrap_or_default()
    );
    Err((Reason::new(Code::WardBusy, text), latest.min(first_end.max(now))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SILENCE: SignedDuration = SignedDuration::from_hours(2);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap()
    }

    fn asking(device: &str, stage: Stage) -> Ask {
        Ask {
            device: device.parse().unwrap(),
            ward: "icu".parse().unwrap(),
            approval: "pump-2".parse().unwrap(),
            cap: 1,
            silence: SILENCE,
            expires: at(100_000),
            stage,
        }
    }

    /// A ward's leases.
    #[derive(Default)]
    struct Ward(BTreeMap<DeviceId, Lease>);

    impl Ward {
        fn ask(&mut self, asked: &Ask, now: Timestamp) -> Result<(), Reason> {
            let all: Vec<_> = self.0.values().cloned().collect();
            match ask(asked, self.0.get(&asked.device), &all, now) {
                Answer::Granted(lease) => {
                    self.0.insert(lease.device.clone(), lease);
                    Ok(())
                }
                Answer::Refused { reason, ask_again } => {
                    assert!(now <= ask_again && ask_again <= now + LEASE_ASK_AGAIN);
                    Err(reason)
                }
            }
        }

        fn lease(&mut self, device: &str) -> &mut Lease {
            self.0.get_mut(&device.parse().unwrap()).unwrap()
        }
    }

    #[test]
    fn one_is_down_and_the_next_is_told_who_and_since_when() {
        let mut ward = Ward::default();
        ward.ask(&asking("pump-1", Stage::Wanted), at(0)).unwrap();
        ward.ask(&asking("pump-1", Stage::Beginning), at(1)).unwrap();
        let why = ward.ask(&asking("pump-2", Stage::Wanted), at(2)).unwrap_err();
        assert_eq!(why.code, Code::WardBusy);
        for part in ["1 device of ward icu", "pump-1 is down since", "by pump-2", "suturectl device return pump-1"] {
            assert!(why.text.contains(part), "{part}: {}", why.text);
        }
        ward.0.clear();
        ward.ask(&asking("pump-2", Stage::Wanted), at(3)).unwrap();
    }

    #[test]
    fn one_that_never_began_is_forgotten_soon_and_one_that_did_after_its_silence() {
        let mut ward = Ward::default();
        ward.ask(&asking("pump-1", Stage::Wanted), at(0)).unwrap();
        assert!(ward.ask(&asking("pump-2", Stage::Wanted), at(14)).is_err());
        ward.ask(&asking("pump-2", Stage::Wanted), at(15)).unwrap();
        // What was lost cannot be begun by.
        assert!(ward.ask(&asking("pump-1", Stage::Beginning), at(16)).is_err());
        ward.ask(&asking("pump-2", Stage::Beginning), at(20)).unwrap();
        assert!(ward.ask(&asking("pump-1", Stage::Wanted), at(139)).is_err());
        ward.ask(&asking("pump-1", Stage::Wanted), at(140)).unwrap();
        // It speaks again: it is down all the same, and the next waits for both.
        ward.ask(&asking("pump-2", Stage::Begun), at(141)).unwrap();
        ward.0.remove(&"pump-1".parse().unwrap());
        assert!(ward.ask(&asking("pump-3", Stage::Wanted), at(142)).is_err());
    }

    #[test]
    fn whoever_has_a_lease_does_not_begin_beside_one_that_was_given_up_and_is_down_again() {
        let mut ward = Ward::default();
        ward.ask(&asking("pump-1", Stage::Wanted), at(0)).unwrap();
        ward.ask(&asking("pump-1", Stage::Beginning), at(0)).unwrap();
        ward.ask(&asking("pump-2", Stage::Wanted), at(120)).unwrap();
        ward.ask(&asking("pump-1", Stage::Begun), at(121)).unwrap();
        let why = ward.ask(&asking("pump-2", Stage::Beginning), at(122)).unwrap_err();
        assert!(why.text.contains("pump-1 is down"), "{}", why.text);
        ward.0.remove(&"pump-1".parse().unwrap());
        ward.ask(&asking("pump-2", Stage::Beginning), at(123)).unwrap();
        // Two that wait for their turn do not hold each other up.
        let wide = |device: &str, stage| Ask { cap: 2, ..asking(device, stage) };
        let mut ward = Ward::default();
        for device in ["pump-1", "pump-2"] {
            ward.ask(&wide(device, Stage::Wanted), at(0)).unwrap();
        }
        for device in ["pump-1", "pump-2"] {
            ward.ask(&wide(device, Stage::Beginning), at(1)).unwrap();
        }
    }

    #[test]
    fn a_device_that_goes_on_speaking_holds_its_place_for_a_week_and_no_longer() {
        let mut ward = Ward::default();
        ward.ask(&asking("pump-1", Stage::Wanted), at(0)).unwrap();
        ward.ask(&asking("pump-1", Stage::Beginning), at(0)).unwrap();
        for hour in 1..24 * 7 {
            ward.ask(&asking("pump-1", Stage::Begun), at(60 * hour)).unwrap();
            assert!(ward.ask(&asking("pump-2", Stage::Wanted), at(60 * hour)).is_err(), "{hour}");
        }
        ward.ask(&asking("pump-1", Stage::Begun), at(60 * 24 * 7)).unwrap();
        ward.ask(&asking("pump-2", Stage::Wanted), at(60 * 24 * 7)).unwrap();
        // One that says it had begun, by an approval that has ended since, had begun by then.
        let late = Ask { expires: at(10), ..asking("pump-3", Stage::Begun) };
        ward.ask(&late, at(20_000)).unwrap();
        assert_eq!(ward.lease("pump-3").begun, Some(at(10)));
        assert!(!ward.lease("pump-3").counts(at(20_000)));
    }

    #[test]
    fn what_a_person_returned_counts_no_more_until_it_asks_anew() {
        let mut ward = Ward::default();
        ward.ask(&asking("pump-1", Stage::Wanted), at(0)).unwrap();
        ward.ask(&asking("pump-1", Stage::Beginning), at(0)).unwrap();
        ward.lease("pump-1").returned = Some(at(5));
        ward.ask(&asking("pump-1", Stage::Begun), at(6)).unwrap();
        ward.ask(&asking("pump-2", Stage::Wanted), at(6)).unwrap();
        assert!(ward.ask(&asking("pump-1", Stage::Wanted), at(7)).is_err(), "it asks as everybody does");
        ward.0.remove(&"pump-2".parse().unwrap());
        ward.ask(&asking("pump-1", Stage::Wanted), at(8)).unwrap();
        assert_eq!((ward.lease("pump-1").returned, ward.lease("pump-1").begun), (None, None));
    }

    #[test]
    fn the_least_cap_of_all_rollouts_concerned_counts() {
        let wide = |device: &str| Ask { cap: 3, approval: "other".parse().unwrap(), ..asking(device, Stage::Wanted) };
        let mut ward = Ward::default();
        ward.ask(&wide("pump-1"), at(0)).unwrap();
        ward.ask(&wide("pump-2"), at(0)).unwrap();
        assert!(ward.ask(&asking("pump-3", Stage::Wanted), at(0)).is_err(), "by its own cap");
        let mut ward = Ward::default();
        ward.ask(&asking("pump-3", Stage::Wanted), at(0)).unwrap();
        assert!(ward.ask(&wide("pump-1"), at(0)).is_err(), "by that of another");
    }

    #[test]
    fn a_lease_of_one_approval_is_none_of_another() {
        let mut ward = Ward::default();
        ward.ask(&asking("pump-1", Stage::Wanted), at(0)).unwrap();
        let other = Ask { approval: "other".parse().unwrap(), ..asking("pump-1", Stage::Beginning) };
        ward.ask(&other, at(1)).unwrap();
        assert_eq!((ward.lease("pump-1").taken, ward.lease("pump-1").begun), (at(1), Some(at(1))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// However devices ask, vanish, lie and return: whoever begins does so within the cap of those that count.
        #[test]
        fn never_do_more_begin_than_the_cap_allows(
            moves in proptest::collection::vec((0_u32..6, 0_u8..5, 0_i64..30), 1..120), cap in 1_u32..3,
        ) {
            let mut ward = Ward::default();
            let mut now = at(0);
            for (device, what, minutes) in moves {
                now += SignedDuration::from_mins(minutes);
                let name = format!("pump-{device}");
                let by = |stage| Ask { cap, ..asking(&name, stage) };
                let held = ward.0.get(&name.parse().unwrap()).is_some_and(|l| l.counts(now));
                match what {
                    0 => drop(ward.ask(&by(Stage::Wanted), now)),
                    1 => drop(ward.ask(&by(Stage::Beginning), now)),
                    2 if held => ward.ask(&by(Stage::Begun), now).unwrap(),
                    3 => drop(ward.0.remove(&name.parse().unwrap())),
                    4 if held => ward.lease(&name).returned = Some(now),
                    _ => {}
                }
                let down = ward.0.values().filter(|l| l.counts(now)).count();
                prop_assert!(down <= cap as usize, "{down} of {cap}");
            }
        }
    }
}
