//! What the hospital does: its calendars, its letters, and rollouts from their plans to the way back.

use jiff::SignedDuration;
use suture_core::clock::{Clock as _, day_of};
use suture_core::digest::Digest;
use suture_tests::world::text;

use super::manufacturer::CHECKED;
use super::{Shapes, machines, manufacturer, string};
use crate::hospital::{ASSESS, Hospital};

const ALWAYS: &str = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";

/// What is asked and set before anything is rolled out.
async fn desk(h: &Hospital, s: &mut Shapes) {
    let (kim, world) = (&h.kim, &h.world);
    let (ics, ca) = (world.path("or.ics"), world.data_dir().join("ca.pem"));
    let review = day_of(world.clock.now() + SignedDuration::from_hours(24 * 30)).to_string();
    // Both halves of the day, so that one holds whenever this runs.
    let half = ["transfer", "set", "--rate", "200Mbit", "--between", "00:00-12:00", "--zone", "Etc/UTC"];
    kim.run(&half).await.unwrap();
    for words in [
        &["whoami"][..],
        &["approvals", "status"],
        &["device", "list"],
        &["device", "show", "pump-1"],
        &["device", "why", "pump-1"],
        &["device", "lost-after", "48h"],
        &["roster", "show"],
        &["calendar", "set", "or", "--zone", "Etc/UTC", "--weekly", ALWAYS, "--freeze-yearly", "12-24..01-02"],
        &["calendar", "show", "or"],
        &["calendar", "preview", "or"],
        &["calendar", "export", "or"],
        &["calendar", "export", "or", "-o", text(&ics)],
        &["calendar", "remove", "or"],
        &["service", "show"],
        &["service", "set", "--authority", text(&ca)],
        &["service", "show"],
        &["service", "follow"],
        &["transfer", "set", "--rate", "200Mbit", "--between", "12:00-00:00"],
        &["transfer", "show"],
        &["transfer", "clear"],
        &["life", "show", "pump"],
        &["life", "list"],
        &["responsibilities", "sign", "pump", "1"],
        &["bundle", "documents", "pump@3", "-o", text(&world.path("papers"))],
        &[
            "rollout",
            "approve",
            "pump@4",
            "--defer",
            "--reason",
            "the ward is rebuilt",
            "--compensating",
            "a network of its own",
            "--review",
            &review,
        ],
        &["rollout", "decisions"],
        &["exposure", "--cve", "CVE-2026-1000"],
    ] {
        s.play(kim, words).await;
    }
    let shown = Digest::of(&der(&std::fs::read_to_string(&ca).unwrap())).to_string();
    s.play(kim, &["service", "trust", text(&ca), "--sha256", &shown]).await;
}

/// The certificate in a PEM text.
fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

/// Risks, notices and reports; the number of a report that the manufacturer has not answered.
async fn letters(h: &Hospital, s: &mut Shapes) -> String {
    let kim = &h.kim;
    for words in [
        &ASSESS[..],
        &["risk", "list"],
        &["risk", "show", "1"],
        &["risk", "overdue", "--within", "365"],
        &["notice", "list"],
        &["notice", "show", "1"],
        &["notice", "acknowledge", "1", "--text", "installed by Friday"],
        &["notice", "contact", "add", "siem", "--webhook", "https://siem.riverside.example/suture"],
        &["notice", "contact", "list"],
        &["notice", "contact", "remove", "siem"],
    ] {
        s.play(kim, words).await;
    }
    let report = |kind| ["report", kind, "--product", "pump", "--device", "pump-1", "--text", "it called a stranger"];
    let suspicion = s.play(kim, &report("suspicion")).await["number"].to_string();
    s.play(kim, &["report", "show", &suspicion]).await;
    s.play(kim, &["report", "withdraw", &suspicion, "--text", "it was our own probe"]).await;
    let incident = s.play(kim, &report("incident")).await["number"].to_string();
    s.play(kim, &["report", "list"]).await;
    incident
}

/// The second release for both pumps: begun, stopped, lifted, aborted.
async fn aborted(h: &mut Hospital, s: &mut Shapes) {
    let (kim, world) = (&h.kim, &h.world);
    let plan =
        ["rollout", "plan", "--bundle", "pump@2", "--ward", "icu", "--wave", "1", "--wave", "rest", "--slots", "1"];
    let file = world.path("plan.json");
    let planned = s.play(kim, &[&plan[..], &["--slack", "60s", "-o", text(&file)]].concat()).await;
    let approve = ["rollout", "approve", &string(&planned["sha256"]), "--reason", "tested"];
    let rollout = string(&s.play(kim, &approve).await["rollout"]);
    s.play(kim, &["rollout", "pause", &rollout, "--reason", "the ward is full"]).await;
    s.play(kim, &["rollout", "resume", &rollout, "--reason", "it has room"]).await;
    let start = string(&planned["plan"]["devices"][0]["slots"][0]["start"]);
    world.clock.set(start.parse().unwrap());
    for pump in &mut h.pumps {
        pump.cycle().await;
    }
    let (kim, world) = (&h.kim, &h.world);
    let (order, stick) = (world.path("stop.json"), world.path("stick"));
    for words in [
        &["device", "show", "pump-1"][..],
        &["device", "why", "pump-2"],
        &["rollout", "show", &rollout],
        &["rollout", "why", &rollout],
        &["rollout", "list", "--all"],
        &["rollout", "stop", &rollout, "--envelope", text(&order)],
        &["stick", "write", text(&stick)],
    ] {
        s.play(kim, words).await;
    }
    h.pumps[0].crash();
    machines::handed(s, &h.pumps[0], &order, &stick);
    for words in [
        &["rollout", "stop-status", &rollout][..],
        &["rollout", "lift", &rollout],
        &["rollout", "abort", &rollout, "--reason", "over"],
        &["evidence", "rollout", &rollout, "-o", text(&h.world.path("rollout"))],
        &["evidence", "device", "pump-1", "-o", text(&h.world.path("device"))],
        &["evidence", "verify", text(&h.world.path("rollout"))],
    ] {
        s.play(&h.kim, words).await;
    }
    // Somebody whose home knows nothing to compare with.
    s.play(&h.world.operator("auditor"), &["evidence", "verify", text(&h.world.path("rollout"))]).await;
}

/// A release after which a person checks the pump, opened by the hospital's signature, and the way back.
async fn checked(h: &mut Hospital, s: &mut Shapes) {
    let at = h.pumps.iter().position(|pump| pump.runs() == "1.1.0").unwrap();
    let id = h.pumps[at].id.clone();
    let plan = ["rollout", "plan", "--bundle", &format!("pump@{CHECKED}"), "--device", &id, "--wave", "rest:signed"];
    let planned = s.play(&h.kim, &[&plan[..], &["--leases", "--slots", "1", "--slack", "60s"]].concat()).await;
    let approve = ["rollout", "approve", &string(&planned["sha256"]), "--reason", "tested"];
    let rollout = string(&s.play(&h.kim, &approve).await["rollout"]);
    s.play(&h.kim, &["rollout", "why", &rollout]).await;
    s.play(&h.kim, &["rollout", "open", &rollout, "--wave", "1", "--reason", "a night without a fault"]).await;
    let start = string(&planned["plan"]["devices"][0]["slots"][0]["start"]);
    h.world.clock.set(start.parse().unwrap());
    assert_eq!(h.pumps[at].cycle().await, "checking(return-to-service)", "{:#?}", s.faults);
    for words in [
        &["device", "list"][..],
        &["device", "show", &id],
        &["device", "why", &id],
        &["rollout", "show", &rollout],
        &["device", "return", &id, "--reason", "restarted by hand"],
        &["device", "release", &id, "--reason", "flow measured at three points"],
    ] {
        s.play(&h.kim, words).await;
    }
    assert_eq!(h.pumps[at].cycle().await, "idle(up-to-date)");
    s.play_lines(&h.kim, &["rollout", "watch", &rollout]).await;
    let back =
        ["rollout", "rollback", &rollout, "--reason", "the alarm is too quiet", "--slots", "1", "--slack", "60s"];
    s.play(&h.kim, &back).await;
    s.play(&h.kim, &[&back[..], &["--yes"]].concat()).await;
}

/// All of it.
pub(super) async fn play(h: &mut Hospital, s: &mut Shapes) {
    desk(h, s).await;
    let report = letters(h, s).await;
    aborted(h, s).await;
    checked(h, s).await;
    manufacturer::answer(h, s, &report).await;
    s.play(&h.kim, &["rollout", "list", "--all"]).await;
    s.play(&h.kim, &["report", "show", &report]).await;
    s.play(&h.kim, &["device", "revoke", "pump-2", "--reason", "stolen"]).await;
}
