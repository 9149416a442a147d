//! What the agent asks of whatever installs, and how it asks it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use suture_core::digest::Digest;
use suture_core::manifest::{InstallKind, Manifest};
use suture_core::report::Running;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Image, InstallError, Payloads, Program, Rauc, Slots, Version, Within};
use crate::checkpoint::{self, Deed};
use crate::config::{Command, Settings, Way};

/// Beyond its own time a step is waited for that long: one that keeps it says itself what is wrong.
const GRACE: Duration = Duration::from_secs(5);

/// How the new version proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It runs, and `[health]` of the configuration says whether it is well.
    Asked,
    /// The installer has asked itself: it is well.
    Given,
}

/// What an installer does and knows. One is written by these rules, which `install/suite` tries on each of them:
///
/// - Every step can be repeated with the effect of once, and after a kill at any of its lines: it is called again with the
///   same arguments. A step that was done before is done at once.
/// - The version that runs, and all that it needs to start, is written by no step.
/// - `prepare` has ended well only once every byte lies on the medium as it was signed. What was prepared before survives a
///   power cut; what is half written is no version.
/// - From `switch` on the new version starts at the next restart, whether or not the agent is there; where it does not come up
///   the device goes back by itself, if it has a boot loader that can, and `restart` then says so by an error. Before `commit`
///   nothing else takes the way back away.
/// - `revert` leads from every point after `prepare` back to the old version, and is followed by `restart`.
/// - Right after each step `running`, `prepared` and `is_switched` tell what is true.
/// - A step ends within the time that it is given, and soon after it is left ([`Within::check`], [`Within::run`]).
///
/// The methods may keep a disk busy or wait for a program: [`Installer`] calls them beside the network, one step at a time.
pub trait Contract: fmt::Debug + Send + Sync {
    /// Which bundles it installs.
    fn kind(&self) -> InstallKind;

    /// Where `prepare` needs room for as many bytes as the payloads have; none where their place is there already.
    fn room(&self) -> Option<&Path>;

    /// Why a bundle of its kind cannot be installed on this device whatever happens, before a byte of it is fetched.
    fn refusal(&self, manifest: &Manifest) -> Option<String> {
        let _ = manifest;
        None
    }

    /// What runs; none on a device that was never provisioned.
    fn running(&self, within: &Within) -> Result<Option<Version>, InstallError>;

    /// What lies prepared, or the version from before: whole beside the one that runs.
    fn prepared(&self, within: &Within) -> Result<Option<Version>, InstallError>;

    /// Whether `switch` to the version with that manifest was done and not taken back. It need not run yet, or any more.
    fn is_switched(&self, to: &Digest, within: &Within) -> Result<bool, InstallError>;

    /// Whether `is_switched` says no also where the boot loader has given the new version up by itself, after it has run.
    fn forgets_a_switch(&self) -> bool {
        false
    }

    /// Hashes a version again, reading the medium, and compares it with its manifest. Before each piece its length is shown to
    /// `pass`, which may take its time, or end it.
    fn verify(
        &self,
        version: &Version,
        pass: &mut dyn FnMut(u64) -> io::Result<()>,
        within: &Within,
    ) -> Result<(), InstallError> {
        version.verify(&mut |bytes| {
            within.check()?;
            pass(bytes)
        })
    }

    /// Writes a version beside the one that runs, verifying each payload: whole and on the medium, or not there.
    fn prepare(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError>;

    /// Makes the prepared version the one that starts next.
    fn switch(&self, to: &Digest, within: &Within) -> Result<(), InstallError>;

    /// Makes what was switched to, or back to, run. `command` is the configuration's.
    fn restart(&self, command: &Command, within: &Within) -> Result<(), InstallError> {
        let ending = within.run(command, &[]);
        if ending.is_success() { Ok(()) } else { Err(InstallError::Restart(format!("the restart command {ending}"))) }
    }

    /// The device's software may stand still by now, or have had its data changed under it: whatever runs, the next `restart` has it
    /// restarted. An installer whose `restart` always does so has nothing to remember.
    fn owe_restart(&self) {}

    /// The version that was started last, where that is known for certain beyond what is to start next. After a power cut it
    /// says whether a restart is needed at all.
    fn started(&self, within: &Within) -> Result<Option<Digest>, InstallError> {
        let _ = within;
        Ok(None)
    }

    /// Whether it is the new version that runs, and how it proves its health. Asked before every proof, and only then is the
    /// configuration's health asked after.
    fn probe(&self, new: &Digest, within: &Within) -> Result<Proof, InstallError>;

    /// The new version has proven its health: from now on it is what starts, without a way back by itself.
    fn commit(&self, new: &Digest, within: &Within) -> Result<(), InstallError>;

    /// Makes the version from before the one that starts next.
    fn revert(&self, new: &Digest, within: &Within) -> Result<(), InstallError>;

    /// When nothing is under way, at the agent's start and before the device goes back into service: what runs is what starts again, however often.
    fn settle(&self, within: &Within) -> Result<(), InstallError> {
        let _ = within;
        Ok(())
    }

    /// Puts the factory's version onto a device that has none.
    fn provision(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        self.prepare(manifest, payloads, within)?;
        self.switch(&Digest::of(manifest), within)
    }

    /// For `doctor`: what it works on, or what is wrong with that.
    fn examine(&self, within: &Within) -> Result<String, String>;
}

/// How long the steps may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `prepare`, and hashing what was prepared.
    pub prepare: Duration,
    /// Each of the others but `restart`, which has `[restart]`'s.
    pub step: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { prepare: Duration::from_secs(3_600), step: Duration::from_secs(60) }
    }
}

/// The device's installer: its contract, kept on threads of its own, one step at a time and each within its time.
#[derive(Debug, Clone)]
pub struct Installer {
    contract: Arc<dyn Contract>,
    limits: Limits,
    /// Held by the thread that does a step. One that hangs does not end by being left; the next step must not run beside it.
    hands: Arc<Mutex<()>>,
    ending: CancellationToken,
    grace: Duration,
}

impl Installer {
    /// The one that the configuration names.
    pub fn new(settings: &Settings) -> Self {
        let (dir, boot_id) = (&settings.slots_dir, &settings.installer.boot_id);
        let contract: Arc<dyn Contract> = match &settings.installer.way {
            Way::Slots => Arc::new(Slots::new(dir).with_starts(settings.trial_starts)),
            Way::Image(image) => Arc::new(Image::new(dir, image.clone(), boot_id)),
            Way::Command(command) => Arc::new(Program::new(dir, command.clone(), boot_id)),
            Way::Rauc { program, system_conf } => Arc::new(Rauc::new(dir, program.clone(), system_conf, boot_id)),
        };
        Self::by(contract, settings.installer.limits)
    }

    /// This one.
    pub fn by(contract: Arc<dyn Contract>, limits: Limits) -> Self {
        Self { contract, limits, hands: Arc::default(), ending: CancellationToken::new(), grace: GRACE }
    }

    /// The same, where `ending` says that the agent is about to end.
    pub fn ending(self, ending: CancellationToken) -> Self {
        Self { ending, ..self }
    }

    /// What it does and knows, for whoever may wait.
    pub fn contract(&self) -> &Arc<dyn Contract> {
        &self.contract
    }

    /// See [`Limits`].
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Why a bundle can never be installed on this device.
    pub fn refusal(&self, manifest: &Manifest) -> Option<String> {
        let (wanted, here) = (manifest.install.kind, self.contract.kind());
        if wanted == here {
            return self.contract.refusal(manifest);
        }
        Some(format!("the bundle is made for the installer `{wanted}`, and this device has `{here}`"))
    }

    /// See [`Contract::running`].
    pub async fn running(&self) -> Result<Option<Version>, InstallError> {
        self.step("running", self.limits.step, |it, within| it.running(within)).await
    }

    /// What runs, as a report says it, for whoever may wait.
    pub fn running_now(&self) -> Result<Option<Running>, InstallError> {
        Ok(self.contract.running(&Within::limit(self.limits.step))?.map(|version| version.running()))
    }

    /// See [`Contract::examine`].
    pub async fn examine(&self) -> Result<Result<String, String>, InstallError> {
        self.step("examine", self.limits.step, |it, within| Ok(it.examine(within))).await
    }

    /// See [`Contract::prepared`].
    pub async fn prepared(&self) -> Result<Option<Version>, InstallError> {
        self.step("prepared", self.limits.step, |it, within| it.prepared(within)).await
    }

    /// What lies on the device and bytes can be taken from, what runs first. What cannot be read has none; on a device that
    /// was never provisioned nothing has.
    pub async fn versions(&self) -> Vec<Version> {
        let Ok(Some(running)) = self.running().await else { return Vec::new() };
        let prepared = self.prepared().await.ok().flatten();
        [Some(running), prepared].into_iter().flatten().collect()
    }

    /// See [`Contract::is_switched`].
    pub async fn is_switched(&self, to: &Digest) -> Result<bool, InstallError> {
        let to = *to;
        self.step("switched", self.limits.step, move |it, within| it.is_switched(&to, within)).await
    }

    /// Whether the version with that manifest lies prepared, and every byte of it is right.
    pub async fn verify_prepared(&self, manifest: &Digest) -> Result<Version, InstallError> {
        let manifest = *manifest;
        self.step("verify", self.limits.prepare, move |it, within| {
            let prepared = it.prepared(within)?.filter(|version| version.digest == manifest);
            let prepared = prepared.ok_or(InstallError::NotPrepared)?;
            it.verify(&prepared, &mut |_| Ok(()), within)?;
            Ok(prepared)
        })
        .await
    }

    /// Whether the version from before lies whole beside the one with that manifest, which was confirmed: every byte of it is
    /// hashed.
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    pub async fn way_back(&self, from: &Digest) -> Result<(), String> {
        let from = *from;
        let whole = self.step("verify", self.limits.prepare, move |it, within| {
            let before = it.prepared(within)?.filter(|version| version.digest != from);
            let before = before.ok_or(InstallError::NotPrepared)?;
            it.verify(&before, &mut |_| Ok(()), within)
        });
        whole.await.map_err(|e| {
            format!(
                "the old version cannot come back: it is not whole on this device any more ({}); keep the device out of use and \
                 call its maker",
                crate::agent::chain(&e)
            )
        })
    }

    /// See [`Contract::prepare`].
    pub async fn prepare(&self, manifest: Vec<u8>, payloads: Payloads) -> Result<(), InstallError> {
        let work = move |it: &dyn Contract, within: &Within| it.prepare(&manifest, &payloads, within);
        self.deed("prepare", self.limits.prepare, work).await
    }

    /// See [`Contract::switch`].
    pub async fn switch(&self, to: &Digest) -> Result<(), InstallError> {
        let to = *to;
        self.deed("switch", self.limits.step, move |it, within| it.switch(&to, within)).await
    }

    /// See [`Contract::restart`].
    pub async fn restart(&self, command: &Command) -> Result<(), InstallError> {
        let command = command.clone();
        self.step("restart", command.timeout, move |it, within| it.restart(&command, within)).await
    }

    /// See [`Contract::owe_restart`].
    pub async fn owe_restart(&self) -> Result<(), InstallError> {
        let owe = |it: &dyn Contract, _: &Within| {
            it.owe_restart();
            Ok(())
        };
        self.step("owe", self.limits.step, owe).await
    }

    /// See [`Contract::started`]. What cannot be said is not known.
    pub async fn started(&self) -> Option<Digest> {
        self.step("started", self.limits.step, |it, within| it.started(within)).await.ok().flatten()
    }

    /// See [`Contract::probe`].
    pub async fn probe(&self, new: &Digest) -> Result<Proof, InstallError> {
        let new = *new;
        self.step("probe", self.limits.step, move |it, within| it.probe(&new, within)).await
    }

    /// See [`Contract::commit`].
    pub async fn commit(&self, new: &Digest) -> Result<(), InstallError> {
        let new = *new;
        self.deed("commit", self.limits.step, move |it, within| it.commit(&new, within)).await
    }

    /// See [`Contract::revert`].
    pub async fn revert(&self, new: &Digest) -> Result<(), InstallError> {
        let new = *new;
        self.deed("revert", self.limits.step, move |it, within| it.revert(&new, within)).await
    }

    /// See [`Contract::settle`].
    pub async fn settle(&self) -> Result<(), InstallError> {
        self.deed("settle", self.limits.step, |it, within| it.settle(within)).await
    }

    /// A step that changes the device, between its two places.
    async fn deed<T: Send + 'static>(
        &self,
        step: &'static str,
        limit: Duration,
        work: impl FnOnce(&dyn Contract, &Within) -> Result<T, InstallError> + Send + 'static,
    ) -> Result<T, InstallError> {
        checkpoint::deed(Deed::Install(step), self.step(step, limit, work)).await
    }

    /// One step. Dropped, it is left: a program of it is killed, and long work ends at its next piece.
    async fn step<T: Send + 'static>(
        &self,
        step: &'static str,
        limit: Duration,
        work: impl FnOnce(&dyn Contract, &Within) -> Result<T, InstallError> + Send + 'static,
    ) -> Result<T, InstallError> {
        let stop = CancellationToken::new();
        let _left = stop.clone().drop_guard();
        let (contract, hands, ending) = (self.contract.clone(), self.hands.clone(), self.ending.clone());
        let done = async {
            let hands = hands.lock_owned().await;
            let done = tokio::task::spawn_blocking(move || {
                let _hands = hands;
                work(contract.as_ref(), &Within::new(limit, stop).ending(ending))
            });
            done.await.map_err(|_| InstallError::Left(step))?
        };
        let slow = || InstallError::Slow { step, limit };
        tokio::time::timeout(limit.saturating_add(self.grace), done).await.map_err(|_| slow())?
    }
}

#[cfg(test)]
mod tests;
