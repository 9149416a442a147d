//! What is asked for, done: by the agent that runs, or by `suture-agent` itself where none does.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use suture_core::clock::{format_utc, whole_second};
use suture_core::legible;
use suture_core::limits::MAX_TEXT_BYTES;
use suture_core::phase::{Code, Reason};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Who;
use super::errand::{Errand, Reply};
use super::wire::{Ask, Done, Refused, RefusedCode};
use crate::agent::{self, AgentError, chain, journal_path};
use crate::config::Settings;
use crate::durable::DurableError;
use crate::hand::{self, Found, HandError};
use crate::history::{self, Entry};
use crate::hold::Hold;
use crate::install::Installer;
use crate::interlock;
use crate::journal::Journal;
use crate::machine::{Event, State};
use crate::outbox::Outbox;
use crate::presence;
use crate::runs::{Found as Ran, Runs};
use crate::status::Status;
use crate::stick::Stick;
use crate::unwritten::Unwritten;

/// How long the loop may take to come to an errand: it may be at a call to a server that does not answer.
const ERRAND: Duration = Duration::from_secs(45);

/// Who moves the machine.
#[derive(Debug, Clone)]
pub enum Hands {
    /// The loop of the agent that runs, what it cannot write down, and what it found to run.
    Loop(mpsc::Sender<(Errand, Option<Reply>)>, Arc<Unwritten>, Arc<Runs>),
    /// Nobody runs: whoever asks, for a moment in its place.
    Own,
}

/// Does what is asked.
///
/// # Errors
///
/// It is refused, or the device failed.
pub async fn said(
    hands: &Hands,
    settings: &Settings,
    (ask, brought): (Ask, Option<OwnedFd>),
    who: &Who,
    now: Timestamp,
) -> Result<Done, Refused> {
    let on_the_spot =
        matches!(ask, Ask::Confirm | Ask::Recover { .. } | Ask::Unfit { .. } | Ask::Release { checked: true, .. });
    if let Some(program) = settings.presence.as_ref().filter(|_| on_the_spot) {
        presence::by(program).await.map_err(|text| Refused::new(RefusedCode::NotAllowed, text))?;
    }
    match ask {
        Ask::Release { reason, checked: true } => {
            let reason = plain(&reason)?;
            let text = format!("checked and returned to service at the device by {who}: {reason}");
            hands.run(settings, Errand::Checked(Reason::new(Code::Returned, text)), now).await?;
            note(settings, "checked", who, Some(reason), now);
            done("recorded; the device goes back to service\n".to_owned(), &json!({ "returned": true }))
        }
        Ask::Unfit { reason } => {
            let reason = plain(&reason)?;
            let text = format!("checked at the device by {who} and found unfit: {reason}");
            hands.run(settings, Errand::Unfit(Reason::new(Code::Unfit, text)), now).await?;
            note(settings, "unfit", who, Some(reason), now);
            done("recorded; the old version comes back\n".to_owned(), &json!({ "unfit": true }))
        }
        Ask::Recover { reason } => {
            let reason = plain(&reason)?;
            let text = format!("put in order at the device by {who}: {reason}");
            hands.run(settings, Errand::Recovered(Reason::new(Code::StateDamaged, text)), now).await?;
            note(settings, "recover", who, Some(reason), now);
            done("recorded; the agent goes on\n".to_owned(), &json!({ "recovered": true }))
        }
        // What reads and writes the disk waits for it beside the loop.
        ask => {
            let (settings, who, changes) = (settings.clone(), who.clone(), ask.changes());
            let (unwritten, runs) = (hands.unwritten(), hands.runs());
            let at_once = tokio::task::spawn_blocking(move || match ask {
                Ask::Status | Ask::Why => look(ask, &settings, unwritten, runs),
                ask => at_once(&settings, (ask, brought), &who, now),
            });
            let done = at_once.await.map_err(|_| Refused::new(RefusedCode::Failed, "the agent is ending"))?;
            if changes {
                hands.look();
            }
            done
        }
    }
}

/// How the device is. `unwritten`: why the files do not say it. `runs`: what the loop found to run.
fn look(ask: Ask, settings: &Settings, unwritten: Option<Reason>, runs: Option<Ran>) -> Result<Done, Refused> {
    let mut status = Status::read(settings, runs);
    status.unwritten = unwritten;
    match ask {
        Ask::Why => {
            let why = status.why();
            done(why.text(), &why)
        }
        _ => done(status.text(), &status),
    }
}

/// Does what needs no loop.
fn at_once(
    settings: &Settings,
    (ask, brought): (Ask, Option<OwnedFd>),
    who: &Who,
    now: Timestamp,
) -> Result<Done, Refused> {
    match ask {
        Ask::Status | Ask::Why => look(ask, settings, None, None),
        Ask::Log => {
            let entries = history::last(&settings.state_dir);
            done(history::text(&entries), &entries)
        }
        Ask::Hold { reason } => hold(settings, plain(&reason)?, who, now),
        Ask::Release { reason, .. } => unhold(settings, plain(&reason)?, who, now),
        Ask::Confirm => confirm(settings, who, now),
        Ask::Stop { order } => {
            let found = hand::stop(settings, order.as_bytes()).map_err(not_taken)?;
            handed(settings, "stop", &found, who, now)
        }
        Ask::Import { place } => {
            let Some(directory) = brought else {
                let text = "import needs the stick's open directory beside the question (SCM_RIGHTS), not its path";
                return Err(Refused::new(RefusedCode::NotUnderstood, text));
            };
            let stick = Stick::of(directory, Path::new(&place));
            let found = Handle::current().block_on(hand::import(settings, stick, now)).map_err(not_taken)?;
            handed(settings, "import", &found, who, now)
        }
        // The loop's.
        Ask::Recover { .. } | Ask::Unfit { .. } => {
            Err(Refused::new(RefusedCode::NotNow, "only the agent's loop does that"))
        }
    }
}

impl Hands {
    /// Has the loop look around, at once where it is not at something else.
    fn look(&self) {
        if let Self::Loop(sender, ..) = self {
            // Where others wait already, it comes round in any case.
            let _ = sender.try_send((Errand::Look, None));
        }
    }

    fn unwritten(&self) -> Option<Reason> {
        match self {
            Self::Loop(_, unwritten, _) => unwritten.reason(),
            Self::Own => None,
        }
    }

    fn runs(&self) -> Option<Ran> {
        match self {
            Self::Loop(_, _, runs) => runs.found(),
            Self::Own => None,
        }
    }

    async fn run(&self, settings: &Settings, errand: Errand, now: Timestamp) -> Result<(), Refused> {
        let done = match self {
            Self::Loop(sender, ..) => {
                let (reply, mut waiting) = Reply::new();
                let sent = tokio::time::timeout(ERRAND, async {
                    sender.send((errand, Some(reply))).await.ok()?;
                    waiting.answer().await
                });
                match sent.await {
                    Ok(Some(done)) => done,
                    // An old version is looked at whole before it comes back, which can take long.
                    _ if waiting.leave() => {
                        let text = "the agent has come to it and is not done yet; `suture-agent status` shows in some minutes \
                                    whether it was done";
                        return Err(Refused::new(RefusedCode::Busy, text));
                    }
                    _ => {
                        let text = "the agent is busy with something else and has not done it; see `suture-agent status`, \
                                    and say it again in a minute";
                        return Err(Refused::new(RefusedCode::Busy, text));
                    }
                }
            }
            Self::Own => {
                let (settings, runtime) = (settings.clone(), Handle::current());
                let done = tokio::task::spawn_blocking(move || own(&settings, errand, now, &runtime)).await;
                return done.map_err(|_| Refused::new(RefusedCode::Failed, "the device's state could not be read"))?;
            }
        };
        done.map_err(|text| Refused::new(RefusedCode::NotNow, text))
    }
}

/// In the place of an agent that does not run: the next one goes on from there.
fn own(settings: &Settings, errand: Errand, now: Timestamp, runtime: &Handle) -> Result<(), Refused> {
    begun(settings)?;
    let _lock = agent::lock(settings).map_err(|e| match e {
        AgentError::Busy(dir) => {
            let socket = settings.face.socket.display();
            let text =
                format!("a suture-agent works on {dir} and does not answer at {socket}: restart it, and say it again");
            Refused::new(RefusedCode::Busy, text)
        }
        e => failed(&e),
    })?;
    let outbox = Outbox::open(&settings.state_dir.join("outbox")).map_err(|e| failed(&e))?;
    let mut journal = agent::journal(settings, &outbox).map_err(|e| failed(&e))?;
    // The agent may have ended before its outbox had what it told last; its next start has both told.
    journal.owes(true);
    let not_now = |text| Refused::new(RefusedCode::NotNow, text);
    if let Some(event) = event(journal.state(), errand).map_err(not_now)? {
        if let (Event::Unfit(_), Some(attempt)) = (&event, journal.state().attempt()) {
            let installer = Installer::new(settings);
            runtime.block_on(installer.way_back(&attempt.bundle.manifest)).map_err(not_now)?;
        }
        journal.apply(event, now).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// Refuses what is said before there is anything that it could be written to.
fn begun(settings: &Settings) -> Result<(), Refused> {
    match settings.state_dir.is_dir() {
        true => Ok(()),
        false => {
            let place = settings.state_dir.display();
            let text = format!("this device has not begun: there is no {place} yet; it is made as the device enrols");
            Err(Refused::new(RefusedCode::NotNow, text))
        }
    }
}

/// What an errand is to the machine, or why it is nothing to it now.
pub fn event(state: &State, errand: Errand) -> Result<Option<Event>, String> {
    match (errand, state) {
        (Errand::Look, _) => Ok(None),
        (Errand::Checked(reason), State::Checking { .. }) => Ok(Some(Event::Checked(reason))),
        (Errand::Unfit(reason), State::Checking { .. }) => Ok(Some(Event::Unfit(reason))),
        (Errand::Checked(_) | Errand::Unfit(_), state) => Err(format!(
            "no check is waited for: the device is {}; see `suture-agent why`",
            state.name()
        )),
        (Errand::Recovered(_), State::Held { .. }) => Ok(Some(Event::Recovered)),
        (Errand::Recovered(_), State::Checking { .. }) => Err(
            "the device runs its new version and waits for a check; once it is checked: `suture-agent release --checked \
             --reason TEXT`, or with --unfit where it has failed, and the old version comes back"
                .to_owned(),
        ),
        (Errand::Recovered(_), state) => {
            Err(format!("the device is not held but {}; see `suture-agent why`", state.name()))
        }
    }
}

fn hold(settings: &Settings, reason: &str, who: &Who, now: Timestamp) -> Result<Done, Refused> {
    begun(settings)?;
    let state_dir = &settings.state_dir;
    if let Ok(Some(Hold { reason, by, since })) = Hold::read(state_dir) {
        let text = format!("it is held already, since {} by {by}: {reason}; that stays\n", format_utc(since));
        return done(text, &json!({ "held": true, "news": false }));
    }
    let hold = Hold { reason: reason.to_owned(), by: who.to_string(), since: whole_second(now) };
    hold.put(state_dir).map_err(|e| failed(&e))?;
    note(settings, "hold", who, Some(reason), now);
    let past = Journal::peek(&journal_path(settings)).ok().flatten().is_some_and(|j| is_past_switch(j.state()));
    let text = match past {
        true => {
            "recorded; what has begun is finished or taken back first, then nothing is begun until `suture-agent release`\n"
        }
        false => "recorded; nothing is begun on this device until `suture-agent release`\n",
    };
    done(text.to_owned(), &json!({ "held": true, "news": true }))
}

const fn is_past_switch(state: &State) -> bool {
    state.is_committed() && !matches!(state, State::Claiming { .. } | State::Held { .. } | State::Checking { .. })
}

fn unhold(settings: &Settings, reason: &str, who: &Who, now: Timestamp) -> Result<Done, Refused> {
    if let Ok(None) = Hold::read(&settings.state_dir) {
        let state = Journal::peek(&journal_path(settings)).ok().flatten().map(|j| j.state().clone());
        let text = match state {
            Some(State::Checking { .. }) => {
                "nobody holds the device back; it waits for a check: once it is checked, add --checked, or --unfit where it failed"
            }
            Some(State::Held { .. }) => {
                "nobody holds the device back; it cannot go on by itself: put it in order, then `suture-agent recover`"
            }
            _ => "nobody holds the device back; see `suture-agent why`",
        };
        return Err(Refused::new(RefusedCode::NotNow, text));
    }
    Hold::end(&settings.state_dir).map_err(|e| failed(&e))?;
    note(settings, "release", who, Some(reason), now);
    done("recorded; the device is held back no more\n".to_owned(), &json!({ "held": false }))
}

fn confirm(settings: &Settings, who: &Who, now: Timestamp) -> Result<Done, Refused> {
    let not_now = |text: &str| Refused::new(RefusedCode::NotNow, text);
    let question = interlock::question(&settings.state_dir).map_err(|e| failed(&e))?;
    let question =
        question.ok_or_else(|| not_now("nothing waits for a person's confirmation now; see `suture-agent status`"))?;
    if question.latest < now {
        return Err(not_now("the slot of the last question is over; wait for the next one, see `suture-agent status`"));
    }
    interlock::confirm(&settings.state_dir, &question, now).map_err(|e| failed(&e))?;
    note(settings, "confirm", who, None, now);
    done(format!("confirmed for the slot that began at {}\n", format_utc(question.slot_start)), &question)
}

fn handed(settings: &Settings, what: &str, found: &Found, who: &Who, now: Timestamp) -> Result<Done, Refused> {
    if found.news {
        note(settings, what, who, None, now);
    }
    done(found.text(), found)
}

fn not_taken(error: HandError) -> Refused {
    let code = if error.is_refusal() { RefusedCode::NotVerified } else { RefusedCode::Failed };
    Refused::new(code, chain(&error))
}

fn failed(error: &dyn std::error::Error) -> Refused {
    Refused::new(RefusedCode::Failed, chain(error))
}

fn note(settings: &Settings, what: &str, who: &Who, said: Option<&str>, now: Timestamp) {
    let entry = Entry::act(what, &who.to_string(), said, now);
    let added: Result<(), DurableError> = history::add(&settings.state_dir, &[entry]);
    if let Err(e) = added {
        tracing::warn!(error = %chain(&e), "the log cannot be written");
    }
}

fn done(text: String, data: &impl Serialize) -> Result<Done, Refused> {
    let data = serde_json::to_value(data).map_err(|e| failed(&e))?;
    Ok(Done { text, data })
}

/// A reason as a person gives it.
fn plain(reason: &str) -> Result<&str, Refused> {
    let reason = reason.trim();
    if is_plain(reason, MAX_TEXT_BYTES) {
        return Ok(reason);
    }
    let text = format!("a reason is a line of 1 to {MAX_TEXT_BYTES} bytes: who reads it later must know why");
    Err(Refused::new(RefusedCode::NotUnderstood, text))
}

/// Attack: a name or a reason that writes over the terminal of whoever reads it, or is read as another.
pub(super) fn is_plain(text: &str, max_bytes: usize) -> bool {
    !text.trim().is_empty() && text.len() <= max_bytes && !text.chars().any(legible::deceives)
}
