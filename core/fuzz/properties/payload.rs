//! What a payload is made of: manifest, chunk index, stored chunks, archived tree. Each has one form only.

use std::collections::BTreeMap;
use std::io::Read;

use suture_core::archive::{self, Kind, MODE_BITS};
use suture_core::chunk::{self, Entry, Index};
use suture_core::digest::Digest;
use suture_core::limits::{CHUNK_MAX_BYTES, MAX_ARCHIVE_DEPTH, MAX_ARCHIVE_PATH_BYTES, MAX_MANIFEST_BYTES};
use suture_core::manifest::Manifest;

/// The first byte says what the rest is.
pub(crate) fn hold(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 5 {
        0 => manifest(rest),
        1 => index(rest),
        2 => stored(rest),
        3 => tree(rest),
        _ => cut(rest),
    }
}

fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    let written = manifest.to_bytes().expect("what was read is valid and can be written");
    if written.len() as u64 <= MAX_MANIFEST_BYTES {
        let again = Manifest::parse(&written).expect("what was written can be read");
        assert_eq!(again, manifest);
        assert_eq!(again.to_bytes().expect("as before"), written, "one manifest has one form");
    }
    assert!(manifest.payloads.iter().all(|p| p.length <= manifest.total_length()));
    assert!(!manifest.path().split('/').any(|segment| matches!(segment, "" | "." | "..")));
}

fn index(bytes: &[u8]) {
    let Ok(index) = Index::parse(bytes) else { return };
    assert_eq!(index.to_bytes(), bytes, "an index has one form");
    let mut end = 0;
    for (ordinal, entry) in index.entries().iter().enumerate() {
        assert!(entry.length > 0 && entry.length as usize <= CHUNK_MAX_BYTES);
        assert_eq!(index.offset(ordinal), Some(end));
        end += u64::from(entry.length);
    }
    assert_eq!(index.total_length(), end);
    assert_eq!(index.offset(index.entries().len()), None);
}

/// A stored chunk against an entry that names what it would unpack to, or anything else.
fn stored(bytes: &[u8]) {
    let Some((length, stored)) = bytes.split_first_chunk::<3>() else { return };
    let [a, b, c] = *length;
    let length = u32::from_le_bytes([a, b, c, 0]);
    // The digest of what comes out is not known beforehand; one that is refused only for its digest is tried with the true
    // one.
    let entry = Entry { sha256: Digest::of(stored), length };
    let Ok(raw) = chunk::decode(stored, &entry) else { return };
    assert_eq!((raw.len(), Digest::of(&raw)), (length as usize, entry.sha256));
    let entry = Entry { sha256: Digest::of(b"another"), length };
    assert!(chunk::decode(stored, &entry).is_err(), "a chunk passed for another");
}

/// An archive that is read to its end says where everything stands, inside, once, parents first; and has one form.
fn tree(bytes: &[u8]) {
    let Ok(mut reader) = archive::Reader::new(bytes) else { return };
    let mut writer = archive::Writer::new(Vec::new()).expect("memory takes everything");
    let mut seen: BTreeMap<String, bool> = BTreeMap::new();
    loop {
        let Ok(entry) = reader.next_entry() else { return };
        let Some(entry) = entry else { break };
        let path = entry.path.clone();
        assert!(path.len() <= MAX_ARCHIVE_PATH_BYTES && path.split('/').count() <= MAX_ARCHIVE_DEPTH);
        assert!(!path.contains('\0') && !path.split('/').any(|name| matches!(name, "" | "." | "..")), "{path:?}");
        assert_eq!(entry.mode & !MODE_BITS, 0);
        if let Some((parent, _)) = path.rsplit_once('/') {
            assert_eq!(seen.get(parent), Some(&true), "{path:?} stands in what is no directory");
        }
        assert!(seen.insert(path.clone(), entry.kind == Kind::Directory).is_none(), "{path:?} stands twice");
        match &entry.kind {
            Kind::Directory => writer.directory(&path, entry.mode),
            Kind::Link { target } => writer.link(&path, target),
            Kind::File { size } => {
                let mut content = Vec::new();
                // A file may promise more than there is: then the archive ends in the middle.
                if reader.read_to_end(&mut content).is_err() {
                    return;
                }
                assert_eq!(content.len() as u64, *size);
                writer.file(&path, entry.mode, *size, content.as_slice())
            }
        }
        .expect("what a reader accepts a writer writes");
    }
    assert_eq!(writer.finish().expect("memory takes everything"), bytes, "a tree has one form");
}

/// Any bytes: cut, stored and put together again they are the same.
fn cut(bytes: &[u8]) {
    // Repeated, so that there is something to cut.
    let payload = bytes.repeat(1 + (64 << 10) / bytes.len().max(1));
    let mut entries = Vec::new();
    let mut again = Vec::new();
    for chunk in chunk::cut(payload.as_slice()) {
        let raw = chunk.expect("memory can be read");
        let entry = Entry { sha256: Digest::of(&raw), length: u32::try_from(raw.len()).expect("bounded") };
        let stored = chunk::encode(&raw, 1).expect("a chunk can be stored");
        assert!(stored.len() <= raw.len());
        again.extend_from_slice(&chunk::decode(&stored, &entry).expect("what was stored can be read"));
        entries.push(entry);
    }
    assert_eq!(again, payload);
    if let Ok(index) = Index::new(entries) {
        assert_eq!(index.total_length(), payload.len() as u64);
        assert_eq!(Index::parse(&index.to_bytes()).expect("what was written can be read"), index);
    }
}
