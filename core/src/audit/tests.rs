use proptest::prelude::*;

use super::*;

fn entry(seq: u64) -> Entry {
    Entry {
        kind: Entry::TYPE.to_owned(),
        seq,
        at: "2026-11-24T15:00:00Z".parse().unwrap(),
        actor: "hdo/riverside/operator/kim".to_owned(),
        concerns: Concern::Hospital("riverside".parse().unwrap()),
        action: "rollout.pause".to_owned(),
        subject: format!("rollout-{seq}"),
        detail: Map::from_iter([("reason".to_owned(), Value::from("a fault on ward 3"))]),
        salt: Salt([seq as u8; 16]),
    }
}

fn chain(length: u64) -> Vec<Link> {
    let mut head = Head::START;
    (1..=length)
        .map(|seq| {
            let payload = entry(seq).to_bytes().unwrap();
            let payload_sha256 = Digest::of(&payload);
            head = head.then(&payload_sha256);
            Link { seq, payload: Some(payload), payload_sha256, sha256: head.sha256 }
        })
        .collect()
}

fn verify(links: &[Link], last_seen: Head) -> Result<Head, AuditError> {
    let mut chain = Chain::from_start(last_seen);
    for link in links {
        chain.take(link)?;
    }
    chain.finish()
}

fn head(links: &[Link]) -> Head {
    links.last().map_or(Head::START, |l| Head { seq: l.seq, sha256: l.sha256 })
}

#[test]
fn a_chain_verifies_whole_withheld_in_part_and_from_the_middle() {
    let mut links = chain(5);
    assert_eq!(verify(&links, Head::START).unwrap(), head(&links));
    for link in links.iter_mut().step_by(2) {
        link.payload = None;
    }
    assert_eq!(verify(&links, Head::START).unwrap(), head(&links));
    let mut rest = Chain::resume(head(&links[..3]));
    assert_eq!(rest.take(&links[3]).unwrap().unwrap().seq, 4);
    assert!(rest.take(&links[4]).unwrap().is_none());
    assert_eq!(rest.finish().unwrap(), head(&links));
}

#[test]
fn nobody_reads_what_concerns_somebody_else() {
    let hdo = |id: &str| id.parse::<HdoId>().unwrap();
    let mdm = Principal::Mdm("ada".parse().unwrap());
    let kim = Principal::Operator(hdo("riverside"), "kim".parse().unwrap());
    let lee = Principal::Operator(hdo("lakeside"), "lee".parse().unwrap());
    for (concern, readers) in [
        (Concern::Everybody, [true, true, true]),
        (Concern::of(&Principal::Server), [true, true, true]),
        (Concern::of(&mdm), [true, false, false]),
        (Concern::of(&kim), [false, true, false]),
        (Concern::from(&hdo("lakeside")), [false, false, true]),
    ] {
        assert_eq!([&mdm, &kim, &lee].map(|p| concern.includes(p)), readers, "{concern}");
        assert_eq!(concern.to_string().parse::<Concern>().unwrap(), concern);
    }
    for bad in ["", "nobody", "hdo/", "hdo/a/b", "riverside", "Everybody"] {
        assert!(bad.parse::<Concern>().is_err(), "{bad:?}");
    }
}

#[test]
fn the_hash_is_what_the_document_says() {
    let links = chain(1);
    let mut input = vec![0; 32];
    input.extend_from_slice(Digest::of(links[0].payload.as_ref().unwrap()).as_bytes());
    assert_eq!(links[0].sha256, Digest::of(&input));
}

#[test]
fn the_first_broken_entry_is_named() {
    let broken = |change: &dyn Fn(&mut Vec<Link>)| {
        let mut links = chain(5);
        change(&mut links);
        verify(&links, Head::START).unwrap_err()
    };
    assert!(matches!(broken(&|l| drop(l.remove(2))), AuditError::Gap { wanted: 3, offered: 4 }));
    assert!(matches!(broken(&|l| l.swap(1, 2)), AuditError::Gap { wanted: 2, offered: 3 }));
    assert!(matches!(broken(&|l| l[3].payload = l[2].payload.clone()), AuditError::Payload(4)));
    assert!(matches!(broken(&|l| l[3].sha256 = l[2].sha256), AuditError::Hash(4)));
    let withheld_and_replaced = |l: &mut Vec<Link>| {
        l[1].payload = None;
        l[1].payload_sha256 = Digest::of(b"another");
    };
    assert!(matches!(broken(&withheld_and_replaced), AuditError::Hash(2)));
}

#[test]
fn a_payload_of_another_place_is_refused_though_its_hashes_fit() {
    let payload = entry(7).to_bytes().unwrap();
    let payload_sha256 = Digest::of(&payload);
    let sha256 = Head::START.then(&payload_sha256).sha256;
    let link = Link { seq: 1, payload: Some(payload), payload_sha256, sha256 };
    assert!(matches!(verify(&[link], Head::START), Err(AuditError::Gap { wanted: 1, offered: 7 })));
}

#[test]
fn a_record_rewritten_as_a_whole_does_not_pass_the_head_seen_last() {
    let seen = head(&chain(4));
    let mut other = Vec::new();
    let mut at = Head::START;
    for seq in 1..=6 {
        let mut e = entry(seq);
        e.actor = "mdm/mallory".to_owned();
        let payload = e.to_bytes().unwrap();
        let payload_sha256 = Digest::of(&payload);
        at = at.then(&payload_sha256);
        other.push(Link { seq, payload: Some(payload), payload_sha256, sha256: at.sha256 });
    }
    assert!(matches!(verify(&other, seen), Err(AuditError::Rewritten { seq: 4, .. })));
    assert!(matches!(verify(&other[..3], seen), Err(AuditError::Rewritten { seq: 4, .. })), "cut off");
    assert_eq!(verify(&chain(6), seen).unwrap().seq, 6);
}

#[test]
fn an_entry_too_long_or_with_a_float_is_not_written() {
    let mut long = entry(1);
    long.detail.insert("text".to_owned(), Value::from("x".repeat(MAX_AUDIT_ENTRY_BYTES)));
    assert!(matches!(long.to_bytes(), Err(AuditError::TooLong { seq: 1, .. })));
    let mut float = entry(1);
    float.detail.insert("share".to_owned(), Value::from(0.5));
    assert!(matches!(float.to_bytes(), Err(AuditError::Json { seq: 1, source: JsonError::Float })));
}

proptest! {
    #[test]
    fn any_flipped_byte_is_found_at_its_entry(at in 0usize..5, place in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut links = chain(5);
        let payload = links[at].payload.as_mut().unwrap();
        let i = place.index(payload.len());
        payload[i] ^= flip;
        prop_assert!(matches!(verify(&links, Head::START), Err(AuditError::Payload(seq)) if seq == at as u64 + 1));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Entry::parse(1, &bytes);
    }
}
