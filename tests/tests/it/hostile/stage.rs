//! The stage of the tables: a hospital whose server was captured, right after it had approved an update for now.

use std::fs;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{Approval, OperatorDocument, Slot};
use suture_core::clock::Clock as _;
use suture_core::sign::LocalKey;
use suture_tests::hostile::{Act, Hostile, Loot, Sends};
use suture_tests::world::{AgentProgram, Bundle, Device, TestClock};
use zeroize::Zeroizing;

use crate::hospital::Hospital;

/// Far more than any row takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a status.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// One attack.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Its name, as the literature has it.
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
    /// That of the manufacturer's product line, where the catalog delegates to one.
    pub(super) line: Option<LocalKey>,
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
    /// How the hostile server hands over metadata.
    pub(super) sends: Sends,
    rows: usize,
}

impl Stage {
    /// Sets it up. The first pump knows nothing of the approval yet.
    pub(super) async fn open() -> Self {
        let hospital = Hospital::open().await;
        let draft = hospital.draft().await;
        Self::captured(hospital, draft, &[]).await
    }

    /// The server of that hospital is captured, right after it has approved this for now. `more` has been published beside
    /// the hospital's own two bundles.
    pub(super) async fn captured(
        mut hospital: Hospital,
        mut draft: (Approval, OperatorDocument),
        more: &[&Bundle],
    ) -> Self {
        assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
        hospital.pumps[0].crash();
        let start = hospital.world.clock.now();
        let end = start + SignedDuration::from_hours(6);
        draft.0.devices[0].slots = vec![Slot { start, end }];
        draft.0.terms.expires = end;
        let (rollout, ..) = hospital.approve(draft).await;
        hospital.world.stop_server().await;
        let bundles = [&[&hospital.first, &hospital.second], more].concat();
        let loot = Loot::take(&hospital.world, &bundles).await;
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
            line: None,
            attacker: LocalKey::from_seed(&Zeroizing::new([66; 32])),
        };
        Self { hospital, keys, loot, hostile, rollout, sends: Sends::Singly, rows: 0 }
    }

    /// A device as the first pump stood before the approval.
    pub(super) fn device(&mut self) -> Device {
        self.rows += 1;
        let dir = self.hospital.world.path(format!("row-{}", self.rows));
        self.hospital.pumps[0].double(dir, "rev-a")
    }

    /// Plays every row, each with a device of its own, and prints the table with what the agents said.
    pub(super) async fn play(&mut self, table: &str, rows: &[Row]) {
        let mut came = Vec::new();
        for row in rows {
            let device = self.device();
            let wrong = self.plays(row, &device).await;
            came.push((row.attack, row.server, state(&device), wrong));
        }
        report(table, came);
    }

    /// Plays one row to an agent that is started for it, and ended. The device stays as it was.
    pub(super) async fn plays(&self, row: &Row, device: &Device) -> Option<String> {
        let before = standing(device);
        let mut act = Act::honest(&self.loot);
        act.sends = self.sends;
        (row.play)(&mut act, &self.keys);
        self.hostile.play(act);
        let mut agent = device.spawn();
        let wrong = self.comes_to(row.agent, device, &mut agent).await;
        agent.kill();
        wrong.or_else(|| touched_since(device, &before))
    }

    /// Plays one row to an agent. Says what went wrong. The state counts once the agent has told it to the server, so it has
    /// gone on after the attack.
    pub(super) async fn suffers(&self, row: &Row, device: &Device, agent: &mut AgentProgram) -> Option<String> {
        let mut act = Act::honest(&self.loot);
        act.sends = self.sends;
        (row.play)(&mut act, &self.keys);
        self.hostile.play(act);
        self.comes_to(row.agent, device, agent).await.or_else(|| touched(device))
    }

    /// Waits until the agent is in a state and has told it to the hostile server. Says what went wrong.
    pub(super) async fn comes_to(&self, state: &str, device: &Device, agent: &mut AgentProgram) -> Option<String> {
        let code = state.split_once('(').map_or("", |(_, code)| code.trim_end_matches(')'));
        let began = Instant::now();
        loop {
            // What it is at when it checks in is what the cycle before came to.
            let said = self.hostile.said();
            let told = said.len() > 1 && said.last().is_some_and(|said| said.code == code);
            let is = self::state(device);
            if told && is == state {
                return None;
            }
            if !agent.is_alive() {
                return Some(format!("the agent ended:\n{}", device.log()));
            }
            if began.elapsed() > PATIENCE {
                return Some(format!("the agent says {is}, not {state}:\n{}", device.log()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The server is its owners' again.
    pub(super) async fn restore(&mut self) {
        self.hospital.world.start_server().await;
    }

    /// Waits until a device has installed what was approved, by the approval and no other way.
    pub(super) async fn installs(&self, device: &Device, agent: &mut AgentProgram) {
        self.installs_version("1.1.0", device, agent).await;
    }

    /// The same of a version that the hospital has approved instead.
    pub(super) async fn installs_version(&self, version: &str, device: &Device, agent: &mut AgentProgram) {
        let began = Instant::now();
        while state(device) != "idle(up-to-date)" {
            assert!(agent.is_alive() && began.elapsed() < PATIENCE, "{}:\n{}", state(device), device.log());
            tokio::time::sleep(LOOK).await;
        }
        assert_eq!(device.runs(), version);
        assert_eq!(device.interlock_log(), ["claim", "release"]);
    }
}

/// Prints a table, and fails where a row went wrong.
pub(super) fn report(table: &str, rows: Vec<(&str, &str, String, Option<String>)>) {
    let mut lines =
        format!("\n{table}\n\n| attack | what the server does | what the agent says |\n| --- | --- | --- |\n");
    let mut faults = Vec::new();
    for (attack, server, says, wrong) in rows {
        lines.push_str(&format!("| {attack} | {server} | {says} |\n"));
        faults.extend(wrong.map(|wrong| format!("{attack} ({server}): {wrong}")));
    }
    tell(&lines);
    assert!(faults.is_empty(), "{} rows went wrong:\n{}", faults.len(), faults.join("\n"));
}

/// What a device runs, and what its interlock was asked.
pub(super) type Standing = (String, Vec<String>);

/// How a device stands.
pub(super) fn standing(device: &Device) -> Standing {
    (device.runs(), device.interlock_log())
}

/// Whether anything was installed, or the device taken from its patient.
pub(super) fn touched(device: &Device) -> Option<String> {
    touched_since(device, &("1.0.0".to_owned(), Vec::new()))
}

/// The same of a device that has installed something before.
pub(super) fn touched_since(device: &Device, before: &Standing) -> Option<String> {
    let (runs, log) = standing(device);
    (*before != (runs.clone(), log.clone()))
        .then(|| format!("THE DEVICE WAS TOUCHED: it runs {runs}; interlock {log:?}"))
}

/// The time by which the agents go.
pub(super) fn real_time() -> Timestamp {
    TestClock::start().now()
}

/// State and reason's code by the word of the program.
pub(super) fn state(device: &Device) -> String {
    let told = device.told();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}({})", text(&told["state"]), text(&told["reason"]["code"]))
}

#[expect(clippy::print_stdout, reason = "the table is the test's result, for whoever runs it with --no-capture")]
pub(super) fn tell(lines: &str) {
    println!("{lines}");
}
