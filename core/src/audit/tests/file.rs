//! Exports and proofs as files.

use super::*;

fn export(leaves: &[Leaf]) -> Vec<Vec<u8>> {
    let mut lines = vec![export_head(&checkpoint(leaves, 1)).unwrap()];
    lines.extend(leaves.iter().map(|leaf| export_line(leaf).unwrap()));
    lines
}

fn read(lines: &[Vec<u8>]) -> Result<Summary, ExportError> {
    let (first, rest) = lines.split_first().unwrap();
    let mut reader = ExportReader::open(first, &log_key(1))?;
    for line in rest {
        reader.take(line)?;
    }
    reader.finish()
}

#[test]
fn an_export_is_read_and_one_that_was_cut_is_not() {
    let mut leaves = record(6);
    leaves[2].payload = None;
    let lines = export(&leaves);
    assert_eq!(read(&lines).unwrap(), Summary { head: head(&leaves), withheld: 1 });
    let cut = read(&lines[..6]).unwrap_err();
    assert!(matches!(cut, ExportError::Entry(AuditError::Head { seq: 5, signed: 6 })), "{cut}");
    let mut without = lines.clone();
    without.remove(3);
    assert!(matches!(read(&without), Err(ExportError::Entry(AuditError::Gap { wanted: 3, offered: 4 }))));
    assert!(matches!(ExportReader::open(&lines[0], &log_key(2)), Err(ExportError::Checkpoint(_))));
}

#[test]
fn one_flipped_bit_anywhere_is_named_by_entry() {
    let mut leaves = record(4);
    leaves[1].payload = None;
    let lines = export(&leaves);
    for (number, line) in lines.iter().enumerate() {
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut bent = lines.clone();
                bent[number][at] ^= 1 << bit;
                let error = read(&bent).expect_err("a flipped bit");
                let seq = number as u64;
                let named = match &error {
                    ExportError::First | ExportError::Checkpoint(_) => 0,
                    ExportError::Line { seq, .. } => *seq,
                    ExportError::Entry(AuditError::Payload(seq) | AuditError::Hash(seq)) => *seq,
                    ExportError::Entry(AuditError::Gap { wanted, .. }) => *wanted,
                    other => panic!("line {number}, byte {at}: {other}"),
                };
                assert_eq!(named, seq, "line {number}, byte {at}: {error}");
            }
        }
    }
}

#[test]
fn one_entry_is_proven_without_the_others() {
    let leaves = record(3);
    let proof = ProvenEntry {
        kind: ProvenEntry::TYPE.to_owned(),
        format: 1,
        checkpoint: checkpoint(&leaves, 1).note().to_owned(),
        seq: 3,
        payload: Some(String::from_utf8(entry(3).to_bytes().unwrap()).unwrap()),
        payload_sha256: leaves[2].payload_sha256,
        // The third of three has one neighbour: the first two.
        path: vec![leaves[1].root],
    };
    let (to, read) = ProvenEntry::parse(&proof.to_bytes().unwrap()).unwrap().verify(&log_key(1)).unwrap();
    assert_eq!((to, read), (head(&leaves), Some(entry(3))));
    assert!(proof.verify(&log_key(2)).is_err());
    assert!(matches!(ProvenEntry { seq: 2, ..proof.clone() }.verify(&log_key(1)), Err(ExportError::Path(2))));
    assert!(matches!(ProvenEntry { seq: 0, ..proof.clone() }.verify(&log_key(1)), Err(ExportError::Path(0))));
    let other = Some(String::from_utf8(entry(2).to_bytes().unwrap()).unwrap());
    let other = ProvenEntry { payload: other, ..proof.clone() }.verify(&log_key(1));
    assert!(matches!(other, Err(ExportError::Entry(AuditError::Payload(3)))));
    let withheld = ProvenEntry { payload: None, ..proof };
    assert_eq!(withheld.verify(&log_key(1)).unwrap(), (head(&leaves), None));
}
