use super::*;
use crate::approval::{Pinned, Slot, Step, Wave, path};
use crate::digest::Digest;
use crate::limits::{MAX_APPROVAL_SLOTS, MAX_SLOTS_BYTES, MAX_SLOTS_PER_DEVICE};
use crate::version::Release;
use jiff::Timestamp;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

fn id<T: std::str::FromStr<Err = crate::id::IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

/// So many devices, with ids of that length and so many slots each.
fn approval(devices: usize, length: usize, slots: usize) -> Approval {
    let terms = Terms {
        id: id("pump-7"),
        hdo: id("riverside"),
        created: at(0),
        expires: at(100_000),
        steps: vec![Step {
            path: "bundles/pump/7/manifest.json".to_owned(),
            length: 100,
            sha256: Digest::of(b"manifest"),
            product: id("pump"),
            release: Release(7),
            hardware: vec![id("rev-a")],
        }],
        supersedes: Vec::new(),
        waves: vec![
            Wave {
                needs_server: true,
                needs_signature: false,
                min_confirmed_percent: 100,
                max_failures: 0,
                max_failed_percent: 100,
                soak_secs: 0
            };
            2
        ],
        max_attempts: 1,
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        needs_lease: false,
        ward_cap: 1,
        permit_downgrade: false,
        operator_document: Pinned::of(path::operator_document(&id("pump-7")), b"for people"),
    };
    let slots: Vec<Slot> = (0..slots as i64).map(|n| Slot { start: at(n * 100), end: at(n * 100 + 90) }).collect();
    let device = |n: usize| DeviceSlots {
        steps: Vec::new(),
        id: id(&format!("d{n:0>length$}", length = length - 1)),
        wave: 1,
        slots: slots.clone(),
    };
    Approval { terms, devices: (0..devices).map(device).collect() }
}

fn bytes(sealed: &Sealed) -> Vec<Vec<u8>> {
    sealed.shards.iter().map(|(_, bytes)| bytes.clone()).collect()
}

fn rule(result: Result<impl Sized, DocumentError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_was_cut_is_read_whole_and_each_device_reads_its_own() {
    for devices in [1, 2, 3, 40, 1_000] {
        let approval = approval(devices, 8, 2);
        let sealed = approval.seal().unwrap();
        let head = Head::parse(&sealed.head_bytes).unwrap();
        assert_eq!(head, sealed.head);
        assert_eq!(head.clone().whole(&bytes(&sealed)).unwrap(), approval);
        for device in approval.devices.iter().map(|d| d.id.clone()).chain([id("stranger")]) {
            let (part, pinned) = head.shard_of(&device).unwrap();
            let (sealed_pin, shard) = &sealed.shards[part.number()];
            assert_eq!(&pinned, sealed_pin);
            assert_eq!(head.clone().share(&device, shard).unwrap(), approval.share(&device));
        }
    }
}

#[test]
fn what_a_device_reads_is_bounded_whatever_is_approved() {
    for (devices, length, slots) in [
        (MAX_APPROVAL_DEVICES, 10, 3),
        (MAX_APPROVAL_DEVICES, 64, MAX_APPROVAL_SLOTS / MAX_APPROVAL_DEVICES),
        (MAX_APPROVAL_SLOTS / MAX_SLOTS_PER_DEVICE, 64, MAX_SLOTS_PER_DEVICE),
    ] {
        let sealed = approval(devices, length, slots).seal().unwrap();
        let largest = sealed.shards.iter().map(|(pinned, _)| pinned.length).max().unwrap();
        let most = sealed.head_bytes.len() as u64 + largest;
        assert!(largest < MAX_SLOTS_BYTES && most < 56 << 10, "{devices} x {slots}: {most} bytes");
    }
    let mut too_many = approval(3, 8, 2);
    too_many.devices = approval(MAX_APPROVAL_DEVICES, 8, 5).devices;
    assert!(rule(too_many.seal()).contains("too many slots"));
    assert!(rule(approval(MAX_APPROVAL_DEVICES + 1, 8, 1).seal()).contains("devices lists none, or too many"));
    assert!(rule(approval(0, 8, 1).seal()).contains("devices lists none, or too many"));
}

#[test]
fn a_shard_that_is_missing_changed_or_in_anothers_place_is_refused() {
    let sealed = approval(40, 8, 1).seal().unwrap();
    let (head, shards) = (&sealed.head, bytes(&sealed));
    assert!(shards.len() > 2);
    assert!(rule(head.clone().whole(&shards[1..])).contains("not all of its shards"));
    let mut swapped = shards.clone();
    swapped.swap(0, 1);
    assert!(rule(head.clone().whole(&swapped)).contains("not the file that is pinned"));
    let mut spoilt = shards;
    spoilt[0][20] ^= 1;
    assert!(rule(head.clone().whole(&spoilt)).contains("its sha256 differs"));
}

/// The head again, pinning these shards, as somebody would sign it who has the key and no such program.
fn forged(sealed: &Sealed, edit: impl Fn(usize, &mut SlotShard)) -> (Head, Vec<Vec<u8>>) {
    let mut head = sealed.head.clone();
    let mut shards = Vec::new();
    for (n, (_, bytes)) in sealed.shards.iter().enumerate() {
        let mut shard = SlotShard::parse(bytes).unwrap();
        edit(n, &mut shard);
        let bytes = crate::json::to_canonical(&shard).unwrap();
        head.shards[n] = ShardPin { length: bytes.len() as u64, sha256: Digest::of(&bytes) };
        shards.push(bytes);
    }
    (head, shards)
}

#[test]
fn every_rule_holds_for_the_device_and_for_the_whole() {
    type Edit = fn(&mut SlotShard);
    let cases: [(Edit, &str); 8] = [
        (|s| s.approval = id("pump-8"), "another approval's"),
        (|s| s.part = Part::ALL, "another shard"),
        (|s| s.devices[0].wave = 2, "a wave that does not exist"),
        (|s| s.devices[0].slots[0].end = at(100_001), "end after the approval"),
        (|s| s.devices[0].slots.clear(), "slots are missing"),
        (|s| s.devices[0].slots[0].end = s.devices[0].slots[0].start, "slots are missing, too many, empty"),
        (|s| s.devices.reverse(), "ascending order"),
        (|s| s.devices[0].id = id("a0000"), "belongs in another shard"),
    ];
    let sealed = approval(40, 8, 1).seal().unwrap();
    for (edit, part) in cases {
        // Where it belongs elsewhere, by an id that does.
        let n = (0..sealed.shards.len())
            .find(|n| {
                SlotShard::parse(&sealed.shards[*n].1).is_ok_and(|s| s.devices.len() > 1 && !s.part.holds(&id("a0000")))
            })
            .unwrap();
        let device = SlotShard::parse(&sealed.shards[n].1).unwrap().devices[1].id.clone();
        let (head, shards) = forged(&sealed, |i, shard| {
            if i == n {
                edit(shard)
            }
        });
        let (whole, own) = (rule(head.clone().whole(&shards)), rule(head.share(&device, &shards[n])));
        assert!(whole.contains(part) && own.contains(part), "{part}: {whole}; {own}");
    }
    // What only the whole can tell: that the head counts wrongly.
    let mut head = sealed.head.clone();
    head.devices += 1;
    assert!(rule(head.whole(&bytes(&sealed))).contains("more or fewer devices"));
}

#[test]
fn a_head_with_no_sensible_shards_is_refused() {
    type Edit = fn(&mut Head);
    let cases: [(Edit, &str); 4] = [
        (|h| h.shards.truncate(3), "no power of two"),
        (|h| h.shards.clear(), "no power of two"),
        (|h| h.shards[0].length = MAX_SLOTS_BYTES + 1, "too long"),
        (|h| h.devices = 0, "names no device"),
    ];
    for (edit, part) in cases {
        let mut head = approval(40, 8, 1).seal().unwrap().head;
        edit(&mut head);
        let refused = rule(head.to_bytes());
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[test]
fn a_device_takes_steps_that_there_are_in_their_order_and_the_last_of_them() {
    let with = |steps: &[u32]| {
        let mut approval = approval(3, 8, 1);
        let first = approval.terms.steps[0].clone();
        approval.terms.steps = vec![first; 3];
        approval.devices[1].steps = steps.to_vec();
        approval
    };
    for good in [&[][..], &[2], &[0, 2], &[0, 1, 2]] {
        let approval = with(good);
        let sealed = approval.seal().unwrap();
        assert_eq!(sealed.head.clone().whole(&bytes(&sealed)).unwrap(), approval);
        let path = approval.devices[1].path(&approval.terms);
        assert_eq!(path.len(), if good.is_empty() { 3 } else { good.len() });
    }
    for bad in [&[0][..], &[1, 0, 2], &[2, 2], &[3], &[0, 3]] {
        assert!(rule(with(bad).seal()).contains("steps are not the approval's"), "{bad:?}");
        // What somebody has cut and pinned all the same is refused by whoever reads it.
        let mut sealed = with(&[]).seal().unwrap();
        let id = &with(bad).devices[1].id;
        let (part, _) = sealed.head.shard_of(id).unwrap();
        let mut shard = SlotShard::parse(&sealed.shards[part.number()].1).unwrap();
        shard.devices.iter_mut().find(|d| d.id == *id).unwrap().steps = bad.to_vec();
        let bytes = shard.to_bytes().unwrap();
        sealed.head.shards[part.number()] = ShardPin { length: bytes.len() as u64, sha256: Digest::of(&bytes) };
        assert!(rule(sealed.head.share(id, &bytes)).contains("steps are not the approval's"), "{bad:?}");
    }
}
