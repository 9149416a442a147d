//! Key ceremonies and signing by several: envelopes that travel between homes, keys that come and go, online keys that are
//! replaced.

mod roots;

use std::fs;
use std::path::Path;

use serde_json::Value;
use suture_core::digest::Digest;
use suture_core::sign::LocalKey;
use suture_core::trust::edit::{self, TargetsDraft};
use suture_core::trust::{Root, Targets, Verified};
use suture_tests::world::ceremony::{envelope, tamper};
use suture_tests::world::{Failed, Kind, Operator, Spec, World, text};

/// A hospital whose approvals any two of kim, lee and mia sign.
struct ThreeApprovers {
    world: World,
    ada: Operator,
    kim: Operator,
    lee: Operator,
    mia: Operator,
}

impl ThreeApprovers {
    async fn open() -> Self {
        Self::on(Kind::Sqlite).await.unwrap()
    }

    async fn on(kind: Kind) -> Option<Self> {
        let world = World::start(kind).await?;
        let ada = world.manufacturer().await;
        let kim = world.hospital(&ada).await;
        let lee = world.colleague(&kim, "lee").await;
        let mia = world.colleague(&kim, "mia").await;
        let key = lee.public("targets").await;
        let add = ["approvals", "add-key", "--role", "targets", "--public", &key];
        refused(kim.run(&add).await, 1, &["nobody's yet", "--holder NAME"]);
        kim.run(&[&add[..], &["--holder", "lee"]].concat()).await.unwrap();
        // What kim alone has signed would not count any more: lee signs it too, in the ceremony itself.
        let (key, file) = (mia.public("targets").await, envelope(&kim, "third"));
        let third =
            ["approvals", "add-key", "--role", "targets", "--public", &key, "--holder", "mia", "--threshold", "2"];
        let waiting = kim.json(&[&third[..], &["--envelope", &file]].concat()).await.unwrap();
        assert_eq!(waiting["published"], false);
        assert_eq!(waiting["signatures"][2]["missing"], 1, "{waiting}");
        let signed = lee.json(&["approvals", "sign", &file, "--key", "targets", "--yes"]).await.unwrap();
        assert_eq!((signed["published"].as_bool(), signed["root_version"].as_u64()), (Some(true), Some(3)));
        Some(Self { world, ada, kim, lee, mia })
    }
}

/// Who signed, as what, what it meant, and why.
fn said(signer: &Value) -> (&str, &str, &str, &str) {
    let text = |field: &str| signer[field].as_str().unwrap();
    (text("name"), text("role"), text("meaning"), text("reason"))
}

fn refused(outcome: Result<impl std::fmt::Debug, Failed>, exit: u8, told: &[&str]) {
    let failed = outcome.unwrap_err();
    assert_eq!(failed.exit, exit, "{}", failed.said);
    for words in told {
        assert!(failed.said.contains(words), "{words:?} is not in: {}", failed.said);
    }
}

async fn targets_version(of: &Operator) -> u64 {
    of.json(&["approvals", "status"]).await.unwrap()["roles"][1]["version"].as_u64().unwrap()
}

async fn two_of_three(kind: Kind) {
    let Some(ThreeApprovers { mut world, ada, kim, lee, mia }) = ThreeApprovers::on(kind).await else { return };
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let second = world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;
    // Every command that signs waits for another; a calendar, then a device's place on the roster.
    let file = envelope(&kim, "calendar");
    let set = ["calendar", "set", "icu", "--zone", "UTC", "--weekly", "daily 00:00 24h", "--envelope", &file];
    let told = kim.run(&set).await.unwrap();
    assert!(told.contains("NOT in force yet") && told.contains(&lee.public("targets").await), "{told}");
    refused(kim.run(&set).await, 1, &["--envelope FILE"]);
    // Without the server lee sees the same, and what it was not compared with.
    let shown = lee.json(&["approvals", "show", &file]).await.unwrap();
    assert_eq!(shown["not_compared"], Value::Array(Vec::new()));
    let offline = lee.json(&["approvals", "show", &file, "--offline"]).await.unwrap();
    assert_eq!(offline["not_compared"].as_array().unwrap().len(), 1, "{offline}");
    for part in ["changes", "signatures", "targets_signed_sha256"] {
        assert_eq!(offline[part], shown[part]);
    }
    world.stop_server().await;
    let shown = lee.run(&["approvals", "show", &file]).await.unwrap();
    assert!(shown.contains("NOT compared with what was put in force after root 3 and targets"), "{shown}");
    assert!(shown.contains("ward icu is open"), "{shown}");
    world.start_server().await;
    lee.run(&["approvals", "sign", &file, "--yes"]).await.unwrap();
    let csv = world.path("devices.csv");
    fs::write(&csv, "id,product,hardware,ward,serial,udi\npump-1,pump,rev-a,icu,SN-1,UDI-1\n").unwrap();
    kim.run(&["device", "import", "--csv", text(&csv)]).await.unwrap();
    let mut pump = suture_tests::world::Device::new(&world, "pump-1", "rev-a");
    pump.provision(&first);
    let token = kim.json(&["device", "token", "pump-1"]).await.unwrap();
    let shown = pump.enroll(token["token"].as_str().unwrap()).await.unwrap();
    let file = envelope(&kim, "roster");
    kim.run(&["device", "confirm", "pump-1", "--fingerprint", &shown, "--yes", "--envelope", &file]).await.unwrap();
    let seen = lee.run(&["approvals", "show", &file]).await.unwrap();
    assert!(seen.contains("pump-1 is put on the roster") && seen.contains("ward icu"), "{seen}");
    lee.run(&["approvals", "sign", &file, "--yes"]).await.unwrap();
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");

    // One signature under an approval is no approval, whoever sends it to the server.
    let plan = ["rollout", "plan", "--bundle", &second.name, "--ward", "icu", "--ticket", "CHG-1"];
    let plan = kim.json(&plan).await.unwrap();
    let (digest, sent) = (plan["sha256"].as_str().unwrap(), envelope(&kim, "approval"));
    let approve = ["rollout", "approve", digest, "--reason", "tested on the bench", "--envelope", &sent];
    let waiting = kim.json(&approve).await.unwrap();
    assert_eq!(waiting["signatures"][0]["missing"], 1, "{waiting}");
    let alone = kim.force(Path::new(&sent)).await.unwrap_err();
    assert!(alone.contains("1 of its keys where 2 are needed"), "{alone}");
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");

    // It goes to mia, who sees what it says before she signs it, and is asked.
    let received = mia.receive(Path::new(&sent));
    let seen = mia.json(&["approvals", "show", text(&received)]).await.unwrap();
    let told = seen["changes"].to_string();
    for words in [
        "is approved: pump@2 on 1 device in",
        "computed again here",
        "tested on the bench",
        "CHG-1",
        "at most 1 device of a ward at once",
        "wave 1 of 1, 1 device, ",
        "trusts the server: ",
    ] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    refused(
        mia.run(&["approvals", "sign", text(&received), "--reason", "x"]).await,
        1,
        &["nothing was signed", "--yes"],
    );
    let root = ["approvals", "sign", text(&received), "--key", "root", "--yes", "--reason", "x"];
    refused(mia.run(&root).await, 1, &["none of those"]);
    // Signed, and sent on to lee for a third look; whoever signs last may publish it later.
    let last = ["approvals", "sign", text(&received), "--yes"];
    refused(mia.run(&last).await, 1, &["you do not say why", "--reason TEXT"]);
    let why = ["--reason", "read the notes", "--role", "IT security", "--meaning", "reviewed"];
    let last = [&last[..], &why].concat();
    let kept = mia.json(&[&last[..], &["--no-publish"]].concat()).await.unwrap();
    assert_eq!((&kept["published"], &kept["signatures"][0]["missing"]), (&Value::from(false), &Value::from(0)));
    let before = targets_version(&kim).await;
    let sent = lee.receive(&received);
    let why = ["--reason", "the ward knows", "--role", "head nurse"];
    let done = lee.json(&[&["approvals", "sign", text(&sent), "--yes"][..], &why].concat()).await.unwrap();
    assert_eq!(done["targets_version"], before + 1);
    // Each of them signed, and is kept with name, role, meaning, reason and time; on the record too.
    let rollout = plan["plan"]["request"]["approval"].as_str().unwrap();
    let shown = kim.json(&["rollout", "show", rollout]).await.unwrap();
    let signers: Vec<_> = shown["signers"].as_array().unwrap().iter().map(said).collect();
    let mut wanted = vec![
        ("kim", "approver", "approved", "tested on the bench"),
        ("lee", "head nurse", "approved", "the ward knows"),
        ("mia", "IT security", "reviewed", "read the notes"),
    ];
    wanted.sort();
    let mut told = signers.clone();
    told.sort();
    assert_eq!(told, wanted, "{shown}");
    assert!(shown["signers"].as_array().unwrap().iter().all(|s| s["about_what_is_listed"] == true), "{shown}");
    let audit = kim.json(&["audit", "list"]).await.unwrap();
    assert_eq!(audit.to_string().matches("rollout.signed").count(), 3, "{audit}");
    assert_ne!(pump.cycle().await, "idle(nothing-approved)", "the device has its approval");
    // What is in force cannot be signed once more.
    refused(mia.run(&last).await, 5, &["exists already", "in force are root 3", "nothing is left to do"]);
}

on_both!(two_of_three_approve_with_an_envelope_that_travels_between_their_homes, super::two_of_three);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_on_the_way_is_not_signed() {
    let ThreeApprovers { world, ada, kim, lee, mia } = ThreeApprovers::open().await;
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let file = envelope(&kim, "calendar");
    kim.run(&["calendar", "set", "icu", "--zone", "UTC", "--weekly", "daily 02:00 3h", "--envelope", &file])
        .await
        .unwrap();
    let file = Path::new(&file);
    let sign = async |by: &Operator, file: &Path| by.run(&["approvals", "sign", text(file), "--yes"]).await;

    // Other bytes under a path that is listed, and a file that is not.
    let other = tamper(file, |e| e.files.values_mut().for_each(|bytes| bytes.push(b' ')));
    refused(sign(&lee, &other).await, 5, &[]);
    let more = tamper(file, |e| drop(e.files.insert("calendars/wards/or.json".to_owned(), b"{}".to_vec())));
    refused(sign(&lee, &more).await, 5, &["nothing in it lists"]);
    // Other targets metadata under the signature that was for kim's, naming a file that nobody has.
    let more = tamper(file, |e| {
        let register = Digest::of(&e.files.remove("register.json").unwrap()).to_string();
        let text = String::from_utf8(e.targets.take().unwrap()).unwrap();
        e.targets = Some(text.replace(&register, &Digest::of(b"another").to_string()).into_bytes());
    });
    refused(sign(&lee, &more).await, 5, &["did not come along"]);
    // It is said to be of the catalog, or of another hospital.
    let hdo = tamper(file, |e| e.hdo = Some("lakeside".parse().unwrap()));
    refused(sign(&lee, &hdo).await, 5, &["of lakeside"]);
    refused(ada.run(&["catalog", "sign", text(file), "--yes"]).await, 5, &["not of this home's catalog"]);
    fs::write(file.with_extension("broken"), "{\"_type\":\"suture-envelope\",\"_type\":1}").unwrap();
    refused(sign(&lee, &file.with_extension("broken")).await, 5, &["the envelope is refused"]);

    // The untouched one is signed by lee, and then the base has moved for whoever comes later with another.
    let late = envelope(&mia, "late");
    mia.run(&["calendar", "set", "or", "--zone", "UTC", "--weekly", "daily 02:00 3h", "--envelope", &late])
        .await
        .unwrap();
    sign(&lee, file).await.unwrap();
    let told = ["exists already", "in force are root 3", "against what is in force", "make the change again"];
    refused(sign(&lee, Path::new(&late)).await, 5, &told);

    // Kim's program is not what it should be: it signs an approval that no plan leads to.
    let roster = envelope(&kim, "roster");
    let csv = world.path("devices.csv");
    fs::write(&csv, "id,product,hardware,ward,serial,udi\npump-1,pump,rev-a,icu,SN-1,UDI-1\n").unwrap();
    kim.run(&["device", "import", "--csv", text(&csv)]).await.unwrap();
    let pump = suture_tests::world::Device::new(&world, "pump-1", "rev-a");
    pump.provision(&first);
    let token = kim.json(&["device", "token", "pump-1"]).await.unwrap();
    let shown = pump.enroll(token["token"].as_str().unwrap()).await.unwrap();
    kim.run(&["device", "confirm", "pump-1", "--fingerprint", &shown, "--yes", "--envelope", &roster]).await.unwrap();
    lee.run(&["approvals", "sign", &roster, "--yes"]).await.unwrap();
    let second = world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;
    let honest = world.draft(&kim, &["--bundle", &second.name, "--ward", "icu"]).await;
    let mut dishonest = honest.clone();
    permit_downgrade(&mut dishonest.0);
    let (good, bad) = (world.path("good.envelope.json"), world.path("bad.envelope.json"));
    kim.propose(&dishonest, &bad).await;
    refused(sign(&lee, &bad).await, 5, &["says other things than its plan leads to", "do not sign it"]);
    kim.propose(&honest, &good).await;
    let sign = ["approvals", "sign", text(&good), "--yes", "--reason", "so planned"];
    // Kim has two keys, and is one person: at a colleague's home, or under a name that the root does not tie to the key.
    let twice = tamper(&good, |e| e.files.retain(|path, _| !path.starts_with("statements/")));
    refused(mia.run(&["approvals", "sign", text(&twice), "--yes", "--reason", "x"]).await, 5, &["not one statement"]);
    fs::copy(mia.home().join("keys/targets.pem"), kim.home().join("keys/mias.pem")).unwrap();
    refused(kim.run(&[&sign[..], &["--key", "mias"]].concat()).await, 1, &["is mia's", "nobody signs for two"]);
    mia.run(&sign).await.unwrap();
}

fn permit_downgrade(approval: &mut suture_core::approval::Approval) {
    approval.terms.permit_downgrade = true;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_targets_key_is_taken_out_and_signs_nothing_any_more() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    let lee = world.colleague(&kim, "lee").await;
    let stolen: LocalKey = kim.targets_key();
    kim.run(&[
        "approvals",
        "add-key",
        "--role",
        "targets",
        "--public",
        &lee.public("targets").await,
        "--holder",
        "lee",
    ])
    .await
    .unwrap();
    // Kim's key was stolen. Kim's root key takes it out; lee's key signs again what the stolen one had signed.
    let (public, file) = (kim.public("targets").await, envelope(&kim, "out"));
    let out = ["approvals", "remove-key", "--role", "targets", "--public", &public, "--envelope", &file];
    let waiting = kim.json(&out).await.unwrap();
    let missing: Vec<_> = waiting["signatures"].as_array().unwrap().iter().map(|s| s["missing"].clone()).collect();
    assert_eq!(missing, [0, 0, 1], "{waiting}");
    let seen = lee.run(&["approvals", "show", &file]).await.unwrap();
    assert!(seen.contains(&format!("the key {public} may NOT sign any more")), "{seen}");
    lee.run(&["approvals", "sign", &file, "--key", "targets", "--yes"]).await.unwrap();
    let status = kim.json(&["approvals", "status"]).await.unwrap();
    assert_eq!(status["roles"][1]["public_keys"][0]["public_key"], lee.public("targets").await);
    let set = ["calendar", "set", "icu", "--zone", "UTC", "--weekly", "daily 02:00 3h"];
    refused(kim.run(&set).await, 1, &["none of those that sign targets"]);
    lee.run(&set).await.unwrap();

    // The thief signs a version that would follow, and the server refuses it.
    let file = world.path("stolen.envelope.json");
    let template = envelope(&lee, "template");
    lee.run(&["approvals", "set-threshold", "--role", "targets", "1"]).await.unwrap_err();
    kim.run(&["approvals", "rotate"]).await.unwrap();
    fs::write(&template, envelope_of(&lee, &stolen)).unwrap();
    fs::copy(&template, &file).unwrap();
    let said = lee.force(&file).await.unwrap_err();
    assert!(said.contains("0 of its keys where 1 are needed"), "{said}");
}

/// The version after what a home has verified, signed by a key that was thrown out.
fn envelope_of(of: &Operator, key: &LocalKey) -> Vec<u8> {
    let read = |name: &str| fs::read(of.home().join("trust/approvals").join(name)).unwrap();
    let root: Verified<Root> = Verified::pinned(&read("root.json")).unwrap();
    let targets: Verified<Targets> = Verified::by(&root, &read("targets.json")).unwrap();
    let now = targets.signed_at().unwrap();
    let draft = TargetsDraft::following(&targets, now, edit::APPROVALS_LIFETIME);
    let signed = edit::sign_targets(&draft, &[key]).unwrap();
    let envelope = suture_ctl::envelope::Envelope {
        which: suture_ctl::trust_store::Which::Approvals,
        hdo: Some("riverside".parse().unwrap()),
        root: None,
        targets: Some(signed),
        delegated: std::collections::BTreeMap::new(),
        files: std::collections::BTreeMap::new(),
    };
    envelope.to_bytes().unwrap()
}
