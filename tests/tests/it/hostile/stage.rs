//! The stage of the tables: a hospital whose server was captured, right after it had approved an update for now.

use std::fs;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::Slot;
use suture_core::clock::Clock as _;
use suture_core::sign::LocalKey;
use suture_tests::hostile::{Act, Hostile, Loot};
use suture_tests::world::{Device, TestClock};
use zeroize::Zeroizing;

use crate::hospital::Hospital;

/// Far more than any row takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a status.
const LOOK: Duration = Duration::from_millis(50);

/// One attack.
pub(super) struct Row {
    /// Its name, as TRUST.md or the literature has it.
    pub(super) attack: &'static str,
    /// What the server does.
    pub(super) server: &'static str,
    /// The same, done.
    pub(super) play: fn(&mut Act, &Keys),
    /// The agent's state and its reason's code.
    pub(super) agent: &'static str,
}

/// A row.
pub(super) const fn row(
    attack: &'static str,
    server: &'static str,
    agent: &'static str,
    play: fn(&mut Act, &Keys),
) -> Row {
    Row { attack, server, play, agent }
}

/// Keys that the attacker does not have, and one that nobody has named.
pub(super) struct Keys {
    /// The manufacturer's, for targets.
    pub(super) catalog: LocalKey,
    /// The manufacturer's, for roots.
    pub(super) catalog_root: LocalKey,
    /// The hospital's, for targets.
    pub(super) approvals: LocalKey,
    /// The hospital's, for roots.
    pub(super) approvals_root: LocalKey,
    /// The attacker's own.
    pub(super) attacker: LocalKey,
}

/// A captured server and the hospital around it.
pub(super) struct Stage {
    /// The hospital. Its server is down.
    pub(super) hospital: Hospital,
    /// The keys.
    pub(super) keys: Keys,
    /// What was taken.
    pub(super) loot: Loot,
    /// In the server's place.
    pub(super) hostile: Hostile,
    /// The approval.
    pub(super) rollout: String,
    rows: usize,
}

impl Stage {
    /// Sets it up. The first pump knows nothing of the approval yet.
    pub(super) async fn open() -> Self {
        let mut hospital = Hospital::open().await;
        assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
        hospital.pumps[0].crash();
        let mut draft = hospital.draft().await;
        let start = hospital.world.clock.now();
        let end = start + SignedDuration::from_hours(6);
        draft.0.devices[0].slots = vec![Slot { start, end }];
        draft.0.terms.expires = end;
        let (rollout, ..) = hospital.approve(draft).await;
        hospital.world.stop_server().await;
        let loot = Loot::take(&hospital.world, &[&hospital.first, &hospital.second]).await;
        let hostile = Hostile::serve(&loot, hospital.world.clock.clone()).await;
        hospital.world.line.lead_to(hostile.address());
        let key = |home: &std::path::Path, name: &str| {
            let pem = fs::read_to_string(home.join(format!("keys/{name}.pem"))).unwrap();
            LocalKey::from_pem(&pem, None).unwrap()
        };
        let keys = Keys {
            catalog: key(hospital.ada.home(), "targets"),
            catalog_root: key(hospital.ada.home(), "root"),
            approvals: key(hospital.kim.home(), "targets"),
            approvals_root: key(hospital.kim.home(), "root"),
            attacker: LocalKey::from_seed(&Zeroizing::new([66; 32])),
        };
        Self { hospital, keys, loot, hostile, rollout, rows: 0 }
    }

    /// A device as the first pump stood before the approval.
    pub(super) fn device(&mut self) -> Device {
        self.rows += 1;
        let dir = self.hospital.world.path(format!("row-{}", self.rows));
        self.hospital.pumps[0].double(dir, "rev-a")
    }

    /// Plays every row, and prints the table with what the agents said.
    pub(super) async fn play(&mut self, table: &str, rows: &[Row]) {
        let mut wrong = Vec::new();
        let mut lines =
            format!("\n{table}\n\n| attack | what the server does | what the agent says |\n| --- | --- | --- |\n");
        for row in rows {
            let Row { attack, server, play, agent } = row;
            let said = self.row(*play, agent).await;
            lines.push_str(&format!("| {attack} | {server} | {} |\n", said.words));
            wrong.extend(said.wrong.map(|wrong| format!("{attack} ({server}): {wrong}")));
        }
        tell(&lines);
        assert!(wrong.is_empty(), "{} of {} rows went wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }

    /// Plays one row with a device of its own. The state is the agent's once it has been told to the server as well, so the
    /// agent has gone on after the attack.
    async fn row(&mut self, play: fn(&mut Act, &Keys), expected: &str) -> Came {
        let mut act = Act::honest(&self.loot);
        play(&mut act, &self.keys);
        self.hostile.play(act);
        let device = self.device();
        let mut agent = device.spawn();
        let code = expected.split_once('(').map_or("", |(_, code)| code.trim_end_matches(')'));
        let began = Instant::now();
        let mut words = state(&device);
        let mut settled = false;
        while began.elapsed() < PATIENCE && agent.is_alive() && !settled {
            tokio::time::sleep(LOOK).await;
            // What it is at when it checks in is what the cycle before came to.
            let said = self.hostile.said();
            words = state(&device);
            settled = words == expected && said.len() > 1 && said.last().is_some_and(|said| said.code == code);
        }
        let touched = device.runs() != "1.0.0" || !device.interlock_log().is_empty();
        let wrong = match (settled, touched, agent.is_alive()) {
            (true, false, true) => None,
            (_, true, _) => Some(format!("THE DEVICE WAS TOUCHED: {}", device.log())),
            (_, _, false) => Some(format!("the agent ended: {}", device.log())),
            _ => Some(format!("the agent says {words}, not {expected}: {}", device.log())),
        };
        Came { words, wrong }
    }
}

/// The time by which the agents go.
pub(super) fn real_time() -> Timestamp {
    TestClock::start().now()
}

struct Came {
    words: String,
    wrong: Option<String>,
}

/// State and reason's code by the word of the program.
pub(super) fn state(device: &Device) -> String {
    let told = device.told();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}({})", text(&told["state"]), text(&told["reason"]["code"]))
}

#[expect(clippy::print_stdout, reason = "the table is the test's result, for whoever runs it with --no-capture")]
fn tell(lines: &str) {
    println!("{lines}");
}
