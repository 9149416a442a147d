//! A hospital with a server, two pumps and two published releases: where most tests begin.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{Approval, OperatorDocument};
use suture_tests::world::{Bundle, Device, Kind, Operator, Spec, World};

/// A hospital with two pumps that run the first of two published releases.
pub(crate) struct Hospital {
    /// The stage.
    pub(crate) world: World,
    /// The manufacturer's operator.
    pub(crate) ada: Operator,
    /// The hospital's.
    pub(crate) kim: Operator,
    /// 1.0.0.
    pub(crate) first: Bundle,
    /// 1.1.0.
    pub(crate) second: Bundle,
    /// pump-1 and pump-2.
    pub(crate) pumps: Vec<Device>,
}

/// The arguments of its plans: the second release for the first pump.
pub(crate) const PLAN: [&str; 8] = ["--bundle", "pump@2", "--device", "pump-1", "--slots", "1", "--slack", "60s"];

/// The arguments of an assessment by which its pumps run on past the end of support.
pub(crate) const ASSESS: [&str; 20] = [
    "risk",
    "assess",
    "--product",
    "pump",
    "--hazard",
    "a wrong dose",
    "--likelihood",
    "remote",
    "--severity",
    "critical",
    "--exploitability",
    "medium",
    "--treatment",
    "acceptance",
    "--reason",
    "its replacement is late",
    "--reviewer",
    "Dr. Lee",
    "--compensating",
    "a network of their own",
];

impl Hospital {
    /// With pumps that run the first release.
    pub(crate) async fn open() -> Self {
        Self::that_runs(1).await
    }

    /// With pumps that came with that release from the factory.
    pub(crate) async fn that_runs(release: u64) -> Self {
        let world = World::start(Kind::Sqlite).await.unwrap();
        let ada = world.manufacturer().await;
        let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
        let second = world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;
        let kim = world.hospital(&ada).await;
        let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
        kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
        let runs = if release == 1 { &first } else { &second };
        let pumps = world.devices(&kim, &["pump-1", "pump-2"], runs).await;
        Self { world, ada, kim, first, second, pumps }
    }

    /// The operator of another hospital of the same manufacturer, whose ward `icu` is always open.
    pub(crate) async fn neighbour(&self) -> Operator {
        let invitation = self.ada.json(&["hdo", "invite", "hilltop", "--name", "Hilltop Clinic"]).await.unwrap();
        let lee = self.world.operator("lee");
        let token = invitation["token"].as_str().unwrap();
        lee.run(&["hdo", "join", token, "--name", "lee", "--no-passphrase"]).await.unwrap();
        let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
        lee.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
        lee
    }

    /// An approval of the second release for the first pump, as a plan has it.
    pub(crate) async fn draft(&self) -> (Approval, OperatorDocument) {
        self.world.draft(&self.kim, &PLAN).await
    }

    /// The same ten minutes later than planned, so that the pump fetches and then waits.
    pub(crate) async fn later_draft(&self) -> (Approval, OperatorDocument) {
        let mut draft = self.draft().await;
        let later = SignedDuration::from_mins(10);
        let slot = &mut draft.0.devices[0].slots[0];
        (slot.start, slot.end) = (slot.start + later, slot.end + later);
        draft.0.terms.expires += later;
        draft
    }

    /// Signs it, and gives its id and the first pump's slot.
    pub(crate) async fn approve(&self, draft: (Approval, OperatorDocument)) -> (String, Timestamp, Timestamp) {
        self.kim.sign(&draft).await;
        let approval = draft.0;
        let slot = approval.devices[0].slots[0];
        (approval.terms.id.to_string(), slot.start, slot.end)
    }

    /// Signs it as it comes, moves into the slot, and checks that the first pump refuses it with `state`, tells so and
    /// has not been touched.
    pub(crate) async fn refuses(&mut self, draft: (Approval, OperatorDocument), state: &str, told: (&str, &str)) {
        let (rollout, start, _) = self.approve(draft).await;
        self.world.clock.set(start);
        assert_eq!(self.pumps[0].cycle().await, state);
        self.untouched();
        let (phase, reason) = self.reported(&rollout).await;
        assert_eq!((phase.as_str(), reason.as_str()), told);
    }

    /// Nothing was installed on the first pump.
    pub(crate) fn untouched(&self) {
        untouched(&self.pumps[0], "1.0.0");
    }

    /// What the first pump's signed reports have come to, as the rollout counts them.
    pub(crate) async fn reported(&self, rollout: &str) -> (String, String) {
        let shown = self.kim.json(&["rollout", "show", rollout]).await.unwrap();
        let device = shown["devices"].as_array().unwrap().iter().find(|d| d["id"] == "pump-1").unwrap();
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        (word(&device["phase"]), word(&device["reason"]["code"]))
    }

    /// The codes that `device why` gives for the first pump: the device says a thing at the check-in after it found it.
    pub(crate) async fn why(&mut self) -> Vec<String> {
        self.pumps[0].cycle().await;
        let why = self.kim.json(&["device", "why", "pump-1"]).await.unwrap();
        why.as_array().unwrap().iter().map(|u| u["code"].as_str().unwrap().to_owned()).collect()
    }

    /// The device finishes what it refused before, once nothing is wrong with it any more.
    pub(crate) async fn confirms(&mut self, rollout: &str) {
        assert_eq!(self.pumps[0].cycle().await, "idle(up-to-date)");
        assert_eq!(self.pumps[0].runs(), "1.1.0");
        // Past the switch it is claimed once more after a start of the agent.
        let mut log = self.pumps[0].interlock_log();
        log.dedup();
        assert_eq!(log, ["claim", "release"]);
        assert_eq!(self.reported(rollout).await.0, "confirmed");
    }
}

/// Nothing was installed, and the device was never taken from its patient.
pub(crate) fn untouched(pump: &Device, version: &str) {
    assert_eq!(pump.runs(), version);
    assert_eq!(pump.interlock_log(), [""; 0]);
}
