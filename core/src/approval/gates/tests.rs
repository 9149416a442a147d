use super::*;
use crate::approval::{Step, Wave};
use crate::version::Release;
use proptest::prelude::*;

fn id<T: std::str::FromStr<Err = crate::id::IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

/// An approval whose waves ask for a signature as said.
fn terms(gated: &[bool]) -> Terms {
    let wave = |&needs_signature: &bool| Wave {
        needs_server: true,
        needs_signature,
        min_confirmed_percent: 100,
        max_failures: 0,
        max_failed_percent: 100,
        soak_secs: 0,
    };
    Terms {
        id: id("pump-7"),
        hdo: id("riverside"),
        created: at(0),
        expires: at(1_000),
        steps: vec![Step {
            path: "bundles/pump/7/manifest.json".to_owned(),
            length: 100,
            sha256: Digest::of(b"manifest"),
            product: id("pump"),
            release: Release(7),
            hardware: vec![id("rev-a")],
        }],
        supersedes: Vec::new(),
        waves: gated.iter().map(wave).collect(),
        max_attempts: 1,
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        needs_lease: false,
        ward_cap: 1,
        permit_downgrade: false,
        operator_document: Pinned::of(path::operator_document(&id("pump-7")), b"for people"),
    }
}

fn head() -> Digest {
    Digest::of(b"head")
}

/// The document that opens these waves.
fn gates(terms: &Terms, open: &[u32]) -> Gates {
    let note = |wave| Pinned::of(path::gate_note(&terms.id, wave), b"note");
    let open = open.iter().map(|&wave| OpenWave { wave, opened: at(10), note: note(wave) }).collect();
    Gates { open, ..Gates::new(terms, head()) }
}

#[test]
fn it_opens_the_waves_that_it_lists_for_the_approval_that_it_names() {
    let terms = terms(&[true, false, true]);
    let bytes = gates(&terms, &[2]).to_bytes().unwrap();
    let read = Gates::read(&terms, head(), &bytes).unwrap();
    assert_eq!(read, gates(&terms, &[2]));
    let opened = Opened::By(read);
    let code = |wave| opened.missing(&terms, wave).map(|r| r.code);
    assert_eq!([0, 1, 2, 3].map(code), [Some(Code::SignatureNeeded), None, None, Some(Code::SignatureNeeded)]);
    let text = opened.missing(&terms, 0).unwrap().text;
    assert!(text.contains("wave 1 of approval pump-7") && text.contains("rollout open pump-7 --wave 1"), "{text}");
}

/// Each row bends a document that opens wave 1, or what it is read for, and says what is found.
#[test]
fn what_is_of_another_approval_or_breaks_a_rule_opens_nothing() {
    type Bend = fn(&mut Gates, &mut Terms, &mut Digest);
    let rows: [(&str, Bend); 12] = [
        ("another hospital", |g, _, _| g.hdo = id("lakeside")),
        ("another hospital", |_, t, _| t.hdo = id("lakeside")),
        ("another approval", |_, t, _| t.id = id("pump-8")),
        ("note is another", |g, _, _| g.approval = id("pump-8")),
        ("other words", |g, _, _| g.head_sha256 = Digest::of(b"an earlier head")),
        ("other words", |_, _, head| *head = Digest::of(b"a later head")),
        ("that has no gate", |_, t, _| t.waves[1].needs_signature = false),
        ("does not have", |_, t, _| t.waves.truncate(1)),
        ("_type", |g, _, _| g.kind = "suture-stop".to_owned()),
        ("too old", |g, _, _| g.format = 2),
        ("no wave", |g, _, _| g.open.clear()),
        ("ascending", |g, _, _| g.open.push(g.open[0].clone())),
    ];
    for (i, (wanted, bend)) in rows.into_iter().enumerate() {
        let (mut terms, mut head) = (terms(&[false, true]), head());
        let mut gates = gates(&terms, &[1]);
        bend(&mut gates, &mut terms, &mut head);
        // Unchecked, as whoever holds a key could sign it.
        let bytes = crate::json::to_canonical(&gates).unwrap();
        let refused = Gates::read(&terms, head, &bytes).unwrap_err().to_string();
        assert!(refused.contains(wanted), "row {i}: {refused}");
    }
    let beyond = gates(&terms(&[true; MAX_WAVES]), &[32]);
    assert!(beyond.to_bytes().unwrap_err().to_string().contains("beyond"));
    let whole = gates(&terms(&[false, true]), &[1]).to_bytes().unwrap();
    for cut in 0..whole.len() {
        Gates::read(&terms(&[false, true]), head(), &whole[..cut]).unwrap_err();
    }
}

#[test]
fn the_longest_one_is_within_its_bound() {
    let mut terms = terms(&[true; MAX_WAVES]);
    (terms.id, terms.hdo) = (id(&"a".repeat(64)), id(&"h".repeat(64)));
    let all: Vec<u32> = (0..32).collect();
    gates(&terms, &all).to_bytes().unwrap();
}

#[test]
fn what_was_open_is_not_closed_by_a_later_document() {
    let terms = terms(&[true; 3]);
    let (one, two) = (gates(&terms, &[1]), gates(&terms, &[1, 2]));
    assert_eq!((two.closed_again(&one), one.closed_again(&one)), (None, None));
    assert_eq!((one.closed_again(&two), gates(&terms, &[0, 2]).closed_again(&two)), (Some(2), Some(1)));
    let mut noted = two.clone();
    noted.open[0].note = Pinned::of(path::gate_note(&terms.id, 1), b"another reason");
    assert_eq!(noted.closed_again(&two), Some(1), "what was said stays said");
}

proptest! {
    /// A wave is open if it asks for no signature or the document that was read lists it, and else never.
    #[test]
    fn no_wave_is_open_unless_signed(gated in prop::collection::vec(any::<bool>(), 1..=MAX_WAVES), open in any::<u32>()) {
        let terms = terms(&gated);
        let wanted: Vec<u32> = (0..32).filter(|w| open >> w & 1 == 1).collect();
        let read = gates(&terms, &wanted).to_bytes().and_then(|bytes| Gates::read(&terms, head(), &bytes));
        let opened = read.map_or_else(
            |e| Opened::Unknown(Reason::new(Code::BadMetadata, e.to_string())),
            Opened::By,
        );
        for wave in 0..40 {
            let needed = gated.get(wave as usize).copied().unwrap_or(true);
            let signed = matches!(&opened, Opened::By(_)) && wanted.contains(&wave);
            prop_assert_eq!(opened.missing(&terms, wave).is_none(), !needed || signed, "wave {}", wave);
            prop_assert_eq!(Opened::Nothing.missing(&terms, wave).is_none(), !needed);
        }
    }
}
