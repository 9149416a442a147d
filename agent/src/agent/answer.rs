//! The device's word that it obeys, for every stop order that holds something back here.
//!
//! The machine tells of the one approval that it is at, which need not be the one that was stopped. A hospital counts on an
//! answer all the same: until it has one, the device is among those that could still begin. An answer names the order by its
//! counter, so that the answer to one is none to another that was signed later.

use jiff::Timestamp;
use suture_core::approval::{Share, VerifiedStop};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::select::{Catalog, Facts, Selection, select};

use super::{Agent, AgentError};
use crate::machine::{Event, Nothing, Subject, Told};

impl Agent {
    /// Tells of the orders and lifts that the machine has not told of.
    pub(super) fn answer(&mut self) -> Result<(), AgentError> {
        self.journal.answer(std::mem::take(&mut self.answers))?;
        self.tell()
    }

    /// An attempt whose approval is stopped ends by that, also where another approval is chosen in the same look: it was not
    /// superseded.
    pub(super) fn give_up_what_is_stopped(&mut self, event: &Event) -> Result<(), AgentError> {
        let (Event::Chosen(next), state) = (event, self.journal.state()) else { return Ok(()) };
        let Some(attempt) = state.attempt().filter(|a| a.approval != next.approval && !state.is_committed()) else {
            return Ok(());
        };
        if self.stops.is_stopped(&attempt.approval) {
            let about = attempt.subject();
            let reason = stopped(&about);
            let stop = self.stops.counter(&attempt.approval);
            let event = Event::Nothing(Nothing { about: Some(about), phase: Phase::Stopped, reason, stop });
            self.journal.apply(event, self.around.clock.now())?;
            self.tell()?;
        }
        Ok(())
    }
}

/// What there is to say of each approval by which this device could begin: that it is stopped, or that it is offered. What
/// it cannot begin any more, stopped or not, needs no answer.
pub(super) fn answers(
    facts: &Facts,
    catalog: &impl Catalog,
    approvals: &[Share],
    stops: &[VerifiedStop],
    now: Timestamp,
) -> Vec<Told> {
    use Code::{AttemptsSpent, NotForThisDevice, SlotsOver, UpToDate, WrongHospital};
    let could_begin = |share: &&Share| match select(facts, catalog, std::slice::from_ref(*share), &[], now) {
        Selection::Chosen(_) => true,
        Selection::Nothing { reason, .. } => {
            ![AttemptsSpent, NotForThisDevice, SlotsOver, UpToDate, WrongHospital].contains(&reason.code)
        }
    };
    let answer = |Share { terms, .. }: &Share| {
        let manifest = terms.steps.first().map(|s| s.sha256);
        let about = Subject { approval: terms.id.clone(), manifest };
        match VerifiedStop::in_force(stops, &terms.id) {
            Some(stop) => {
                let reason = Some(stopped(&about));
                Told { subject: Some(about), phase: Phase::Stopped, reason, stop: Some(stop.counter), permanent: false }
            }
            None => Told { subject: Some(about), phase: Phase::Offered, reason: None, stop: None, permanent: false },
        }
    };
    approvals.iter().filter(could_begin).map(answer).collect()
}

fn stopped(about: &Subject) -> Reason {
    Reason::new(Code::StopOrder, format!("the hospital has stopped approval {}", about.approval))
}
