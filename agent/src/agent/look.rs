//! What both sides have signed, and what follows from it for this device.

use jiff::Timestamp;
use suture_core::approval::Share;
use suture_core::clock::format_utc;
use suture_core::phase::{Code, Reason};
use suture_core::retry::Policy;
use suture_core::select::{Choice, Facts, Selection, select};
use suture_core::trust::Repository;

use super::answer::answers;
use super::{Agent, AgentError, chain};
use crate::choice;
use crate::config::Settings;
use crate::documents::{Documents, documents};
use crate::floor::Floors;
use crate::machine::{Attempt, Event, Nothing, Trouble};
use crate::news::{Holdings, Tidings};
use crate::trust_store::{RefreshError, TrustStore};

/// What is to be installed, and what that was read from.
pub(super) struct Situation {
    pub(super) choice: Choice,
    pub(super) attempt: Attempt,
    pub(super) catalog: Repository,
    /// Nothing that takes its time has been done since.
    pub(super) is_fresh: bool,
}

/// What a look came to.
pub(super) enum Look {
    Chosen(Box<Situation>),
    Nothing(Nothing),
    Hindered(Trouble),
}

impl Look {
    pub(super) fn into_event(self) -> (Event, Option<Situation>) {
        match self {
            Self::Chosen(situation) => (Event::Chosen(situation.attempt.clone()), Some(*situation)),
            Self::Nothing(nothing) => (Event::Nothing(nothing), None),
            Self::Hindered(trouble) => (Event::Hindered(trouble), None),
        }
    }

    fn hindered(code: Code, text: impl Into<String>) -> Self {
        Self::Hindered(Trouble::new(Reason::new(code, text)))
    }
}

/// Reads the floors, or says why nothing may be begun.
pub(super) fn floors(settings: &Settings) -> Result<Floors, Reason> {
    let mut floors = Floors::open(&settings.state_dir, &settings.slots_dir).map_err(|e| {
        let text = format!(
            "neither copy of what this device's releases may not sink below can be read ({}); look at the disk; nothing is \
             begun until a person has removed both, floor.json in the state directory and .suture-floor.json beside the slots",
            chain(&e)
        );
        Reason::new(Code::StateDamaged, text)
    })?;
    // A full disk keeps nobody from reading them.
    if let Err(e) = floors.mend() {
        tracing::warn!(error = %chain(&e), "a copy of the floors is damaged and cannot be mended yet");
    }
    Ok(floors)
}

impl Agent {
    /// Order on the device, 1 to 5. The first that fails is the reason; none of it is a failure of the agent.
    pub(super) async fn look(&mut self) -> Result<Look, AgentError> {
        // What a person has handed over, first of all: a stop order on a device that can do nothing else is kept too.
        self.stops.begin_hearing();
        self.take_in().await;
        // 1: `now` fixed once.
        let now = self.now();
        let floors = match &mut self.floors {
            Ok(floors) => floors,
            Err(reason) => return Ok(Look::Hindered(Trouble::new(reason.clone()))),
        };
        if let Some(late) = behind(floors, now) {
            return Ok(late);
        }
        let running = match self.running.clone() {
            Ok(Some(running)) => running,
            Ok(None) => {
                let text = "this device was never provisioned with a version; run `suture-agent provision`";
                return Ok(Look::hindered(Code::StateDamaged, text));
            }
            Err(reason) => return Ok(Look::Hindered(Trouble::new(reason))),
        };
        if !self.outbox.has_room() {
            return Ok(Look::hindered(Code::DiskFull, "too many reports wait for the server; nothing is begun"));
        }

        // 2: refresh both, in full. Any refusal: nothing is begun.
        let refreshed = self.refresh(now).await;
        let judge = refreshed.1.as_ref().ok();
        self.heed_heard(judge);
        // What waited for a root is judged by the one that came with the refresh.
        self.heed_inbox(judge);
        let (mut catalog, approvals) = match refreshed {
            (Ok(catalog), Ok(approvals)) => (catalog, approvals),
            (Err(e), _) | (_, Err(e)) => return Ok(Look::Hindered(Trouble::new(e.reason()))),
        };
        self.seen = (Some(catalog.seen()), Some(approvals.seen()));
        let Ok(floors) = &mut self.floors else {
            return Ok(Look::hindered(Code::StateDamaged, "the device's floors are lost"));
        };
        floors.raise(floors.release(), catalog.signed_at().max(approvals.signed_at()))?;
        self.tls_clock.raise(floors.time());
        // Attack: a clock that was set back into an old slot. What has just been read may be the first to prove it.
        if let Some(late) = behind(floors, now) {
            return Ok(late);
        }
        let (floor, proven) = (floors.release(), floors.time());
        self.heed_service(&approvals).await;

        // 3: stop orders and approvals.
        let device = self.identity.device();
        let listed = documents(&self.approvals, &mut self.client, &approvals, device).await;
        let Documents { approvals: signed, stops: listed, kept } = match listed {
            Ok(documents) => documents,
            Err(reason) => return Ok(Look::Hindered(Trouble::new(reason))),
        };
        for stop in &listed {
            self.keep(stop, Some(&approvals));
        }
        let ends = signed.iter().map(|a| (&a.terms.id, a.terms.expires));
        if let Err(e) = self
            .approvals
            .keep_only(&kept)
            .map_err(AgentError::from)
            .and_then(|()| Ok(self.stops.tidy(ends, proven)?))
        {
            tracing::warn!(error = %chain(&e), "old documents or orders cannot be removed");
        }
        let stops = self.stops.orders();
        // By a clock that the refresh has found to be none of long ago and none of far ahead.
        self.journal.bound_waits(now)?;
        self.journal.lifted(stops.iter().filter(|s| !s.stopped).map(|s| (s.approval.clone(), s.weight())))?;

        // What runs is proven here: an attempt that is not would have gone before.
        let own = |share: &&Share| share.mine.as_ref().is_some_and(|mine| mine.id == self.identity.device().device);
        let mine = signed.iter().filter(own).map(|share| &share.terms);
        let reached =
            mine.filter_map(|terms| Some((terms, terms.steps.last().filter(|s| s.sha256 == running.manifest)?)));
        self.journal.fulfilled(reached.map(|(terms, step)| (terms.id.clone(), step.sha256, Policy::of(terms))))?;

        // 4: what the catalog lists through others.
        let paths = signed.iter().flat_map(|a| &a.terms.steps).map(|step| step.path.as_str()).collect();
        let unfound = self.catalog.find(&mut self.client, &mut catalog, paths, now).await.unfound;

        // 3 to 5: the choice.
        let device = self.identity.device();
        let facts = Facts {
            hdo: device.hdo.clone(),
            device: device.device.clone(),
            product: self.settings.product.clone(),
            hardware: self.settings.hardware.clone(),
            running: Some(running),
            floor,
            tries: self.journal.tried().map(|t| ((t.approval.clone(), t.manifest), t.tries.clone())).collect(),
        };
        self.answers = answers(&facts, &catalog, &signed, &stops, now);
        Ok(match select(&facts, &catalog, &signed, &stops, now) {
            // Whoever should have listed it could not be asked, so that it is not listed is unproven.
            Selection::Nothing { reason, approval: Some(id) }
                if reason.code == Code::NotInCatalog && !unfound.is_empty() =>
            {
                let mut steps = signed.iter().filter(|a| a.terms.id == id).flat_map(|a| &a.terms.steps);
                Look::Hindered(Trouble::new(steps.find_map(|s| unfound.get(&s.path)).cloned().unwrap_or(reason)))
            }
            Selection::Nothing { reason, approval } => {
                let share = signed.iter().find(|share| approval.as_ref() == Some(&share.terms.id));
                let step = share.and_then(|share| Some((share, choice::step_of(&facts, &catalog, share)?)));
                let spent = step.map_or(0, |(share, step)| self.journal.spent(&share.terms.id, &step.sha256));
                let stop = approval.as_ref().and_then(|id| self.stops.counter(id));
                Look::Nothing(choice::nothing(reason, approval, &signed, spent, stop))
            }
            Selection::Chosen(choice) if self.stops.trouble(&choice.approval).is_some() => {
                let reason = self.stops.trouble(&choice.approval);
                Look::Hindered(Trouble::new(
                    reason.unwrap_or_else(|| Reason::new(Code::StateDamaged, "a stop order is lost")),
                ))
            }
            Selection::Chosen(choice) => {
                let order = self.stops.weight(&choice.approval).unwrap_or(0);
                let attempt = choice::attempt(&choice, &self.identity.device().device, order);
                Look::Chosen(Box::new(Situation { choice: *choice, attempt, catalog, is_fresh: true }))
            }
        })
    }

    /// Both repositories, by what the last check-in brought or one call of its own. A server that cannot be reached, or says
    /// nothing that can be used, leaves what is on disk in force, as long as that has not expired.
    pub(super) async fn refresh(
        &mut self,
        now: Timestamp,
    ) -> (Result<Repository, RefreshError>, Result<Repository, RefreshError>) {
        let (catalog, approvals) = self.refresh_both(now).await;
        // Whatever it sends in the place of what has expired, and be it nothing that can be read.
        self.ways.stale(approvals.is_err() && self.approvals.offline(now).is_err());
        (catalog, approvals)
    }

    async fn refresh_both(
        &mut self,
        now: Timestamp,
    ) -> (Result<Repository, RefreshError>, Result<Repository, RefreshError>) {
        let tidings = match self.tidings.take() {
            Some(tidings) => Ok(tidings),
            None => self.client.refresh(&self.holdings()).await,
        };
        let Tidings { catalog, approvals, stops, clearance: _ } = match tidings {
            Ok(tidings) => tidings,
            Err(e) if e.is_abuse() => {
                let refused = |store: &TrustStore, e| Err(RefreshError::Unreachable(store.name(), e));
                return (refused(&self.catalog, e), self.approvals.offline(now));
            }
            Err(e) => {
                tracing::info!(error = %chain(&e), "both repositories are taken from disk");
                return (self.catalog.without(&e, now), self.approvals.without(&e, now));
            }
        };
        self.heard_stops = stops;
        let of = |store: &TrustStore, result| match result {
            Err(RefreshError::Unreachable(name, e)) if !e.is_abuse() => {
                tracing::info!(error = %chain(&e), "{name} are taken from disk");
                store.without(&e, now)
            }
            other => other,
        };
        let catalog = self.catalog.refresh(&mut self.client, catalog, now).await;
        let approvals = self.approvals.refresh(&mut self.client, approvals, now).await;
        (of(&self.catalog, catalog), of(&self.approvals, approvals))
    }

    /// What is held of both, for the server; of a store that cannot be read nothing, which the refresh then tells.
    pub(super) fn holdings(&self) -> Holdings {
        let held = |store: &TrustStore| store.held().unwrap_or_default();
        Holdings { catalog: held(&self.catalog), approvals: held(&self.approvals) }
    }
}

/// Why nothing is begun, where the clock is behind what signatures prove.
fn behind(floors: &Floors, now: Timestamp) -> Option<Look> {
    let text = format!(
        "the device's clock says {}, but signatures prove that it is {} at least; set the clock",
        format_utc(now),
        format_utc(floors.time())
    );
    (now < floors.time()).then(|| Look::hindered(Code::ClockUnproven, text))
}
