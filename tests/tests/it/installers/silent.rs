//! An installer that does not say, or has forgotten, what it has switched to.

use suture_agent::face::Ask;

use super::*;

/// A pump whose installer is the guide's program, which cannot say what it has switched to while the file `mute` is there, which
/// goes as the old version comes back; and whose `[restart]` keeps count in `restarts` and does this besides; with release 2 published.
async fn forgetful(restart: &str) -> (Stage, Bundle) {
    let table = |dir: &Path| {
        let (installer, guide) = (dir.join("installer.sh"), dir.join("guide.sh"));
        let shown = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/install/command/example.sh");
        executable(&guide, &fs::read_to_string(shown).unwrap());
        let mute = "if [ \"$1\" = state ] && [ -e \"$here/mute\" ]; then echo it is asleep >&2; exit 1; fi";
        let back = "if [ \"$1\" = revert ]; then rm -f \"$here/mute\"; fi";
        executable(
            &installer,
            &format!(
                "#!/bin/sh\nhere={}\necho \"$1\" >> \"$here/calls\"\n{mute}\n{back}\nexec \"$here/guide.sh\" \"$@\"\n",
                text(dir)
            ),
        );
        format!("[installer]\nkind = \"command\"\ncommand = [{:?}]\n", text(&installer))
    };
    let stage = Stage::open("command", table, |_, _| {}).await;
    let config = fs::read_to_string(stage.pump.config()).unwrap();
    let script = format!("cd {} && echo 1 >> restarts; {restart}", text(&stage.pump.dir));
    let wanted = format!("[restart]\ncommand = {:?}", ["sh", "-c", script.as_str()]);
    fs::write(stage.pump.config(), config.replace("[restart]\ncommand = [\"true\"]", &wanted)).unwrap();
    let second = stage.publish("command", 2, false).await;
    (stage, second)
}

/// Cycles that come to nothing, since the installer does not say what it has switched to; the machine's state then.
async fn asked(stage: &mut Stage, times: usize) -> String {
    for _ in 0..times {
        let error = Box::pin(stage.pump.agent().cycle()).await.unwrap_err();
        let error = suture_agent::agent::chain(&error);
        assert!(error.contains("cannot say whether it has switched") && error.contains("it is asleep"), "{error}");
    }
    let why = stage.kim.json(&["device", "why", "pump-1"]).await.unwrap();
    let said = |why: &serde_json::Value| why["text"].as_str().unwrap().contains("it is asleep");
    assert!(why.as_array().unwrap().iter().any(said), "{why}");
    stage.pump.state()
}

/// What has to be done by hand for the journal to be written again.
fn mended(stage: &Stage) {
    for name in ["journal.json.tmp", "journal.second.json.tmp"] {
        fs::remove_dir(stage.pump.dir.join("state").join(name)).unwrap();
    }
}

const FAILS: &str = "mkdir state/journal.json.tmp state/journal.second.json.tmp";

/// Accident: whoever is asked is not there yet as the device starts. The new version may well run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installer_that_cannot_say_whether_it_has_switched_is_asked_again_and_nothing_is_taken_back_by_that() {
    let once = format!("if ! [ -e failed ]; then touch failed mute; {FAILS}; fi");
    let (mut stage, second) = forgetful(&once).await;
    let rollout = stage.approve(&second).await;
    assert!(Box::pin(stage.pump.agent().cycle()).await.is_err());
    mended(&stage);
    for _ in 0..2 {
        stage.pump.crash();
        assert_eq!(asked(&mut stage, 3).await, "restarting");
    }
    let count = || fs::read_to_string(stage.pump.dir.join("restarts")).unwrap().lines().count();
    assert_eq!((count(), stage.pump.interlock_log()), (1, vec!["claim".to_owned()]));
    fs::remove_file(stage.pump.dir.join("mute")).unwrap();
    assert_eq!(stage.pump.cycle().await, "idle(up-to-date)");
    assert_eq!(stage.reported(&rollout).await, ("confirmed".to_owned(), 2));
    assert_eq!(stage.pump.interlock_log(), ["claim", "claim", "release"]);
}

/// The interlock is not released, nor claimed for a second switch, before it is known that nothing was switched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_claim_and_switch_an_installer_that_says_nothing_keeps_the_claim_and_then_all_is_asked_again() {
    let (mut stage, second) = forgetful("").await;
    let script = stage.pump.dir.join("interlock.sh");
    let before = fs::read_to_string(&script).unwrap();
    executable(&script, &format!("{before}if [ \"$1\" = claim ]; then touch mute; fi\n"));
    let rollout = stage.approve(&second).await;
    assert_eq!(asked(&mut stage, 3).await, "switching");
    stage.pump.crash();
    assert_eq!(asked(&mut stage, 3).await, "switching");
    assert_eq!(stage.pump.interlock_log(), ["claim"]);
    stage.stop(&rollout).await;
    fs::remove_file(stage.pump.dir.join("mute")).unwrap();
    assert_eq!(stage.pump.cycle().await, "idle(stop-order)");
    assert_eq!(
        (stage.pump.interlock_log(), stage.pump.runs().as_str()),
        (vec!["claim".into(), "release".into()], "1.0.0")
    );
}

/// While the claim is made the disk fails and the agent dies: the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_may_have_claimed_releases_nothing_before_its_installer_says_that_nothing_was_switched() {
    let (mut stage, second) = forgetful("").await;
    let script = stage.pump.dir.join("interlock.sh");
    let before = fs::read_to_string(&script).unwrap();
    executable(
        &script,
        &format!("{before}if [ \"$1\" = claim ] && ! [ -e failed ]; then touch failed mute; {FAILS}; fi\n"),
    );
    let rollout = stage.approve(&second).await;
    assert!(Box::pin(stage.pump.agent().cycle()).await.is_err());
    mended(&stage);
    stage.pump.crash();
    assert_eq!(asked(&mut stage, 3).await, "claiming");
    assert_eq!(stage.pump.interlock_log(), ["claim"]);
    fs::remove_file(stage.pump.dir.join("mute")).unwrap();
    assert_eq!(stage.pump.cycle().await, "idle(up-to-date)");
    assert_eq!(stage.pump.interlock_log(), ["claim", "release", "claim", "release"]);
    assert_eq!(stage.reported(&rollout).await, ("confirmed".to_owned(), 2));
}

/// Nor is it held for ever without anybody who could end that: in the end a person is asked for, and what they say counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_may_have_claimed_and_never_says_what_starts_next_waits_for_a_person() {
    let (mut stage, second) = forgetful("").await;
    let script = stage.pump.dir.join("interlock.sh");
    let before = fs::read_to_string(&script).unwrap();
    executable(
        &script,
        &format!("{before}if [ \"$1\" = claim ] && ! [ -e failed ]; then touch failed mute; {FAILS}; fi\n"),
    );
    let rollout = stage.approve(&second).await;
    assert!(Box::pin(stage.pump.agent().cycle()).await.is_err());
    mended(&stage);
    stage.pump.crash();
    assert_eq!(asked(&mut stage, 19).await, "claiming");
    for _ in 0..2 {
        assert_eq!(stage.pump.cycle().await, "held(install-failed)");
        assert_eq!(stage.pump.interlock_log(), ["claim"]);
        stage.pump.crash();
    }
    fs::remove_file(stage.pump.dir.join("mute")).unwrap();
    assert_eq!(stage.pump.cycle().await, "held(install-failed)");
    stage.pump.tell(Ask::Recover { reason: "it runs the old version".to_owned() }).await.0.unwrap();
    assert_eq!(stage.pump.interlock_log(), ["claim", "release"]);
    assert_eq!((stage.pump.runs().as_str(), stage.reported(&rollout).await.0.as_str()), ("1.0.0", "held"));
}

/// Rule 5: always a way back, also where the new version has broken what would say that it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_switch_an_installer_that_never_says_what_it_has_switched_to_is_put_back_in_the_end() {
    let once = format!("if ! [ -e failed ]; then touch failed mute; {FAILS}; fi");
    let (mut stage, second) = forgetful(&once).await;
    let rollout = stage.approve(&second).await;
    assert!(Box::pin(stage.pump.agent().cycle()).await.is_err());
    mended(&stage);
    stage.pump.crash();
    assert_eq!(asked(&mut stage, 19).await, "restarting");
    assert_eq!(stage.pump.cycle().await, "idle(install-failed)");
    assert_eq!((stage.pump.runs().as_str(), stage.pump.interlock_log().len()), ("1.0.0", 3));
    assert_eq!(stage.reported(&rollout).await, ("fell_back".to_owned(), 1));
}

/// A version that takes the device down again and again, and of which the installer says nothing meanwhile: each start counts, and
/// the one after the fourth asks no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_of_a_device_whose_installer_never_says_what_it_has_switched_to_are_counted() {
    let once = format!("if ! [ -e failed ]; then touch failed mute; {FAILS}; fi");
    let (mut stage, second) = forgetful(&once).await;
    let rollout = stage.approve(&second).await;
    assert!(Box::pin(stage.pump.agent().cycle()).await.is_err());
    mended(&stage);
    for _ in 0..4 {
        stage.pump.crash();
        assert_eq!(asked(&mut stage, 2).await, "restarting");
    }
    stage.pump.crash();
    let calls = stage.pump.dir.join("calls");
    fs::remove_file(&calls).unwrap();
    assert_eq!(stage.pump.cycle().await, "idle(restart-failed)");
    let calls = fs::read_to_string(calls).unwrap();
    assert!(calls.starts_with("revert\n"), "the way back waits for no answer: {calls}");
    assert_eq!((stage.pump.runs().as_str(), stage.pump.interlock_log().len()), ("1.0.0", 3));
    assert_eq!(stage.reported(&rollout).await, ("fell_back".to_owned(), 1));
}

/// Found: the new version ran unproven, and was kept for good and told as confirmed. The boot loader counts each start, and RAUC
/// names the slot that has a try left: at the last try of the new one that is the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_runs_was_switched_to_whatever_the_installer_says_of_the_switch() {
    for faulty in [false, true] {
        let table = |dir: &Path| {
            let (installer, guide) = (dir.join("installer.sh"), dir.join("guide.sh"));
            let shown = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/install/command/example.sh");
            executable(&guide, &fs::read_to_string(shown).unwrap());
            let script = format!(
                "#!/bin/sh\nset -e\nhere={}\n\
                 if [ \"$1\" = state ] && [ -e \"$here/forgets\" ]; then \"$here/guide.sh\" state | grep -v switched; exit 0; fi\n\
                 if [ \"$1\" = revert ]; then rm -f \"$here/forgets\"; fi\n\"$here/guide.sh\" \"$@\"\n\
                 cd \"$here\"\nif [ \"$1\" = switch ] && [ -e state/journal.json ]; then {FAILS}; fi\n",
                text(dir)
            );
            executable(&installer, &script);
            format!("[installer]\nkind = \"command\"\ncommand = [{:?}]\n", text(&installer))
        };
        let mut stage = Stage::open("command", table, |_, _| {}).await;
        let second = stage.publish("command", 2, faulty).await;
        let rollout = stage.approve(&second).await;
        // Switched, and that is not written down.
        assert!(Box::pin(stage.pump.agent().cycle()).await.is_err());
        assert_eq!((stage.pump.state(), stage.pump.runs()), ("switching".to_owned(), "1.1.0".to_owned()));
        stage.pump.crash();
        mended(&stage);
        fs::write(stage.pump.dir.join("forgets"), "").unwrap();
        let (state, runs, phase) = match faulty {
            false => ("idle(up-to-date)", "1.1.0", "confirmed"),
            true => ("idle(health-failed)", "1.0.0", "fell_back"),
        };
        assert_eq!((stage.pump.cycle().await.as_str(), stage.pump.runs().as_str()), (state, runs));
        assert_eq!(stage.reported(&rollout).await.0, phase);
    }
}
