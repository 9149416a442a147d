//! Whether a staged version may be switched to, as the agent asks: after a new look, by its own pure gate, with a lease where
//! one is needed.

use jiff::SignedDuration;
use suture_agent::gate::{self, Question, Word};
use suture_agent::machine::{Event, Window};
use suture_core::lease::Stage;
use suture_core::select::Choice;

use super::effect::Effect;
use crate::sabotage::Sabotage;
use crate::simulation::{Outcome, Simulation};

impl Simulation {
    /// Asks whether the slot is open: after a new look, where the last one is old.
    pub(super) fn gate(&mut self, i: usize) -> Outcome {
        let fresh = self.devices[i].situation.as_ref().is_some_and(|s| s.is_fresh);
        if !fresh {
            let old = self.devices[i].situation.take();
            self.hear(i);
            let event = self.look(i);
            let same = matches!((&event, &old), (Event::Chosen(a), Some(old)) if a.is_same(&old.attempt));
            if !same {
                self.apply(i, event)?;
                self.rest(i);
                return Ok(());
            }
        }
        let (d, now) = (&mut self.devices[i], self.now);
        let Some(situation) = &d.situation else { return Ok(()) };
        let word = match &d.words {
            None => Word::Unheard,
            Some(words) => {
                words.iter().find(|(id, _)| *id == situation.choice.approval).map_or(Word::Silent, |(_, w)| w.clone())
            }
        };
        let word = if self.sabotage == Sabotage::WordsAreIgnored { Word::Go } else { word };
        let install = self.versions.iter().find(|v| v.step.path == situation.choice.step.path).map(|v| &v.install);
        let Some(install) = install else { return Ok(()) };
        let unsigned = situation.choice.unsigned.as_ref().filter(|_| self.sabotage != Sabotage::SignaturesAreIgnored);
        let (own, hasty) = (d.own(now), self.sabotage == Sabotage::WaitsAreForgotten);
        let question = Question {
            held: None,
            slots: &situation.choice.slots,
            install,
            unsigned,
            retry: situation.choice.tries.waits(situation.choice.policy, own).filter(|_| !hasty),
            needs_server: situation.choice.needs_server,
            word,
        };
        let asked = match self.sabotage {
            Sabotage::SlotsAreIgnored => Ok(Window { start: own, latest: own + SignedDuration::from_hours(1) }),
            Sabotage::WayBackIsForgotten => gate::ask(&question, own).map(|window| {
                let more = i64::from(install.budget_secs) + i64::from(install.revert_budget_secs);
                Window { latest: window.latest + SignedDuration::from_secs(more), ..window }
            }),
            _ => gate::ask(&question, own),
        };
        match asked {
            Ok(window) => {
                let Choice { approval, needs_lease, .. } = &situation.choice;
                let (approval, needs_lease) = (approval.clone(), *needs_lease);
                if needs_lease && let Some(trouble) = self.take_lease(i, &approval, Stage::Wanted) {
                    self.apply(i, Event::Hindered(trouble))?;
                    self.rest(i);
                    return Ok(());
                }
                let d = &mut self.devices[i];
                let lasts = d.chance.secs(0, 90);
                self.begin(i, Effect::Hash(window), lasts);
            }
            Err(trouble) => {
                self.apply(i, Event::Hindered(trouble))?;
                self.rest(i);
            }
        }
        Ok(())
    }
}
