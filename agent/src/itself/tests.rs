use super::*;
use crate::install::{Start, bundle};

const DEADLINE: Duration = Duration::from_secs(900);

fn at(hours: i64) -> Timestamp {
    "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

/// A device whose product and whose agent are one payload, `app`, of the first release.
struct World {
    dir: tempfile::TempDir,
    product: Slots,
    itself: Itself,
    own: Slots,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (own, state) = (dir.path().join("own"), dir.path().join("state"));
        fs::create_dir(dir.path().join("slots")).unwrap();
        fs::create_dir(&state).unwrap();
        let product = Slots::new(&dir.path().join("slots"));
        let program = OwnProgram { dir: own.clone(), payload: "app".parse().unwrap(), deadline: DEADLINE };
        let itself = Itself::new(Some(&program), &state).unwrap();
        let world = Self { dir, product, itself, own: Slots::new(&own) };
        let factory = world.dir.path().join("suture-agent");
        fs::write(&factory, b"from the factory").unwrap();
        let version = world.runs(1, b"one");
        for _ in 0..2 {
            world.itself.provision(&version.manifest, &factory).unwrap();
        }
        assert_eq!(world.program(), "from the factory");
        world
    }

    /// The product runs that release now.
    fn runs(&self, release: u64, content: &[u8]) -> Version {
        let (_, manifest, payloads) = bundle(self.dir.path(), release, content);
        self.product.write(&manifest, &payloads).unwrap();
        self.product.switch_to(&Digest::of(&manifest)).unwrap();
        self.product.running().unwrap().unwrap()
    }

    fn attend(&self, settled: Option<&Version>, reported: bool, ran: Duration, now: Timestamp) -> Verdict {
        self.itself.attend(&Standing { settled: settled.cloned(), reported, ran, now }).unwrap()
    }

    /// What the service manager would start.
    fn program(&self) -> String {
        let program = self.own.dir().join("current/app");
        let program = if program.is_dir() { program.join("bin/app") } else { program };
        fs::read_to_string(program).unwrap()
    }

    fn start(&self) -> Start {
        self.own.before_start().unwrap()
    }
}

#[test]
fn a_new_program_is_tried_once_all_is_settled_and_confirmed_by_its_report() {
    let world = World::new();
    let two = world.runs(2, b"two");
    // Not while something is under way, and not while nobody could hear of the new one.
    assert_eq!(world.attend(None, true, DEADLINE, at(0)), Verdict::On);
    assert_eq!(world.attend(Some(&two), false, DEADLINE, at(0)), Verdict::On);
    assert_eq!(world.program(), "from the factory");
    assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(0)), Verdict::End);
    assert_eq!(world.program(), "two");

    assert!(matches!(world.start(), Start::Counted(_)) && world.itself.is_on_trial().unwrap());
    assert_eq!(world.attend(Some(&two), false, Duration::ZERO, at(0)), Verdict::On);
    assert!(world.itself.is_on_trial().unwrap(), "the old one is whole until the new one has reported");
    assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(0)), Verdict::On);
    assert!(!world.itself.is_on_trial().unwrap());
    for _ in 0..5 {
        assert_eq!(world.start(), Start::Plain);
    }
    assert_eq!(world.attend(Some(&two), true, DEADLINE, at(0)), Verdict::On, "it is the same program");
    assert_eq!(world.program(), "two");
}

#[test]
fn one_that_never_reports_gives_way_and_is_tried_again_a_day_later_and_not_for_ever() {
    let world = World::new();
    let two = world.runs(2, b"two");
    let mut now = 0;
    for times in 1..=MAX_TRIES {
        assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(now)), Verdict::End);
        for _ in 0..TRIAL_STARTS {
            assert!(matches!(world.start(), Start::Counted(_)));
            assert_eq!(world.attend(Some(&two), false, DEADLINE, at(now)), Verdict::End, "it reaches nobody");
        }
        assert!(matches!(world.start(), Start::PutBack(_)));
        assert_eq!(world.program(), "from the factory");
        let Verdict::Tell(reason) = world.attend(Some(&two), true, Duration::ZERO, at(now)) else { panic!("{times}") };
        assert!(reason.text.contains("2.0.0 was started 3 times and did not report; that of 1.0.0 runs"), "{reason}");
        let again = world.attend(Some(&two), true, Duration::ZERO, at(now));
        assert_eq!(again, Verdict::Tell(reason), "until it is written down that it is told");
        world.itself.give_up(at(now)).unwrap();
        assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(now)), Verdict::On, "it is told once");
        now += 24 * i64::from(times);
        assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(now - 1)), Verdict::On);
    }
    assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(now + 10_000)), Verdict::On);
    // Another one has its own tries.
    let three = world.runs(3, b"three");
    assert_eq!(world.attend(Some(&three), true, Duration::ZERO, at(now)), Verdict::End);
    assert_eq!(world.program(), "three");
}

#[test]
fn bytes_that_were_altered_since_they_were_staged_are_not_started() {
    let world = World::new();
    let two = world.runs(2, b"two");
    fs::write(world.product.dir().join("current/app/bin/app"), b"owt").unwrap();
    let standing = Standing { settled: Some(two), reported: true, ran: Duration::ZERO, now: at(0) };
    assert!(world.itself.attend(&standing).is_err());
    assert_eq!(world.program(), "from the factory");
    assert!(!world.itself.is_on_trial().unwrap());
}

#[test]
fn a_bundle_without_a_program_and_a_device_without_a_place_for_one_are_left_alone() {
    let world = World::new();
    let mut two = world.runs(2, b"two");
    two.manifest.payloads[0].name = "other".parse().unwrap();
    assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(0)), Verdict::On);
    fs::remove_file(world.own.dir().join("current")).unwrap();
    assert!(!world.itself.is_on_trial().unwrap());
    assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(0)), Verdict::On);
    assert!(Itself::new(None, Path::new("/nowhere")).is_none());
}

#[test]
fn power_may_fail_at_any_step_of_the_change() {
    use crate::durable::power;
    let mut cuts = 0;
    for steps in 0.. {
        let world = World::new();
        let two = world.runs(2, b"two");
        let standing = Standing { settled: Some(two.clone()), reported: true, ran: Duration::ZERO, now: at(0) };
        power::cut_after(steps);
        let cut = world.itself.attend(&standing);
        let failed = power::restore();
        // Whatever is started now is whole, and counted where it has not reported.
        let counted = world.start();
        match world.program().as_str() {
            "from the factory" => assert_eq!(counted, Start::Plain),
            "two" => assert!(matches!(counted, Start::Counted(_))),
            other => panic!("{other}"),
        }
        if !failed {
            assert_eq!(cut.unwrap(), Verdict::End);
            break;
        }
        cuts += 1;
        if !world.itself.is_on_trial().unwrap() {
            assert_eq!(world.itself.attend(&standing).unwrap(), Verdict::End);
        }
        assert_eq!(world.attend(Some(&two), true, Duration::ZERO, at(0)), Verdict::On);
        assert_eq!((world.program().as_str(), world.itself.is_on_trial().unwrap()), ("two", false));
    }
    assert!(cuts > 10, "{cuts} cuts");
}
