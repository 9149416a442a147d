//! What a person hands to a device is not lost over a disk that fails for a while, or a root that is not there yet; and what
//! has come to its end costs the device's flash memory nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use suture_core::digest::Digest;
use suture_core::limits::MAX_STOP_BYTES;
use suture_tests::world::{Spec, text};

use crate::hospital::Hospital;

/// A hospital whose first pump waits for its slot, and an order to stop, signed and not published.
struct Ordered {
    hospital: Hospital,
    rollout: String,
    start: Timestamp,
    end: Timestamp,
    order: PathBuf,
}

impl Ordered {
    async fn open() -> Self {
        let mut hospital = Hospital::open().await;
        let draft = hospital.later_draft().await;
        let (rollout, start, end) = hospital.approve(draft).await;
        assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");
        let order = hospital.world.path("order.json");
        let args = ["rollout", "stop", &rollout, "--offline", "--envelope", text(&order)];
        hospital.kim.run(&args).await.unwrap();
        Self { hospital, rollout, start, end, order }
    }

    fn state(&self) -> PathBuf {
        self.hospital.pumps[0].dir.join("state")
    }

    /// The place in the inbox of what is handed over.
    fn place(&self, bytes: &[u8]) -> PathBuf {
        self.state().join(format!("inbox/{}.stop", Digest::of(bytes)))
    }

    async fn cycle(&mut self) -> String {
        self.hospital.pumps[0].cycle().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_order_waits_for_the_root_that_judges_it() {
    let mut o = Ordered::open().await;
    // The device loses what it has verified, and hears nobody.
    o.hospital.pumps[0].crash();
    fs::remove_dir_all(o.state().join("trust")).unwrap();
    let place = o.place(&fs::read(&o.order).unwrap());
    fs::copy(&o.order, &place).unwrap();
    o.hospital.world.stop_server().await;
    for _ in 0..2 {
        assert_eq!(o.cycle().await, "waiting(server-unreachable)");
        assert!(place.exists());
        o.hospital.pumps[0].crash();
    }
    // In its slot it hears the server again, which knows of no order: the root comes, and the order is judged before
    // anything is begun.
    o.hospital.world.start_server().await;
    o.hospital.world.clock.set(o.start);
    assert_eq!(o.cycle().await, "idle(stop-order)");
    o.hospital.untouched();
    o.cycle().await;
    assert!(!place.exists(), "it was taken in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_holds_the_device_until_it_can_and_junk_does_not() {
    let mut o = Ordered::open().await;
    // Junk is final: it is removed, and holds nothing up.
    let junk = [&b"{}"[..], b"", b"\0\0\0\0", &vec![b' '; usize::try_from(MAX_STOP_BYTES).unwrap() + 1]];
    for bytes in junk {
        fs::write(o.place(bytes), bytes).unwrap();
    }
    let stick = o.place(b"no directory").with_extension("stick");
    fs::write(&stick, b"no directory").unwrap();
    assert_eq!(o.cycle().await, "waiting(before-slot)");
    for bytes in junk {
        assert!(!o.place(bytes).exists(), "{} bytes", bytes.len());
    }
    assert!(!stick.exists());

    // What the disk does not give may be an order.
    let order = fs::read(&o.order).unwrap();
    let place = o.place(&order);
    fs::create_dir(&place).unwrap();
    o.hospital.world.clock.set(o.start);
    for _ in 0..2 {
        assert_eq!(o.cycle().await, "waiting(state-damaged)");
        assert!(place.exists(), "it is tried again");
        o.hospital.pumps[0].crash();
    }
    o.hospital.untouched();
    fs::remove_dir(&place).unwrap();
    // Nor is what the disk has lost of one taken for junk.
    fs::write(&place, &order[..order.len() / 2]).unwrap();
    assert_eq!(o.cycle().await, "waiting(state-damaged)");
    assert!(place.exists());
    fs::copy(&o.order, &place).unwrap();
    assert_eq!(o.cycle().await, "idle(stop-order)");
    o.hospital.untouched();
    assert!(!place.exists());
}

/// Found: an inbox that could not be listed counted as an empty one, in the last look before the switch too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_cannot_be_listed_lets_nothing_be_begun_also_between_claim_and_switch() {
    let mut o = Ordered::open().await;
    let pump = &o.hospital.pumps[0];
    let script = pump.dir.join("interlock.sh");
    let more = "if [ \"$1\" = claim ]; then mv state/inbox lost && touch state/inbox; fi\n";
    fs::write(&script, fs::read_to_string(&script).unwrap() + more).unwrap();
    o.hospital.world.clock.set(o.start);
    for _ in 0..2 {
        assert_eq!(o.cycle().await, "waiting(state-damaged)");
        assert_eq!(o.hospital.pumps[0].interlock_log(), ["claim", "release"]);
        assert_eq!(o.hospital.pumps[0].runs(), "1.0.0");
    }
    // What it held was an order.
    fs::remove_file(o.state().join("inbox")).unwrap();
    fs::rename(o.hospital.pumps[0].dir.join("lost"), o.state().join("inbox")).unwrap();
    let place = o.place(&fs::read(&o.order).unwrap());
    fs::copy(&o.order, &place).unwrap();
    assert_eq!(o.cycle().await, "idle(stop-order)");
    assert!(!place.exists(), "it was taken in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cycle_in_which_nothing_happens_writes_when_it_was_and_nothing_else() {
    let mut o = Ordered::open().await;
    o.hospital.kim.run(&["rollout", "stop", &o.rollout]).await.unwrap();
    assert_eq!(o.cycle().await, "idle(stop-order)");
    // The approval ends, which the manufacturer's next signature proves; both it and its stop are listed still.
    o.hospital.world.clock.set(o.end + SignedDuration::from_hours(48));
    let Hospital { world, ada, .. } = &mut o.hospital;
    world.publish(ada, Spec { release: 3, ..Spec::default() }).await;
    for _ in 0..3 {
        o.cycle().await;
    }
    // The slot in use is hashed beside the cycles, and what that came to is written in the next.
    while !o.state().join("integrity.json").exists() {
        o.cycle().await;
    }
    let before = files(&o.state());
    assert!(before.len() > 10, "{before:?}");
    for _ in 0..3 {
        o.cycle().await;
        let after = files(&o.state());
        let other: Vec<_> = after.iter().filter(|(path, at)| before.get(*path) != Some(at)).map(|(p, _)| p).collect();
        assert_eq!((other, after.len()), (vec![&o.state().join("live.json")], before.len()));
    }
    // Told of no more, the order goes.
    o.hospital.kim.run(&["approvals", "renew"]).await.unwrap();
    let order = o.state().join(format!("stops/{}.json", o.rollout));
    assert!(order.exists());
    o.cycle().await;
    o.cycle().await;
    assert!(!order.exists());
}

/// Files and directories below a state directory, each with its inode and when it was last written.
fn files(state: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![state.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let (path, meta) = entry.map(|e| (e.path(), e.metadata().unwrap())).unwrap();
            if meta.is_dir() {
                pending.push(path.clone());
            }
            found.insert(path, (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    found
}
