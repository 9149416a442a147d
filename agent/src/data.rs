//! The device's own data over an update that converts them.
//!
//! The device maker's program keeps the copy: it alone knows where the data are and how to stop what writes them. It is called
//! with one word, always while the interlock is held, and each word can be said again:
//!
//! - `snapshot`, before the switch: keep a copy of the data as they are, in the place of an earlier one.
//! - `restore`, on the way back, before the old version is the one that starts: put the data back as the copy has them.
//! - `discard`, once the new version is confirmed or the old one runs again: the copy is needed no more.
//!
//! Which bundle a copy was made for lies in the state directory, written after the copy is there and before the switch; a way
//! back restores that bundle's copy and no other. It is written twice, as what cannot be had again: by one that a disk has
//! torn or lost the old version would be held up, or be started on data that it cannot read.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use suture_core::digest::Digest;
use suture_core::json;
use suture_core::manifest::{Change, Data, Manifest};
use suture_core::phase::{Code, Reason};

use crate::checkpoint::{self, Deed};
use crate::config::Command;
use crate::durable::{self, DurableError};
use crate::process;

const MARK: &str = "data-copy.json";

/// For which bundle the data were copied.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    manifest: Digest,
}

/// Keeps the device's data over an update.
#[derive(Debug)]
pub struct Keeper<'a> {
    program: Option<&'a Command>,
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
    /// By that program, where one is configured.
    pub fn new(program: Option<&'a Command>, state_dir: &Path) -> Self {
        Self { program, mark: state_dir.join(MARK) }
    }

    /// Before the switch: copies the data where the new version converts them.
    ///
    /// # Errors
    ///
    /// There is no copy, so nothing may be switched.
    pub async fn before(&self, running: Option<&Manifest>, next: &Manifest, digest: &Digest) -> Result<(), Reason> {
        if change(running, next) == Change::None {
            return Ok(());
        }
        refuse(running, next, self.program.is_some()).map_err(|text| Reason::new(Code::DataFormat, text))?;
        self.say("snapshot").await?;
        let made = json::to_canonical(&Mark { manifest: *digest });
        let bytes = made.map_err(|source| self.failed(&DurableError::Damaged { path: self.mark.clone(), source }))?;
        durable::write_twice(&self.mark, &bytes, durable::OPEN).map_err(|e| self.failed(&e))
    }

    /// On the way back from a bundle: puts the data back, where they were copied for it.
    ///
    /// # Errors
    ///
    /// They are not back, so the old version must not be started.
    pub async fn back(&self, from: &Digest) -> Result<(), Reason> {
        // Either of both: where the disk has lost the last write of one, that one says nothing, or tells of an earlier bundle.
        let is_it = |bytes: &[u8]| json::from_slice(bytes).ok().filter(|mark: &Mark| mark.manifest == *from);
        let any = |bytes: &[u8]| json::from_slice::<Mark>(bytes).ok();
        match durable::read_either(&self.mark, is_it) {
            Ok(Some(_)) => self.say("restore").await,
            Ok(None) => Ok(()),
            // Whole, and of another bundle.
            Err(DurableError::Torn { .. }) if durable::read_either(&self.mark, any).is_ok() => Ok(()),
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// Once it is over: the copy is needed no more. That it stays is no harm, and is only logged.
    pub async fn over(&self) {
        if !self.is_marked() {
            return;
        }
        let gone = match self.say("discard").await {
            Ok(()) => durable::remove_twice(&self.mark).map_err(|e| self.failed(&e)),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = gone {
            tracing::warn!(%reason, "the copy of the device's data stays");
        }
    }

    /// Whether a way back has data to put back, or may have.
    pub fn may_have_some(&self) -> bool {
        !matches!(durable::read_either(&self.mark, |_| Some(())), Ok(None))
    }

    fn is_marked(&self) -> bool {
        durable::read_either(&self.mark, |_| Some(())).is_ok_and(|mark| mark.is_some())
    }

    async fn say(&self, word: &'static str) -> Result<(), Reason> {
        let Some(program) = self.program else {
            let text = format!("the device's maker has named no program in [data] to {word} the device's data");
            return Err(Reason::new(Code::InstallFailed, text));
        };
        match checkpoint::deed(Deed::Data(word), process::run(program, &[word], None)).await {
            ending if ending.is_success() => Ok(()),
            ending => {
                let text = format!("the program that keeps the device's data {ending} when it was to {word} them");
                Err(Reason::new(Code::InstallFailed, text))
            }
        }
    }

    fn failed(&self, error: &DurableError) -> Reason {
        Reason::new(Code::InstallFailed, format!("for which bundle the device's data were copied: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let keeper = Keeper::new(Some(&program), dir.path());
        let data = dir.path().join("data");
        let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        std::fs::write(&data, "one").unwrap();

        keeper.before(Some(&one), &one, &first).await.unwrap();
        keeper.back(&first).await.unwrap();
        keeper.over().await;
        assert_eq!(log(), "", "nothing is converted");

        std::fs::write(dir.path().join("broken"), "").unwrap();
        assert!(keeper.before(Some(&one), &two, &second).await.is_err());
        keeper.back(&second).await.unwrap();
        assert_eq!(log(), "snapshot\n", "there is no copy to put back");
        std::fs::remove_file(dir.path().join("broken")).unwrap();

        for _ in 0..2 {
            keeper.before(Some(&one), &two, &second).await.unwrap();
        }
        std::fs::write(&data, "two").unwrap();
        keeper.back(&first).await.unwrap();
        assert_eq!(std::fs::read_to_string(&data).unwrap(), "two", "another bundle's copy");
        for _ in 0..2 {
            keeper.back(&second).await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&data).unwrap(), "one");
        keeper.over().await;
        keeper.over().await;
        assert_eq!(log().matches("discard").count(), 1);
        let none = Keeper::new(None, dir.path());
        assert_eq!(none.before(Some(&one), &two, &second).await.unwrap_err().code, Code::DataFormat);
    }
}
