//! Lines to a real receiver of syslog over TLS, and what of a letter stands in one.

use std::sync::Arc;

use jiff::SignedDuration;
use suture_core::digest::Digest;
use suture_core::notice::{Kind, Letter, Notice, Side};
use suture_core::sign::{LocalKey, Signer as _};
use zeroize::Zeroizing;

use super::*;
use crate::export::syslog::MAX_MESSAGE_BYTES;
use crate::export::syslog::tests::{Manner, receiver};
use crate::notice::address::{Network, Target};
use crate::notice::tests::{Now, at};

fn due(repetition: u32) -> Due {
    Due {
        hdo: "riverside".parse().unwrap(),
        number: 3,
        repetition,
        contact: "siem".parse().unwrap(),
        tries: 1,
        url: String::new(),
        salt: Vec::new(),
    }
}

/// A letter with a notice of that subject, as the manufacturer has signed it.
fn letter(subject: &str) -> Kept {
    let key = LocalKey::from_seed(&Zeroizing::new([7; 32]));
    let notice = Notice {
        kind: Kind::PatchAvailable,
        product: "pump".parse().unwrap(),
        releases: Vec::new(),
        hardware: Vec::new(),
        severity: Severity::High,
        cves: Vec::new(),
        subject: subject.to_owned(),
        text: "x".repeat(4_000),
        actions: "Install release 2.".to_owned(),
        compensating: String::new(),
        fixed_by: Some(suture_core::version::Release(2)),
        support: None,
        links: Vec::new(),
        attachments: Vec::new(),
        learned: None,
        acknowledge_by: at() + SignedDuration::from_hours(240),
    };
    let letter = Letter {
        kind: "suture-letter".to_owned(),
        format: 1,
        from: Side::Manufacturer,
        hdo: "riverside".parse().unwrap(),
        number: 3,
        previous: Some(Digest::of(b"2")),
        said: Said::Notice(Box::new(notice)),
        key: key.public(),
        name: "ada".parse().unwrap(),
        written_at: at(),
    };
    let signed = letter.sign(&key).unwrap();
    Kept {
        hdo: letter.hdo,
        number: 3,
        sha256: signed.digest(),
        content: signed.bytes().to_vec(),
        stored: at(),
        answer_by: Some(at() + SignedDuration::from_hours(240)),
        delivered: None,
        read: None,
        answered: None,
        repeats: 0,
    }
}

fn line(url: &str) -> Line {
    let Ok(Target::Syslog(host, port)) = Target::parse(url) else { panic!("{url} is no receiver") };
    Line::of((host, port), &due(0), &letter("the alarm is louder"), at())
}

#[test]
fn a_line_says_what_there_is_to_read_and_names_it_by_its_digest() {
    let letter = letter("the alarm is louder");
    let line = Line::of(("siem.example".to_owned(), 6514), &due(2), &letter, at());
    assert_eq!((line.severity, line.kind), (3, "notice-overdue"));
    let told: serde_json::Value = serde_json::from_str(&line.text).unwrap();
    let wanted = json!({
        "type": "notice-overdue", "id": "riverside.3.2", "hospital": "riverside", "number": 3, "repetition": 2,
        "acknowledge_by": "2026-12-04T15:00:00Z", "sha256": letter.sha256, "kind": "patch-available", "product": "pump",
        "severity": "high", "subject": "the alarm is louder",
    });
    assert_eq!(told, wanted);
}

#[test]
fn no_letter_makes_a_line_longer_than_a_receiver_takes() {
    // Of what a subject may hold, a quotation mark is twice as long in JSON.
    let line = Line::of(("siem.example".to_owned(), 6514), &due(0), &letter(&"\"".repeat(200)), at());
    assert!(line.text.len() < MAX_MESSAGE_BYTES / 2, "{}", line.text.len());
    let damaged = Kept { content: b"no letter".to_vec(), ..letter("x") };
    let line = Line::of(("siem.example".to_owned(), 6514), &due(0), &damaged, at());
    assert!(line.severity == NOTICE && !line.text.contains("subject"), "{}", line.text);
}

#[tokio::test]
async fn only_what_the_receiver_has_read_to_its_end_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = receiver("localhost", vec![Manner::CutAfter(1), Manner::Read, Manner::Still]).await;
    let mut sender = Sender::local(dir.path(), world.authority.as_bytes(), Arc::new(Now));
    let line = line(&world.url());
    assert!(matches!(sender.tell(&line).await, Err(SendError::Syslog(_))), "it went away");
    assert_eq!(world.heard.recv().await.unwrap().len(), 1);
    sender.tell(&line).await.unwrap();
    let heard = world.heard.recv().await.unwrap();
    assert_eq!(heard.len(), 1);
    let head = "<83>1 2026-11-24T15:00:00.000Z suture.example suture-server - notice-published - \u{feff}{";
    assert!(heard[0].starts_with(head) && heard[0].ends_with(&line.text), "{heard:?}");
    sender.patience = SignedDuration::from_millis(500);
    assert!(matches!(sender.tell(&line).await, Err(SendError::Late(_))), "it reads nothing");
}

#[tokio::test]
async fn only_whom_the_authorities_know_and_only_where_one_may_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = receiver("localhost", vec![Manner::Read, Manner::Read]).await;
    let stranger = receiver("localhost", vec![Manner::Read]).await;
    let mut sender = Sender::local(dir.path(), world.authority.as_bytes(), Arc::new(Now));
    let shown = sender.tell(&line(&stranger.url())).await.unwrap_err();
    assert!(shown.to_string().contains("the handshake with the syslog receiver"), "{shown}");
    let by_address = world.url().replace("localhost", "127.0.0.1");
    assert!(
        matches!(sender.tell(&line(&by_address)).await, Err(SendError::Syslog(_))),
        "a name that it does not certify"
    );
    sender.networks.clear();
    for url in [&world.url(), &by_address] {
        assert!(matches!(sender.tell(&line(url)).await, Err(SendError::Private(_))), "{url}");
    }
    assert!(matches!(sender.tell(&line("tls://nowhere.invalid")).await, Err(SendError::Resolve(_))));
    sender.networks.extend(Network::parse("127.0.0.1"));
    sender.tell(&line(&world.url())).await.unwrap();
    assert_eq!(world.heard.recv().await.unwrap().len(), 1, "nothing came before");
}
