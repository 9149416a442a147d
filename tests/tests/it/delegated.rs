//! A product line that signs for itself: the manufacturer delegates, the line publishes by its own key alone, a hospital
//! approves and a device installs. What the line signs outside of what it was given is in nobody's catalog.

use std::fs;

use serde_json::Value;
use suture_core::clock::Clock as _;
use suture_core::digest::Digest;
use suture_core::sign::LocalKey;
use suture_core::trust::Target;
use suture_core::trust::edit::{CATALOG_LIFETIME, TargetsDraft, sign_targets};
use suture_ctl::envelope::Envelope;
use suture_ctl::trust_store::Which;
use suture_proto::v1;
use suture_server::store::Store;
use suture_tests::world::{Bundle, Device, Kind, Operator, Spec, World, text};

/// A role that the catalog delegates to, and what it may speak for.
pub(crate) const LINE: &str = "pumps";
pub(crate) const PATHS: &str = "bundles/pump/*/manifest.json";

/// The manufacturer's operator of the pump line, with a key of that name, and its public half.
pub(crate) async fn line_operator(world: &World, ada: &Operator, key: &str) -> (Operator, String) {
    let token = ada.json(&["operator", "invite", "lin"]).await.unwrap();
    let lin = world.operator("lin");
    lin.run(&["join", token["token"].as_str().unwrap()]).await.unwrap();
    lin.run(&["key", "new", key, "--no-passphrase"]).await.unwrap();
    let public = lin.json(&["key", "export-public", key]).await.unwrap();
    (lin, public["public_key"].as_str().unwrap().to_owned())
}

/// Delegates the pump line to the key: ada lets it speak, lin signs its first list, and the last one publishes.
pub(crate) async fn delegate(world: &World, ada: &Operator, lin: &Operator, public: &str, paths: &str) {
    let file = world.path("delegate.envelope.json");
    let args = ["catalog", "delegate", "pumps", "--path", paths, "--public", public, "--envelope", text(&file)];
    let waiting = ada.json(&args).await.unwrap();
    assert_eq!(waiting["published"], false);
    let wants: Vec<(&str, u64)> = waiting["signatures"].as_array().unwrap().iter().map(want).collect();
    assert_eq!(wants, [("targets", 0), ("pumps", 1)]);
    let shown = lin.run(&["catalog", "show", text(&file)]).await.unwrap();
    assert!(shown.contains(&format!("the role pumps is let speak for {paths}, by 1 of 1 keys ({public})")), "{shown}");
    let published = lin.json(&["catalog", "sign", text(&file), "--key", "line", "--yes"]).await.unwrap();
    assert_eq!(published["published"], true);
}

fn want(want: &Value) -> (&str, u64) {
    let role = want["delegated"].as_str().or(want["role"].as_str()).unwrap();
    (role, want["missing"].as_u64().unwrap())
}

/// Plans the bundle for all pumps at once and approves it; the rollout's id.
async fn approve(world: &World, kim: &Operator, bundle: &str) -> String {
    let file = world.path(format!("plan-{bundle}.json"));
    let args = ["rollout", "plan", "--bundle", bundle, "--wave", "rest", "--slots", "1", "-o", text(&file)];
    let plan = kim.json(&args).await.unwrap();
    let args = ["rollout", "approve", plan["sha256"].as_str().unwrap(), "--reason", "tested on the bench"];
    kim.json(&args).await.unwrap()["rollout"].as_str().unwrap().to_owned()
}

/// A hospital with one pump that runs the first release, always open.
async fn pump(world: &World, ada: &Operator, first: &Bundle) -> (Operator, Device) {
    let kim = world.hospital(ada).await;
    let every_day = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
    kim.run(&["calendar", "set", "icu", "--zone", "UTC", "--weekly", every_day]).await.unwrap();
    let pump = world.devices(&kim, &["pump-1"], first).await.remove(0);
    (kim, pump)
}

on_both!(a_product_line_publishes_by_its_own_key_and_a_device_installs_it, super::by_its_own_key);

async fn by_its_own_key(kind: Kind) {
    let Some(mut world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let (lin, public) = line_operator(&world, &ada, "line").await;
    delegate(&world, &ada, &lin, &public, PATHS).await;
    let (kim, mut pump) = pump(&world, &ada, &first).await;

    // The line's key alone; the catalog's own targets stay as they are.
    let second = world.build(&lin, Spec { release: 2, ..Spec::default() }).await;
    let refused = lin.run(&["bundle", "sign", text(&second.dir), "--key", "line"]).await.unwrap_err();
    assert!(refused.said.contains("none of those that sign targets"), "{}", refused.said);
    lin.run(&["bundle", "sign", text(&second.dir), "--role", "pumps", "--key", "line"]).await.unwrap();
    let published = lin.json(&["bundle", "publish", text(&second.dir)]).await.unwrap();
    assert_eq!((published["role"].as_str(), published["targets_version"].as_u64()), (Some("pumps"), Some(2)));
    let again = lin.run(&["bundle", "publish", text(&second.dir)]).await.unwrap();
    assert!(again.contains("published already"), "{again}");
    let status = kim.json(&["catalog", "status"]).await.unwrap();
    assert_eq!(status["delegated"][0]["name"], "pumps");
    assert_eq!(
        (status["delegated"][0]["version"].as_u64(), status["roles"][1]["version"].as_u64()),
        (Some(2), Some(3))
    );
    assert_eq!(status["delegated"][0]["months_left"].as_u64(), Some(6));
    let releases: Vec<_> = status["bundles"].as_array().unwrap().iter().map(|b| b["release"].as_u64()).collect();
    assert_eq!(releases, [Some(1), Some(2)]);
    let listed = kim.json(&["bundle", "list"]).await.unwrap();
    assert!(listed.as_array().unwrap().iter().all(|b| b["signed"] == true), "{listed}");

    // A device without a network learns of it from a stick; the bytes themselves wait for the server.
    let rollout = approve(&world, &kim, "pump@2").await;
    let stick = world.path("stick");
    kim.run(&["stick", "write", text(&stick)]).await.unwrap();
    world.stop_server().await;
    let list = stick.join("catalog/2.pumps.json");
    let bytes = fs::read(&list).unwrap();
    fs::write(&list, [&bytes[..], b" "].concat()).unwrap();
    // All else on a stick counts where that list is damaged, and the person at the device is told.
    let found = pump.hand_stick(&stick).await.unwrap();
    assert!(found.news && found.refused.len() == 1 && found.text().contains("refused: bundles/pump/2/"), "{found:?}");
    let state = pump.cycle().await;
    assert!(!state.starts_with("fetching"), "{state}");
    // The same stick, whole: of all that it brings the device lacks that list alone.
    fs::write(&list, &bytes).unwrap();
    let found = pump.hand_stick(&stick).await.unwrap();
    assert!(found.news && found.refused.is_empty(), "{found:?}");
    let state = pump.cycle().await;
    assert!(state.starts_with("fetching"), "{state}");
    let again = pump.hand_stick(&stick).await.unwrap();
    assert!(!again.news && again.refused.is_empty(), "{again:?}");
    world.start_server().await;
    assert_eq!(pump.cycle().await, "idle(up-to-date)");
    // A list of rollouts carries no devices; one rollout does.
    let listed = kim.json(&["rollout", "list", "--all"]).await.unwrap();
    assert_eq!((&listed[0]["rollout"], listed[0].get("devices")), (&Value::from(rollout.as_str()), None));
    let shown = kim.json(&["rollout", "show", &rollout]).await.unwrap();
    assert_eq!(shown["devices"].as_array().unwrap().len(), 1);
    assert_eq!(pump.runs(), "1.1.0");

    // Whoever holds the catalog's own keys has the first word on every path.
    ada.run(&["catalog", "set-status", "pump", "2", "withdrawn"]).await.unwrap();
    let plan = kim.json(&["rollout", "plan", "--bundle", "pump@2", "--wave", "rest"]).await.unwrap();
    assert_eq!(plan["plan"]["bundle"]["status"], "withdrawn");
    ada.run(&["catalog", "undelegate", "pumps"]).await.unwrap();
    let third = world.build(&lin, Spec { release: 3, ..Spec::default() }).await;
    let refused = lin.run(&["bundle", "sign", text(&third.dir), "--role", "pumps", "--key", "line"]).await.unwrap_err();
    assert!(refused.said.contains("delegates to no role"), "{}", refused.said);
    // The name can be given again, to another key: its numbers go on, its list begins anew.
    lin.run(&["key", "new", "line-2", "--no-passphrase"]).await.unwrap();
    let other = lin.json(&["key", "export-public", "line-2"]).await.unwrap();
    let file = world.path("again.envelope.json");
    let args = ["catalog", "delegate", "pumps", "--path", PATHS, "--public", other["public_key"].as_str().unwrap()];
    ada.run(&[&args[..], &["--envelope", text(&file)]].concat()).await.unwrap();
    lin.run(&["catalog", "sign", text(&file), "--key", "line-2", "--yes"]).await.unwrap();
    lin.run(&["bundle", "sign", text(&third.dir), "--role", "pumps", "--key", "line-2"]).await.unwrap();
    lin.run(&["bundle", "publish", text(&third.dir)]).await.unwrap();
    lin.run(&["catalog", "renew", "--role", "pumps", "--key", "line-2"]).await.unwrap();
    let status = kim.json(&["catalog", "status"]).await.unwrap();
    assert_eq!(status["delegated"][0]["version"].as_u64(), Some(5));
    let told = |b: &Value| (b["release"].as_u64().unwrap(), b["status"].as_str().unwrap().to_owned());
    let told: Vec<_> = status["bundles"].as_array().unwrap().iter().map(told).collect();
    let wanted = [(1, "current"), (2, "withdrawn"), (3, "current")].map(|(n, s)| (n, s.to_owned()));
    assert_eq!(told, wanted, "what the catalog itself said of release 2 stays");
}

/// What the server says of the catalog's bundles by itself: release and status.
async fn rows(world: &World, operator: &Operator) -> Vec<(u64, String)> {
    let mut calls = world.operator_calls(Some(operator.identity())).await;
    let listed = calls.list_bundles(v1::ListBundlesRequest::default()).await.unwrap().into_inner().bundles;
    listed.into_iter().map(|b| (b.release, b.status)).collect()
}

on_both!(the_servers_word_on_bundles_follows_what_a_line_lists, super::followed);

async fn followed(kind: Kind) {
    let Some(mut world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let (lin, public) = line_operator(&world, &ada, "line").await;
    delegate(&world, &ada, &lin, &public, PATHS).await;
    for release in [2, 3] {
        let bundle = world.build(&lin, Spec { release, ..Spec::default() }).await;
        lin.run(&["bundle", "sign", text(&bundle.dir), "--role", "pumps", "--key", "line"]).await.unwrap();
        lin.run(&["bundle", "publish", text(&bundle.dir)]).await.unwrap();
    }
    let told = async |world: &World, statuses: [&str; 3]| {
        let wanted: Vec<_> = (1..).zip(statuses.map(str::to_owned)).collect();
        assert_eq!(rows(world, &ada).await, wanted);
    };
    told(&world, ["current", "current", "current"]).await;
    let by_line = ["--role", "pumps", "--key", "line"];
    lin.run(&[&["catalog", "set-status", "pump", "2", "superseded"][..], &by_line].concat()).await.unwrap();
    lin.run(&[&["catalog", "set-status", "pump", "3", "withdrawn"][..], &by_line].concat()).await.unwrap();
    told(&world, ["current", "superseded", "withdrawn"]).await;
    // The catalog's own keys speak of the third themselves; what the line says of it counts no more.
    ada.run(&["catalog", "set-status", "pump", "3", "current"]).await.unwrap();
    told(&world, ["current", "superseded", "current"]).await;
    lin.run(&[&["catalog", "renew"][..], &by_line].concat()).await.unwrap();
    told(&world, ["current", "superseded", "current"]).await;
    // Its list nears its end, which is told as of the catalog's own.
    world.idle(140).await;
    let warnings = ada.json(&["catalog", "status"]).await.unwrap()["warnings"].to_string();
    assert!(
        warnings.contains("the targets of the role pumps end in ") && warnings.contains("--role pumps"),
        "{warnings}"
    );
    assert!(warnings.contains("the targets of the catalog end at "), "{warnings}");
    // What nobody lists is told to be so.
    ada.run(&["catalog", "undelegate", "pumps"]).await.unwrap();
    told(&world, ["current", "unlisted", "current"]).await;
    let listed = ada.json(&["bundle", "list"]).await.unwrap();
    let told_to_people: Vec<_> = listed.as_array().unwrap().iter().map(|b| (&b["status"], &b["signed"])).collect();
    assert_eq!(told_to_people[1], (&Value::from("unlisted"), &Value::from(false)));
}

/// The line's next list as its key would sign it, with a bundle of any path, as an envelope that goes to the server as it
/// is.
async fn overreach(world: &World, lin: &Operator, bundle: &Bundle) {
    let key = fs::read_to_string(lin.home().join("keys/line.pem")).unwrap();
    let key = LocalKey::from_pem(&key, None).unwrap();
    let manifest = fs::read(bundle.dir.join("manifest.json")).unwrap();
    let step = bundle.step();
    let custom = serde_json::json!({ "product": "pump", "release": step.release, "version": "1.2.0",
        "hardware": step.hardware, "min_release": 0, "status": "current", "floor": 0 });
    let now = world.clock.now();
    let mut draft = TargetsDraft::first(now, CATALOG_LIFETIME);
    let store = Store::open(world.database()).await.unwrap();
    let first = store.repo_file("catalog", "1.pumps.json").await.unwrap().unwrap();
    store.close().await;
    (draft.version, draft.previous) = (2, Some(Digest::of(&first)));
    draft.targets.insert(step.path.clone(), Target::of(&manifest, Some(custom)));
    let envelope = Envelope {
        which: Which::Catalog,
        hdo: None,
        root: None,
        targets: None,
        delegated: [("pumps".to_owned(), sign_targets(&draft, &[&key]).unwrap())].into(),
        files: [(step.path, manifest)].into(),
    };
    let file = world.path("overreach.envelope.json");
    fs::write(&file, envelope.to_bytes().unwrap()).unwrap();
    let shown = lin.run(&["catalog", "show", text(&file)]).await.unwrap_err();
    assert!(shown.said.contains("which it may not speak for"), "{}", shown.said);
    lin.force(&file).await.unwrap();
}

#[tokio::test]
async fn what_a_line_signs_outside_of_its_paths_is_in_nobodys_catalog() {
    let Some(world) = World::start(Kind::Sqlite).await else { return };
    let ada = world.manufacturer().await;
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;
    let (lin, public) = line_operator(&world, &ada, "line").await;
    delegate(&world, &ada, &lin, &public, "bundles/pump/2/*").await;
    let (kim, mut pump) = pump(&world, &ada, &first).await;
    let third = world.build(&lin, Spec { release: 3, ..Spec::default() }).await;
    let refused = lin.run(&["bundle", "sign", text(&third.dir), "--role", "pumps", "--key", "line"]).await.unwrap_err();
    assert!(refused.said.contains("may not speak for bundles/pump/3/manifest.json"), "{}", refused.said);
    overreach(&world, &lin, &third).await;

    let listed = kim.json(&["bundle", "list"]).await.unwrap();
    let told: Vec<_> =
        listed.as_array().unwrap().iter().map(|b| (b["release"].as_u64(), b["signed"].as_bool())).collect();
    assert_eq!(told, [(Some(1), Some(true)), (Some(2), Some(true))]);
    let plan = ["rollout", "plan", "--bundle", "pump@3", "--wave", "rest"];
    let refused = kim.run(&plan).await.unwrap_err();
    assert!(refused.said.contains("does not list pump release 3"), "{}", refused.said);
    // A hospital that is deceived all the same, and a device that is not.
    let mut draft = world.draft(&kim, &["--bundle", "pump@2", "--wave", "rest", "--slots", "1"]).await;
    draft.0.terms.steps = vec![third.step()];
    kim.sign(&draft).await;
    assert_eq!(pump.cycle().await, "idle(not-in-catalog)");
    assert_eq!((pump.runs().as_str(), pump.fetched_chunks()), ("1.0.0", 0));
}
