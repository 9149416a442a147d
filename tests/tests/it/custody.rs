//! Signing keys on PKCS#11 tokens: made there, used from there for whole repositories, and every way in which a token fails
//! told to the person who holds it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jiff::Timestamp;
use serde_json::{Value, json};
use suture_core::clock::Clock as _;
use suture_tests::world::hsm::{Half, PIN};
use suture_tests::world::{HDO, Hsm, Kind, Operator, Spec, World};

/// A manufacturer whose operator has joined and has two tokens, `safe` for roots and `desk` for targets, with a key each.
struct Vault {
    world: World,
    hsm: Hsm,
    ada: Operator,
}

impl Vault {
    async fn open() -> Self {
        let world = World::start(Kind::Sqlite).await.unwrap();
        let hsm = Hsm::new(&world);
        let ada = world.operator("ada");
        let token = fs::read_to_string(world.data_dir().join("operator.token")).unwrap();
        ada.run(&["join", token.trim()]).await.unwrap();
        let ada = ada.with(&hsm);
        for (name, token) in [("root", "safe"), ("targets", "desk")] {
            hsm.token(token);
            ada.run(&["key", "new", name, "--token", token]).await.unwrap();
        }
        Self { world, hsm, ada }
    }

    fn record(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.ada.home().join(format!("keys/{name}.p11"))).unwrap()).unwrap()
    }

    /// Runs a command that must fail, never telling the PIN.
    async fn refused(&self, args: &[&str], exit: u8, told: &[&str]) {
        let failed = self.ada.run(args).await.unwrap_err();
        assert_eq!(failed.exit, exit, "{}", failed.said);
        for words in told {
            assert!(failed.said.contains(words), "{words:?} is not in: {}", failed.said);
        }
        assert!(!failed.said.contains(PIN), "{}", failed.said);
    }
}

#[tokio::test]
async fn a_catalog_and_approvals_are_signed_by_keys_that_never_leave_their_tokens() {
    let Vault { world, hsm, ada } = Vault::open().await;
    ada.run(&["catalog", "init"]).await.unwrap();
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let second = world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;

    // The root names the tokens' keys, and nothing of them is in a file.
    let root: Value = serde_json::from_slice(&fs::read(ada.home().join("trust/catalog/root.json")).unwrap()).unwrap();
    for (role, name) in [("root", "root"), ("targets", "targets")] {
        let key = ada.run(&["key", "export-public", name]).await.unwrap();
        let id = root["signed"]["roles"][role]["keyids"][0].as_str().unwrap();
        assert_eq!(root["signed"]["keys"][id]["keyval"]["public"], key.trim());
        assert!(!ada.home().join(format!("keys/{name}.pem")).exists());
    }

    // The hospital's likewise, both of them on one token, from an enrolled device to an installed bundle.
    let kim = world.operator("kim").with(&hsm);
    hsm.token("clinic");
    for name in ["root", "targets"] {
        kim.run(&["key", "new", name, "--token", "clinic"]).await.unwrap();
    }
    let invitation = ada.json(&["hdo", "invite", HDO, "--name", "Riverside Hospital"]).await.unwrap();
    kim.run(&["hdo", "join", invitation["token"].as_str().unwrap(), "--name", "kim"]).await.unwrap();
    kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", "daily 00:00 24h"]).await.unwrap();
    let mut pump = world.devices(&kim, &["pump-1"], &first).await.remove(0);
    let plan = ["rollout", "plan", "--bundle", &second.name, "--device", "pump-1", "--slots", "1", "--slack", "60s"];
    let plan = kim.json(&plan).await.unwrap();
    let digest = plan["sha256"].as_str().unwrap();
    kim.run(&["rollout", "approve", digest, "--reason", "tested on the bench"]).await.unwrap();
    // The clock has run meanwhile: by what was signed, the slot may have begun already.
    let start: Timestamp = plan["plan"]["devices"][0]["slots"][0]["start"].as_str().unwrap().parse().unwrap();
    world.clock.set(start.max(world.clock.now()));
    assert_eq!(pump.cycle().await, "idle(up-to-date)");
    assert_eq!(pump.runs(), "1.1.0");
    let files = fs::read_dir(kim.home().join("keys")).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    assert!(files.into_iter().all(|name| name.ends_with(".p11")), "a key is in a file");
}

#[tokio::test]
async fn a_key_is_listed_with_its_token_and_checked_on_it() {
    let vault = Vault::open().await;
    let ada = &vault.ada;
    ada.run(&["key", "new", "plain", "--no-passphrase"]).await.unwrap();
    let listed = ada.json(&["key", "list"]).await.unwrap();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|k| (&k["name"], &k["place"], &k["token"])).collect();
    let (file, token, none) = (json!("file"), json!("token"), Value::Null);
    assert_eq!(
        names,
        [
            (&json!("plain"), &file, &none),
            (&json!("root"), &token, &json!("safe")),
            (&json!("targets"), &token, &json!("desk"))
        ]
    );
    let shown = ada.run(&["key", "list"]).await.unwrap();
    assert!(shown.contains("file, NOT encrypted") && shown.contains("token \"safe\", serial "), "{shown}");
    let checked = ada.run(&["key", "check", "root"]).await.unwrap();
    assert!(checked.contains("root signs, as"), "{checked}");

    // A key that is on the token already gets a second name, by its id, by its label, or because it is the only one.
    let id = vault.record("root")["id"].as_str().unwrap().to_owned();
    for (name, which) in [("by-id", &["--id", &*id][..]), ("by-label", &["--label", "root"]), ("only", &[])] {
        let line = ["key", "add-token", name, "--token", "safe"];
        ada.run(&[&line[..], which].concat()).await.unwrap();
        assert_eq!(vault.record(name), vault.record("root"));
    }
    ada.run(&["key", "new", "second", "--token", "safe"]).await.unwrap();
    vault.refused(&["key", "add-token", "which", "--token", "safe"], 1, &["several such keys", &id, "--id"]).await;
    vault.refused(&["key", "add-token", "which", "--token", "safe", "--id", "00"], 1, &["no such Ed25519 key"]).await;
    vault.refused(&["key", "new", "root", "--token", "safe"], 1, &["already"]).await;
    vault.refused(&["key", "change-passphrase", "root"], 1, &["has no passphrase", "--change-pin"]).await;

    // No secret is in the record, and the PIN is in no file of the home.
    let record = vault.record("root");
    let mut fields: Vec<_> = record.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    assert_eq!(fields, ["format", "id", "module", "public_key", "serial", "token"]);
    for file in fs::read_dir(ada.home().join("keys")).unwrap() {
        let path = file.unwrap().path();
        assert!(!String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(PIN), "{}", path.display());
    }
    assert_eq!(fs::metadata(ada.home().join("keys")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_token_that_fails_says_what_to_do() {
    let vault = Vault::open().await;
    let Vault { hsm, ada, .. } = &vault;

    hsm.write_pin("999999");
    let wrong = ["the token \"safe\" (serial ", ", slot ", "refuses that PIN", "locks itself"];
    vault.refused(&["key", "check", "root"], 1, &wrong).await;
    vault.refused(&["key", "new", "another", "--token", "safe"], 1, &["refuses that PIN"]).await;
    hsm.write_pin("");
    vault.refused(&["key", "check", "root"], 1, &["the PIN is empty"]).await;
    hsm.write_pin(PIN);
    ada.run(&["key", "check", "root"]).await.unwrap();

    let plug_in = hsm.unplug();
    vault.refused(&["key", "check", "root"], 1, &["reaches no token", "\"safe\"", "plug it in"]).await;
    assert!(ada.run(&["key", "list"]).await.unwrap().contains("safe"), "no token need be there to be listed");
    plug_in();
    ada.run(&["key", "check", "root"]).await.unwrap();

    // A second token of that label: the record still finds the right one, a new key needs to know which.
    hsm.token("safe");
    ada.run(&["key", "check", "root"]).await.unwrap();
    vault.refused(&["key", "new", "another", "--token", "safe"], 1, &["several tokens", "--serial"]).await;
    let serial = vault.record("root")["serial"].as_str().unwrap().to_owned();
    ada.run(&["key", "new", "another", "--token", "safe", "--serial", &serial]).await.unwrap();
    vault.refused(&["key", "new", "third", "--token", "cellar"], 1, &["label \"cellar\"", "\"desk\""]).await;
    vault
        .refused(&["key", "new", "third", "--token", "safe", "--module", "/usr/lib/none.so"], 1, &["/usr/lib/none.so"])
        .await;

    hsm.delete(Half::Private);
    vault.refused(&["key", "check", "root"], 1, &["holds no private key with the id", "lost-key.md"]).await;
}

#[tokio::test]
async fn a_public_key_that_was_exchanged_signs_nothing() {
    let vault = Vault::open().await;
    let Vault { hsm, ada, .. } = &vault;
    let foreign = vault.record("targets")["public_key"].clone();
    let mut record = vault.record("root");
    record["public_key"] = foreign.clone();
    fs::write(ada.home().join("keys/root.p11"), record.to_string()).unwrap();
    let foreign = foreign.as_str().unwrap();
    vault.refused(&["key", "check", "root"], 5, &["keys/root.p11 names another public key"]).await;
    vault.refused(&["catalog", "init"], 5, &["another public key"]).await;

    // A token that does not show its public key is found out by its signature.
    hsm.delete(Half::Public);
    vault.refused(&["key", "check", "root"], 5, &["does not verify with the public key", foreign]).await;
    vault.refused(&["catalog", "init"], 5, &["does not verify with the public key", foreign]).await;
    // The other key is whole, though its token shows no more of it either.
    ada.run(&["key", "check", "targets"]).await.unwrap();
    vault.refused(&["key", "add-token", "again", "--token", "desk"], 1, &["does not show the public half"]).await;
}

#[tokio::test]
async fn a_record_of_another_format_or_with_an_impossible_id_is_refused() {
    let vault = Vault::open().await;
    let whole = vault.record("root");
    for (field, value, told) in [
        ("format", json!(2), "format 2"),
        ("id", json!("zz"), "no id of a key"),
        ("id", json!("00".repeat(65)), "no id of a key"),
        ("public_key", json!("00"), "damaged"),
        ("pin", json!("1234"), "damaged"),
    ] {
        let mut record = whole.clone();
        record[field] = value;
        fs::write(vault.ada.home().join("keys/root.p11"), record.to_string()).unwrap();
        vault.refused(&["key", "check", "root"], 1, &[told]).await;
    }
}

/// SoftHSM2 lets a user in for one signature, and takes no parts of an Ed25519 message: that far it can be played with it.
#[tokio::test]
async fn a_key_that_wants_the_pin_for_each_signature_is_given_it_and_its_module_takes_no_parts() {
    let vault = Vault::open().await;
    vault.ada.run(&["key", "check", "root"]).await.unwrap();
    vault.hsm.mark_pin_each_time();
    let told = ["wants the PIN again for each signature", "takes nothing between", "suturectl key new"];
    vault.refused(&["key", "check", "root"], 5, &told).await;
    // One that is made here bears no such mark.
    vault.ada.run(&["key", "new", "other", "--token", "safe"]).await.unwrap();
    vault.ada.run(&["key", "check", "other"]).await.unwrap();
}
