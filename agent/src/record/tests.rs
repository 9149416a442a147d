use suture_core::audit::{Checkpoint, Frontier, Place, Span, consistency};
use suture_core::digest::Digest;
use suture_core::sign::{LocalKey, Signer as _};

use super::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

fn signer(seed: u8) -> LocalKey {
    LocalKey::from_seed(&zeroize::Zeroizing::new([seed; 32]))
}

fn key() -> LogKey {
    LogKey { origin: "acme.example".parse().unwrap(), key: signer(1).public() }
}

/// A server with these entries, as it answers a device that remembers so many.
fn shown(entries: &[u8], seen: u64) -> News {
    let mut frontier = Frontier::EMPTY;
    let mut stored: Vec<(Place, Digest)> = Vec::new();
    for entry in entries {
        stored.extend(frontier.push(&Digest::of(&[*entry])));
    }
    let of = |place: &Place| stored.iter().find(|(p, _)| p == place).unwrap().1;
    let hash = |span: &Span| span.hash(span.places().iter().map(of)).unwrap();
    let proof = consistency(seen, entries.len() as u64).unwrap_or_default();
    News {
        checkpoint: Checkpoint::sign(frontier.head(), &key().origin, &signer(1)).unwrap().note().to_owned(),
        consistency: proof.iter().map(hash).collect(),
        succession: Vec::new(),
    }
}

const SEEN: [u8; 5] = [1, 2, 3, 4, 5];

fn remembering() -> (tempfile::TempDir, Record) {
    let dir = tempfile::tempdir().unwrap();
    let mut record = Record::open(dir.path(), Some(key()), key().origin).unwrap();
    assert_eq!(record.take(&shown(&SEEN, 0), "", at(0)).unwrap(), None);
    (dir, record)
}

/// The device is shown that in the place of what it has seen: it says so once, keeps both checkpoints, and goes on when the
/// server is back.
fn is_caught(entries: &[u8]) {
    let (dir, mut record) = remembering();
    let before = record.head();
    let told = record.take(&shown(entries, 5), "", at(1)).unwrap().unwrap().unwrap();
    assert_eq!(told.code, Code::RecordRewritten);
    assert_eq!(record.take(&shown(entries, 5), "", at(2)).unwrap(), None, "it is told once");
    assert_eq!(record.head(), before, "what was seen stays what is asked for");
    let seen = seen(dir.path()).unwrap();
    assert_eq!((Some(seen.head), seen.doubt), (before, Some(told.text)));
    let kept = kept(dir.path()).unwrap();
    for note in [kept.witness.checkpoint.unwrap(), kept.doubt.unwrap().offered.unwrap()] {
        Checkpoint::verify(&note, &key()).unwrap();
    }
    // After a restart it is told again, and the end of it too; the evidence stays.
    let mut record = Record::open(dir.path(), Some(key()), key().origin).unwrap();
    assert!(record.take(&shown(entries, 5), "", at(3)).unwrap().unwrap().is_some());
    assert_eq!(record.take(&shown(&[1, 2, 3, 4, 5, 6], 5), "", at(4)).unwrap(), Some(None));
    assert_eq!(record.head().unwrap().size, 6);
    assert!(super::kept(dir.path()).unwrap().first_doubt.is_some());
}

#[test]
fn a_server_that_drops_an_entry_is_caught() {
    is_caught(&[1, 2, 4, 5, 6, 7]);
}

#[test]
fn a_server_that_reorders_entries_is_caught() {
    is_caught(&[1, 3, 2, 4, 5, 6]);
}

#[test]
fn a_server_that_edits_an_entry_is_caught() {
    is_caught(&[1, 2, 9, 4, 5, 6]);
}

#[test]
fn a_server_that_forks_the_record_is_caught() {
    is_caught(&[1, 2, 3, 4, 9]);
    is_caught(&[1, 2, 3, 4]);
}

#[test]
fn a_device_that_was_told_of_no_key_takes_its_own_servers_first_and_keeps_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = Record::open(dir.path(), None, key().origin).unwrap();
    let foreign = LogKey { origin: "other.example".parse().unwrap(), ..key() };
    assert_eq!(record.take(&shown(&SEEN, 0), &foreign.to_string(), at(0)).unwrap(), None);
    assert_eq!((record.head(), kept(dir.path())), (None, None));
    assert_eq!(record.take(&shown(&SEEN, 0), &key().to_string(), at(0)).unwrap(), None);
    let other = LogKey { key: signer(2).public(), ..key() };
    let head = record.head().unwrap();
    let note = Checkpoint::sign(head, &key().origin, &signer(2)).unwrap().note().to_owned();
    let news = News { checkpoint: note, ..shown(&SEEN, 5) };
    let told = record.take(&news, &other.to_string(), at(1)).unwrap().unwrap().unwrap();
    assert!(told.text.contains("key"), "{told}");
    assert_eq!(record.head(), Some(head));
}

#[test]
fn a_record_that_grows_all_the_time_is_written_once_an_hour() {
    let (dir, mut record) = remembering();
    let mut entries = SEEN.to_vec();
    let kept_size = || kept(dir.path()).unwrap().witness.size();
    for (minutes, on_disk) in [(1, 5), (59, 5), (60, 8), (61, 8), (120, 10)] {
        entries.push(9);
        let seen = record.head().unwrap().size;
        assert_eq!(record.take(&shown(&entries, seen), "", at(60 * minutes)).unwrap(), None);
        assert_eq!((record.head().unwrap().size, kept_size()), (entries.len() as u64, on_disk), "{minutes}");
    }
}

#[test]
fn a_person_has_it_forgotten_and_the_key_stays() {
    let (dir, mut record) = remembering();
    record.take(&shown(&[1, 2], 5), "", at(1)).unwrap().unwrap().unwrap();
    assert!(forget(dir.path()).unwrap().unwrap().doubt.is_some());
    let mut record = Record::open(dir.path(), None, key().origin).unwrap();
    assert_eq!(record.take(&shown(&[1, 2], 0), "", at(2)).unwrap(), Some(None), "the hospital is told that it is over");
    assert_eq!((record.head().unwrap().size, seen(dir.path()).unwrap().doubt), (2, None));
}

/// Torn, and below a bad sector.
#[test]
fn one_that_cannot_be_read_is_begun_anew() {
    for harm in [|file: &Path| std::fs::write(file, "{").unwrap(), |file: &Path| durable::lose(file)] {
        let (dir, _) = remembering();
        harm(&dir.path().join(FILE));
        let mut record = Record::open(dir.path(), Some(key()), key().origin).unwrap();
        assert_eq!(record.head(), None);
        assert_eq!(record.take(&shown(&SEEN, 0), "", at(1)).unwrap(), None);
        assert_eq!(Record::open(dir.path(), None, key().origin).unwrap().head(), record.head(), "it is written again");
    }
}
