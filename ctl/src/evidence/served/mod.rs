//! What the server says and nobody has signed: `served/`. It stands apart from what is proven, here and in the report.

mod event;
mod letter;
mod recorded;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, utc_or_none, whole_second};
use suture_core::id::{ApprovalId, DeviceId, HdoId, ProductId};
use suture_core::notice::Side;
use suture_core::version::{Release, Version};
use suture_proto::v1;

pub use self::event::Event;
pub use self::letter::{Answer, Letter, Step};
pub use self::recorded::Recorded;
use super::Files;
use super::folder::Reading;
use super::index::pretty;
use crate::failure::{Failure, Outcome};

/// The server's words on all that the evidence is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// Bundles, ascending.
    pub bundles: Vec<Bundle>,
    /// Rollouts, ascending by id.
    pub rollouts: Vec<Rollout>,
    /// Devices of the inventory, ascending by id.
    pub devices: Vec<Device>,
    /// Forks that it has found.
    pub forks: Vec<Fork>,
    /// Decisions, ascending by number.
    pub decisions: Vec<Decision>,
    /// How far bundles are, in counts, for a manufacturer.
    pub adoption: Vec<Adoption>,
    /// How far letters came, by hospital, side and number.
    pub letters: Vec<Letter>,
    /// By whose certificates words came, ascending by path.
    pub recorded: Vec<Recorded>,
    /// Security events of its devices, ascending by number.
    pub events: Vec<Event>,
}

/// A bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The product.
    pub product: ProductId,
    /// The release.
    pub release: Release,
    /// The version.
    pub version: Version,
    /// When it was published, by the server's clock.
    #[serde(with = "utc")]
    pub published: Timestamp,
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Its approval.
    pub id: ApprovalId,
    /// `running`, `complete`, ..
    pub state: String,
    /// Why, where it says so.
    pub reason: Option<String>,
    /// When the approval came in force here.
    #[serde(with = "utc")]
    pub created: Timestamp,
    /// Its devices, ascending.
    pub devices: Vec<Member>,
}

/// A device of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which.
    pub id: DeviceId,
    /// What it counts as.
    pub standing: String,
    /// Why it goes no further.
    pub reason: Option<String>,
    /// Whether somebody has resumed the rollout without it.
    pub forgiven: bool,
    /// Whether it is offered the approval no more.
    pub barred: bool,
    /// Tries that failed.
    pub tries: u32,
}

/// A device of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Which.
    pub id: DeviceId,
    /// Its serial number.
    pub serial: String,
    /// Its unique device identification.
    pub udi: String,
    /// `active`, `revoked`, ..
    pub state: String,
    /// When it was last heard.
    #[serde(with = "utc_or_none")]
    pub last_seen: Option<Timestamp>,
}

/// Two contents under one version, as a device has verified them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The device; none where that is not said.
    pub device: Option<DeviceId>,
    /// Of which repository.
    pub repository: String,
    /// Under which version.
    pub version: u64,
    /// When it was noticed first.
    #[serde(with = "utc")]
    pub first: Timestamp,
    /// When the device was back on what was published.
    #[serde(with = "utc_or_none")]
    pub healed: Option<Timestamp>,
}

/// A bundle declined or deferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Its number.
    pub number: u64,
    /// The bundle.
    pub product: ProductId,
    /// The bundle.
    pub release: Release,
    /// `declined` or `deferred`.
    pub choice: String,
    /// Why.
    pub reason: String,
    /// What protects the devices meanwhile.
    pub compensating: String,
    /// When it is looked at again.
    pub review: String,
    /// Who decided.
    pub by: String,
    /// When.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// The rollout that answered it.
    pub rollout: Option<ApprovalId>,
    /// The later decision that did.
    pub later: Option<u64>,
    /// Whether it is signed, so that `decisions/` has it.
    pub signed: bool,
}

/// How far a bundle is at a hospital, in counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adoption {
    /// The product.
    pub product: ProductId,
    /// The release.
    pub release: Release,
    /// The hospital.
    pub hdo: HdoId,
    /// Its devices of the product.
    pub devices: u32,
    /// Of these, those that have proven that they run it.
    pub confirmed: u32,
    /// On the way.
    pub under_way: u32,
    /// Late.
    pub late: u32,
    /// Failed.
    pub failed: u32,
    /// The rest.
    pub others: u32,
    /// The hospital's decision, where it has declined or deferred it.
    pub decision: Option<String>,
}

const BUNDLES: &str = "served/bundles.json";
const ROLLOUTS: &str = "served/rollouts.json";
const DEVICES: &str = "served/devices.json";
const FORKS: &str = "served/forks.json";
const DECISIONS: &str = "served/decisions.json";
const ADOPTION: &str = "served/adoption.json";
const LETTERS: &str = "served/letters.json";
const RECORDED: &str = "served/recorded.json";
const EVENTS: &str = "served/events.json";

impl Served {
    /// Reads what the folder has.
    ///
    /// # Errors
    ///
    /// A file is not as it was written.
    pub fn read(files: &Reading<'_>) -> Outcome<Self> {
        let known = [BUNDLES, ROLLOUTS, DEVICES, FORKS, DECISIONS, ADOPTION, LETTERS, RECORDED, EVENTS];
        if let Some(path) = files.keys().find(|p| p.starts_with("served/") && !known.contains(&p.as_str())) {
            return Err(super::index::stray(path));
        }
        Ok(Self {
            bundles: list(files, BUNDLES)?,
            rollouts: list(files, ROLLOUTS)?,
            devices: list(files, DEVICES)?,
            forks: list(files, FORKS)?,
            decisions: list(files, DECISIONS)?,
            adoption: list(files, ADOPTION)?,
            letters: list(files, LETTERS)?,
            recorded: list(files, RECORDED)?,
            events: list(files, EVENTS)?,
        })
    }

    /// Writes them to the folder, each in an order that does not depend on the server's.
    ///
    /// # Errors
    ///
    /// One cannot be written.
    pub fn write(mut self, files: &mut Files) -> Outcome {
        self.bundles.sort_by(|a, b| (&a.product, a.release).cmp(&(&b.product, b.release)));
        self.bundles.dedup();
        self.rollouts.sort_by(|a, b| a.id.cmp(&b.id));
        self.rollouts.iter_mut().for_each(|r| r.devices.sort_by(|a, b| a.id.cmp(&b.id)));
        self.devices.sort_by(|a, b| a.id.cmp(&b.id));
        self.devices.dedup();
        self.forks.sort();
        self.decisions.sort_by_key(|d| d.number);
        self.adoption.sort();
        self.letters.sort_by(|a, b| (&a.hdo, a.from, a.number).cmp(&(&b.hdo, b.from, b.number)));
        self.recorded.sort();
        self.events.sort_by_key(|event| event.number);
        put(files, BUNDLES, &self.bundles)?;
        put(files, ROLLOUTS, &self.rollouts)?;
        put(files, DEVICES, &self.devices)?;
        put(files, FORKS, &self.forks)?;
        put(files, DECISIONS, &self.decisions)?;
        put(files, ADOPTION, &self.adoption)?;
        put(files, LETTERS, &self.letters)?;
        put(files, RECORDED, &self.recorded)?;
        put(files, EVENTS, &self.events)
    }

    /// What it says of a bundle.
    pub fn bundle(&self, product: &ProductId, release: Release) -> Option<&Bundle> {
        self.bundles.iter().find(|b| b.product == *product && b.release == release)
    }

    /// What it says of a rollout.
    pub fn rollout(&self, id: &ApprovalId) -> Option<&Rollout> {
        self.rollouts.iter().find(|r| r.id == *id)
    }

    /// How far it says that a letter came.
    pub fn letter(&self, (hdo, from, number): (&HdoId, Side, u64)) -> Option<&Letter> {
        self.letters.iter().find(|l| (&l.hdo, l.from, l.number) == (hdo, from, number))
    }

    /// What it says of a device.
    pub fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.devices.iter().find(|d| d.id == *id)
    }
}

fn list<T: Serialize + DeserializeOwned>(files: &Reading<'_>, path: &str) -> Outcome<Vec<T>> {
    let Some(bytes) = files.get(path) else { return Ok(Vec::new()) };
    let refused = || Failure::untrusted(format!("{path}: it is not as it was written"));
    let read: Vec<T> = suture_core::json::from_slice(bytes).map_err(|e| refused().because(&e))?;
    if read.is_empty() || pretty(&read)? != *bytes { Err(refused()) } else { Ok(read) }
}

fn put<T: Serialize>(files: &mut Files, path: &str, rows: &[T]) -> Outcome {
    if !rows.is_empty() {
        files.insert(path.to_owned(), pretty(&rows)?);
    }
    Ok(())
}

/// An instant of the server's, to the second.
///
/// # Errors
///
/// It is none.
pub fn at(ms: i64) -> Outcome<Timestamp> {
    let at = Timestamp::from_millisecond(ms).map_err(|e| Failure::new("the server names no instant").because(&e))?;
    Ok(whole_second(at))
}

/// The same, where 0 says that there is none.
///
/// # Errors
///
/// It is none.
pub fn at_or_none(ms: i64) -> Outcome<Option<Timestamp>> {
    (ms != 0).then(|| at(ms)).transpose()
}

fn text(reason: Option<&v1::Reason>) -> Option<String> {
    suture_proto::parse_reason(reason).map(|reason| reason.to_string())
}

impl Rollout {
    /// What the server says.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of(rollout: v1::Rollout) -> Outcome<Self> {
        let member = |d: v1::RolloutDevice| -> Outcome<Member> {
            Ok(Member {
                id: suture_proto::parse("id", &d.id)?,
                reason: text(d.reason.as_ref()),
                standing: d.standing,
                forgiven: d.forgiven,
                barred: d.barred,
                tries: d.tries,
            })
        };
        Ok(Self {
            id: suture_proto::parse("id", &rollout.id)?,
            reason: text(rollout.reason.as_ref()),
            created: at(rollout.created_ms)?,
            devices: rollout.devices.into_iter().map(member).collect::<Outcome<_>>()?,
            state: rollout.state,
        })
    }
}

impl Device {
    /// What the server says.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of(device: &v1::Device) -> Outcome<Self> {
        let record = device.record.clone().unwrap_or_default();
        Ok(Self {
            id: suture_proto::parse("id", &record.id)?,
            serial: record.serial,
            udi: record.udi,
            state: device.state.clone(),
            last_seen: at_or_none(device.last_seen_ms)?,
        })
    }
}

impl Fork {
    /// What the server says.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of(fork: &v1::Fork) -> Outcome<Self> {
        let device = (!fork.device.is_empty()).then(|| suture_proto::parse("device", &fork.device)).transpose()?;
        Ok(Self {
            device,
            repository: fork.repository.clone(),
            version: fork.targets_version,
            first: at(fork.first_ms)?,
            healed: at_or_none(fork.healed_ms)?,
        })
    }
}
