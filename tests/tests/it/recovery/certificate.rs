//! A server that does not know what was issued under its name.

use std::fs;
use std::path::PathBuf;

use suture_core::clock::{Clock as _, format_utc};

use crate::hospital::{Hospital, PLAN};

/// Two devices renewed after the copy was made that the database is now restored from. The server knows neither the
/// certificates nor the reports that it had acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_restored_from_a_copy() {
    let mut hospital = Hospital::open().await;
    for pump in &mut hospital.pumps {
        assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    }
    hospital.world.idle(22).await;
    hospital.ada.run(&["whoami"]).await.unwrap();
    hospital.kim.run(&["approvals", "renew"]).await.unwrap();
    let database = PathBuf::from(hospital.world.database().trim_start_matches("sqlite:"));
    hospital.world.stop_server().await;
    let copy = fs::read(&database).unwrap();
    hospital.world.start_server().await;
    let tls = hospital.pumps[0].dir.join("state/identity/tls.pem");
    let before = fs::read(&tls).unwrap();
    hospital.world.idle(1).await;
    // One installs something meanwhile, and says so.
    let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
    assert_eq!(hospital.pumps[1].cycle().await, "idle(not-for-this-device)");
    let renewed = fs::read(&tls).unwrap();
    assert_ne!(renewed, before);

    hospital.world.stop_server().await;
    for extra in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{extra}", database.display()));
    }
    fs::write(&database, copy).unwrap();
    hospital.world.start_server().await;
    for pump in &mut hospital.pumps {
        let pass = pump.agent().cycle().await.unwrap();
        assert!(pass.confirmed, "the certificate before is known, and is renewed");
        assert!(pump.state().contains("rollback"), "the server's metadata are older: {}", pump.state());
    }
    assert_ne!(fs::read(&tls).unwrap(), renewed);
}

/// A disk that takes nothing for longer than a certificate lives: the device is heard all that time, and what it was certified
/// by is written down once it can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_written_down_is_used_and_kept_later() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let state = hospital.pumps[0].dir.join("state");
    let names = ["identity/tls.pem", "identity/tls.pem.copy", "identity/earlier.pem", "journal.json"];
    let names = names.into_iter().chain(["journal.second.json", "live.json"]);
    let blocked: Vec<_> = names.map(|name| state.join(format!("{name}.tmp"))).collect();
    blocked.iter().for_each(|place| fs::create_dir(place).unwrap());
    let tls = state.join("identity/tls.pem");
    let first = fs::read(&tls).unwrap();
    // A certificate lives for 30 days.
    for days in [22, 11, 22] {
        hospital.world.idle(days).await;
        hospital.ada.run(&["whoami"]).await.unwrap();
        hospital.kim.run(&["approvals", "renew"]).await.unwrap();
        for _ in 0..2 {
            let _ = hospital.pumps[0].agent().cycle().await;
            hospital.world.clock.advance(jiff::SignedDuration::from_mins(1));
        }
        let shown = hospital.kim.json(&["device", "show", "pump-1"]).await.unwrap();
        let now = format_utc(hospital.world.clock.now() - jiff::SignedDuration::from_mins(1));
        assert_eq!(shown["last_seen"].as_str(), Some(now.as_str()), "{days}: {shown}");
        let why = hospital.kim.json(&["device", "why", "pump-1"]).await.unwrap();
        assert!(why.to_string().contains("state-damaged"), "{why}");
        assert_eq!(fs::read(&tls).unwrap(), first);
    }
    // A restart leaves it with the one on the disk, which is over, and is renewed again.
    hospital.pumps[0].crash();
    assert!(hospital.pumps[0].agent().cycle().await.unwrap().confirmed, "it has nothing else to write yet");
    let until = hospital.pumps[0].agent().identity().expires();
    blocked.iter().for_each(|place| fs::remove_dir(place).unwrap());
    assert!(hospital.pumps[0].agent().cycle().await.unwrap().confirmed);
    assert_ne!(fs::read(&tls).unwrap(), first);
    hospital.pumps[0].crash();
    assert_eq!(hospital.pumps[0].agent().identity().expires(), until, "it is the one that was used");
    assert!(hospital.pumps[0].agent().cycle().await.unwrap().confirmed);
}
