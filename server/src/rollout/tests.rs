//! Rollouts on both databases: that the tallies are the truth, and what silence, lateness, withdrawal and forgiveness do.

mod clearances;
mod fixture;
mod growth;
mod leases;
mod properties;
mod reads;

use suture_core::approval::Wave;
use suture_core::id::DeviceId;
use suture_core::phase::{Code, Phase};
use suture_core::rollout::{Standing, State};

use super::RolloutError;
use super::leader::Leader;
use super::order::{Order, halt_withdrawn};
use super::run::advance_all;
use crate::store::bundles::Bundle;
use crate::store::suite::{STRICT, each};
use fixture::{Ward, at, bundle, pump};

#[tokio::test]
async fn a_device_that_falls_silent_pauses_it_and_one_that_speaks_again_is_believed() {
    each(async |store| {
        let ward = Ward::begin(&store, "a1", &[2, 2]).await;
        ward.said(&pump(0), Phase::Restarting, 10).await;
        ward.said(&pump(1), Phase::Confirmed, 10).await;
        ward.at(10 + 599).await;
        assert_eq!(ward.rollout().await.state, State::Running);
        ward.at(10 + 600).await;
        let rollout = ward.rollout().await;
        assert_eq!((rollout.state, rollout.reason.unwrap().code), (State::Paused, Code::FailureCeiling));
        let silent = ward.member(&pump(0)).await;
        assert_eq!((silent.progress.phase, silent.standing), (Phase::Restarting, Standing::TimedOut));
        assert_eq!(silent.progress.reason(silent.standing, ward.timeout()).unwrap().code, Code::TimedOut);

        ward.said(&pump(0), Phase::Confirmed, 700).await;
        assert_eq!(ward.rollout().await.state, State::Paused, "a person must look");
        ward.order(Order::Resume, 701).await.unwrap();
        let rollout = ward.rollout().await;
        assert_eq!((rollout.state, rollout.wave), (State::Running, 1));
    })
    .await;
}

#[tokio::test]
async fn who_began_in_the_last_slot_is_waited_for_past_the_end_and_times_out_by_itself() {
    each(async |store| {
        let [late, silent] = [Ward::begin(&store, "a1", &[2]).await, Ward::begin(&store, "a2", &[2]).await];
        for ward in [&late, &silent] {
            ward.said(&pump(0), Phase::Confirmed, 10).await;
            ward.said(&pump(1), Phase::Restarting, 19_990).await;
        }
        late.at(20_000).await;
        assert_eq!(late.rollout().await.state, State::Running);
        late.said(&pump(1), Phase::Confirmed, 20_100).await;
        assert_eq!(late.rollout().await.state, State::Complete, "a confirmation that comes late");
        late.at(20_589).await;
        assert_eq!(silent.rollout().await.state, State::Running);
        late.at(20_590).await;
        assert_eq!(silent.rollout().await.state, State::Expired);
        assert_eq!(silent.member(&pump(1)).await.standing, Standing::TimedOut);
    })
    .await;
}

#[tokio::test]
async fn a_rollout_past_its_end_opens_no_wave_and_is_not_paused_while_one_is_waited_for() {
    each(async |store| {
        let half = Wave { min_confirmed_percent: 50, ..STRICT };
        let ward = Ward::begin_by(&store, "a1", &[(half, 2), (STRICT, 1)]).await;
        for n in [0, 1] {
            ward.said(&pump(n), Phase::Restarting, 19_990).await;
        }
        assert_eq!(ward.member(&pump(2)).await.standing, Standing::Missed);
        let before = ward.actions().await;
        ward.said(&pump(0), Phase::Confirmed, 20_100).await;
        ward.at(20_589).await;
        assert_eq!(ward.actions().await, before);
        assert_eq!(ward.rollout().await.state, State::Running);
        ward.at(20_590).await;
        assert_eq!(ward.actions().await[before.len()..], ["rollout.expired"]);
    })
    .await;
}

#[tokio::test]
async fn who_was_at_it_when_a_rollout_ended_times_out_and_whoever_had_not_begun_misses_nothing() {
    each(async |store| {
        let aborted = Ward::begin(&store, "a1", &[2]).await;
        aborted.said(&pump(0), Phase::Restarting, 10).await;
        aborted.order(Order::Abort, 20).await.unwrap();
        times_out(&aborted, &pump(0), 610).await;
        // What it says comes after the end.
        let expired = Ward::begin(&store, "a2", &[2]).await;
        expired.at(20_000).await;
        expired.said(&pump(1), Phase::Restarting, 20_001).await;
        times_out(&expired, &pump(1), 20_601).await;
        assert_eq!(aborted.member(&pump(1)).await.standing, Standing::Awaited, "it was not late: nobody wanted it");
        assert_eq!((aborted.rollout().await.state, expired.rollout().await.state), (State::Aborted, State::Expired));
        assert!(!advance_all(&store, at(30_000)).await.unwrap(), "nothing is left to do");
    })
    .await;
}

/// A device times out at that instant, not sooner, and that is said.
async fn times_out(ward: &Ward, device: &DeviceId, secs: i64) {
    ward.at(secs - 1).await;
    assert_eq!(ward.member(device).await.standing, Standing::Begun);
    ward.at(secs).await;
    let member = ward.member(device).await;
    assert_eq!(member.standing, Standing::TimedOut);
    assert_eq!(member.progress.reason(member.standing, ward.timeout()).unwrap().code, Code::TimedOut);
}

#[tokio::test]
async fn devices_that_missed_their_slots_are_no_failures_and_a_person_goes_on_without_them() {
    each(async |store| {
        let ward = Ward::begin(&store, "a1", &[2, 1]).await;
        ward.said(&pump(0), Phase::Confirmed, 10).await;
        ward.at(fixture::SLOTS_END).await;
        let rollout = ward.rollout().await;
        let reason = rollout.reason.unwrap();
        assert_eq!((rollout.state, reason.code), (State::Paused, Code::WaveClosed), "{reason}");
        assert!(reason.text.contains("1 missed their slots"), "{reason}");
        ward.order(Order::Resume, fixture::SLOTS_END + 1).await.unwrap();
        let rollout = ward.rollout().await;
        assert_eq!(rollout.wave, 1);
        // Those of the next wave have missed theirs too, and nobody has looked at that.
        assert_eq!((rollout.state, rollout.reason.unwrap().code), (State::Paused, Code::WaveClosed));
        ward.said(&pump(2), Phase::Confirmed, fixture::SLOTS_END + 2).await;
        ward.order(Order::Resume, fixture::SLOTS_END + 3).await.unwrap();
        assert_eq!(ward.rollout().await.state, State::Complete, "a report that comes late wins");
    })
    .await;
}

#[tokio::test]
async fn what_was_forgiven_of_one_device_excuses_no_other_and_no_new_try() {
    each(async |store| {
        let ward = Ward::begin(&store, "a1", &[3, 1]).await;
        ward.said(&pump(0), Phase::FellBack, 10).await;
        assert_eq!(ward.rollout().await.state, State::Paused);
        ward.order(Order::Resume, 20).await.unwrap();
        assert_eq!(ward.rollout().await.state, State::Running);
        ward.said(&pump(1), Phase::FellBack, 30).await;
        assert_eq!(ward.rollout().await.state, State::Paused, "another device's failure");
        ward.order(Order::Resume, 40).await.unwrap();
        ward.said(&pump(0), Phase::Installing, 50).await;
        assert_eq!(ward.rollout().await.state, State::Running);
        ward.said(&pump(0), Phase::FellBack, 60).await;
        assert_eq!(ward.rollout().await.state, State::Paused, "the same device's second failure");
        ward.order(Order::Resume, 70).await.unwrap();
        ward.said(&pump(2), Phase::Confirmed, 80).await;
        assert_eq!(ward.rollout().await.wave, 1, "without the two");
    })
    .await;
}

#[tokio::test]
async fn what_failed_while_a_person_had_paused_it_is_said_before_anybody_goes_on_without_it() {
    each(async |store| {
        let ward = Ward::begin(&store, "a1", &[1, 1]).await;
        ward.said(&pump(0), Phase::Installing, 5).await;
        ward.order(Order::Pause, 10).await.unwrap();
        ward.said(&pump(0), Phase::FellBack, 20).await;
        assert_eq!(ward.rollout().await.reason.unwrap().code, Code::Operator);
        // By somebody who knows that the ward was full, and is not any more.
        ward.order(Order::Resume, 30).await.unwrap();
        let rollout = ward.rollout().await;
        assert_eq!((rollout.state, rollout.wave), (State::Paused, 0), "the next wave stays shut");
        assert_eq!(rollout.reason.unwrap().code, Code::FailureCeiling);
        ward.order(Order::Resume, 40).await.unwrap();
        let rollout = ward.rollout().await;
        assert_eq!((rollout.state, rollout.wave), (State::Running, 1), "looked at");
    })
    .await;
}

#[tokio::test]
async fn a_late_failure_of_an_earlier_wave_pauses_the_one_that_is_on() {
    each(async |store| {
        let ward = Ward::begin(&store, "a1", &[1, 2]).await;
        ward.said(&pump(0), Phase::Confirmed, 10).await;
        assert_eq!(ward.rollout().await.wave, 1);
        ward.said(&pump(0), Phase::FellBack, 20).await;
        let rollout = ward.rollout().await;
        assert_eq!((rollout.state, rollout.reason.unwrap().code), (State::Paused, Code::FailureCeiling));
    })
    .await;
}

#[tokio::test]
async fn a_step_on_the_way_is_no_arrival() {
    each(async |store| {
        let ward = Ward::begin(&store, "a1", &[1, 1]).await;
        ward.said_of(&pump(0), Phase::Confirmed, 1, 10).await;
        assert_eq!((ward.rollout().await.wave, ward.member(&pump(0)).await.standing), (0, Standing::Awaited));
        ward.said_of(&pump(0), Phase::Confirmed, 2, 20).await;
        assert_eq!(ward.rollout().await.wave, 1);
    })
    .await;
}

#[tokio::test]
async fn a_withdrawal_halts_every_rollout_that_leads_over_the_bundle_and_none_is_resumed() {
    each(async |store| {
        let wards = [Ward::begin(&store, "a1", &[1, 1]).await, Ward::begin(&store, "a2", &[1]).await];
        wards[1].order(Order::Pause, 5).await.unwrap();
        let publish = async |release: u64, status: &str, secs: i64| {
            let mut tx = store.begin().await.unwrap();
            tx.put_bundle(&Bundle { status: status.to_owned(), ..bundle(release) }).await.unwrap();
            let hdos = tx.hdos_with_rollouts().await.unwrap();
            tx.lock_all(&hdos).await.unwrap();
            halt_withdrawn(&mut tx, at(secs)).await.unwrap();
            tx.commit().await.unwrap();
        };
        publish(2, "current", 10).await;
        publish(1, "superseded", 11).await;
        publish(9, "withdrawn", 12).await;
        assert_eq!(wards[0].rollout().await.state, State::Running);
        // The first of two steps.
        publish(1, "withdrawn", 20).await;
        for ward in &wards {
            let rollout = ward.rollout().await;
            assert_eq!((rollout.state, rollout.reason.unwrap().code), (State::Paused, Code::Withdrawn));
            assert_eq!(ward.actions().await.last().map(String::as_str), Some("rollout.paused"));
            let refused = ward.order(Order::Resume, 30).await.unwrap_err();
            assert!(matches!(&refused, RolloutError::State { what, .. } if what.contains("withdrawn")), "{refused:?}");
        }
        publish(1, "current", 40).await;
        assert_eq!(wards[0].rollout().await.state, State::Paused, "a person lets it go on, not the manufacturer");
        wards[0].order(Order::Resume, 50).await.unwrap();
        assert_eq!(wards[0].rollout().await.state, State::Running);
        publish(2, "unlisted", 60).await;
        assert_eq!(wards[0].rollout().await.reason.unwrap().code, Code::Withdrawn);
    })
    .await;
}

#[tokio::test]
async fn an_approval_of_what_is_withdrawn_begins_paused() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        tx.put_bundle(&Bundle { status: "withdrawn".to_owned(), ..bundle(2) }).await.unwrap();
        tx.commit().await.unwrap();
        let ward = Ward::begin(&store, "a1", &[1]).await;
        assert_eq!(ward.rollout().await.reason.unwrap().code, Code::Withdrawn);
    })
    .await;
}

#[tokio::test]
async fn a_lift_awaits_those_again_whom_the_stop_had_ended() {
    each(async |store| {
        let mut ward = Ward::begin(&store, "a1", &[2]).await;
        ward.stop(true, 10).await;
        ward.said(&pump(0), Phase::Stopped, 20).await;
        assert_eq!(ward.member(&pump(0)).await.standing, Standing::Ended);
        ward.stop(false, 30).await;
        assert_eq!(ward.member(&pump(0)).await.standing, Standing::Awaited);
        ward.check().await;
        ward.order(Order::Resume, 40).await.unwrap();
        assert_eq!(ward.rollout().await.state, State::Running);
    })
    .await;
}

#[tokio::test]
async fn a_lift_awaits_those_again_who_had_failed_for_good_before_they_switched() {
    each(async |store| {
        let mut ward = Ward::begin(&store, "a1", &[2]).await;
        ward.said(&pump(1), Phase::Confirmed, 10).await;
        ward.said_why(&pump(0), Phase::Failed, Code::UnusableBundle, 20).await;
        ward.order(Order::Resume, 30).await.unwrap();
        assert_eq!(ward.rollout().await.state, State::Complete, "without it");
        ward.stop(true, 40).await;
        assert_eq!(ward.rollout().await.state, State::Complete);
        ward.stop(false, 50).await;
        assert_eq!(ward.rollout().await.state, State::Paused, "it may come yet");
        ward.check_at(50).await;
        ward.order(Order::Resume, 60).await.unwrap();
        assert_eq!(ward.word(&pump(0), 61).await, Ok(()));
        ward.said(&pump(0), Phase::Fetching, 70).await;
        ward.said(&pump(0), Phase::Confirmed, 80).await;
        assert_eq!(ward.rollout().await.state, State::Complete);
        // One without a slot left is none that may come.
        let mut ward = Ward::begin(&store, "a2", &[2]).await;
        ward.said(&pump(1), Phase::Confirmed, 10).await;
        ward.said_why(&pump(0), Phase::Failed, Code::UnusableBundle, 20).await;
        ward.order(Order::Resume, 30).await.unwrap();
        ward.stop(true, fixture::SLOTS_END).await;
        ward.stop(false, fixture::SLOTS_END + 1).await;
        assert_eq!(ward.rollout().await.state, State::Complete);
        assert_eq!(ward.member(&pump(0)).await.standing, Standing::Failed);
    })
    .await;
}

#[tokio::test]
async fn whoever_was_awaited_as_it_completed_misses_its_slots_once_a_lift_has_opened_it_again() {
    each(async |store| {
        let mut ward = Ward::begin(&store, "a1", &[3]).await;
        ward.said(&pump(0), Phase::Confirmed, 10).await;
        ward.said(&pump(1), Phase::Failed, 20).await;
        ward.said(&pump(2), Phase::Stopped, 25).await;
        ward.order(Order::Resume, 30).await.unwrap();
        assert_eq!(ward.rollout().await.state, State::Complete, "without the two");
        ward.said(&pump(1), Phase::Waiting, 40).await;
        ward.at(fixture::SLOTS_END).await;
        assert_eq!(ward.member(&pump(1)).await.standing, Standing::Awaited, "nobody waited for it");
        ward.stop(true, fixture::SLOTS_END + 1).await;
        ward.said(&pump(2), Phase::Stopped, fixture::SLOTS_END + 1).await;
        ward.stop(false, fixture::SLOTS_END + 2).await;
        assert_eq!(ward.rollout().await.state, State::Paused);
        ward.check_at(fixture::SLOTS_END + 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_lift_opens_no_complete_rollout_again_that_another_has_replaced() {
    each(async |store| {
        let mut ward = Ward::begin(&store, "a1", &[3]).await;
        ward.said(&pump(0), Phase::Confirmed, 10).await;
        ward.said_why(&pump(1), Phase::Failed, Code::UnusableBundle, 20).await;
        ward.said_why(&pump(2), Phase::FellBack, Code::HealthFailed, 21).await;
        ward.order(Order::Resume, 30).await.unwrap();
        assert_eq!(ward.rollout().await.state, State::Complete, "without the two");
        ward.stop(true, 40).await;
        let other = ward.replaced_by("a2", 50).await;
        ward.stop(false, 60).await;
        let rollout = ward.rollout().await;
        assert_eq!(rollout.state, State::Complete, "its devices take the other one");
        assert_eq!(rollout.reason.unwrap().code, Code::Superseded);
        assert_eq!(ward.member(&pump(1)).await.standing, Standing::Failed, "and are not awaited");
        assert_eq!(other.rollout().await.state, State::Running);
        let actions = ward.actions().await;
        assert_eq!(actions.iter().filter(|a| *a == "rollout.superseded").count(), 1, "{actions:?}");
    })
    .await;
}

/// Attack: one approver's key and a certificate, by which orders are signed and sent without end.
#[tokio::test]
async fn what_is_stopped_already_is_not_recorded_as_what_only_narrows() {
    each(async |store| {
        let mut ward = Ward::begin(&store, "a1", &[1]).await;
        for (stopped, secs) in [(true, 10), (true, 20), (false, 30), (true, 40)] {
            ward.stop(stopped, secs).await;
        }
        let actions = ward.actions().await;
        let stops: Vec<&str> = actions.iter().filter_map(|a| a.strip_prefix("rollout.stop")).collect();
        assert_eq!(stops, ["ped", "ped-again", "-lifted", "ped"]);
    })
    .await;
}

#[tokio::test]
async fn one_leads_and_another_takes_over_when_it_falls_silent_or_resigns() {
    each(async |store| {
        let ward = Ward::begin(&store, "a1", &[1, 1]).await;
        ward.soak(60).await;
        ward.said(&pump(0), Phase::Confirmed, 0).await;
        let [first, second] = [0, 1].map(|_| Leader::new(store.clone()).unwrap());
        assert!(!first.look(at(50)).await.unwrap(), "nothing is due");
        assert!(!second.look(at(61)).await.unwrap(), "it does not lead");
        assert_eq!(ward.rollout().await.wave, 0);
        // The claim of the first lasts 20 seconds.
        assert!(!second.look(at(69)).await.unwrap());
        assert!(second.look(at(70)).await.unwrap());
        assert_eq!(ward.rollout().await.wave, 1);
        assert!(!first.look(at(71)).await.unwrap());
        second.resign().await;
        ward.said(&pump(1), Phase::Restarting, 72).await;
        assert!(first.look(at(700)).await.unwrap());
        assert_eq!(ward.rollout().await.state, State::Paused);
    })
    .await;
}

#[tokio::test]
async fn one_rollout_that_cannot_be_advanced_keeps_no_other_back() {
    each(async |store| {
        let broken = Ward::begin(&store, "a1", &[1]).await;
        let sound = Ward::begin(&store, "a2", &[1, 1]).await;
        sound.soak(60).await;
        sound.said(&pump(0), Phase::Confirmed, 0).await;
        broken.damage().await;
        assert!(advance_all(&store, at(60)).await.unwrap());
        assert_eq!(sound.rollout().await.wave, 1);
    })
    .await;
}

#[tokio::test]
async fn a_device_that_failed_for_good_is_offered_it_no_more_until_a_lift() {
    each(async |store| {
        let mut ward = Ward::begin(&store, "a1", &[4]).await;
        ward.said_why(&pump(0), Phase::FellBack, Code::HealthFailed, 10).await;
        ward.order(Order::Resume, 20).await.unwrap();
        assert_eq!(ward.word(&pump(0), 21).await, Err(Code::AttemptsSpent), "resuming says nothing of the device");
        assert_eq!(ward.word(&pump(1), 21).await, Ok(()));
        // A device that lost its record.
        ward.said(&pump(0), Phase::Offered, 30).await;
        assert_eq!(ward.word(&pump(0), 31).await, Err(Code::AttemptsSpent));

        // Two tries were signed, for what may go well the next time.
        ward.said_why(&pump(1), Phase::FellBack, Code::InstallFailed, 40).await;
        ward.order(Order::Resume, 41).await.unwrap();
        assert_eq!(ward.word(&pump(1), 42).await, Ok(()));
        ward.said_of(&pump(1), Phase::Confirmed, 1, 43).await;
        ward.said_why(&pump(1), Phase::FellBack, Code::InstallFailed, 44).await;
        ward.order(Order::Resume, 45).await.unwrap();
        assert_eq!(ward.word(&pump(1), 46).await, Ok(()), "each step has tries of its own");
        ward.said_why(&pump(1), Phase::FellBack, Code::InstallFailed, 47).await;
        ward.order(Order::Resume, 48).await.unwrap();
        assert_eq!(ward.word(&pump(1), 49).await, Err(Code::AttemptsSpent));

        ward.stop(true, 50).await;
        assert_eq!(ward.word(&pump(0), 51).await, Err(Code::Paused));
        ward.stop(false, 52).await;
        ward.order(Order::Resume, 53).await.unwrap();
        for n in [0, 1] {
            assert_eq!(ward.word(&pump(n), 54).await, Ok(()), "lifted");
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_whose_clock_is_behind_is_told_that_its_slots_are_over() {
    each(async |store| {
        let ward = Ward::begin(&store, "a1", &[1]).await;
        assert_eq!(ward.word(&pump(0), fixture::SLOTS_END - 1).await, Ok(()));
        assert_eq!(ward.word(&pump(0), fixture::SLOTS_END).await, Err(Code::SlotsOver));
    })
    .await;
}
