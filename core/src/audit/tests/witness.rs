//! Notes, checkpoints, and who remembers them.

use std::collections::HashMap;

use super::*;
use crate::audit::note;
use crate::sign::PublicKey;

/// Golang's `sumdb/note`: its documentation's example, key and signature.
#[test]
fn a_note_that_another_program_signed_is_read() {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    let key = PublicKey::from_bytes(&key[1..]).unwrap();
    assert_eq!(hex::encode(note::key_id("PeterNeumann", &key)), "c74f20a3");
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let signed = format!("{text}\n{line}");
    assert_eq!(note::open(&signed, "PeterNeumann", &key).unwrap(), text);
    // Beside a signature that is not known; and not in another's name.
    let others = format!("{text}\n\u{2014} EnochRoot !!!!\n{line}");
    assert!(note::open(&others, "PeterNeumann", &key).is_err(), "a signature's line that is no base64");
    let others = format!("{text}\n\u{2014} EnochRoot r0z+eBlQM57Y\n{line}");
    assert_eq!(note::open(&others, "PeterNeumann", &key).unwrap(), text);
    assert!(matches!(note::open(&signed, "EnochRoot", &key), Err(NoteError::Unsigned { .. })));
    for at in 0..signed.len() {
        let mut bytes = signed.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(
            std::str::from_utf8(&bytes).is_err()
                || note::open(std::str::from_utf8(&bytes).unwrap(), "PeterNeumann", &key).is_err(),
            "{at}"
        );
        assert!(
            signed
                .is_char_boundary(at)
                .then(|| note::open(&signed[..at], "PeterNeumann", &key))
                .is_none_or(|o| o.is_err())
        );
    }
}

#[test]
fn a_checkpoint_says_what_was_signed_and_has_one_form() {
    let signed = checkpoint(&record(5), 1);
    assert!(signed.note().starts_with("acme.example\n5\n"), "{}", signed.note());
    assert_eq!(Checkpoint::verify(signed.note(), &log_key(1)).unwrap(), signed);
    assert!(Checkpoint::verify(signed.note(), &log_key(2)).is_err(), "another key");
    let other = LogKey { origin: "other.example".parse().unwrap(), ..log_key(1) };
    assert!(Checkpoint::verify(signed.note(), &other).is_err(), "another log's name");
    let root = "dmFsaWQgYmFzZTY0IG9mIHRoaXJ0eS10d28gYnl0ZXM=";
    for text in [
        format!("acme.example\n05\n{root}\n"),
        format!("acme.example\n+5\n{root}\n"),
        format!("acme.example\n5\n{root}\nmore\n"),
        "acme.example\n5\nAAAA\n".to_owned(),
        format!("other.example\n5\n{root}\n"),
        format!("acme.example\n0\n{root}\n"),
        format!("acme.example\n{}\n{root}\n", u64::MAX),
        "suture-log-key/v1\nx\n".to_owned(),
    ] {
        let note = note::sign(&text, "acme.example", &key(1)).unwrap();
        assert!(matches!(Checkpoint::verify(&note, &log_key(1)), Err(CheckpointError::Form(_))), "{text}");
    }
    let text = log_key(1).to_string();
    assert_eq!(text.parse::<LogKey>().unwrap(), log_key(1));
    for at in 0..text.len() {
        let mut bent = text.clone().into_bytes();
        bent[at] ^= 1;
        assert!(String::from_utf8(bent).unwrap().parse::<LogKey>().is_err(), "{at}");
    }
}

/// A server: what it has recorded, and what it shows to somebody who remembers that many entries.
fn shown(leaves: &[Leaf], seen: u64, seed: u8, succession: &[KeyChange]) -> News {
    let mut frontier = Frontier::EMPTY;
    let stored: HashMap<_, _> = leaves.iter().flat_map(|l| frontier.push(&l.payload_sha256)).collect();
    let hash = |span: &Span| span.hash(span.places().iter().map(|p| stored[p])).unwrap();
    News {
        checkpoint: checkpoint(leaves, seed).note().to_owned(),
        consistency: consistency(seen, leaves.len() as u64).unwrap_or_default().iter().map(hash).collect(),
        succession: succession.iter().map(|c| c.note().to_owned()).collect(),
    }
}

fn remembering(size: u64) -> Witness {
    let mut witness = Witness::new(log_key(1));
    assert_eq!(witness.take(&shown(&record(size), 0, 1, &[])).unwrap(), Taken::Grown);
    witness
}

#[test]
fn a_log_that_grows_is_followed() {
    let mut witness = remembering(5);
    assert_eq!(witness.take(&shown(&record(5), 5, 1, &[])).unwrap(), Taken::Stands);
    for size in [6, 9, 64, 65] {
        assert_eq!(witness.take(&shown(&record(size), witness.size(), 1, &[])).unwrap(), Taken::Grown);
        assert_eq!(witness.size(), size);
    }
    let kept = json_of(&witness);
    assert_eq!(serde_json::from_str::<Witness>(&kept).unwrap(), witness);
}

fn json_of(witness: &Witness) -> String {
    serde_json::to_string(witness).unwrap()
}

#[test]
fn a_log_that_was_cut_reordered_edited_or_forked_is_refused_and_nothing_is_forgotten() {
    let edited = |seq| Entry { actor: "mdm/mallory".to_owned(), ..entry(seq) }.to_bytes().unwrap();
    let honest = |seq| entry(seq).to_bytes().unwrap();
    let dropped = leaves((1..=9).filter(|seq| *seq != 3).map(honest));
    let reordered = leaves([1, 3, 2, 4, 5, 6, 7, 8].map(honest));
    let rewritten = leaves((1..=8).map(|seq| if seq == 4 { edited(seq) } else { honest(seq) }));
    let forked = leaves((1..=5).map(|seq| if seq == 5 { edited(seq) } else { honest(seq) }));
    let set_back = record(4);
    let grown_over = leaves((1..=8).map(|seq| if seq == 5 { edited(seq) } else { honest(seq) }));
    for (name, record) in [
        ("dropped", dropped),
        ("reordered", reordered),
        ("edited", rewritten),
        ("forked", forked),
        ("set back", set_back),
        ("forked and grown", grown_over),
    ] {
        let mut witness = remembering(5);
        let before = witness.clone();
        let refused = witness.take(&shown(&record, 5, 1, &[])).unwrap_err();
        let Refused::Rewritten { seen, offered, checkpoint } = refused else { panic!("{name}: {refused}") };
        assert_eq!((Some(seen), offered), (before.head, head(&record)), "{name}");
        // Both notes together convict the server before anybody who knows its key.
        for note in [before.checkpoint.as_ref().unwrap(), &checkpoint] {
            Checkpoint::verify(note, &log_key(1)).unwrap();
        }
        assert_eq!(witness, before, "{name}");
    }
}

#[test]
fn another_key_is_taken_by_the_old_ones_word_alone() {
    let to = |old: u8, new: u8| KeyChange::sign(log_key(new), &key(old)).unwrap();
    let mut witness = remembering(5);
    let before = witness.clone();
    assert!(matches!(witness.take(&shown(&record(6), 5, 2, &[])), Err(Refused::Key(_))), "no word at all");
    assert!(matches!(witness.take(&shown(&record(6), 5, 2, &[to(2, 2)])), Err(Refused::Change(_))), "its own word");
    assert!(matches!(witness.take(&shown(&record(6), 5, 1, &[to(1, 2)])), Err(Refused::Key(_))), "the key that went");
    let foreign = LogKey { origin: "other.example".parse().unwrap(), ..log_key(2) };
    let foreign = KeyChange::sign(foreign, &key(1)).unwrap();
    assert!(matches!(witness.take(&shown(&record(6), 5, 2, &[foreign])), Err(Refused::Change(_))));
    let endless: Vec<KeyChange> = (0..100).map(|_| to(1, 1)).collect();
    assert!(matches!(witness.take(&shown(&record(6), 5, 1, &endless)), Err(Refused::TooLong)));
    assert_eq!(witness, before);
    witness.take(&shown(&record(6), 5, 3, &[to(1, 2), to(2, 3)])).unwrap();
    assert_eq!(witness.key, log_key(3));
    // And the change of key hides no change of the record.
    assert!(matches!(witness.take(&shown(&record(4), 6, 4, &[to(3, 4)])), Err(Refused::Rewritten { .. })));
    assert_eq!(witness.key, log_key(3));
}
