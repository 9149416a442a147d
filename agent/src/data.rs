//! The device's own data over an update that converts them.
//!
//! The device maker's program keeps the copy: it alone knows where the data are and how to stop what writes them. It is called
//! with one word, always while the interlock is held, and each word can be said again:
//!
//! - `snapshot`, before the switch: keep a copy of the data as they are, in the place of an earlier one. It has what is left of the
//!   time in which the switch may be made. From then on the device's software may stand still: where no switch follows the try has
//!   failed, and the old version is restarted and proves its health before the device is released.
//! - `restore`, on the way back, before the old version is the one that starts: put the data back as the copy has them.
//! - `discard`, once the new version is confirmed or the old one runs again: the copy is needed no more.
//!
//! Which bundle a copy was made for lies in the state directory, and how far that is: before the program is called, right before the
//! switch, from which on the data may be converted, and once they are back and the old version is what starts. A way back restores that
//! bundle's copy and no other, and not under an old version that was started on it already. It is written twice, as what cannot be
//! had again: by one that a disk has torn or lost the old version would be held up, or be started on data that it cannot read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use suture_core::digest::Digest;
use suture_core::json;
use suture_core::manifest::{Change, Data, Manifest};
use suture_core::phase::{Code, Reason};

use crate::checkpoint::{self, Deed};
use crate::config::Command;
use crate::durable::{self, DurableError};
use crate::install::boot_id;
use crate::process::{self, Ending};

const MARK: &str = "data-copy.json";

/// For which bundle the data were copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    manifest: Digest,
    #[serde(default, skip_serializing_if = "Far::is_kept")]
    far: Far,
    /// By which start of the device, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
}

/// How far the copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Far {
    /// It was begun, and may be there. Nothing was switched, and what is written from now on stays.
    Begun,
    /// It is there, and the new version may have converted the data.
    #[default]
    Kept,
    /// The data are back as it has them, and the old version is what starts.
    Back,
}

impl Far {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_kept(&self) -> bool {
        matches!(self, Self::Kept)
    }
}

/// Keeps the device's data over an update.
#[derive(Debug)]
pub struct Keeper<'a> {
    program: Option<&'a Command>,
    boot_id: &'a Path,
    mark: PathBuf,
}

/// Refuses, before anything is fetched, a bundle by which the data would be lost, or could not be had back.
///
/// # Errors
///
/// Why, and what would help.
pub fn refuse(running: Option<&Manifest>, next: &Manifest, keeps: bool) -> Result<(), String> {
    let formats = |data: &Data| {
        let mut reads: Vec<String> = data.reads.iter().map(ToString::to_string).collect();
        reads.push(data.format.to_string());
        format!("reads formats {}", reads.join(", "))
    };
    let to = next.install.data.as_ref();
    match change(running, next) {
        Change::None => Ok(()),
        Change::Converted if keeps => Ok(()),
        Change::Converted => Err(format!(
            "release {} converts the device's data, and no copy could be kept for the way back: the device's maker has named no \
             program in [data]",
            next.release
        )),
        Change::Lost { from } => Err(format!(
            "the device's data have format {from}, and release {} {}: what was written since would be lost; ask the manufacturer",
            next.release,
            to.map_or_else(|| "does not say that it reads any".to_owned(), formats)
        )),
    }
}

fn change(running: Option<&Manifest>, next: &Manifest) -> Change {
    // A device that runs nothing has written nothing.
    let Some(running) = running else { return Change::None };
    Data::change(running.install.data.as_ref(), next.install.data.as_ref())
}

impl<'a> Keeper<'a> {
    /// By that program, where one is configured. `boot_id` is a file with the kernel's boot id.
    pub fn new(program: Option<&'a Command>, state_dir: &Path, boot_id: &'a Path) -> Self {
        Self { program, boot_id, mark: state_dir.join(MARK) }
    }

    /// Whether the new version converts the data, so that a copy is to be made before the switch.
    ///
    /// # Errors
    ///
    /// The data would be lost, or there can be no copy, so nothing may be switched.
    pub fn needs(&self, running: Option<&Manifest>, next: &Manifest) -> Result<bool, Reason> {
        if change(running, next) == Change::None {
            return Ok(false);
        }
        refuse(running, next, self.program.is_some()).map_err(|text| Reason::new(Code::DataFormat, text))?;
        Ok(true)
    }

    /// There is no copy for the switch that follows, whatever an earlier one has left.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn forget(&self) -> Result<(), Reason> {
        match durable::read_either(&self.mark, |_| Some(())) {
            Ok(None) => Ok(()),
            _ => durable::remove_twice(&self.mark).map_err(|e| self.failed(&e)),
        }
    }

    /// Notes that the program is about to be called for the switch to that bundle.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn begin(&self, to: &Digest) -> Result<(), Reason> {
        self.note(to, Far::Begun)
    }

    /// Copies the data, in what is `left` of the time for that.
    ///
    /// # Errors
    ///
    /// There is no copy, so nothing may be switched.
    pub async fn copy(&self, left: Duration) -> Result<(), Reason> {
        self.say("snapshot", left).await
    }

    /// Notes that the switch to that bundle is about to be made: from then on a way back needs the copy.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn switches(&self, to: &Digest) -> Result<(), Reason> {
        self.note(to, Far::Kept)
    }

    /// For a switch to that bundle that was not made: whether the program was called for it, and the device not started since, as far
    /// as is known. What it has stopped may stand still. `sure` says that nothing was switched in between either; where that is
    /// not sure the copy is still needed, and the way back is to be taken.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn may_stand_still(&self, to: &Digest, sure: bool) -> Result<bool, Reason> {
        let (is_started, far) = match self.mark(to) {
            Ok(None) => return Ok(false),
            Ok(Some(Mark { boot, far, .. })) => {
                (boot.zip(boot_id(self.boot_id)).is_some_and(|(then, now)| then != now), far)
            }
            // Accident: a cut, or a bad sector, as the first of both was written. The program is called after the second.
            Err(_) if !self.mark.exists() => {
                durable::remove_twice(&self.mark).map_err(|e| self.failed(&e))?;
                return Ok(false);
            }
            Err(_) => (false, Far::Kept),
        };
        if far != Far::Begun && !sure {
            return self.note(to, Far::Kept).map(|()| true);
        }
        if far != Far::Begun {
            self.begin(to)?;
        }
        Ok(!is_started)
    }

    /// Whether the old version has its data, also where they never left it.
    ///
    /// # Errors
    ///
    /// The disk does not say it.
    pub fn is_back(&self, from: &Digest) -> Result<bool, Reason> {
        Ok(self.mark(from)?.is_none_or(|mark| mark.far != Far::Kept))
    }

    /// Whether there is a copy for that bundle.
    pub fn has_kept(&self, from: &Digest) -> bool {
        matches!(self.mark(from), Ok(Some(Mark { far: Far::Kept | Far::Back, .. })))
    }

    /// On the way back from that bundle: puts the data back.
    ///
    /// # Errors
    ///
    /// They are not back, so the old version must not be started.
    pub async fn restore(&self, from: &Digest) -> Result<(), Reason> {
        match self.mark(from)? {
            Some(Mark { far: Far::Kept | Far::Back, .. }) => self.say("restore", Duration::MAX).await,
            _ => Ok(()),
        }
    }

    /// Notes that they are back, once the old version is what starts.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn came_back(&self, from: &Digest) -> Result<(), Reason> {
        self.note(from, Far::Back)
    }

    /// Once it is over: the copy is needed no more. That it stays is no harm, and is only logged.
    pub async fn over(&self) {
        if let Ok(None) = durable::read_either(&self.mark, |_| Some(())) {
            return;
        }
        let gone = match self.say("discard", Duration::MAX).await {
            Ok(()) => durable::remove_twice(&self.mark).map_err(|e| self.failed(&e)),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = gone {
            tracing::warn!(%reason, "the copy of the device's data stays");
        }
    }

    /// What is noted of that bundle; nothing where it is of another one.
    fn mark(&self, of: &Digest) -> Result<Option<Mark>, Reason> {
        let read = |bytes: &[u8]| json::from_slice::<Mark>(bytes).ok();
        // Where a disk has lost the last write of one of both, they say different things: a copy that may be needed is.
        let kept = |bytes: &[u8]| read(bytes).filter(|mark| mark.manifest == *of && mark.far == Far::Kept);
        if let Ok(Some(mark)) = durable::read_either(&self.mark, kept) {
            return Ok(Some(mark));
        }
        // Either of both: where the disk has lost the last write of one, that one says nothing, or tells of an earlier bundle.
        match durable::read_either(&self.mark, |bytes| read(bytes).filter(|mark| mark.manifest == *of)) {
            Ok(mark) => Ok(mark),
            // Whole, and of another bundle.
            Err(DurableError::Torn { .. }) if durable::read_either(&self.mark, read).is_ok() => Ok(None),
            Err(e) => Err(self.failed(&e)),
        }
    }

    fn note(&self, of: &Digest, far: Far) -> Result<(), Reason> {
        let made = json::to_canonical(&Mark { manifest: *of, far, boot: boot_id(self.boot_id) });
        let bytes = made.map_err(|source| self.failed(&DurableError::Damaged { path: self.mark.clone(), source }))?;
        durable::write_twice(&self.mark, &bytes, durable::OPEN).map_err(|e| self.failed(&e))
    }

    /// Has the program do that within its own time, or `left` where that is less.
    async fn say(&self, word: &'static str, left: Duration) -> Result<(), Reason> {
        let Some(program) = self.program else {
            let text = format!("the device's maker has named no program in [data] to {word} the device's data");
            return Err(Reason::new(Code::InstallFailed, text));
        };
        let ending = checkpoint::deed(Deed::Data(word), process::run(program, &[word], Some(left))).await;
        if ending.is_success() {
            return Ok(());
        }
        let was_left = match ending {
            Ending::TimedOut(_) if left < program.timeout => ", all that was left of the slot,",
            _ => "",
        };
        let text = format!("the program that keeps the device's data {ending}{was_left} when it was to {word} them");
        Err(Reason::new(Code::InstallFailed, text))
    }

    fn failed(&self, error: &DurableError) -> Reason {
        Reason::new(Code::InstallFailed, format!("for which bundle the device's data were copied: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::bundle;

    fn manifest(dir: &Path, release: u64, data: Option<(u32, &[u32])>) -> Manifest {
        let (mut manifest, ..) = bundle(dir, release, b"bytes");
        manifest.install.data = data.map(|(format, reads)| Data { format, reads: reads.to_vec() });
        manifest
    }

    #[test]
    fn what_would_be_lost_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, three] =
            [(1, Some((1, &[][..]))), (2, Some((2, &[1][..]))), (3, None)].map(|(r, d)| manifest(dir.path(), r, d));
        refuse(None, &two, false).unwrap();
        refuse(Some(&one), &one, false).unwrap();
        refuse(Some(&one), &two, true).unwrap();
        assert!(refuse(Some(&one), &two, false).unwrap_err().contains("[data]"));
        let lost = refuse(Some(&two), &one, true).unwrap_err();
        assert!(lost.contains("have format 2") && lost.contains("reads formats 1:"), "{lost}");
        assert!(refuse(Some(&two), &three, true).unwrap_err().contains("does not say"));
    }

    /// A program that keeps a copy of a file, and a record of what it was told; it fails at `snapshot` while `broken` exists.
    fn program(dir: &Path) -> Command {
        let script = "cd \"$0\" || exit 2; echo \"$1\" >> log\n\
                      case \"$1\" in\n\
                      snapshot) [ ! -e broken ] && cp data copy ;;\n\
                      restore) cp copy data ;;\n\
                      discard) rm -f copy ;;\n\
                      esac";
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).into_iter().chain([dir.display().to_string()]);
        Command { argv: argv.collect(), timeout: Duration::from_secs(10) }
    }

    #[tokio::test]
    async fn the_way_back_has_the_data_of_before_and_only_that_bundles() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (manifest(dir.path(), 1, Some((1, &[]))), manifest(dir.path(), 2, Some((2, &[1]))));
        let (first, second) = (Digest::of(b"one"), Digest::of(b"two"));
        let program = program(dir.path());
        let boot = dir.path().join("boot_id");
        let keeper = Keeper::new(Some(&program), dir.path(), &boot);
        let data = dir.path().join("data");
        let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        std::fs::write(&data, "one").unwrap();

        let hour = Duration::from_secs(3_600);
        assert!(!keeper.needs(Some(&one), &one).unwrap() && keeper.is_back(&first).unwrap());
        keeper.restore(&first).await.unwrap();
        keeper.over().await;
        assert_eq!(log(), "", "nothing is converted");

        assert!(keeper.needs(Some(&one), &two).unwrap());
        std::fs::write(dir.path().join("broken"), "").unwrap();
        keeper.begin(&second).unwrap();
        assert!(keeper.copy(hour).await.is_err());
        assert!(keeper.may_stand_still(&second, true).unwrap() && keeper.is_back(&second).unwrap());
        keeper.restore(&second).await.unwrap();
        assert_eq!(log(), "snapshot\n", "there is no copy to put back");
        std::fs::remove_file(dir.path().join("broken")).unwrap();

        for _ in 0..2 {
            keeper.begin(&second).unwrap();
            keeper.copy(hour).await.unwrap();
            assert!(keeper.is_back(&second).unwrap(), "nothing was switched");
            keeper.switches(&second).unwrap();
            assert!(!keeper.is_back(&second).unwrap());
        }
        std::fs::write(&boot, "first").unwrap();
        keeper.copy(hour).await.unwrap();
        assert!(keeper.may_stand_still(&second, true).unwrap());
        assert!(
            keeper.is_back(&second).unwrap(),
            "what was written since the copy is not lost where no switch followed"
        );
        std::fs::write(&boot, "second").unwrap();
        assert!(!keeper.may_stand_still(&second, true).unwrap(), "it was started since");
        keeper.switches(&second).unwrap();
        std::fs::write(&boot, "third").unwrap();
        assert!(
            keeper.may_stand_still(&second, false).unwrap(),
            "it may have converted the data, and have gone back since"
        );
        std::fs::write(&data, "two").unwrap();
        assert!(keeper.is_back(&first).unwrap());
        keeper.restore(&first).await.unwrap();
        assert_eq!(std::fs::read_to_string(&data).unwrap(), "two", "another bundle's copy");
        for _ in 0..2 {
            keeper.restore(&second).await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&data).unwrap(), "one");
        keeper.came_back(&second).unwrap();
        assert!(keeper.is_back(&second).unwrap() && keeper.has_kept(&second));
        keeper.over().await;
        keeper.over().await;
        assert_eq!(log().matches("discard").count(), 1);
        assert!(!keeper.may_stand_still(&second, true).unwrap());
        let none = Keeper::new(None, dir.path(), &boot);
        assert_eq!(none.needs(Some(&one), &two).unwrap_err().code, Code::DataFormat);
    }

    /// Accident: a disk that has said that it had what it lost: the copy is there, and one of both notes says that it was begun,
    /// or that the data are back.
    #[tokio::test]
    async fn of_two_notes_the_one_that_asks_for_the_copy_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (program, two) = (program(dir.path()), Digest::of(b"two"));
        let boot = dir.path().join("boot_id");
        let keeper = Keeper::new(Some(&program), dir.path(), &boot);
        let place = dir.path().join(MARK);
        for (before, at) in
            [(Far::Begun, &place), (Far::Back, &place), (Far::Begun, &dir.path().join("data-copy.json.copy"))]
        {
            keeper.note(&two, before).unwrap();
            let lost = std::fs::read(at).unwrap();
            keeper.note(&two, Far::Kept).unwrap();
            std::fs::write(at, lost).unwrap();
            assert!(!keeper.is_back(&two).unwrap(), "{before:?}");
        }
    }

    /// Accident: a cut as it is written down that the copy is begun. What is torn must not stand in the way of a way back.
    #[tokio::test]
    async fn a_torn_note_of_what_was_not_begun_goes_and_one_of_what_may_have_been_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (program, two) = (program(dir.path()), Digest::of(b"two"));
        let boot = dir.path().join("boot_id");
        let keeper = Keeper::new(Some(&program), dir.path(), &boot);
        let [place, copy] = [MARK, "data-copy.json.copy"].map(|name| dir.path().join(name));
        std::fs::write(&copy, b"{").unwrap();
        assert!(keeper.is_back(&two).is_err());
        assert!(!keeper.may_stand_still(&two, true).unwrap() && !copy.exists());
        for path in [&place, &copy] {
            std::fs::write(path, b"{").unwrap();
        }
        assert!(keeper.may_stand_still(&two, true).unwrap() && keeper.is_back(&two).unwrap());
        for path in [&place, &copy] {
            std::fs::write(path, b"{").unwrap();
        }
        keeper.over().await;
        assert!(!place.exists() && !copy.exists());
    }

    /// Found: where `discard` had failed, the copy was put back by a rollback to the same bundle, months later.
    #[tokio::test]
    async fn what_a_failed_discard_has_left_is_no_copy_for_another_switch() {
        let dir = tempfile::tempdir().unwrap();
        let two = Digest::of(b"two");
        let argv = ["/bin/sh", "-c", "exit 1"].map(str::to_owned).to_vec();
        let program = Command { argv, timeout: Duration::from_secs(10) };
        let boot = dir.path().join("boot_id");
        let keeper = Keeper::new(Some(&program), dir.path(), &boot);
        keeper.switches(&two).unwrap();
        keeper.over().await;
        assert!(!keeper.is_back(&two).unwrap(), "the copy stays");
        keeper.forget().unwrap();
        assert!(keeper.is_back(&two).unwrap());
        keeper.forget().unwrap();
    }

    /// Found: it had its own time alone, a day at most, and kept a device out of its ward long after the slot.
    #[tokio::test]
    async fn a_copy_has_what_is_left_of_the_slot() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["/bin/sh", "-c", "sleep 600"].map(str::to_owned).to_vec();
        let program = Command { argv, timeout: Duration::from_secs(86_400) };
        let boot = dir.path().join("boot_id");
        let keeper = Keeper::new(Some(&program), dir.path(), &boot);
        let reason = keeper.copy(Duration::from_millis(50)).await.unwrap_err();
        assert!(reason.text.contains("longer than 0.05 s, all that was left of the slot, when"), "{reason}");
        assert!(!keeper.may_stand_still(&Digest::of(b"two"), true).unwrap());
    }
}
