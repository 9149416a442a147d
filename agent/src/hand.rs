//! What a person at the device hands over: `suture-agent stop FILE` and `suture-agent import DIR`, through the local face or
//! without one.
//!
//! Both verify first, by what the device holds, and say what they found; what verifies is left in the [`crate::inbox`], and
//! the running agent takes it from there at once. Without a running agent it waits for the next start.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use suture_core::approval::{StopError, VerifiedStop};
use suture_core::limits::MAX_STOP_BYTES;

use crate::agent;
use crate::client::{ClientError, Which};
use crate::config::Settings;
use crate::durable::DurableError;
use crate::floor::Floors;
use crate::identity::{Identity, IdentityError};
use crate::import::{self, ImportError};
use crate::inbox::{self, InboxError};
use crate::stick::Stick;
use crate::stops::Stops;
use crate::trust_store::{RefreshError, TrustStore};

/// What was found, and whether the device knew it.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The orders that verify.
    pub orders: Vec<Order>,
    /// What does not, and why.
    pub refused: Vec<String>,
    /// Of a stick: the versions of both repositories' targets that it brings.
    pub targets: Option<Targets>,
    /// Whether anything of it is news to the device; where nothing is, nothing was handed over.
    pub news: bool,
    /// Whether an agent runs, which takes it at once; otherwise its next start does.
    pub agent_runs: bool,
}

/// An order.
#[derive(Debug, Clone, Serialize)]
pub struct Order {
    /// The approval.
    pub approval: String,
    /// Stopped, or lifted again.
    pub stopped: bool,
    /// Its counter.
    pub counter: u64,
    /// Whether the device did not know it, nor a newer one.
    pub news: bool,
    #[serde(skip)]
    text: String,
    /// The lift that the device holds to instead of it.
    #[serde(skip)]
    undone_by: Option<String>,
}

/// Versions that a stick brings.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Targets {
    /// Of the manufacturer's catalog.
    pub catalog: u64,
    /// Of the hospital's approvals.
    pub approvals: u64,
    /// Whether one of them, or a signature over their freshness, is newer than what the device held.
    pub news: bool,
}

/// Why nothing, or not everything, was handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// The device has no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] ClientError),
    /// The device's own disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The device's own root.
    #[error(transparent)]
    Root(#[from] RefreshError),
    /// The order is refused.
    #[error("the order is refused ({code})", code = .0.code())]
    Order(#[from] StopError),
    /// The stick is refused or cannot be read.
    #[error(transparent)]
    Import(ImportError),
    /// The stick is refused; its stop orders were handed over all the same.
    #[error("{orders} was handed over to the agent, the rest of the stick was not")]
    Rest {
        /// The orders.
        orders: String,
        /// Why not.
        source: ImportError,
    },
    /// It could not be handed over.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

impl HandError {
    /// Whether what was brought is refused, and not the device that failed.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Order(_) => true,
            Self::Import(e) | Self::Rest { source: e, .. } => e.is_refusal(),
            _ => false,
        }
    }
}

/// Verifies a stop order or lift and leaves it for the agent, where it is news.
///
/// # Errors
///
/// It is refused, or the disk failed.
pub fn stop(settings: &Settings, bytes: &[u8]) -> Result<Found, HandError> {
    let state_dir = &settings.state_dir;
    let identity = Identity::open(state_dir)?;
    let device = identity.device();
    let approvals = TrustStore::open(state_dir, Which::Approvals, device.approvals_root_sha256)?;
    let root = approvals.root()?.ok_or(HandError::Import(ImportError::NoRoot))?;
    let stop = VerifiedStop::verify(&root, &device.hdo, bytes)?;
    let orders = compared(state_dir, &[stop])?;
    let news = orders.iter().any(|o| o.news);
    if news {
        inbox::put_stop(state_dir, bytes)?;
    }
    let agent_runs = agent::lock(settings).is_err();
    Ok(Found { orders, refused: Vec::new(), targets: None, news, agent_runs })
}

/// Verifies a stick and leaves it for the agent, where it is news. Its stop orders count where the rest is refused, too.
///
/// # Errors
///
/// It is refused, or the disk failed.
pub async fn import(settings: &Settings, stick: Stick, now: Timestamp) -> Result<Found, HandError> {
    let state_dir = &settings.state_dir;
    let identity = Identity::open(state_dir)?;
    // Attack: a clock set back, so that a stale stick looks fresh.
    let proven = Floors::open(state_dir, &settings.slots_dir).map_or(Timestamp::UNIX_EPOCH, |f| f.time());
    let examined = import::examine(state_dir, identity.device(), stick, now.max(proven)).await;
    let examined = examined.map_err(HandError::Import)?;
    let orders = compared(state_dir, &examined.stops)?;
    let news = orders.iter().any(|o| o.news);
    match &examined.outcome {
        Ok(done) if !news && !done.news => {}
        Err(_) if !news => {}
        _ => examined.hand_over(state_dir)?,
    }
    let mut refused: Vec<_> = examined.refused.iter().map(|(name, e)| format!("{name}: {}", agent::chain(e))).collect();
    match examined.outcome {
        Ok(done) => {
            refused.extend(done.unfound);
            let (catalog, approvals) = (done.catalog.targets, done.approvals.targets);
            let targets = Some(Targets { catalog, approvals, news: done.news });
            let agent_runs = agent::lock(settings).is_err();
            Ok(Found { orders, refused, targets, news: news || done.news, agent_runs })
        }
        Err(source) if news => {
            let orders: Vec<_> = orders.iter().filter(|o| o.news).map(|o| o.text.as_str()).collect();
            Err(HandError::Rest { orders: orders.join(" and "), source })
        }
        Err(e) => Err(HandError::Import(e)),
    }
}

impl Order {
    fn to_text(&self) -> String {
        let Self { text, news, undone_by, .. } = self;
        match undone_by {
            Some(lift) => format!(
                "NOT OBEYED: {text}; the device holds to the {lift}. Where it is to stop all the same, sign a stop anew"
            ),
            None if *news => text.clone(),
            None => format!("{text}; the device knows it, or a newer one"),
        }
    }
}

impl Found {
    /// For people.
    pub fn text(&self) -> String {
        let mut lines: Vec<_> = self.orders.iter().map(Order::to_text).collect();
        lines.extend(self.refused.iter().map(|r| format!("refused: {r}")));
        if let Some(Targets { catalog, approvals, news }) = self.targets {
            let newer = if news { "newer than the device's" } else { "as the device has them" };
            lines.push(format!("catalog version {catalog}, approvals version {approvals}: verified, {newer}"));
        }
        lines.push(match (self.news, self.agent_runs) {
            (false, _) => "nothing of it is news to this device".to_owned(),
            (true, true) => "handed over to the running agent, which obeys it from now on".to_owned(),
            (true, false) => "no agent runs here; the next one obeys it before anything else".to_owned(),
        });
        lines.push(String::new());
        lines.join("\n")
    }
}

/// An order's file: a regular one, by the same rules as those of a stick.
///
/// # Errors
///
/// It is not there, none, too long, or cannot be read.
pub fn read(file: &Path) -> Result<Vec<u8>, HandError> {
    let none =
        || ClientError::Unread { place: file.display().to_string(), text: "there is no such file here".to_owned() };
    let name = file.file_name().and_then(|n| n.to_str()).ok_or_else(none)?;
    let parent = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(Stick::open(parent)?.file(name, MAX_STOP_BYTES)?.ok_or_else(none)?)
}

fn compared(state_dir: &Path, stops: &[VerifiedStop]) -> Result<Vec<Order>, DurableError> {
    let known = Stops::known(state_dir)?;
    let order = |stop: &VerifiedStop| {
        let known = known.iter().find(|k| k.approval == stop.approval);
        // Whether somebody stands for a lift still, the agent finds out.
        let news = known.is_none_or(|k| stop.is_news_after(k) || stop.outlives(k, |_| false));
        let undone = known.filter(|k| !news && stop.stopped && !k.stopped);
        Order {
            approval: stop.approval.to_string(),
            stopped: stop.stopped,
            counter: stop.counter,
            news,
            text: stop.to_text(),
            undone_by: undone.map(|lift| lift.to_text()),
        }
    };
    Ok(stops.iter().map(order).collect())
}
