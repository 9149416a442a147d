//! What the machine asks for, done. Each arm is one verb; each can be repeated with the effect of once.

mod damage;
mod fetch;
mod install;

use std::time::Duration;

use suture_core::phase::Reason;

use super::look::Situation;
use super::{Agent, AgentError, MAX_STEPS, chain};
use crate::config::{Settings, Signal};
use crate::fetch::Fetch;
use crate::install::{InstallError, Limits};
use crate::machine::{Action, Event, State};

pub(super) use damage::Damage;

/// What an action came to.
enum Done {
    /// The machine goes on.
    On(Event),
    /// The machine goes on, and then something must be waited for.
    Wait(Event),
    /// Nothing to tell: the action is repeated in the next cycle.
    Later,
}

impl Agent {
    /// Does one action after another until something must be waited for. Without a situation only what needs none is done.
    pub(super) async fn advance(&mut self, mut situation: Option<Situation>) -> Result<(), AgentError> {
        for _ in 0..MAX_STEPS {
            let Some(action) = self.journal.state().duty() else { break };
            if self.stop.is_cancelled() {
                break;
            }
            self.pulse.beat(longest(&self.settings, self.installer.limits()));
            let done = self.act(action, &mut situation).await?;
            // Where the interlock was asked first, nothing has changed yet.
            let is_to_come = matches!(done, Done::On(Event::Claimed) | Done::Wait(Event::Hindered(_)));
            if matches!(action, Action::Switch | Action::Restart | Action::Probe | Action::Revert) && !is_to_come {
                self.note_running().await;
            }
            match done {
                Done::On(event) => self.apply(event)?,
                Done::Wait(event) => {
                    self.apply(event)?;
                    break;
                }
                Done::Later => break,
            }
        }
        if let State::Idle { .. } = self.journal.state() {
            Fetch::discard_all(&self.settings.state_dir)?;
        }
        Ok(())
    }

    async fn act(&mut self, action: Action, situation: &mut Option<Situation>) -> Result<Done, AgentError> {
        match (action, situation) {
            (Action::Fetch, Some(situation)) => self.fetch(situation).await,
            (Action::Stage, Some(situation)) => self.stage(situation).await,
            (Action::Gate, Some(situation)) => self.gate(situation).await,
            (Action::Fetch | Action::Stage | Action::Gate, None) => Ok(Done::Later),
            (Action::Claim, _) => Ok(self.claim().await),
            (Action::Switch, _) => self.switch().await,
            (Action::Restart, _) => Ok(self.restart().await),
            (Action::Probe, _) => Ok(self.probe().await),
            (Action::Revert, _) => Ok(self.revert().await),
            (Action::Release, _) => self.release().await,
        }
    }
}

impl Done {
    /// A step of the installer's has failed. One that was left, as the agent is ending, is done again at its next start.
    fn broken(error: &InstallError) -> Self {
        match error {
            InstallError::Left(_) => Self::Later,
            error => Self::On(Event::Broken(Reason::from(error))),
        }
    }
}

/// How long an action may take by what it waits for. Accident: the watchdog ends an agent that waits for a program which the
/// device's maker lets take that long; the program goes on, and the next agent calls it again beside itself.
fn longest(settings: &Settings, limits: Limits) -> Duration {
    let Settings { restart, health, data, interlock, .. } = settings;
    let interlock = match interlock {
        Some(Signal::Program(command)) => command.timeout,
        Some(Signal::Socket { timeout, .. }) => *timeout,
        Some(Signal::LockFile(_)) | None => Duration::ZERO,
    };
    let data = data.as_ref().map_or(Duration::ZERO, |program| program.timeout);
    [restart.timeout, health.deadline, data, interlock]
        .into_iter()
        .fold(limits.step.saturating_mul(4), Duration::saturating_add)
}

/// Runs what keeps a disk busy beside the network. `None` where the runtime is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_action_may_wait_for_the_watchdog_waits_for_too() {
        let longest = |more: &str| {
            let toml = format!(
                "state_dir = \"/s\"\nslots_dir = \"/d\"\nproduct = \"pump\"\nhardware = \"rev-a\"\n\
                 [restart]\ncommand = [\"true\"]\ntimeout_secs = 1\n[health]\ncommand = [\"true\"]\n\
                 deadline_secs = 10\n{more}"
            );
            let settings = Settings::validate(toml::from_str(&toml).unwrap()).unwrap();
            longest(&settings, Limits { prepare: Duration::ZERO, step: Duration::from_secs(5) }).as_secs()
        };
        assert_eq!(longest(""), 31);
        assert_eq!(longest("[data]\ncommand = [\"/keep\"]\ntimeout_secs = 86400\n"), 31 + 86_400);
        assert_eq!(longest("[interlock]\ncommand = [\"/lock\"]\ntimeout_secs = 7200\n"), 31 + 7_200);
        assert_eq!(longest("[interlock]\nsocket = \"/run/lock\"\ntimeout_secs = 7200\n"), 31 + 7_200);
    }
}
