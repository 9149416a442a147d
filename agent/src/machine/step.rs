//! The transitions.

use jiff::Timestamp;
use suture_core::clock::whole_second;
use suture_core::phase::{Code, Phase, Reason};

use super::event::{Event, MachineError, Nothing, Step, Told};
use super::state::{After, Attempt, State, Subject, Trouble};

/// How often the agent may be started again while the new version is restarted or probed, or the old one put back: a version that takes the
/// whole device down with it must not be tried for ever. Each start counts by itself, before anything is asked: one that ends
/// before the installer has said what runs would count as none. What it says at the last one goes by all the same, and a start
/// after that asks no more.
const MAX_RESUMES: u32 = 3;
/// How often the way back is tried before a person is called.
const MAX_REVERTS: u32 = 3;
/// What a device says that waits for a person's check.
const CHECK: &str = "the new version is installed and has proven its health, and its manufacturer asks for a check before \
                     clinical use; clinical use stays blocked until a person has checked the device and says so: \
                     `suture-agent release --checked --reason TEXT` here, or `suturectl device release DEVICE` by those who \
                     approve; with --unfit where the check has failed, and the old version comes back";

/// One transition. `now` matters where the switch is decided: never outside the window.
pub fn step(state: State, event: Event, now: Timestamp) -> Result<Step, MachineError> {
    let refused = MachineError { state: state.name(), event: event.name() };
    Ok(match (state, event) {
        // Nothing on the device has changed; what is approved may change.
        (State::Idle { .. }, Event::Chosen(attempt)) => begin(attempt, Vec::new()),
        (State::Idle { about, phase, reason }, Event::Nothing(next)) => {
            // That its tries are used up is no news of an approval whose outcome is known.
            if next.reason.code == Code::AttemptsSpent && phase.is_outcome() && same_approval(&about, &next.about) {
                Step::to(State::Idle { about, phase, reason })
            } else {
                idle(Some((&about, phase, &reason)), next)
            }
        }
        (State::Idle { about, phase, reason }, Event::Hindered(t)) => {
            let next = Nothing { about: None, phase: Phase::Waiting, reason: t.reason, stop: None };
            idle(Some((&about, phase, &reason)), next)
        }
        (state @ (State::Fetching { .. } | State::Staging { .. } | State::Waiting { .. }), Event::Chosen(next)) => {
            match state.attempt() {
                // An order that was heard since counts as heard when the try ends.
                Some(old) if old.is_same(&next) => Step::to(state.heard(next.order)),
                Some(old) if old.approval != next.approval => {
                    let text = format!("approval {} took its place", next.approval);
                    let told = Told {
                        subject: Some(old.subject()),
                        phase: Phase::Superseded,
                        reason: Some(Reason::new(Code::Superseded, text)),
                        stop: None,
                        permanent: false,
                    };
                    begin(next, vec![told])
                }
                _ => begin(next, Vec::new()),
            }
        }
        (
            State::Fetching { attempt, .. } | State::Staging { attempt, .. } | State::Waiting { attempt, .. },
            Event::Nothing(next),
        ) if next.phase != Phase::Waiting => give_up(attempt, next),
        (State::Fetching { attempt, trouble }, Event::Nothing(Nothing { reason, .. })) => {
            hinder_fetch(attempt, trouble, Trouble::new(reason))
        }
        (State::Fetching { attempt, trouble }, Event::Hindered(t)) => hinder_fetch(attempt, trouble, t),
        (State::Staging { attempt, .. }, Event::Nothing(Nothing { reason, .. })) => {
            Step::to(State::Staging { attempt, trouble: Some(Trouble::new(reason)) })
        }
        (State::Staging { attempt, .. }, Event::Hindered(t)) => Step::to(State::Staging { attempt, trouble: Some(t) }),
        (State::Waiting { attempt, trouble }, Event::Nothing(Nothing { reason, .. })) => {
            wait(attempt, trouble, Trouble::new(reason))
        }
        (State::Waiting { attempt, trouble }, Event::Hindered(t)) => wait(attempt, trouble, t),
        (
            State::Fetching { attempt, .. } | State::Staging { attempt, .. } | State::Waiting { attempt, .. },
            Event::Unusable(reason),
        ) => {
            let next =
                Nothing { about: Some(attempt.subject()), phase: Phase::Failed, reason: reason.clone(), stop: None };
            let Step { state, .. } = give_up(attempt.clone(), next);
            Step::to(state).fail(&attempt, Phase::Failed, reason, true).spend(&attempt)
        }
        (State::Fetching { attempt, .. }, Event::Fetched) => Step::to(State::Staging { attempt, trouble: None }),
        (State::Staging { attempt, .. } | State::Waiting { attempt, .. }, Event::Damaged(reason)) => {
            let told = Some(reason.clone());
            let state = State::Fetching { attempt: attempt.clone(), trouble: Some(Trouble::new(reason)) };
            Step::to(state).tell(&attempt, Phase::Fetching, told)
        }
        (State::Staging { attempt, .. }, Event::Staged) => {
            Step::to(State::Waiting { attempt: attempt.clone(), trouble: None }).tell(&attempt, Phase::Staged, None)
        }
        (State::Waiting { attempt, trouble }, Event::Open(window)) => {
            if window.holds(now) {
                Step::to(State::Claiming { attempt, window, trouble })
            } else {
                wait(attempt, trouble, Trouble::new(too_late()))
            }
        }

        // The interlock: a claim that may have been made is released before anything else.
        (State::Claiming { attempt, trouble, .. }, Event::Hindered(t)) => wait(attempt, trouble, t),
        (State::Claiming { attempt, trouble, .. }, Event::Unclear(t)) => unclaim(attempt, trouble, t),
        // Accident: a disk that lost the newest record of the journal. The link was touched, so the claim was held, and is:
        // it finishes or reverts.
        (State::Claiming { attempt, .. }, Event::Resumed { switched: true }) => switched(attempt),
        (State::Claiming { attempt, trouble, .. }, Event::Resumed { switched: false }) => {
            let reason =
                Reason::new(Code::InterlockUnknown, "the agent was stopped, or could not write, while it claimed it");
            unclaim(attempt, trouble, Trouble::new(reason))
        }
        // What starts next cannot be said, nor whether the device is in use: it is neither taken back nor released but by a person.
        (State::Claiming { attempt, .. }, Event::Broken(reason)) => {
            Step::to(State::Held { attempt: None, reason: reason.clone() }).fail(&attempt, Phase::Held, reason, true)
        }
        // Rule 3, and Order on the device, 8: claimed, and still in the slot, or not at all.
        (State::Claiming { attempt, window, trouble }, Event::Claimed) => {
            if window.holds(now) {
                Step::to(State::Switching { attempt: attempt.clone(), window }).tell(&attempt, Phase::Installing, None)
            } else {
                unclaim(attempt, trouble, Trouble::new(too_late()))
            }
        }

        // Past the switch it finishes or reverts.
        (State::Switching { attempt, .. }, Event::Switched | Event::Resumed { switched: true }) => switched(attempt),
        // Attack: power that is cut, or a disk that fails, between claim and switch, and comes back after a stop order, or over a changed slot.
        // What was asked before the cut is asked again: signatures, bytes, window and interlock.
        (State::Switching { attempt, window }, Event::Resumed { switched: false }) => {
            let cut = "the agent was stopped, or could not write, between claim and switch; all is asked again before the switch";
            let trouble = match window.holds(now) {
                true => Trouble::new(Reason::new(Code::InterlockUnknown, cut)),
                false => Trouble::new(too_late()),
            };
            unclaim(attempt, None, trouble)
        }
        // A stop order that came between claim and switch.
        (State::Switching { attempt, .. }, Event::Hindered(t)) => unclaim(attempt, None, t),
        (State::Switching { attempt, .. }, Event::Broken(reason)) => revert(attempt.clone(), reason).spend(&attempt),
        (State::Restarting { attempt, .. }, Event::Restarted) => {
            Step::to(State::Confirming { attempt: attempt.clone(), resumes: 0 }).tell(&attempt, Phase::Confirming, None)
        }
        // Whoever boots the device may have put the old version back by itself. That it cannot be said is no such word.
        (State::Restarting { attempt, .. } | State::Confirming { attempt, .. }, Event::Resumed { switched: false }) => {
            let text = "the device came back with another version than the one that was to prove its health";
            revert(attempt, Reason::new(Code::HealthFailed, text))
        }
        // It waits to be restarted, and was not: a device that is switched off each evening has nothing against it.
        (state @ State::Restarting { trouble: Some(_), .. }, Event::Started) => Step::to(state),
        (State::Restarting { attempt, resumes, trouble }, Event::Started) if resumes <= MAX_RESUMES => {
            Step::to(State::Restarting { attempt, resumes: resumes.saturating_add(1), trouble })
        }
        (state @ State::Restarting { resumes, .. }, Event::Resumed { .. }) if resumes <= MAX_RESUMES => Step::to(state),
        (State::Restarting { attempt, .. }, Event::Started | Event::Resumed { .. }) => {
            let text = "the device was started again and again while the new version was being restarted";
            revert(attempt, Reason::new(Code::RestartFailed, text))
        }
        (State::Confirming { attempt, .. }, Event::Healthy) => {
            release(After::Confirmed(attempt.clone())).succeed(&attempt)
        }
        // Confirmed, and then held for a person's check. Gates count it from the first of the two.
        (State::Confirming { attempt, .. }, Event::Unchecked) => {
            let reason = Reason::new(Code::ReturnToService, CHECK);
            let state = State::Checking { attempt: attempt.clone(), since: whole_second(now), reason: reason.clone() };
            Step::to(state).succeed(&attempt).tell(&attempt, Phase::Held, Some(reason))
        }
        (State::Checking { attempt, .. }, Event::Checked(reason)) => {
            release(After::Checked(attempt.clone())).tell(&attempt, Phase::Confirmed, Some(reason))
        }
        // Rule 5: the old version lies there whole until the device is back with its patients.
        (State::Checking { attempt, .. }, Event::Unfit(reason)) => revert(attempt, reason),
        (State::Confirming { attempt, resumes }, Event::Started) if resumes <= MAX_RESUMES => {
            Step::to(State::Confirming { attempt, resumes: resumes.saturating_add(1) })
        }
        (State::Confirming { attempt, resumes }, Event::Resumed { .. }) if resumes <= MAX_RESUMES => {
            Step::to(State::Confirming { attempt, resumes })
        }
        (State::Confirming { attempt, .. }, Event::Started | Event::Resumed { .. }) => {
            let text = "the device was started again and again before the new version had proven its health";
            revert(attempt, Reason::new(Code::HealthFailed, text))
        }
        (State::Restarting { attempt, .. } | State::Confirming { attempt, .. }, Event::Broken(reason)) => {
            revert(attempt, reason)
        }
        // Rule 3: never while in use. After a start of the agent, or a word from afar, the interlock is asked once more
        // before anything goes down; until it is held again all stays as it is.
        (State::Restarting { attempt, resumes, trouble }, Event::Hindered(t)) => {
            let told = news(trouble.as_ref(), &t);
            let step = Step::to(State::Restarting { attempt: attempt.clone(), resumes, trouble: Some(t) });
            told.into_iter().fold(step, |step, reason| step.tell(&attempt, Phase::Restarting, Some(reason)))
        }
        (State::Restarting { attempt, resumes, .. }, Event::Claimed) => {
            Step::to(State::Restarting { attempt, resumes, trouble: None })
        }
        (State::Reverting { attempt, reason, failures, starts, restarted, trouble }, Event::Hindered(t)) => {
            let told = news(trouble.as_ref(), &t);
            let (of, trouble) = (attempt.clone(), Some(t));
            let step = Step::to(State::Reverting { attempt, reason, failures, starts, restarted, trouble });
            told.into_iter().fold(step, |step, reason| step.tell(&of, Phase::Confirming, Some(reason)))
        }
        (State::Reverting { attempt, reason, failures, starts, restarted, .. }, Event::Claimed) => {
            Step::to(State::Reverting { attempt, reason, failures, starts, restarted, trouble: None })
        }
        // Rule 4: it proves that it is well, like the new one. Accident: a fault of the device's own, which takes it down whichever
        // version runs.
        (State::Reverting { attempt, reason, failures, starts, .. }, Event::Restarted) => {
            Step::to(State::Reverting { attempt, reason, failures, starts, restarted: true, trouble: None })
        }
        // It waits to be put back.
        (state @ State::Reverting { trouble: Some(_), .. }, Event::Started) => Step::to(state),
        // Accident: a way back that takes the device down each time, before or after it says that it was restarted.
        (State::Reverting { attempt, reason, failures, starts, restarted, trouble }, Event::Started)
            if starts < MAX_RESUMES =>
        {
            let starts = starts.saturating_add(1);
            Step::to(State::Reverting { attempt, reason, failures, starts, restarted, trouble })
        }
        (State::Reverting { attempt, .. }, Event::Started) => {
            let text =
                "the device was started again and again before the old version was back and had proven its health";
            let reason = Reason::new(Code::HealthFailed, text);
            let state = State::Held { attempt: Some(attempt.clone()), reason: reason.clone() };
            Step::to(state).fail(&attempt, Phase::Held, reason, true)
        }
        (State::Reverting { attempt, reason, .. }, Event::Reverted) => {
            release(After::FellBack(attempt.clone(), reason.clone())).fail(&attempt, Phase::FellBack, reason, false)
        }
        (State::Reverting { attempt, reason, failures, starts, .. }, Event::Broken(_)) if failures < MAX_REVERTS => {
            let failures = failures.saturating_add(1);
            Step::to(State::Reverting { attempt, reason, failures, starts, restarted: false, trouble: None })
        }
        (State::Reverting { attempt, .. }, Event::Broken(reason)) => {
            // A person has to come for it: it is not tried again by the same approval.
            let state = State::Held { attempt: Some(attempt.clone()), reason: reason.clone() };
            Step::to(state).fail(&attempt, Phase::Held, reason, true)
        }
        (State::Releasing { after, .. }, Event::Released) => released(after),
        (State::Releasing { after, .. }, Event::Hindered(t)) => Step::to(State::Releasing { after, trouble: Some(t) }),

        (State::Held { attempt: Some(attempt), reason }, Event::Resumed { .. }) => revert(attempt, reason),
        // The attempt is over by that, and the hospital counts it among the failures; what runs stands in the report.
        (State::Held { attempt: Some(attempt), reason }, Event::Recovered) => {
            let text = format!("a person has put the device in order, after {reason}");
            let told = Reason::new(reason.code, text);
            release(After::Recovered(reason)).fail(&attempt, Phase::FellBack, told, true)
        }
        (State::Held { attempt: None, reason }, Event::Recovered) => release(After::Recovered(reason)),

        // Enter the state again and repeat what is to be done in it.
        (
            state @ (State::Idle { .. }
            | State::Fetching { .. }
            | State::Staging { .. }
            | State::Waiting { .. }
            | State::Reverting { .. }
            | State::Releasing { .. }
            | State::Checking { .. }
            | State::Held { attempt: None, .. }),
            Event::Resumed { .. },
        ) => Step::to(state),
        _ => return Err(refused),
    })
}

fn begin(attempt: Attempt, told: Vec<Told>) -> Step {
    let mut step = Step::to(State::Fetching { attempt: attempt.clone(), trouble: None });
    step.told = told;
    step.tell(&attempt, Phase::Offered, None).tell(&attempt, Phase::Fetching, None)
}

/// A rest, told where it is news: another approval, another outcome, another hindrance.
fn idle(before: Option<(&Option<Subject>, Phase, &Reason)>, next: Nothing) -> Step {
    let news = before.is_none_or(|(about, phase, reason)| {
        (about, phase, reason.code) != (&next.about, next.phase, next.reason.code)
    });
    let mut step = Step::to(State::Idle { about: next.about.clone(), phase: next.phase, reason: next.reason.clone() });
    if news && next.phase != Phase::Idle {
        let Nothing { about, phase, reason, stop } = next;
        step.told.push(Told { subject: about, phase, reason: Some(reason), stop, permanent: false });
    }
    step
}

fn same_approval(a: &Option<Subject>, b: &Option<Subject>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a.approval == b.approval)
}

fn give_up(attempt: Attempt, next: Nothing) -> Step {
    // An approval that is no longer there, or no longer needed, was superseded by whatever the hospital signed since.
    let phase = if next.phase.is_outcome() { next.phase } else { Phase::Superseded };
    idle(None, Nothing { about: Some(attempt.subject()), phase, ..next })
}

/// What is to be told of an obstacle: nothing where it stood there before.
fn news(before: Option<&Trouble>, t: &Trouble) -> Option<Reason> {
    before.is_none_or(|before| before.reason.code != t.reason.code).then(|| t.reason.clone())
}

fn hinder_fetch(attempt: Attempt, before: Option<Trouble>, t: Trouble) -> Step {
    let news = before.is_none_or(|b| b.reason.code != t.reason.code);
    let reason = t.reason.clone();
    let step = Step::to(State::Fetching { attempt: attempt.clone(), trouble: Some(t) });
    if news { step.tell(&attempt, Phase::Fetching, Some(reason)) } else { step }
}

fn wait(attempt: Attempt, before: Option<Trouble>, t: Trouble) -> Step {
    let news = before.is_none_or(|b| b.reason.code != t.reason.code);
    let reason = t.reason.clone();
    let step = Step::to(State::Waiting { attempt: attempt.clone(), trouble: Some(t) });
    if news { step.tell(&attempt, Phase::Waiting, Some(reason)) } else { step }
}

/// Back to waiting, by way of releasing what may have been claimed.
fn unclaim(attempt: Attempt, before: Option<Trouble>, t: Trouble) -> Step {
    let Step { told, .. } = wait(attempt.clone(), before, t.clone());
    Step { told, ..release(After::Wait(attempt, t)) }
}

fn switched(attempt: Attempt) -> Step {
    Step::to(State::Restarting { attempt: attempt.clone(), resumes: 0, trouble: None })
        .tell(&attempt, Phase::Restarting, None)
        .spend(&attempt)
}

fn revert(attempt: Attempt, reason: Reason) -> Step {
    Step::to(State::Reverting { attempt, reason, failures: 0, starts: 0, restarted: false, trouble: None })
}

fn release(after: After) -> Step {
    Step::to(State::Releasing { after, trouble: None })
}

/// All of it was told already, when it became known.
fn released(after: After) -> Step {
    match after {
        After::Confirmed(attempt) | After::Checked(attempt) => Step::to(State::Idle {
            about: Some(attempt.subject()),
            phase: Phase::Confirmed,
            reason: Reason::new(Code::UpToDate, "what was approved is installed and has proven its health"),
        }),
        After::FellBack(attempt, reason) => {
            Step::to(State::Idle { about: Some(attempt.subject()), phase: Phase::FellBack, reason })
        }
        After::Wait(attempt, trouble) => Step::to(State::Waiting { attempt, trouble: Some(trouble) }),
        After::Recovered(reason) => Step::to(State::Idle { about: None, phase: Phase::Idle, reason }),
    }
}

/// What is said once a switch would come after its window.
pub fn too_late() -> Reason {
    Reason::new(Code::SlotTooShort, "what is left of the slot cannot hold the install and the way back")
}
