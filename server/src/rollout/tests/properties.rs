//! Random stories, each by its seed: after every event the tallies are what counting yields, the rules have nothing left to
//! say, and what was recorded is a story that the rules allow.

use jiff::SignedDuration;
use suture_core::approval::Wave;
use suture_core::phase::Phase;
use suture_core::rollout::{Stage, Tally, View, step};

use super::fixture::{Ward, at, pump};
use crate::rollout::order::Order;
use crate::store::suite::each;

/// Stories on each database, and events in each.
const STORIES: u64 = 15;
const EVENTS: u32 = 60;

/// Numbers that a seed yields, the same ever again (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn small(&mut self, n: u32) -> u32 {
        u32::try_from(self.below(u64::from(n))).unwrap()
    }
}

#[tokio::test]
async fn the_tallies_are_what_counting_yields_whatever_happens() {
    each(async |store| {
        for seed in 0..STORIES {
            println!("seed {seed}");
            let mut dice = Dice(seed);
            let wave = |dice: &mut Dice| Wave {
                needs_server: true,
                needs_signature: false,
                min_confirmed_percent: [0, 50, 80, 100][dice.below(4) as usize],
                max_failures: dice.small(4),
                max_failed_percent: [0, 20, 100][dice.below(3) as usize],
                soak_secs: dice.small(2) * 300,
            };
            let waves: Vec<_> = (0..=dice.below(3)).map(|_| (wave(&mut dice), 1 + dice.small(5))).collect();
            let devices: u32 = waves.iter().map(|(_, n)| n).sum();
            let mut ward = Ward::begin_by(&store, &format!("story-{seed}"), &waves).await;
            let mut now = 0;
            for _ in 0..EVENTS {
                now += [0, 1, 60, 600, 2_000][dice.below(5) as usize];
                match dice.below(10) {
                    0 => ward.order(Order::Pause, now).await.unwrap_or_default(),
                    1 | 2 => ward.order(Order::Resume, now).await.unwrap_or_default(),
                    3 if dice.below(3) == 0 => ward.stop(dice.below(2) == 0, now).await,
                    3 => ward.at(now).await,
                    _ => {
                        // Success is as likely as all else, or no story would get far.
                        let phase = Phase::ALL[dice.below(16) as usize];
                        let phase = if dice.below(2) == 0 { Phase::Confirmed } else { phase };
                        ward.said_of(&pump(dice.small(devices)), phase, 1 + dice.below(4).min(1), now).await;
                    }
                }
                ward.at(now).await;
                ward.check_at(now).await;
                settled(&ward, &waves, now).await;
            }
            allowed(&ward.actions().await, waves.len());
        }
    })
    .await;
}

/// The rules, asked with counts of all devices, have nothing left to say.
async fn settled(ward: &Ward, waves: &[(Wave, u32)], now: i64) {
    let rollout = ward.rollout().await;
    let members = ward.members().await;
    let stage = |(number, (gate, _)): (u32, &(Wave, u32))| {
        let mine = members.iter().map(|m| &m.progress).filter(|p| p.wave == number);
        Stage { gate: gate.clone(), tally: Tally::of(mine, SignedDuration::from_secs(600), at(now)) }
    };
    let timeout = rollout.timeout();
    let view = View {
        id: rollout.id,
        state: rollout.state,
        reason: rollout.reason,
        wave: rollout.wave,
        waves: (0..).zip(waves).map(stage).collect(),
        unsigned: rollout.unsigned,
        withdrawn: false,
        expires: rollout.expires,
        timeout,
    };
    assert_eq!(step(&view, at(now)), None, "{view:?}");
}

/// Every wave opens once, in order, and nothing follows an end.
fn allowed(actions: &[String], waves: usize) {
    assert_eq!(actions[0], "rollout.approved");
    let opened = actions.iter().filter(|a| *a == "rollout.wave-opened").count();
    assert!(opened < waves, "{actions:?}");
    let ends = ["rollout.completed", "rollout.expired"];
    let end = actions.iter().position(|a| ends.contains(&a.as_str()));
    // A signed order is recorded whenever it comes.
    let after = end.into_iter().flat_map(|end| &actions[end + 1..]);
    assert!(after.clone().all(|a| a.starts_with("rollout.stop")), "{actions:?}");
}
