//! Hostile answers to the one call by which a device hears of both repositories at once. The answer is a short cut and no
//! authority: whatever is in it, nothing counts that would not count file by file.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::trust::Role;
use suture_proto::v1;
use suture_tests::hostile::{Act, Sends};

use super::documents::{hospital, later};
use super::metadata::{BAD_METADATA, BAD_SIGNATURE, ENDLESS_DATA, UNMOVED};
use super::stage::{Row, Stage, real_time, report, row, state, touched};
use super::sticks::{import, write_stick};

/// The device knows all but the approval, whose slot has begun.
const ANSWERS: &[Row] = &[
    row("freeze", "nothing has changed", UNMOVED, |act, _| answers(act, nothing_has_changed)),
    row("freeze", "nothing has changed, and nothing is there when it is asked for singly", UNMOVED, |act, _| {
        answers(act, nothing_has_changed);
        act.metadata = Some(Arc::new(|_| Some(Err(tonic::Status::not_found("no such file")))));
    }),
    row("endless data", "an answer of 20 MiB", ENDLESS_DATA, |act, _| {
        answers(act, |news| put(news, "more.json", vec![b' '; 20 << 20]));
    }),
    row("endless data", "a timestamp of 17 KiB in the answer", ENDLESS_DATA, |act, _| {
        answers(act, |news| put(news, "timestamp.json", vec![b' '; 17 << 10]));
    }),
    row("endless data", "a next root of 600 KiB in the answer", ENDLESS_DATA, |act, _| {
        answers(act, |news| put(news, "2.root.json", vec![b' '; 600 << 10]));
    }),
    row("garbage", "no JSON in the place of the timestamp", BAD_METADATA, |act, _| {
        answers(act, |news| put(news, "timestamp.json", b"\xff\x00{".to_vec()));
    }),
    row("garbage", "no JSON in the place of a next root", BAD_METADATA, |act, _| {
        answers(act, |news| put(news, "2.root.json", b"[]".to_vec()));
    }),
    row(
        "one repository for another",
        "the catalog's news as the approvals', and the other way round",
        BAD_SIGNATURE,
        |act, _| {
            answers(act, |news| std::mem::swap(&mut news.catalog, &mut news.approvals));
        },
    ),
    row("foreign versions", "older approvals under the name of the newest", "idle(mix-and-match)", |act, _| {
        answers(act, |news| {
            let files = &mut approvals(news).files;
            let version = |f: &v1::MetadataFile| f.name.strip_suffix(".targets.json")?.parse::<u64>().ok();
            let newest = files.iter().filter_map(version).max().unwrap();
            let old = files.iter().find(|f| version(f) == Some(1)).unwrap().content.to_vec();
            put(news, &Role::Targets.served_name(newest), old);
        });
    }),
    row("foreign versions", "an older timestamp, and that the device's stands", "idle(rollback)", |act, _| {
        let key = act.loot.approvals.timestamp_key.clone();
        act.loot.approvals.next(Role::Timestamp, &[&key], |signed| signed["version"] = json!(1));
        answers(act, |news| approvals(news).timestamp_stands = true);
    }),
];

/// What is no use to a device does not stop it either: the server has the files, and they are asked for one by one. The
/// approval's slot is a day away.
const USELESS: &[Row] = &[
    row("garbage", "nothing of either repository", GOES_ON, |act, keys| {
        useless(act, keys, |news| (news.catalog, news.approvals) = (None, None));
    }),
    row("garbage", "names that lead out of the device's store", GOES_ON, |act, keys| {
        useless(act, keys, |news| {
            for name in ["../../identity/device.json", "/etc/passwd", "", "timestamp.json/..", "\0"] {
                put(news, name, b"{}".to_vec());
            }
        });
    }),
    row("garbage", "20,000 files that nobody has asked for", GOES_ON, |act, keys| {
        useless(act, keys, |news| {
            let file = |n: u32| v1::MetadataFile { name: format!("{n}.snapshot.json"), content: Vec::new().into() };
            approvals(news).files.extend((1_000..21_000).map(file));
        });
    }),
    row("garbage", "100 stop orders that are none", GOES_ON, |act, keys| {
        useless(act, keys, |news| news.stops = vec![b"{\"signatures\":[],\"signed\":{}}".to_vec().into(); 100]);
    }),
    row("foreign versions", "the newest root is the last that can be", GOES_ON, |act, keys| {
        useless(act, keys, |news| approvals(news).root_version = u64::MAX);
    }),
    row("foreign versions", "snapshots and targets of versions that nothing pins", GOES_ON, |act, keys| {
        useless(act, keys, |news| {
            let files = std::mem::take(&mut approvals(news).files);
            for file in files.into_iter().filter(|f| f.name != "timestamp.json" && !f.name.ends_with(".root.json")) {
                put(news, &format!("9{}", file.name), file.content.to_vec());
            }
        });
    }),
];

const GOES_ON: &str = "waiting(before-slot)";

/// Gives the answer with the check-in and whenever it is called for.
fn answers(act: &mut Act, change: fn(&mut v1::RefreshResponse)) {
    act.news = Arc::new(change);
}

fn useless(act: &mut Act, keys: &super::stage::Keys, change: fn(&mut v1::RefreshResponse)) {
    hospital(act, keys, later);
    answers(act, change);
}

/// That all is as the device has it.
pub(super) fn nothing_has_changed(news: &mut v1::RefreshResponse) {
    for news in [&mut news.catalog, &mut news.approvals] {
        let news = news.as_mut().unwrap();
        news.files.clear();
        news.timestamp_stands = true;
    }
}

fn approvals(news: &mut v1::RefreshResponse) -> &mut v1::RepositoryNews {
    news.approvals.as_mut().unwrap()
}

/// A file of the approvals', in the place of what there was under that name.
fn put(news: &mut v1::RefreshResponse, name: &str, content: Vec<u8>) {
    let files = &mut approvals(news).files;
    files.retain(|f| f.name != name);
    files.push(v1::MetadataFile { name: name.to_owned(), content: content.into() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_the_one_call() {
    let mut stage = Stage::open().await;
    stage.sends = Sends::OnCall;
    stage.play("News of both repositories, when they are called for", ANSWERS).await;
    stage.play("News that are no use", USELESS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_a_check_in() {
    let mut stage = Stage::open().await;
    stage.sends = Sends::WithCheckIn;
    // An answer that is too long to be read is no check-in: what this server wants to hear does not reach it.
    let heard: Vec<Row> = ANSWERS.iter().filter(|row| !row.server.ends_with("20 MiB")).copied().collect();
    stage.play("News of both repositories, with the check-in", &heard).await;
}

/// What a server can hide by one answer it can hide until the timestamp ends that the device holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_is_named_once_the_timestamp_ends() {
    let mut stage = Stage::open().await;
    // How it tells, what it says, and whether it has the approval by then.
    let ways = [
        (Sends::OnCall, "nothing has changed, for ever, when it is called for", true),
        (Sends::WithCheckIn, "nothing has changed, for ever, with each check-in", true),
        (Sends::OnCall, "the same files as news, for ever", false),
    ];
    let mut came = Vec::new();
    for (sends, server, has_it) in ways {
        let device = stage.device();
        let mut act = Act::honest(&stage.loot);
        act.sends = sends;
        let (now, ends) = (stage.loot.now, real_time() + SignedDuration::from_secs(5));
        let known = act.loot.approvals.known();
        act.loot.approvals.seal_edited(&known, now, |_| {}, |signed| signed["expires"] = json!(format_utc(ends)));
        stage.hostile.play(act.clone());
        let mut agent = device.spawn();
        assert_eq!(stage.comes_to(UNMOVED, &device, &mut agent).await, None);
        assert!(real_time() < ends, "this machine is too slow for the test: the timestamp has ended already");
        if has_it {
            act.loot = stage.loot.clone();
            act.news = Arc::new(nothing_has_changed);
            stage.hostile.play(act);
        }
        let wrong = stage.comes_to("idle(metadata-expired)", &device, &mut agent).await.or_else(|| touched(&device));
        agent.kill();
        came.push(("freeze", server, state(&device), wrong));
    }
    report("A freeze by the one call", came);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stick_brings_what_an_answer_hides() {
    let mut stage = Stage::open().await;
    let mut open = Act::honest(&stage.loot);
    hospital(&mut open, &stage.keys, later);
    let stick = write_stick(&open.loot, stage.hospital.world.path("stick"));
    let device = stage.device();
    let mut hiding = Act::honest(&stage.loot);
    (hiding.sends, hiding.news) = (Sends::OnCall, Arc::new(nothing_has_changed));
    stage.hostile.play(hiding.clone());
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to(UNMOVED, &device, &mut agent).await, None);

    import(&device, &stick);
    assert_eq!(stage.comes_to("waiting(before-slot)", &device, &mut agent).await, None);
    // From now on the files from before are a rollback, in one answer too.
    hiding.loot = stage.loot.clone();
    hiding.news = Arc::new(|_| {});
    stage.hostile.play(hiding);
    assert_eq!(stage.comes_to("waiting(rollback)", &device, &mut agent).await, None);
    assert_eq!(touched(&device), None);
    agent.kill();
}
