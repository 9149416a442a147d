//! `stolen-key.md`, played against a thief who uses the key.

use suture_tests::world::{Kind, Operator, Spec, World, text};

use super::lost::{installs_the_lines, line_with_a_bundle, public};
use super::page::Page;
use crate::delegated::{LINE, PATHS};
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
async fn a_product_lines_key() {
    let mut hospital = Hospital::open().await;
    let (lin, stolen) = line_with_a_bundle(&hospital).await;
    let (world, ada, kim) = (&hospital.world, &hospital.ada, &hospital.kim);
    // Within its paths the thief lists and withdraws; outside of them, and in the catalog's own list, nothing.
    let thief = thief(world, &lin);
    let by_line = ["--role", LINE, "--key", "line"];
    let evil = world.build(&thief, Spec { release: 9, ..Spec::default() }).await;
    thief.run(&[&["bundle", "sign", text(&evil.dir)][..], &by_line].concat()).await.unwrap();
    thief.run(&["bundle", "publish", text(&evil.dir)]).await.unwrap();
    thief.run(&[&["catalog", "set-status", "pump", "3", "withdrawn"][..], &by_line].concat()).await.unwrap();
    for beyond in [&["catalog", "set-status", "pump", "2", "withdrawn"][..], &["catalog", "undelegate", LINE]] {
        let by_no_role = [beyond, &["--key", "line"]].concat();
        assert!(thief.run(&by_no_role).await.unwrap_err().said.contains("none of those that sign targets"));
    }

    let envelope = world.path("line.json");
    let envelope = ("line.json", text(&envelope));
    let third = world.path("bundle-3-rev-a");
    let directory = ("DIRECTORY", text(&third));
    let mut page = Page::open("stolen-key.md").section("A product line's key");
    page.run(ada, "catalog undelegate", &[("ROLE", LINE)]).await;
    // The thief is out with that, and so is what it listed.
    let refused = thief.run(&[&["catalog", "renew"][..], &by_line].concat()).await.unwrap_err();
    assert!(refused.said.contains("delegates to no role"), "{}", refused.said);
    let plan = ["rollout", "plan", "--bundle", &evil.name, "--device", "pump-1", "--slots", "1"];
    assert!(kim.json(&plan).await.unwrap_err().said.contains("does not list pump release 9"));
    page.run(&lin, "key new", &[]).await;
    let new = page.run(&lin, "key export-public", &[]).await["public_key"].as_str().unwrap().to_owned();
    let values = [("ROLE", LINE), ("PATTERN", PATHS), ("PUBLIC_KEY", &new), envelope];
    page.run(ada, "catalog delegate", &values).await;
    assert_eq!(page.run(&lin, "catalog sign", &[envelope]).await["published"], true);
    page.run(&lin, "bundle sign", &[directory, ("ROLE", LINE)]).await;
    page.run(&lin, "bundle publish", &[directory]).await;
    let status = page.run(ada, "catalog status", &[]).await;
    page.run(kim, "rollout list", &[]).await;
    page.run(kim, "device why", &[("DEVICE", "pump-1")]).await;
    page.done();
    let told = |b: &serde_json::Value| (b["release"].as_u64().unwrap(), b["status"].as_str().unwrap().to_owned());
    let told: Vec<_> = status["bundles"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(told, [1, 2, 3].map(|release| (release, "current".to_owned())), "nothing of the thief's: {status}");
    assert_eq!(status["delegated"][0]["public_keys"], serde_json::json!([new]), "{stolen} is out");

    assert!(thief.run(&[&["catalog", "renew"][..], &by_line].concat()).await.is_err());
    installs_the_lines(&mut hospital).await;
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
    let shown = page.run(kim, "service show", &[]).await;
    assert_eq!(shown["signed"], serde_json::Value::Null, "{shown}");
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
