//! `stolen-key.md`, played against a thief who uses the key.

use suture_tests::world::{Kind, Operator, Spec, World};

use super::lost::public;
use super::page::Page;
use crate::hospital::{Hospital, PLAN};

/// Somebody with a copy of a home, keys and certificate.
fn thief(world: &World, of: &Operator) -> Operator {
    let thief = world.operator("thief");
    let status = std::process::Command::new("cp").arg("-a").arg(of.home()).arg(thief.home()).status().unwrap();
    assert!(status.success());
    thief
}

#[tokio::test]
async fn catalog_targets_keys() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let world = &hospital.world;
    let thief = thief(world, &hospital.ada);
    let evil = world.publish(&thief, Spec { release: 9, ..Spec::default() }).await;
    let stolen = public(&thief, "targets").await;

    let (ada, kim) = (&hospital.ada, &hospital.kim);
    let mut page = Page::open("stolen-key.md").section("Catalog targets keys");
    page.run(ada, "key new", &[]).await;
    page.run(ada, "catalog add-key", &[]).await;
    page.run(ada, "catalog remove-key", &[("STOLEN_KEY", &stolen)]).await;
    let status = page.run(ada, "catalog status", &[]).await;
    assert!(
        status["bundles"].to_string().contains("\"release\":9"),
        "the list shows what nobody of us signed: {status}"
    );
    page.run(ada, "catalog set-status", &[("PRODUCT", "pump"), ("RELEASE", "9")]).await;
    page.run(kim, "rollout list", &[]).await;
    page.run(kim, "device why", &[("DEVICE", "pump-1")]).await;
    page.done();

    // The key is worth nothing any more, and what it listed is neither planned nor installed.
    let refused = thief.run(&["catalog", "renew"]).await.unwrap_err();
    assert!(matches!(refused.exit, 1 | 5), "{}", refused.said);
    let plan = ["rollout", "plan", "--bundle", &evil.name, "--device", "pump-1", "--slots", "1"];
    let plan = kim.json(&plan).await.unwrap();
    assert_eq!(plan["plan"]["devices"], serde_json::json!([]), "withdrawn: {plan}");
    let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
}

#[tokio::test]
async fn approvals_targets_keys() {
    let mut hospital = Hospital::open().await;
    let world = &hospital.world;
    let thief = thief(world, &hospital.kim);
    let draft = world.draft(&thief, &PLAN).await;
    thief.sign(&draft).await;
    let (rollout, start) = (draft.0.terms.id.to_string(), draft.0.devices[0].slots[0].start);
    let stolen = public(&thief, "targets").await;

    let kim = &hospital.kim;
    let mut page = Page::open("stolen-key.md").section("Approvals targets keys");
    let listed = page.run(kim, "rollout list", &[]).await;
    assert!(listed.to_string().contains(&rollout), "{listed}");
    page.run(kim, "rollout abort", &[("ROLLOUT", &rollout)]).await;
    page.run(kim, "key new", &[]).await;
    page.run(kim, "approvals add-key", &[]).await;
    page.run(kim, "approvals remove-key", &[("STOLEN_KEY", &stolen)]).await;
    let status = page.run(kim, "approvals status", &[]).await;
    assert!(!status.to_string().contains(&stolen), "{status}");
    page.run(kim, "rollout abort", &[("ROLLOUT", &rollout)]).await;
    page.run(kim, "device list", &[]).await;
    page.run(kim, "calendar show", &[]).await;
    page.done();

    assert!(thief.run(&["approvals", "renew"]).await.is_err());
    hospital.world.clock.set(start);
    hospital.pumps[0].cycle().await;
    hospital.untouched();
}

#[tokio::test]
async fn root_keys() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let stolen = public(&ada, "root").await;
    let thief = thief(&world, &ada);

    let mut page = Page::open("stolen-key.md").section("Root keys");
    page.run(&ada, "key new", &[]).await;
    page.run(&ada, "catalog add-key", &[]).await;
    page.run(&ada, "catalog remove-key", &[("STOLEN_KEY", &stolen)]).await;
    let status = page.run(&ada, "catalog status", &[]).await;
    page.done();
    assert!(!status.to_string().contains(&stolen), "{status}");
    // Second in the race.
    assert!(thief.run(&["catalog", "rotate"]).await.is_err());
    ada.run(&["catalog", "rotate", "--root-key", "root-2"]).await.unwrap();
}
