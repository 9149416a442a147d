//! How often a device tries what an approval asks for, and when again.
//!
//! A try is used up where the device's software is changed: from the switch on, or where the bundle itself turns out to be
//! of no use. What comes before (no room, a line that breaks, a device in use) is met again and again, within the signed
//! slots, and uses up nothing. What a try failed for says whether another can help, see [`Code::is_permanent`]:
//!
//! | permanent: never again by this approval | transient: tried again, as often as was signed |
//! | --- | --- |
//! | health-failed: the new version ran and did not prove its health | install-failed: the switch did not work |
//! | restart-failed: the device's software did not come up with it | disk-full: there was no room for the switch |
//! | start-failed: it was started as often as it may be and not confirmed | state-damaged: the slots could not be read |
//! | unusable-bundle: what is signed contradicts itself | all others |
//! | known-risk: the manufacturer warns of it | |
//! | wrong-installer: it is made for another installer | |
//! | unfit: a person has checked the device with it, and found it unfit | |
//! | data-format: the device's own data would be lost; whatever a person had to come for | |
//!
//! One that succeeded is the last as well, whatever is left: an approval that a device has fulfilled leads it nowhere any more, also once
//! another has led it on.
//!
//! A device that fell back for good is offered the same bundle again by a new approval, or where the hospital has stopped
//! the approval since and lifted the stop. Attack: an old lift, played again. A lift counts where it weighs more than
//! all orders that the device had heard when it failed, and more than the Unix time of the failure: it weighs its counter, or the
//! time at which it was signed ([`crate::approval::StopOrder::weight`]).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::approval::Terms;
use crate::clock::{format_utc, utc_or_none, whole_second};
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId};
use crate::phase::{Code, Reason};

/// How often and after what wait a device tries, as the hospital has signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Tries in all.
    pub max_attempts: u32,
    /// The wait after the first that failed, in seconds; for each further one twice as long.
    pub wait_secs: u32,
}

/// What a device has tried of one step of one approval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tries {
    /// How many are used up.
    pub spent: u32,
    /// Why there is no other, though some may be left: what it failed for, or that it succeeded.
    pub ended: Option<Reason>,
    /// When the next may begin; none where there is nothing to wait for.
    #[serde(with = "utc_or_none")]
    pub again: Option<Timestamp>,
    /// A lift gives the tries back only where it weighs more.
    pub order: u64,
}

impl Policy {
    /// What an approval says of it.
    pub const fn of(terms: &Terms) -> Self {
        Self { max_attempts: terms.max_attempts, wait_secs: terms.retry_wait_secs }
    }

    /// How long is waited after `failed` tries in all: the signed wait, doubled for each after the first, and up to a quarter
    /// more by `random`, out of 0 to `u32::MAX`.
    pub fn wait(self, failed: u32, random: u32) -> SignedDuration {
        let doubled = 2_i64.saturating_pow(failed.saturating_sub(1).min(32));
        let millis = i64::from(self.wait_secs).saturating_mul(1_000).saturating_mul(doubled);
        let jitter = i128::from(millis) * i128::from(random) / i128::from(u32::MAX) / 4;
        SignedDuration::from_millis(millis.saturating_add(i64::try_from(jitter).unwrap_or(i64::MAX)))
    }
}

impl Tries {
    /// The same after one more has been used up.
    #[must_use]
    pub fn spend(self) -> Self {
        Self { spent: self.spent.saturating_add(1), again: None, ..self }
    }

    /// The same after the one that was used up last has failed. `for_good`: a person had to come for it. `heard` is the
    /// weight of the newest order for the approval that the device has heard of, `random` makes the jitter.
    #[must_use]
    pub fn fail(
        self,
        policy: Policy,
        (reason, for_good): (&Reason, bool),
        now: Timestamp,
        heard: u64,
        random: u32,
    ) -> Self {
        let is_over = for_good || reason.code.is_permanent();
        let wait = policy.wait(self.spent, random);
        let again = whole_second(now.saturating_add(wait).unwrap_or(Timestamp::MAX));
        let signed_since = u64::try_from(now.as_second()).unwrap_or(0);
        Self {
            ended: is_over.then(|| reason.clone()).or(self.ended),
            again: (!is_over && self.spent < policy.max_attempts && wait.is_positive()).then_some(again),
            order: self.order.max(heard).max(signed_since),
            spent: self.spent,
        }
    }

    /// The same after the one that was used up last has succeeded: what was approved is done, and no try that is left does it again.
    /// Accident: another approval leads the device on; this one, with slots and tries left, would lead it back.
    #[must_use]
    pub fn succeed(self) -> Self {
        let done = Reason::new(Code::UpToDate, "it was installed and has proven its health");
        Self { ended: Some(done), again: None, ..self }
    }

    /// Whether one succeeded, whatever the device runs since.
    pub fn is_done(&self) -> bool {
        self.ended.as_ref().is_some_and(|reason| reason.code == Code::UpToDate)
    }

    /// The same where `lift` is the weight of the newest order for the approval and that order is a lift: none is used up
    /// any more, where it was signed after the last failure. What succeeded stays done.
    #[must_use]
    pub fn lifted(self, lift: u64) -> Self {
        if !self.is_done() && self.spent > 0 && self.order > 0 && lift > self.order {
            Self { order: lift, ..Self::default() }
        } else {
            self
        }
    }

    /// Whether there is no other.
    pub const fn is_over(&self, policy: Policy) -> bool {
        self.ended.is_some() || self.spent >= policy.max_attempts
    }

    /// Why the device does not begin again, if it does not. `what` names the approval, and what it is to install.
    pub fn exhausted(&self, policy: Policy, what: &str) -> Option<Reason> {
        let next = match self.is_done() {
            true => "a new approval leads there once more",
            false => "a new approval, or a stop and its lift, lets it try again",
        };
        let text = match &self.ended {
            Some(reason) => format!("{what} is over for this device, {reason}; {next}"),
            None if self.spent >= policy.max_attempts => {
                format!("{what} allows {} tries, all spent; {next}", policy.max_attempts)
            }
            None => return None,
        };
        Some(Reason::new(Code::AttemptsSpent, text))
    }

    /// The same with a wait from `now` that is no longer than what was signed.
    ///
    /// Accident: a try that failed while the device's clock stood in 2099. Whatever is left of the wait is no more than all of
    /// it, so where it seems to be, it begins again by the clock that counts now.
    #[must_use]
    pub fn within(self, policy: Policy, now: Timestamp) -> Self {
        let longest = whole_second(now.saturating_add(policy.wait(self.spent, u32::MAX)).unwrap_or(Timestamp::MAX));
        Self { again: self.again.map(|again| again.min(longest)), ..self }
    }

    /// Why the device waits with its next try, if it does.
    pub fn waits(&self, policy: Policy, now: Timestamp) -> Option<(Reason, Timestamp)> {
        let again = self.again.filter(|again| now < *again)?;
        Some((Reason::new(Code::RetryWait, self.to_text(policy)), again))
    }

    /// For people: `1 of 3 tries spent; the next at ..`.
    pub fn to_text(&self, policy: Policy) -> String {
        let tries = format!("{} of {} tries spent", self.spent, policy.max_attempts);
        match (&self.ended, self.again) {
            (Some(_), _) if self.is_done() => format!("{tries}; the last has succeeded"),
            (Some(reason), _) => format!("{tries}; none follows: {reason}"),
            (None, Some(again)) => format!("{tries}; the next at {}, in a slot", format_utc(again)),
            (None, None) => tries,
        }
    }
}

/// Where the jitter of a device's next try comes from: always the same for the same try, and another for each device.
pub fn seed(device: &DeviceId, approval: &ApprovalId, failed: u32) -> u32 {
    let [a, b, c, d, ..] = *Digest::of(format!("{device}\n{approval}\n{failed}").as_bytes()).as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

impl Code {
    /// Whether a try that failed for it would fail again: the approval is over for the device then, whatever tries are left.
    /// Every code stands here, so that a new one has to be thought about.
    pub const fn is_permanent(self) -> bool {
        match self {
            Self::HealthFailed
            | Self::StartFailed
            | Self::RestartFailed
            | Self::UnusableBundle
            | Self::KnownRisk
            | Self::DataFormat
            | Self::WrongInstaller
            | Self::Unfit => true,
            // What may go well the next time.
            Self::InstallFailed
            | Self::DiskFull
            | Self::StateDamaged
            | Self::WrongBytes
            | Self::Transfer
            | Self::InLine
            | Self::QuietHours
            | Self::InUse
            | Self::InterlockUnknown
            | Self::PersonNeeded
            | Self::Power
            | Self::ServerUnreachable
            | Self::WardBusy
            | Self::RetryWait
            | Self::Unknown => false,
            // What is judged anew with each look, and is remembered of no try.
            Self::NothingApproved
            | Self::UpToDate
            | Self::NotForThisDevice
            | Self::WrongHospital
            | Self::TooManySteps
            | Self::PastDeadline
            | Self::NotInCatalog
            | Self::Withdrawn
            | Self::WrongHardware
            | Self::WrongProduct
            | Self::Downgrade
            | Self::BelowFloor
            | Self::TooOldToStart
            | Self::ConflictingApprovals
            | Self::RunningUnknown
            | Self::OtherRelease
            | Self::AttemptsSpent
            | Self::NoCalendar
            | Self::NoOpening
            | Self::BeforeSlot
            | Self::SlotsOver
            | Self::SlotTooShort
            | Self::Paused
            | Self::Aborted
            | Self::StopOrder
            | Self::Superseded
            | Self::WaveClosed
            | Self::SignatureNeeded
            | Self::ClockUnproven
            | Self::MetadataExpired
            | Self::Rollback
            | Self::MixAndMatch
            | Self::BadSignature
            | Self::BadMetadata
            | Self::EndlessData
            | Self::ReturnToService
            | Self::Returned
            | Self::HeldHere
            | Self::Deferred
            | Self::Pending
            | Self::Drift
            | Self::RecordRewritten
            | Self::Departed
            | Self::TimedOut
            | Self::FailureCeiling
            | Self::Operator => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::approval::StopOrder;

    const POLICY: Policy = Policy { max_attempts: 3, wait_secs: 600 };

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn reason(code: Code) -> Reason {
        Reason::new(code, "text")
    }

    fn id() -> ApprovalId {
        "pump-2".parse().unwrap()
    }

    fn failed(code: Code, now: Timestamp) -> Tries {
        Tries::default().spend().fail(POLICY, (&reason(code), false), now, 0, 0)
    }

    #[test]
    fn the_table_says_what_is_permanent() {
        let table = include_str!("retry.rs").lines().take_while(|l| l.starts_with("//!")).filter(|l| l.contains(" | "));
        let cells = |place: usize| {
            let code = move |line: &str| line.split('|').nth(place)?.split(':').next().map(|c| c.trim().to_owned());
            let of = |name: String| Code::ALL.iter().copied().find(|c| c.as_str() == name);
            table.clone().filter_map(code).filter_map(of).collect::<Vec<_>>()
        };
        let permanent: Vec<_> = Code::ALL.iter().copied().filter(|c| c.is_permanent()).collect();
        let mut listed = cells(1);
        listed.sort_by_key(|c| Code::ALL.iter().position(|a| a == c));
        assert_eq!(listed, permanent);
        assert!(cells(2).len() == 3 && cells(2).iter().all(|c| !c.is_permanent()));
    }

    #[test]
    fn what_fails_for_good_is_not_tried_again_however_many_tries_are_left() {
        let tries = failed(Code::HealthFailed, at(0));
        let why = tries.exhausted(POLICY, "approval a").unwrap();
        assert_eq!(why.code, Code::AttemptsSpent);
        assert!(why.text.contains("health-failed: text") && why.text.contains("lift"), "{}", why.text);
        assert_eq!(tries.waits(POLICY, at(0)), None);
        let for_good = Tries::default().spend().fail(POLICY, (&reason(Code::InstallFailed), true), at(0), 0, 0);
        assert!(for_good.exhausted(POLICY, "approval a").is_some(), "a person had to come");
    }

    #[test]
    fn the_next_try_waits_twice_as_long_and_the_last_for_nothing() {
        let first = failed(Code::InstallFailed, at(0));
        assert_eq!(first.exhausted(POLICY, "approval a"), None);
        let (why, until) = first.waits(POLICY, at(599)).unwrap();
        assert_eq!((why.code, until), (Code::RetryWait, at(600)));
        assert!(why.text.starts_with("1 of 3 tries spent; the next at 2027"), "{}", why.text);
        assert_eq!(first.waits(POLICY, at(600)), None);
        let second = first.spend();
        assert_eq!(second.again, None, "it is under way");
        let second = second.fail(POLICY, (&reason(Code::DiskFull), false), at(1_000), 0, u32::MAX);
        assert_eq!(second.again, Some(at(1_000 + 1_200 + 300)), "a quarter of jitter at most");
        let third = second.spend().fail(POLICY, (&reason(Code::DiskFull), false), at(5_000), 0, 0);
        assert_eq!((third.again, third.spent), (None, 3));
        assert!(third.exhausted(POLICY, "approval a").unwrap().text.contains("allows 3 tries, all spent"));
    }

    #[test]
    fn a_wait_that_was_begun_by_a_clock_far_ahead_begins_again_and_ends() {
        let ahead = failed(Code::InstallFailed, at(2_300_000_000));
        let (_, until) = ahead.waits(POLICY, at(0)).unwrap();
        assert!(until > at(2_300_000_000));
        let bounded = ahead.within(POLICY, at(0));
        assert_eq!(bounded.again, Some(at(600 + 150)), "the longest that jitter may make of it");
        assert_eq!(bounded.clone().within(POLICY, at(700)), bounded, "and no later than that from then on");
        assert_eq!(bounded.waits(POLICY, at(750)), None);
        let right = failed(Code::InstallFailed, at(0));
        assert_eq!(right.clone().within(POLICY, at(0)), right);
        assert_eq!(right.clone().within(POLICY, at(-5)), right);
    }

    #[test]
    fn only_a_lift_that_was_signed_after_the_failure_gives_the_tries_back() {
        let heard = u64::try_from(at(0).as_second()).unwrap();
        let tries = failed(Code::HealthFailed, at(0));
        for old in [0, 7, heard] {
            assert_eq!(tries.clone().lifted(old), tries, "an old lift, played again");
        }
        let back = tries.lifted(heard + 60);
        assert_eq!((back.spent, back.exhausted(POLICY, "approval a")), (0, None));
        // The same lift again, after the next failure: spent, and also where the counter was far ahead of the time.
        let ahead = failed(Code::HealthFailed, at(0)).lifted(heard + 1_000_000);
        let again = ahead.spend().fail(POLICY, (&reason(Code::HealthFailed), false), at(100), heard, 0);
        assert_eq!(again.clone().lifted(heard + 1_000_000), again);
        assert_eq!(again.lifted(heard + 1_000_001).spent, 0);
        // An order that was heard by then is none that was signed for this failure.
        let stopped = Tries::default().spend().fail(POLICY, (&reason(Code::HealthFailed), false), at(0), heard + 9, 0);
        assert_eq!(stopped.clone().lifted(heard + 9), stopped);
    }

    /// Found: what had begun when it was stopped, and fell back then, was not let try again by the lift of that stop.
    #[test]
    fn a_lift_gives_the_tries_back_to_what_failed_after_its_stop_too() {
        let order =
            |last, stopped, now| StopOrder::next("riverside".parse().unwrap(), id(), last, stopped, now).unwrap();
        let stop = order(None, true, at(0));
        let failed = Tries::default().spend();
        let failed = failed.fail(POLICY, (&reason(Code::HealthFailed), false), at(900), stop.weight(), 0);
        let lift = order(Some(stop.counter), false, at(3_600));
        assert!(lift.counter < failed.order, "it is the next after its stop");
        assert_eq!(failed.clone().lifted(lift.weight()).spent, 0);
        let old = order(Some(stop.counter), false, at(800));
        assert_eq!(failed.clone().lifted(old.weight()), failed, "played again, it is none that was signed since");
    }

    proptest! {
        #[test]
        fn the_wait_is_no_less_than_signed_and_jitter_is_a_quarter_at_most(
            wait_secs in 0..=crate::limits::MAX_RETRY_WAIT_SECS, failed in 1_u32..12, random: u32,
        ) {
            let policy = Policy { max_attempts: 10, wait_secs };
            let (least, wait) = (policy.wait(failed, 0), policy.wait(failed, random));
            prop_assert!(least <= wait && wait <= least + least / 4);
            prop_assert_eq!(least.as_secs(), i64::from(wait_secs) << (failed - 1));
        }

        #[test]
        fn tries_only_grow_until_a_lift_and_never_pass_what_was_signed(
            codes in proptest::collection::vec(0..Code::ALL.len(), 1..20), random: u32,
        ) {
            let mut tries = Tries::default();
            let mut made = 0_u32;
            for (n, code) in codes.into_iter().enumerate() {
                if tries.exhausted(POLICY, "approval a").is_some() {
                    break;
                }
                made += 1;
                let code = Code::ALL[code];
                let now = at(i64::try_from(n).unwrap() * 100_000);
                tries = tries.spend().fail(POLICY, (&reason(code), false), now, 0, random);
                prop_assert_eq!(tries.spent, made);
                prop_assert_eq!(tries.ended.is_some(), code.is_permanent());
            }
            prop_assert!(made <= POLICY.max_attempts);
        }
    }

    #[test]
    fn jitter_is_the_devices_own_and_always_the_same() {
        let seed = |device: &str, failed| seed(&device.parse().unwrap(), &id(), failed);
        assert_eq!(seed("pump-1", 1), seed("pump-1", 1));
        assert!(seed("pump-1", 1) != seed("pump-2", 1) && seed("pump-1", 1) != seed("pump-1", 2));
    }
}
