//! `rollout watch`: how far a rollout is, as it moves.
//!
//! On a terminal it is a view that is drawn again in the same place; elsewhere a line for each change, or with `--output
//! json` a value a line. It ends with the rollout, or for the sake of scripts when a failure has paused it. Where the server
//! goes away it is asked again, with patience, and only what has changed meanwhile is told.

use std::collections::BTreeMap;
use std::time::Duration;

use suture_core::approval::DeviceSlots;
use suture_core::id::ApprovalId;
use suture_proto::v1;

use super::live::{Screen, View, render};
use super::show::{Device, Shown, fetched, head, shown};
use super::why;
use crate::alarm;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::hospital::rollouts::Watched;
use crate::hospital::{Desk, Documents, inventory};
use crate::why::Unmet;

/// How long a live view stands before it is drawn anew though nothing came: times move on.
const REDRAW: Duration = Duration::from_secs(2);
/// How long a server that has gone away is waited for, first and at most.
const PATIENCE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(20)];
/// How often it is asked in vain, about an hour, before watching is given up.
const TRIES: u32 = 180;

/// Runs it.
pub(super) async fn watch(context: &mut Context<'_>, id: &ApprovalId) -> Outcome {
    context.home.server()?.hdo()?;
    let mut known = compare(context).await?;
    let mut watching = Watching::default();
    let mut line = Line::Up(Box::new(Watched::begin(&mut context.connect().await?, id).await?));
    let done = loop {
        let next = match &mut line {
            Line::Up(states) => tokio::select! {
                state = states.next() => Next::State(state.map(|rollout| rollout.map(Box::new))),
                () = tokio::time::sleep(REDRAW), if context.print.terminal().is_some() => Next::Redraw,
                _ = tokio::signal::ctrl_c() => Next::Leave,
            },
            Line::Down { tries, .. } => tokio::select! {
                () = tokio::time::sleep(patience(*tries)) => Next::Again,
                _ = tokio::signal::ctrl_c() => Next::Leave,
            },
        };
        match next {
            Next::Leave => {
                break Err(Failure::new(format!("you watch {id} no more; it goes on by itself"))
                    .next(format!("to see how far it is: suturectl rollout show {id}")));
            }
            Next::Redraw => {}
            Next::State(Ok(Some(rollout))) => {
                let now = shown(v1::Rollout::clone(&rollout));
                if watching.before.as_ref() == Some(&now) {
                    continue;
                }
                let ended = outcome(&now);
                // Before more devices follow. What a rollout came to counts for nothing where devices went by other
                // approvals than this operator sees.
                let looks = ended.is_some() || watching.before.as_ref().is_some_and(|b| !is_same_stage(b, &now));
                if context.print.terminal().is_none() {
                    let lines = changes(watching.before.as_ref(), &now);
                    if context.print.is_json() || !lines.is_empty() {
                        context.print.result(&now, |_| lines)?;
                    }
                }
                watching.served = *rollout;
                watching.before = Some(now);
                if looks {
                    match compare(context).await {
                        Ok(documents) => known = documents,
                        Err(failure) if failure.exit == Exit::Unreachable && ended.is_none() => {
                            line = Line::down(failure.message);
                        }
                        Err(failure) => break Err(failure),
                    }
                }
                if let Some(ended) = ended {
                    watching.draw(context, id, &known, None)?;
                    break ended;
                }
            }
            // A server that stops ends its streams.
            Next::State(Ok(None)) => line = Line::down("the server ended the stream"),
            Next::State(Err(failure)) if failure.exit == Exit::Unreachable => line = Line::down(failure.message),
            Next::State(Err(failure)) => break Err(failure),
            Next::Again => match again(context, id).await {
                Ok(states) => line = Line::Up(Box::new(states)),
                Err(failure) if failure.exit != Exit::Unreachable => break Err(failure),
                Err(failure) => {
                    if !line.in_vain(&failure.message) {
                        break Err(failure.next("the rollout goes on by itself; watch it again"));
                    }
                }
            },
        }
        if let Line::Down { why, tries: 0 } = &line
            && context.print.terminal().is_none()
        {
            context.print.note(&format!("note: {why}; the server is asked again until it answers"));
        }
        watching.draw(context, id, &known, line.cut())?;
    };
    watching.leave(context)?;
    done
}

async fn again(context: &Context<'_>, id: &ApprovalId) -> Outcome<Watched> {
    Watched::begin(&mut context.connect().await?, id).await
}

/// What comes next.
enum Next {
    State(Outcome<Option<Box<v1::Rollout>>>),
    Redraw,
    Again,
    Leave,
}

/// The line to the server.
enum Line {
    Up(Box<Watched>),
    Down {
        why: String,
        /// Asked in vain so often.
        tries: u32,
    },
}

impl Line {
    fn down(why: impl Into<String>) -> Self {
        Self::Down { why: why.into(), tries: 0 }
    }

    /// Counts a try; false where it was the last.
    fn in_vain(&mut self, because: &str) -> bool {
        match self {
            Self::Up(_) => true,
            Self::Down { why, tries } => {
                because.clone_into(why);
                *tries += 1;
                *tries < TRIES
            }
        }
    }

    fn cut(&self) -> Option<&str> {
        match self {
            Self::Up(_) => None,
            Self::Down { why, .. } => Some(why),
        }
    }
}

/// Twice as long after each try in vain.
fn patience(tries: u32) -> Duration {
    let [first, most] = PATIENCE;
    first.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(most)
}

/// What was told last, and how it stands on a terminal.
#[derive(Default)]
struct Watching {
    before: Option<Shown>,
    served: v1::Rollout,
    screen: Screen,
}

impl Watching {
    /// Draws it, where there is a terminal to draw on.
    fn draw(&mut self, context: &mut Context<'_>, id: &ApprovalId, known: &Documents, cut: Option<&str>) -> Outcome {
        let (Some(size), Some(rollout)) = (context.print.terminal(), &self.before) else { return Ok(()) };
        let now = context.now();
        let slots: BTreeMap<String, DeviceSlots> = known
            .approval(id)
            .map(|a| a.devices.iter().map(|d| (d.id.to_string(), d.clone())).collect())
            .unwrap_or_default();
        let unmet: Vec<Unmet> = why::by_the_server(id, known, &self.served, now);
        let lines = render(&View { rollout, slots: &slots, unmet: &unmet, cut, now, size });
        let text = self.screen.draw(&lines);
        context.print.draw(&text)
    }

    fn leave(&mut self, context: &mut Context<'_>) -> Outcome {
        let text = self.screen.leave();
        if text.is_empty() { Ok(()) } else { context.print.draw(text) }
    }
}

/// Compares what the devices have signed that they verified with what this home knows: at the beginning, whenever a wave
/// opens or the rollout's state changes, and at the end. The server tells of rollouts without the signatures; they are asked
/// for with all devices, so not for every device's every step. Gives what the hospital has signed.
async fn compare(context: &Context<'_>) -> Outcome<Documents> {
    let mut desk = Desk::open(context).await?;
    let devices = inventory::devices(&mut desk.client, "", "", "").await?;
    alarm::raise(&alarm::look(context, &mut desk.client, &desk.hdo, &desk.documents, &devices).await?)?;
    Ok(desk.documents)
}

/// Whether the rollout itself has not moved, whatever its devices did.
fn is_same_stage(a: &Shown, b: &Shown) -> bool {
    (&a.state, &a.reason, a.wave) == (&b.state, &b.reason, b.wave)
}

/// What a state says that the one before did not.
fn changes(before: Option<&Shown>, now: &Shown) -> String {
    let known: BTreeMap<&str, &Device> = before.iter().flat_map(|b| &b.devices).map(|d| (d.id.as_str(), d)).collect();
    let mut lines = Vec::new();
    if !before.is_some_and(|b| is_same_stage(b, now)) {
        lines.push(head(now));
    }
    // By what is told of it: the server tells of a device anew also where that stays as it was.
    lines.extend(
        now.devices.iter().map(|d| (d, told(d))).filter_map(|(d, line)| {
            (known.get(d.id.as_str()).is_none_or(|before| told(before) != line)).then_some(line)
        }),
    );
    lines.join("\n")
}

fn told(d: &Device) -> String {
    let reason = d.reason.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
    let fetched = if d.phase == "fetching" { format!(" {}", fetched(d)) } else { String::new() };
    format!("  wave {} {}: {}{fetched}{reason}", d.wave, d.id, d.phase)
}

/// Whether watching is over, and how.
fn outcome(r: &Shown) -> Option<Outcome> {
    match r.state.as_str() {
        "complete" => Some(Ok(())),
        "aborted" | "superseded" | "expired" => Some(Err(Failure::new(head(r)))),
        "paused" if r.reason.as_ref().is_some_and(|r| r.code != suture_core::phase::Code::Operator) => Some(Err(
            Failure::new(head(r))
                .next(format!("`suturectl rollout show {0}`, then resume, abort or `rollout rollback {0}`", r.rollout)),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::phase::{Code, Reason};
    use suture_proto::v1;

    fn rollout(state: &str, reason: Option<Code>, phase: v1::Phase) -> Shown {
        shown(v1::Rollout {
            id: "r".to_owned(),
            state: state.to_owned(),
            reason: reason.map(|code| (&Reason::new(code, "so it is")).into()),
            waves: 2,
            devices: vec![v1::RolloutDevice { id: "pump-1".to_owned(), phase: phase as i32, ..Default::default() }],
            ..Default::default()
        })
    }

    #[test]
    fn scripts_learn_from_the_exit_code_how_it_ended() {
        let ended = |state: &str, reason| outcome(&rollout(state, reason, v1::Phase::Fetching)).map(|o| o.is_ok());
        assert_eq!(ended("complete", None), Some(true));
        assert_eq!(ended("running", None), None);
        assert_eq!(ended("paused", Some(Code::Operator)), None, "a colleague will resume it");
        assert_eq!(ended("paused", Some(Code::FailureCeiling)), Some(false));
        assert_eq!(ended("aborted", Some(Code::Operator)), Some(false));
        assert_eq!(ended("superseded", None), Some(false));
    }

    #[test]
    fn patience_grows_and_ends() {
        assert_eq!(patience(0), PATIENCE[0]);
        assert_eq!(patience(1), PATIENCE[0] * 2);
        assert_eq!((patience(7), patience(u32::MAX)), (PATIENCE[1], PATIENCE[1]));
        let mut line = Line::down("cut");
        assert!((1..TRIES).all(|_| line.in_vain("refused")));
        assert_eq!(line.cut(), Some("refused"));
        assert!(!line.in_vain("refused"), "it is given up");
    }

    #[test]
    fn only_what_changed_is_told() {
        let (a, b) = (rollout("running", None, v1::Phase::Fetching), rollout("running", None, v1::Phase::Staged));
        assert!(changes(None, &a).starts_with("r: running"));
        assert_eq!(changes(Some(&a), &b), "  wave 1 pump-1: staged");
        assert_eq!(changes(Some(&a), &a), "");
        // The device has said how long its bundle is, and is where it was.
        let (offered, mut larger) =
            (rollout("running", None, v1::Phase::Offered), rollout("running", None, v1::Phase::Offered));
        larger.devices[0].total_bytes = 7_000;
        larger.devices[0].standing = "under-way".to_owned();
        assert_eq!(changes(Some(&offered), &larger), "");
    }
}
