//! Until the new version lies whole in the slot that is not in use.

use std::time::Duration;

use jiff::Timestamp;
use suture_core::approval::Slot;
use suture_core::digest::Digest;
use suture_core::phase::{Code, Reason};
use tokio::time::Instant;

use super::super::look::Situation;
use super::super::{Agent, AgentError};
use super::damage::unsound;
use super::{Done, blocking, chain};
use crate::client::ClientError;
use crate::fetch::{Fetch, FetchError, Room, sources};
use crate::install::{InstallError, Installer};
use crate::machine::{Event, Trouble};
use crate::ticks::{System, Ticks};

/// How often a running fetch is told to `status`.
const PROGRESS: Duration = Duration::from_secs(5);
/// How often it is told to the server, which writes down what it is told: a person who watches a rollout looks no oftener,
/// and ten thousand devices that fetch cost it 170 rows a second.
const TELL: Duration = Duration::from_secs(60);
/// After that, from when the disk was read, a fetch is left for a new look at what is signed: a stop order must not wait for a
/// long transfer, nor for a place in line.
const FETCH_SPELL: Duration = Duration::from_secs(600);

/// What is kept of the time before a slot.
const SLOT_MARGIN: Duration = Duration::from_secs(3_600);
/// Bytes a second of a thin line: 512 kbit/s.
const THIN_LINE: u64 = 64 << 10;

impl Agent {
    pub(super) async fn fetch(&mut self, situation: &mut Situation) -> Result<Done, AgentError> {
        situation.is_fresh = false;
        // The server has said when to ask again; what was said of one bundle holds for all.
        if self.ask_again.is_some_and(|at| Instant::now() < at) {
            return Ok(Done::Later);
        }
        self.ask_again = None;
        let manifest = situation.attempt.bundle.manifest;
        if self.damage.left(&manifest, Instant::now()).is_some() {
            return Ok(Done::Later);
        }
        Fetch::keep_only(&self.settings.state_dir, &manifest)?;
        let fetch = Fetch::new(&self.settings.state_dir, &manifest, self.installer.clone(), self.counters.clone())
            .within(Room::reserving(self.settings.fetch.reserve_bytes))
            .keeping_data(self.settings.data.is_some());
        let mut client = self.client.clone();
        let retry = (self.retry, self.around.random.clone());
        let stop = self.stop.clone();
        let (slots, now) = (&situation.choice.slots, self.now());
        let patience = |bytes| patience(slots, now, bytes);
        let running = fetch.run(&mut client, &situation.catalog, &situation.choice, retry, patience);
        let mut told = LastTold::default();
        let tell = || {
            self.pulse.beat(Duration::ZERO);
            self.counters.measure(PROGRESS);
            // Where it cannot be, the cycle's end says so.
            let _ = self.write_live();
            if told.is_due(PROGRESS, self.client.in_line().is_some()) {
                let (mut client, said) = (self.client.clone(), self.said());
                // Beside the transfer, which does not wait for it; what the server says is heard in the next cycle.
                tokio::spawn(async move { client.check_in(said).await });
            }
        };
        let left = async {
            tokio::select! {
                () = stop.cancelled() => {}
                // It may be a stop order, by a person's hand.
                () = self.inbox.news() => {}
            }
        };
        let ended = spell(running, &System::start(), || self.counters.is_reading(), tell, left).await;
        self.counters.rest();
        Ok(match ended {
            Ended::Over => {
                self.ask_again = Some(Instant::now());
                Done::Later
            }
            Ended::Left => Done::Later,
            Ended::Done(Ok(())) => {
                sources::keep(&self.settings.state_dir, &manifest, &self.counters.progress())?;
                Done::On(Event::Fetched)
            }
            Ended::Done(Err(FetchError::Client(ClientError::Deferred { text, deferral }))) => {
                self.ask_again = Some(Instant::now() + self.jittered(deferral.after));
                let reason = Reason::new(deferral.code, text);
                Done::Wait(Event::Hindered(Trouble { reason, until: deferral.until }))
            }
            Ended::Done(Err(e)) if e.is_permanent() => Done::Wait(Event::Unusable(e.reason())),
            Ended::Done(Err(e)) => Done::Wait(Event::Hindered(Trouble::new(e.reason()))),
        })
    }

    /// Up to a quarter longer: a ward's devices do not come all at once.
    pub(in crate::agent) fn jittered(&self, wait: Duration) -> Duration {
        let share = f64::from((self.around.random)()) / f64::from(u32::MAX) / 4.0;
        wait.saturating_add(wait.mul_f64(share))
    }

    pub(super) async fn stage(&mut self, situation: &mut Situation) -> Result<Done, AgentError> {
        situation.is_fresh = false;
        let manifest = situation.attempt.bundle.manifest;
        let fetch = Fetch::new(&self.settings.state_dir, &manifest, self.installer.clone(), self.counters.clone());
        self.pulse.beat(self.installer.limits().prepare.saturating_mul(2));
        let staged = tokio::select! {
            staged = stage(&self.installer, fetch, &manifest) => staged,
            () = self.stop.cancelled() => None,
        };
        Ok(match staged {
            Some(Staged::Whole) => {
                Fetch::discard_all(&self.settings.state_dir)?;
                Done::On(Event::Staged)
            }
            Some(Staged::Damaged(reason)) => {
                let event = self.damaged(&manifest, reason);
                match self.damage.left(&manifest, Instant::now()) {
                    None => Done::On(event),
                    Some(_) => Done::Wait(event),
                }
            }
            Some(Staged::Unusable(reason)) => Done::Wait(Event::Unusable(reason)),
            Some(Staged::Hindered(reason)) => Done::Wait(Event::Hindered(Trouble::new(reason))),
            None => Done::Later,
        })
    }
}

/// How a spell of a fetch ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended<T> {
    /// The fetch has.
    Done(T),
    /// It is left for a new look at what is signed, and goes on after that.
    Over,
    /// There is something else to do.
    Left,
}

/// Lets a fetch go on for a spell, and calls `tell` every now and then. What is on disk is read again by each spell, which may take
/// longer than one, so that it begins once nothing of it is read.
///
/// Attack: a server that tells a device for ever that it stands in line, or sends it a list a byte at a time: it would never again
/// look at what is signed, hear of a stop, or notice that it is shown nothing new.
async fn spell<T>(
    running: impl Future<Output = T>,
    ticks: &dyn Ticks,
    reads_disk: impl Fn() -> bool,
    mut tell: impl FnMut(),
    left: impl Future<Output = ()>,
) -> Ended<T> {
    tokio::pin!(running, left);
    let mut lasted = Duration::ZERO;
    loop {
        tokio::select! {
            result = &mut running => return Ended::Done(result),
            () = ticks.sleep(PROGRESS) => {
                tell();
                lasted = if reads_disk() { Duration::ZERO } else { lasted.saturating_add(PROGRESS) };
                if lasted >= FETCH_SPELL {
                    return Ended::Over;
                }
            }
            () = &mut left => return Ended::Left,
        }
    }
}

/// What the server was told of a running fetch.
#[derive(Default)]
struct LastTold {
    /// How long ago, and whether the device stood in line then; nothing yet.
    last: Option<(Duration, bool)>,
}

impl LastTold {
    /// Whether it is to be told now that so much more time has passed: once soon after the fetch has begun, when the device
    /// comes into line or out of it, and each [`TELL`].
    fn is_due(&mut self, passed: Duration, in_line: bool) -> bool {
        let last = self.last.map(|(ago, was)| (ago.saturating_add(passed), was));
        let due = last.is_none_or(|(ago, was)| ago >= TELL || was != in_line);
        self.last = if due { Some((Duration::ZERO, in_line)) } else { last };
        due
    }
}

/// How long a delta that is being made may be waited for, as far as the next slot is concerned: it begins an hour later at
/// least, and by the time that all of `bytes` take as chunks over a thin line.
fn patience(slots: &[Slot], now: Timestamp, bytes: u64) -> Duration {
    // A slot that has begun leaves no time.
    let Some(slot) = slots.iter().find(|slot| now < slot.end) else { return Duration::ZERO };
    let until = Duration::try_from(slot.start.duration_since(now)).unwrap_or(Duration::ZERO);
    until.saturating_sub(SLOT_MARGIN).saturating_sub(Duration::from_secs(bytes / THIN_LINE))
}

enum Staged {
    Whole,
    Damaged(Reason),
    Unusable(Reason),
    Hindered(Reason),
}

/// Prepares the new version from what was fetched. What lies prepared already, from before a restart, is hashed and kept.
/// None where the agent is ending.
async fn stage(installer: &Installer, fetch: Fetch, manifest: &Digest) -> Option<Staged> {
    if installer.verify_prepared(manifest).await.is_ok() {
        return Some(Staged::Whole);
    }
    let fetched = match fetch.fetched() {
        Ok(fetched) => fetched,
        Err(e @ FetchError::Unusable(_)) => return Some(Staged::Unusable(e.reason())),
        Err(e) => return Some(Staged::Damaged(e.reason())),
    };
    Some(match installer.prepare(fetched.manifest, fetched.payloads).await {
        Ok(()) => Staged::Whole,
        Err(InstallError::Left(_)) => return None,
        // To fetch it again would not help, and it is not the bundle's fault.
        Err(e @ InstallError::Unkept { .. }) => Staged::Unusable(Reason::from(&e)),
        Err(e) if e.is_full() => Staged::Hindered(Reason::from(&e)),
        Err(e) => match (blocking(move || fetch.is_whole()).await?, e.is_wrong_bytes()) {
            (true, true) => {
                let text = format!("the bundle contradicts itself: {}", chain(&e));
                Staged::Unusable(Reason::new(Code::UnusableBundle, text))
            }
            (true, false) => Staged::Hindered(Reason::from(&e)),
            // Whatever the installer made of it. Accident: a sector that was read when it was fetched, and is not any more.
            (false, _) => Staged::Damaged(unsound(&e)),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::sync::Arc;
    use std::task::Poll;

    use suture_core::manifest::InstallKind;

    use super::*;
    use crate::fetch::Counters;
    use crate::install::{Contract, Limits, Payloads, Proof, Version, Within, bundle};
    use crate::ticks::Hand;

    /// An installer whose `prepare` comes to this.
    #[derive(Debug)]
    struct Comes(fn() -> InstallError);

    impl Contract for Comes {
        fn kind(&self) -> InstallKind {
            InstallKind::Slots
        }
        fn room(&self) -> Option<&Path> {
            None
        }
        fn running(&self, _: &Within) -> Result<Option<Version>, InstallError> {
            Ok(None)
        }
        fn prepared(&self, _: &Within) -> Result<Option<Version>, InstallError> {
            Ok(None)
        }
        fn is_switched(&self, _: &Digest, _: &Within) -> Result<bool, InstallError> {
            Ok(false)
        }
        fn prepare(&self, _: &[u8], _: &Payloads, _: &Within) -> Result<(), InstallError> {
            Err(self.0())
        }
        fn switch(&self, _: &Digest, _: &Within) -> Result<(), InstallError> {
            Err(self.0())
        }
        fn probe(&self, _: &Digest, _: &Within) -> Result<Proof, InstallError> {
            Err(self.0())
        }
        fn commit(&self, _: &Digest, _: &Within) -> Result<(), InstallError> {
            Err(self.0())
        }
        fn revert(&self, _: &Digest, _: &Within) -> Result<(), InstallError> {
            Err(self.0())
        }
        fn examine(&self, _: &Within) -> Result<String, String> {
            Err(self.0().to_string())
        }
    }

    /// A bundle that lies there whole, as it is fetched, and its manifest's digest.
    fn fetched(dir: &Path) -> (impl Fn(&Installer) -> Fetch, Digest) {
        let (_, manifest, payloads) = bundle(dir, 2, b"version 2");
        let digest = Digest::of(&manifest);
        let place = dir.join("fetch").join(digest.to_string());
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("manifest.json"), &manifest).unwrap();
        for (payload, file, index) in &payloads {
            std::fs::copy(file, place.join(format!("{}.part", payload.name))).unwrap();
            std::fs::write(place.join(format!("{}.index", payload.name)), index).unwrap();
        }
        let dir = dir.to_owned();
        (move |installer: &Installer| Fetch::new(&dir, &digest, installer.clone(), Arc::default()), digest)
    }

    #[tokio::test]
    async fn a_medium_that_keeps_nothing_is_not_laid_to_the_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let (fetch_of, digest) = fetched(dir.path());
        let staged = async |comes: fn() -> InstallError| {
            let installer = Installer::by(Arc::new(Comes(comes)), Limits::default());
            match stage(&installer, fetch_of(&installer), &digest).await {
                Some(Staged::Unusable(reason)) => reason,
                _ => panic!("every chunk is whole, and to fetch them again would not help"),
            }
        };
        let said = staged(|| InstallError::WrongBytes { payload: "app".to_owned() }).await;
        assert_eq!(said.code, Code::UnusableBundle, "{said}");
        let said = staged(|| InstallError::WrongBytes { payload: "app".to_owned() }.unkept()).await;
        assert_eq!(said.code, Code::InstallFailed, "{said}");
        assert!(said.text.contains("medium") && !said.text.contains("contradicts"), "{said}");
    }

    /// Found: damage on the disk was told as a bundle that its manufacturer had made wrong, and ended the approval for good.
    #[tokio::test]
    async fn what_was_damaged_since_it_came_is_not_laid_to_the_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let (fetch_of, digest) = fetched(dir.path());
        let place = dir.path().join("fetch").join(digest.to_string());
        let installer = Installer::by(Arc::new(Comes(|| InstallError::NotPrepared)), Limits::default());
        for (name, was, is) in
            [("manifest.json", "2.0.0", "2.0.1"), ("manifest.json", "{", "["), ("manifest.json", "rev-a", "rev-b")]
        {
            let file = place.join(name);
            let before = std::fs::read(&file).unwrap();
            let text = String::from_utf8(before.clone()).unwrap();
            assert!(text.contains(was), "{text}");
            std::fs::write(&file, text.replacen(was, is, 1)).unwrap();
            match stage(&installer, fetch_of(&installer), &digest).await.unwrap() {
                Staged::Damaged(reason) => assert_eq!(reason.code, Code::WrongBytes, "{reason}"),
                _ => panic!("{was} became {is}"),
            }
            std::fs::write(&file, before).unwrap();
        }
        let index = place.join("app.index");
        let mut bytes = std::fs::read(&index).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        for damage in [&bytes[..], b""] {
            std::fs::write(&index, damage).unwrap();
            let staged = stage(&installer, fetch_of(&installer), &digest).await.unwrap();
            assert!(matches!(staged, Staged::Damaged(_)));
        }
        std::fs::remove_file(&index).unwrap();
        assert!(matches!(stage(&installer, fetch_of(&installer), &digest).await.unwrap(), Staged::Damaged(_)));
    }

    #[tokio::test]
    async fn what_was_fetched_and_cannot_be_read_any_more_is_fetched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (fetch_of, digest) = fetched(dir.path());
        let part = dir.path().join("fetch").join(digest.to_string()).join("app.part");
        let broken: fn() -> InstallError = || {
            let source = io::Error::from_raw_os_error(5);
            InstallError::Io { operation: "read", path: "app.part".into(), source }
        };
        let told: fn() -> InstallError =
            || InstallError::Program { what: "its program".to_owned(), text: "5".to_owned() };
        let full: fn() -> InstallError = || {
            let source = io::ErrorKind::StorageFull.into();
            InstallError::Io { operation: "write", path: "b.new".into(), source }
        };
        let whole = std::fs::read(&part).unwrap();
        for comes in [broken, told, full] {
            let installer = Installer::by(Arc::new(Comes(comes)), Limits::default());
            let staged = async || stage(&installer, fetch_of(&installer), &digest).await.unwrap();
            // All of it is there, so it is the slot that cannot be written, and to fetch it again would not help.
            assert!(matches!(staged().await, Staged::Hindered(_)), "{}", comes());
            std::fs::write(&part, b"").unwrap();
            match (staged().await, comes().is_full()) {
                (Staged::Hindered(reason), true) => assert_eq!(reason.code, Code::DiskFull),
                (Staged::Damaged(reason), false) => assert_eq!(reason.code, Code::WrongBytes),
                _ => panic!("{}", comes()),
            }
            std::fs::write(&part, &whole).unwrap();
        }
    }

    /// What the server says of the line comes as often as it likes, and brings no byte.
    #[tokio::test]
    async fn a_fetch_that_stands_in_line_is_left_for_a_look_and_for_a_persons_word() {
        let (counters, hand) = (Arc::new(Counters::default()), Hand::default());
        let disk = FETCH_SPELL * 3;
        let mut reading = Some(counters.reads());
        let fetch = std::future::poll_fn(|_| {
            reading.take_if(|_| hand.now() >= disk);
            Poll::<()>::Pending
        });
        let mut told = 0;
        let ended = spell(fetch, &hand, || counters.is_reading(), || told += 1, std::future::pending()).await;
        // However long the disk takes, the fetch is not cut short there, or it would begin with that again and again.
        let lasted = hand.now();
        assert_eq!((ended, Duration::from_secs(told * PROGRESS.as_secs())), (Ended::Over, lasted));
        assert!(disk + FETCH_SPELL <= lasted + PROGRESS && lasted <= disk + FETCH_SPELL + PROGRESS, "{lasted:?}");

        let at = lasted + PROGRESS;
        let word = std::future::poll_fn(|_| if hand.now() >= at { Poll::Ready(()) } else { Poll::Pending });
        let ended = spell(std::future::pending::<()>(), &hand, || false, || {}, word).await;
        assert!(ended == Ended::Left && hand.now() <= at + PROGRESS, "{ended:?}");
        let ended = spell(async { 7 }, &hand, || false, || {}, std::future::pending()).await;
        assert_eq!(ended, Ended::Done(7));
    }

    #[test]
    fn a_running_fetch_is_told_each_minute_and_when_it_comes_into_line() {
        let mut told = LastTold::default();
        let at: Vec<u32> = (1..=30).filter(|n| told.is_due(PROGRESS, (10..12).contains(n))).collect();
        assert_eq!(at, [1, 10, 12, 24], "after 5, 50, 60 and 120 s");
    }

    #[test]
    fn a_delta_is_waited_for_only_while_the_slot_is_far() {
        let at = |secs: i64| Timestamp::from_second(1_000_000 + secs).unwrap();
        let slot = |start, end| Slot { start: at(start), end: at(end) };
        let secs = |slots: &[Slot], bytes| patience(slots, at(0), bytes).as_secs();
        assert_eq!(secs(&[], 0), 0);
        assert_eq!(secs(&[slot(-10, 10)], 0), 0, "it has begun");
        assert_eq!(secs(&[slot(3_600, 7_200)], 0), 0);
        assert_eq!(secs(&[slot(3_700, 7_200)], 0), 100);
        assert_eq!(secs(&[slot(3_700, 7_200)], 60 * THIN_LINE), 40);
        assert_eq!(secs(&[slot(-20, -10), slot(10_000, 10_001)], 0), 6_400, "one that is over counts no more");
        assert_eq!(secs(&[slot(100_000, 100_001)], u64::MAX), 0);
    }
}
