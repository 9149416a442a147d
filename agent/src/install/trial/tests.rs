use std::os::unix::fs::symlink;
use std::thread;

use super::super::slots::tests::bundle;
use super::*;
use crate::durable::power;

/// Slot a runs release 1, and slot b holds release 2.
struct Ward {
    dir: tempfile::TempDir,
    slots: Slots,
    one: Digest,
    two: Digest,
}

fn ward() -> Ward {
    let dir = tempfile::tempdir().unwrap();
    let slots = Slots::new(&dir.path().join("slots"));
    fs::create_dir(slots.dir()).unwrap();
    let [one, two] = [1, 2].map(|release| {
        let (_, manifest, payloads) = bundle(dir.path(), release, release.to_string().as_bytes());
        let side = slots.write(&manifest, &payloads).unwrap();
        if release == 1 {
            slots.switch(side).unwrap();
        }
        Digest::of(&manifest)
    });
    Ward { dir, slots, one, two }
}

impl Ward {
    fn switch(&self, starts: u32) -> Result<(), InstallError> {
        self.slots.clone().with_starts(starts).switch_on_trial(&self.two)
    }

    fn runs(&self) -> &'static str {
        let content = fs::read(self.slots.dir().join("current/app/bin/app")).unwrap();
        if content == b"1" { "old" } else { "new" }
    }

    fn links(&self) -> Vec<String> {
        self.slots.trial_links().unwrap().collect()
    }

    /// Starts a version that crashes, until the old one is started; how often that took.
    fn crashes_until_back(&self) -> u32 {
        for starts in 0..10 {
            // It never keeps the device from starting, whatever it says.
            let _ = self.slots.before_start();
            if self.runs() == "old" {
                return starts;
            }
        }
        panic!("the old version did not come back; {:?}", self.links());
    }
}

#[test]
fn the_old_slot_comes_back_after_as_many_starts_as_were_given() {
    let ward = ward();
    assert_eq!(ward.slots.before_start().unwrap(), Start::Plain);
    for _ in 0..2 {
        ward.switch(3).unwrap();
        assert_eq!((ward.runs(), ward.links()), ("new", vec!["trial-b-0-of-3".to_owned()]));
    }
    for starts in 1..=3 {
        assert_eq!(ward.slots.before_start().unwrap(), Start::Counted(Trial { side: Side::B, starts, limit: 3 }));
        assert_eq!(ward.runs(), "new");
        assert!(!ward.slots.gave_way(&ward.two).unwrap());
    }
    assert_eq!(ward.slots.before_start().unwrap(), Start::PutBack(Trial { side: Side::B, starts: 3, limit: 3 }));
    for _ in 0..5 {
        assert_eq!(ward.slots.before_start().unwrap(), Start::Plain);
        assert_eq!((ward.runs(), ward.links().len()), ("old", 0));
    }
    // The agent comes too late with its proof, sees who was faster, and puts all in order.
    assert!(!ward.slots.confirm(&ward.two).unwrap());
    assert!(ward.slots.gave_way(&ward.two).unwrap() && !ward.slots.gave_way(&ward.one).unwrap());
    ward.slots.put_back(&ward.two).unwrap();
    assert!(!ward.slots.gave_way(&ward.two).unwrap());
    assert_eq!((ward.runs(), ward.slots.current().unwrap()), ("old", Some(Side::A)));
}

#[test]
fn a_confirmed_version_is_started_for_ever() {
    let ward = ward();
    ward.switch(3).unwrap();
    for _ in 0..3 {
        ward.slots.before_start().unwrap();
    }
    for _ in 0..2 {
        assert!(ward.slots.confirm(&ward.two).unwrap());
    }
    for _ in 0..10 {
        assert_eq!(ward.slots.before_start().unwrap(), Start::Plain);
    }
    assert_eq!(ward.runs(), "new");
}

#[test]
fn what_is_not_switched_yet_or_put_back_by_the_agent_is_not_counted() {
    let ward = ward();
    let armed = || symlink("./a", ward.slots.dir().join("trial-b-0-of-1")).unwrap();
    armed();
    for _ in 0..4 {
        assert_eq!(ward.slots.before_start().unwrap(), Start::Plain);
    }
    assert_eq!(ward.runs(), "old");
    ward.switch(2).unwrap();
    assert_eq!(ward.links(), ["trial-b-0-of-2"], "a trial that was begun before counts no more");
    ward.slots.before_start().unwrap();
    for _ in 0..2 {
        ward.slots.put_back(&ward.two).unwrap();
        assert_eq!((ward.runs(), ward.links().len()), ("old", 0));
    }
    // What the way back led to is written over.
    ward.switch(1).unwrap();
    let (_, three, payloads) = bundle(ward.dir.path(), 3, b"3");
    assert_eq!(ward.slots.write(&three, &payloads).unwrap(), Side::A);
    for _ in 0..4 {
        assert_eq!(ward.slots.before_start().unwrap(), Start::Plain);
    }
    assert_eq!(ward.runs(), "new");
    armed();
    ward.slots.end_trial().unwrap();
    assert_eq!(ward.links().len(), 0);
}

/// The power fails at each step that touches the disk: what `current` names is whole, the same thing done again ends as it
/// would have, and a version that crashes at each start gives way whatever was cut.
#[test]
fn the_power_may_fail_at_each_step() {
    type Deed = (&'static str, fn(&Ward) -> Result<(), InstallError>);
    let switch: Deed = ("switch", |w| w.switch(3));
    let start: Deed = ("start", |w| w.slots.before_start().map(drop));
    let confirm: Deed = ("confirm", |w| w.slots.confirm(&w.two).map(drop));
    let back: Deed = ("put back", |w| w.slots.put_back(&w.two));
    let end: Deed = ("end", |w| w.slots.end_trial());
    let lives: [&[Deed]; 6] = [
        &[switch],
        &[switch, start],
        &[switch, start, start, start, start],
        &[switch, start, confirm],
        &[switch, start, back],
        &[switch, start, start, start, start, end],
    ];
    let mut cuts = 0;
    for life in lives {
        let (last, before) = life.split_last().unwrap();
        for steps in 0.. {
            let ward = ward();
            before.iter().for_each(|deed| deed.1(&ward).unwrap());
            power::cut_after(steps);
            let outcome = last.1(&ward);
            if !power::restore() {
                outcome.unwrap();
                break;
            }
            cuts += 1;
            let cut = format!("{} cut after {steps} steps: {:?}", last.0, ward.links());
            ward.runs();
            // Without an agent, the version that crashes gives way; one that was confirmed, or never begun, stays.
            let copy = Slots::new(&ward.dir.path().join("copy"));
            let copied = std::process::Command::new("cp").arg("-a").arg(ward.slots.dir()).arg(copy.dir()).status();
            assert!(copied.unwrap().success());
            let alone = Ward { dir: tempfile::tempdir().unwrap(), slots: copy, ..ward };
            if last.0 == "confirm" && alone.links().is_empty() {
                assert_eq!(alone.runs(), "new", "{cut}");
            } else {
                assert!(alone.crashes_until_back() <= 3, "{cut}");
            }
            // With one, it is done again.
            let ward = Ward { slots: Slots::new(&ward.dir.path().join("slots")), dir: ward.dir, ..alone };
            last.1(&ward).unwrap();
            let expected = match last.0 {
                "switch" | "confirm" => "new",
                "start" if before.len() < 4 => "new",
                _ => "old",
            };
            assert_eq!(ward.runs(), expected, "{cut}");
        }
    }
    assert!(cuts > 20, "{cuts}");
}

#[test]
fn what_is_damaged_changes_nothing() {
    let ward = ward();
    ward.slots.switch(Side::B).unwrap();
    let lay: [&dyn Fn(&Path); 3] =
        [&|path| fs::write(path, b"torn").unwrap(), &|path| symlink("b", path).unwrap(), &|path| {
            symlink("../elsewhere", path).unwrap()
        }];
    for lay in lay {
        let path = ward.slots.dir().join("trial-b-1-of-1");
        lay(&path);
        assert_eq!((ward.slots.before_start().unwrap(), ward.runs()), (Start::Plain, "new"));
        fs::remove_file(path).unwrap();
    }
    for name in [
        "",
        "c-1-of-1",
        "b",
        "b-",
        "b-2-of-1",
        "b-1-of-",
        "b-+1-of-1",
        "b-01-of-1",
        "b-1-of-1.new",
        "b-1-of-99999999999",
    ] {
        symlink("./a", ward.slots.dir().join(format!("{PREFIX}{name}"))).unwrap();
    }
    assert_eq!((ward.slots.before_start().unwrap(), ward.runs()), (Start::Plain, "new"));
    ward.slots.end_trial().unwrap();
    assert_eq!(ward.links().len(), 0, "and goes with the next trial that ends");
    // Of two, which only a hand can have laid, the one that ends sooner counts.
    for name in ["trial-b-0-of-9", "trial-b-5-of-5"] {
        symlink("./a", ward.slots.dir().join(name)).unwrap();
    }
    assert!(matches!(ward.slots.before_start().unwrap(), Start::PutBack(Trial { limit: 5, .. })));
}

#[test]
fn a_slot_that_is_not_whole_is_not_put_back() {
    let ward = ward();
    ward.switch(1).unwrap();
    ward.slots.before_start().unwrap();
    fs::remove_file(ward.slots.path(Side::A).join(".suture/manifest.json")).unwrap();
    for _ in 0..3 {
        assert!(matches!(ward.slots.before_start(), Err(InstallError::Empty { side: "a" })));
        assert_eq!(ward.runs(), "new");
    }
}

/// The agent confirms while the last start is about to be taken back: one of them is first, and the other sees it.
#[test]
fn the_agent_and_a_start_never_both_win() {
    for _ in 0..50 {
        let ward = ward();
        ward.switch(1).unwrap();
        ward.slots.before_start().unwrap();
        let (confirmed, start) = thread::scope(|scope| {
            let agent = scope.spawn(|| ward.slots.confirm(&ward.two).unwrap());
            let start = scope.spawn(|| ward.slots.before_start().unwrap());
            (agent.join().unwrap(), start.join().unwrap())
        });
        assert_eq!(confirmed, start == Start::Plain);
        assert_eq!(ward.runs(), if confirmed { "new" } else { "old" });
    }
}

#[test]
fn a_lock_that_is_never_given_back_is_waited_for_only_so_long() {
    let ward = ward();
    ward.switch(1).unwrap();
    let held = ward.slots.lock().unwrap();
    assert!(matches!(ward.slots.before_start(), Err(InstallError::Locked(_))));
    // A `suture-boot` of before locks the directory, and neither acts on what the other has changed meanwhile.
    assert!(!lock::take(&File::open(ward.slots.dir()).unwrap()).unwrap());
    drop(held);
    assert!(matches!(ward.slots.before_start(), Ok(Start::Counted(_))));
}

/// Whoever may read the slots may lock their directory: that keeps nobody from counting, nor from the way back.
#[test]
fn a_lock_on_the_directory_by_somebody_else_keeps_no_version_from_being_put_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let ward = ward();
    ward.switch(1).unwrap();
    let theirs = File::open(ward.slots.dir()).unwrap();
    assert!(lock::take(&theirs).unwrap());
    assert!(matches!(ward.slots.before_start(), Ok(Start::Counted(_))));
    ward.slots.put_back(&ward.two).unwrap();
    let mode = fs::metadata(ward.slots.dir().join(LOCK)).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else can open it");
}

#[test]
fn where_no_file_can_be_locked_the_directory_is() {
    let ward = ward();
    ward.switch(1).unwrap();
    fs::remove_file(ward.slots.dir().join(LOCK)).unwrap();
    symlink("/dev/null", ward.slots.dir().join(LOCK)).unwrap();
    let held = ward.slots.lock().unwrap();
    assert!(!lock::take(&File::open(ward.slots.dir()).unwrap()).unwrap());
    assert!(matches!(ward.slots.before_start(), Err(InstallError::Locked(_))));
    drop(held);
    assert!(matches!(ward.slots.before_start(), Ok(Start::Counted(_))));
}
