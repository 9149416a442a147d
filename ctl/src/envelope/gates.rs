//! The waves that a hospital's next version opens by signature, in words.

use std::collections::BTreeMap;

use suture_core::approval::{GateNote, OpenWave, SignedDocument as _};
use suture_core::id::ApprovalId;

use super::{Change, refused};
use crate::failure::{Exit, Failure, Outcome};
use crate::hospital::Documents;
use crate::print::count;

/// What is opened, by whom and why: from the notes that are signed with it, which must be among `files`.
///
/// # Errors
///
/// An opening is taken back, which only a stop order does; a note is missing, or is not what is pinned.
pub fn opened(before: &Documents, after: &Documents, files: &BTreeMap<String, Vec<u8>>) -> Outcome<Vec<Change>> {
    let mut changes = Vec::new();
    for was in &before.gates {
        let id = &was.approval;
        if after.approval(id).is_none() {
            changes.push(Change::new("gate", format!("the opened waves of {id} are removed with it")));
            continue;
        }
        let closed = after.gates(id).map_or(was.open.first().map(|o| o.wave), |now| now.closed_again(was));
        if let Some(wave) = closed {
            return Err(Failure::untrusted(format!(
                "the envelope takes back the opening of wave {} of {id}",
                wave + 1
            ))
            .next(format!("do not sign it; what is open is closed by a stop order: `suturectl rollout stop {id}`")));
        }
    }
    for gates in &after.gates {
        let id = &gates.approval;
        let news = |open: &&OpenWave| !before.gates(id).is_some_and(|was| was.opens(open.wave));
        for open in gates.open.iter().filter(news) {
            let devices = after.approval(id).map_or(0, |a| a.devices.iter().filter(|d| d.wave == open.wave).count());
            let devices = count(devices, "device");
            let note = note(id, open, after, files)?;
            let n = open.wave.saturating_add(1);
            let text = format!(
                "wave {n} of {id} is OPENED: {devices} of it may begin in their slots, and only a stop order keeps them"
            );
            changes.push(Change::new("gate", text));
            changes.push(Change::new("gate", format!("wave {n} of {id}: {} says {:?}", note.approver, note.reason)));
        }
    }
    Ok(changes)
}

/// The note on a wave, from the very bytes that are signed.
fn note(id: &ApprovalId, open: &OpenWave, after: &Documents, files: &BTreeMap<String, Vec<u8>>) -> Outcome<GateNote> {
    let path = &open.note.path;
    let wrong = |e| Failure::of(Exit::Untrusted, &e).next("do not sign it; ask whoever made it for another");
    let bytes = files.get(path).ok_or_else(|| refused(format!("it opens a wave and does not hold {path}")))?;
    open.note.verify(bytes).map_err(wrong)?;
    let note = GateNote::parse(bytes).map_err(wrong)?;
    if (&note.approval, note.wave) != (id, open.wave) {
        return Err(refused(format!("{path} is the note on another wave")));
    }
    if after.pinned(path) != Some(&open.note) {
        return Err(refused(format!("its register does not list {path} as the wave's opening does")));
    }
    Ok(note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::fixture::{approval, at, id, wave};
    use suture_core::approval::{Gates, Pinned, path};
    use suture_core::digest::Digest;

    type Files = BTreeMap<String, Vec<u8>>;

    /// The documents in which these waves are open, and the notes on them.
    fn open(waves: &[u32]) -> (Documents, Files) {
        let approval = approval("pump-2", at("2026-11-25T03:00:00Z"), &[wave(true), wave(true)]);
        let mut gates = Gates::new(&approval.terms, Digest::of(b"head"));
        let (mut registered, mut files) = (Vec::new(), Files::new());
        for &wave in waves {
            let note = GateNote {
                kind: GateNote::TYPE.to_owned(),
                format: 1,
                approval: id("pump-2"),
                wave,
                approver: "kim".to_owned(),
                reason: "a night without a fault".to_owned(),
            };
            let (path, bytes) = (path::gate_note(&id("pump-2"), wave), note.to_bytes().unwrap());
            let note = Pinned::of(path.clone(), &bytes);
            registered.push(note.clone());
            files.insert(path, bytes);
            gates.open.push(OpenWave { wave, opened: at("2026-11-24T18:00:00Z"), note });
        }
        let gates = if waves.is_empty() { Vec::new() } else { vec![gates] };
        (Documents { approvals: vec![approval], gates, registered, ..Documents::default() }, files)
    }

    #[test]
    fn a_signer_reads_what_is_opened_by_whom_and_why() {
        let (before, _) = open(&[0]);
        let (after, files) = open(&[0, 1]);
        let changes = opened(&before, &after, &files).unwrap();
        let texts: Vec<&str> = changes.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(texts.len(), 2, "wave 1 is no news: {texts:?}");
        assert!(texts[0].contains("wave 2 of pump-2 is OPENED: 1 device of it"), "{texts:?}");
        assert!(texts[1].contains("kim says \"a night without a fault\""), "{texts:?}");
        assert!(opened(&after, &after, &Files::new()).unwrap().is_empty(), "what is in force needs no note");
        let gone = opened(&after, &Documents::default(), &Files::new()).unwrap();
        assert!(gone[0].text.contains("removed with it"));
    }

    #[test]
    fn an_opening_is_not_taken_back_nor_signed_without_its_note() {
        let (both, files) = open(&[0, 1]);
        for (waves, n) in [(vec![], 1), (vec![0], 2)] {
            let refused = opened(&both, &open(&waves).0, &files).unwrap_err().to_text();
            assert!(refused.contains(&format!("takes back the opening of wave {n}")), "{refused}");
            assert!(refused.contains("rollout stop pump-2"), "{refused}");
        }
        let (none, _) = open(&[]);
        type Bend = fn(&mut Documents, &mut Files);
        let rows: [(&str, Bend); 4] = [
            ("does not hold", |_, files| files.clear()),
            ("sha256 differs", |_, files| files.values_mut().for_each(|bytes| bytes[0] ^= 1)),
            ("does not list", |after, _| after.registered.clear()),
            ("another wave", |after, files| {
                let bytes = files["gate-notes/pump-2.0.json"].clone();
                after.gates[0].open[1].note = Pinned::of(path::gate_note(&id("pump-2"), 1), &bytes);
                files.insert("gate-notes/pump-2.1.json".to_owned(), bytes);
            }),
        ];
        for (wanted, bend) in rows {
            let (mut after, mut files) = open(&[0, 1]);
            bend(&mut after, &mut files);
            let refused = opened(&none, &after, &files).unwrap_err();
            assert_eq!(refused.exit, Exit::Untrusted);
            assert!(refused.to_text().contains(wanted), "{wanted}: {}", refused.to_text());
        }
    }
}
