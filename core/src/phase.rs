//! How far an attempt got, and why it goes no further.
//!
//! ```text
//! offered -> fetching -> staged -> waiting(reason) -> installing -> restarting -> confirming -> confirmed
//!                \           \          \                  \             \            \-> fell_back(reason)
//!                 \-> failed(reason)     \                  \-> fell_back \-> fell_back
//! at any point before installing: stopped | withdrawn | superseded | expired
//! ```
//!
//! The machine itself rests in `idle`, or in `held` when only a person can go on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::legible;
use crate::limits::MAX_TEXT_BYTES;

/// How far an attempt got. Sent, downloaded, installed and restarted are lesser facts than `confirmed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The device knows of the approval.
    Offered,
    /// Chunks are being fetched.
    Fetching,
    /// All chunks are there and verified.
    Staged,
    /// Something must come first.
    Waiting,
    /// The other slot is being written and switched to.
    Installing,
    /// The device's software is being restarted.
    Restarting,
    /// The new version runs and its health is being probed.
    Confirming,
    /// The new version runs and has proven its health.
    Confirmed,
    /// The old version runs again.
    FellBack,
    /// Nothing was switched, and this approval leads no further.
    Failed,
    /// A signed stop order came first.
    Stopped,
    /// The manufacturer withdrew the bundle first.
    Withdrawn,
    /// Another approval took its place first.
    Superseded,
    /// Its last slot ended first.
    Expired,
    /// There is no attempt.
    Idle,
    /// Only a person can go on.
    Held,
}

impl Phase {
    /// All phases, in the order of the wire.
    pub const ALL: [Self; 16] = [
        Self::Offered,
        Self::Fetching,
        Self::Staged,
        Self::Waiting,
        Self::Installing,
        Self::Restarting,
        Self::Confirming,
        Self::Confirmed,
        Self::FellBack,
        Self::Failed,
        Self::Stopped,
        Self::Withdrawn,
        Self::Superseded,
        Self::Expired,
        Self::Idle,
        Self::Held,
    ];

    /// The name in JSON and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Fetching => "fetching",
            Self::Staged => "staged",
            Self::Waiting => "waiting",
            Self::Installing => "installing",
            Self::Restarting => "restarting",
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::FellBack => "fell_back",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Withdrawn => "withdrawn",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Idle => "idle",
            Self::Held => "held",
        }
    }

    /// The phase of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == name)
    }

    /// Whether an attempt ends with it.
    pub const fn is_outcome(self) -> bool {
        matches!(
            self,
            Self::Confirmed
                | Self::FellBack
                | Self::Failed
                | Self::Stopped
                | Self::Withdrawn
                | Self::Superseded
                | Self::Expired
        )
    }

    /// Whether a gate counts it as a failure. A device that missed its slots says nothing against the patch; one that could
    /// neither finish nor go back, and holds until a person comes, says most.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::FellBack | Self::Failed | Self::Held)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why not, or not yet: a stable code for machines and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The code.
    pub code: Code,
    /// The sentence: what, which, and what to do next.
    pub text: String,
}

impl Reason {
    /// A reason. A text longer than [`MAX_TEXT_BYTES`] is cut: it may repeat what a server or a file said.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        Self { code, text }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, legible::line(&self.text))
    }
}

macro_rules! codes {
    ($(#[doc = $meaning:literal] $name:ident = $text:literal,)*) => {
        /// What kind of reason. The names are stable: monitoring may match on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }.trim_start()
            }
        }
    };
}

codes! {
    /// Nothing is approved for the device.
    NothingApproved = "nothing-approved",
    /// What is approved runs already.
    UpToDate = "up-to-date",
    /// The approval names other devices only.
    NotForThisDevice = "not-for-this-device",
    /// The approval is of another hospital.
    WrongHospital = "wrong-hospital",
    /// The catalog does not list the bundle, or lists another under its path.
    NotInCatalog = "not-in-catalog",
    /// The manufacturer has withdrawn the bundle.
    Withdrawn = "withdrawn",
    /// The bundle is for other hardware.
    WrongHardware = "wrong-hardware",
    /// The bundle is for another product.
    WrongProduct = "wrong-product",
    /// The bundle is older than what runs, and no permit is signed.
    Downgrade = "downgrade",
    /// The bundle is older than the security floor.
    BelowFloor = "below-floor",
    /// What runs is too old to start from.
    TooOldToStart = "too-old-to-start",
    /// The manufacturer warns of an update from what runs, on this hardware.
    KnownRisk = "known-risk",
    /// The bundle cannot read the data that the device has written, or converts them and no copy can be kept.
    DataFormat = "data-format",
    /// The bundle is made for another installer than the device has.
    WrongInstaller = "wrong-installer",
    /// The way to the bundle leads over more releases than one approval has steps for.
    TooManySteps = "too-many-steps",
    /// What it runs is not known, and devices are asked for by what they run.
    RunningUnknown = "running-unknown",
    /// It runs another release than those that are asked for.
    OtherRelease = "other-release",
    /// Two approvals contradict one another.
    ConflictingApprovals = "conflicting-approvals",
    /// The approval's tries are used up, or one failed for good.
    AttemptsSpent = "attempts-spent",
    /// The next try has to wait, as long as the hospital has signed.
    RetryWait = "retry-wait",
    /// The ward has no calendar, or one that cannot be used.
    NoCalendar = "no-calendar",
    /// The ward's calendar has no opening left that is long enough.
    NoOpening = "no-opening",
    /// No opening that is long enough ends before the deadline.
    PastDeadline = "past-deadline",
    /// The next slot has not begun.
    BeforeSlot = "before-slot",
    /// The last slot has ended, or the rollout that it belongs to.
    SlotsOver = "slots-over",
    /// What is left of the slot cannot hold the install and the way back.
    SlotTooShort = "slot-too-short",
    /// The rollout is paused.
    Paused = "paused",
    /// The rollout is aborted.
    Aborted = "aborted",
    /// A signed stop order is in force.
    StopOrder = "stop-order",
    /// Another approval took its place.
    Superseded = "superseded",
    /// The device's wave has not opened.
    WaveClosed = "wave-closed",
    /// The hospital has not opened the device's wave by its signature.
    SignatureNeeded = "signature-needed",
    /// The server's word or lease is needed and it cannot be reached.
    ServerUnreachable = "server-unreachable",
    /// As many devices of the ward are down as may be at once.
    WardBusy = "ward-busy",
    /// A person at the device must confirm.
    PersonNeeded = "person-needed",
    /// The device is in clinical use.
    InUse = "in-use",
    /// The interlock does not answer.
    InterlockUnknown = "interlock-unknown",
    /// The clock is below the time that signed metadata prove.
    ClockUnproven = "clock-unproven",
    /// Metadata has expired.
    MetadataExpired = "metadata-expired",
    /// Attack: metadata older than seen before.
    Rollback = "rollback",
    /// Attack or fault: metadata that do not fit together.
    MixAndMatch = "mix-and-match",
    /// Attack or fault: metadata or targets that the keys did not sign.
    BadSignature = "bad-signature",
    /// Attack or fault: metadata that cannot be read.
    BadMetadata = "bad-metadata",
    /// The bundle, as it is signed, contradicts itself or can never be installed here.
    UnusableBundle = "unusable-bundle",
    /// Attack or fault: more data than the bound.
    EndlessData = "endless-data",
    /// Bytes that are not the ones that were signed.
    WrongBytes = "wrong-bytes",
    /// Not enough power for an install and its way back, or what there is is not known.
    Power = "power",
    /// Not enough disk.
    DiskFull = "disk-full",
    /// The transfer was interrupted.
    Transfer = "transfer",
    /// As many of the hospital's devices as may fetch at once do so; this one stands in line.
    InLine = "in-line",
    /// The hospital lets nothing be fetched at this time of the day.
    QuietHours = "quiet-hours",
    /// The installer failed.
    InstallFailed = "install-failed",
    /// The restart failed.
    RestartFailed = "restart-failed",
    /// The new version was started as often as it may be and not confirmed; the old one was put back before the agent could.
    StartFailed = "start-failed",
    /// The health check failed, or did not pass in time.
    HealthFailed = "health-failed",
    /// The new version is confirmed, and a person is to check the device before it is in clinical use again.
    ReturnToService = "return-to-service",
    /// A person has checked the device, and it is in clinical use again.
    Returned = "returned",
    /// A person has checked the device after its update and found it unfit; the old version comes back.
    Unfit = "unfit",
    /// The interlock has put the attempt off so often that people are told.
    Deferred = "deferred",
    /// A person at the device keeps it from beginning anything.
    HeldHere = "held-here",
    /// The device is not yet confirmed by its hospital.
    Pending = "pending",
    /// What runs is not what was signed: it was altered where it lies.
    Drift = "drift",
    /// Attack or accident: the server's audit record does not go on from what the device remembers of it.
    RecordRewritten = "record-rewritten",
    /// A person at the device had it leave its hospital.
    Departed = "departed",
    /// The device's record on disk cannot be read or written.
    StateDamaged = "state-damaged",
    /// The device began and has said nothing for as long as the hospital let it.
    TimedOut = "timed-out",
    /// Too many devices of the wave failed.
    FailureCeiling = "failure-ceiling",
    /// An operator said so.
    Operator = "operator",
    /// A code that this program does not know.
    Unknown = "unknown",
}

impl Code {
    /// The code of that name; [`Code::Unknown`] for a name from a newer program.
    pub fn from_name(name: &str) -> Self {
        Self::ALL.iter().copied().find(|c| c.as_str() == name).unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
