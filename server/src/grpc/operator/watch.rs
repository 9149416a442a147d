//! A rollout as it goes: its state at once and after every change, and of its devices only those that have changed.
//!
//! After the first look only rows are read that were written since, so that what a watcher costs goes by what happens and not
//! by the size of the rollout. Servers' clocks and the length of their transactions differ, so each look goes back by
//! [`OVERLAP`], and every [`WHOLE_AGAIN`] all is read once more.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::id::{ApprovalId, HdoId};
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_core::rollout::State;
use suture_proto::{parse, v1};
use tokio_stream::wrappers::ReceiverStream;

use super::super::stream::Answers;
use super::super::{Api, Refusal};
use super::rollouts::message;
use crate::rights::Caller;
use crate::rollout::RolloutError;

/// The call that watches, as the table of rights names it.
const WATCH: &str = "/suture.v1.OperatorService/WatchRollout";

/// How far a look goes back behind the one before.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);
/// How often everything is read again.
const WHOLE_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// When a watcher's rows were read.
#[derive(Debug, Clone, Copy)]
struct Looks {
    whole: Timestamp,
    last: Timestamp,
}

impl Looks {
    fn begun(now: Timestamp) -> Self {
        Self { whole: now, last: now }
    }

    /// From when on rows are to be read, in a look at `now`; none where all are.
    fn next(&mut self, now: Timestamp) -> Option<Timestamp> {
        let since = self.last.checked_sub(OVERLAP).unwrap_or(Timestamp::MIN);
        self.last = now;
        if now.duration_since(self.whole) < WHOLE_AGAIN {
            return Some(since);
        }
        self.whole = now;
        None
    }
}

/// What a watcher has been told.
#[derive(Debug, Default)]
struct Told {
    /// The rollout without its devices.
    rollout: Option<v1::Rollout>,
    devices: HashMap<String, v1::RolloutDevice>,
}

impl Told {
    /// The messages that tell of `now` what was not told yet, which may be none. No rollout names more devices than one
    /// approval, so this holds no more than those.
    fn news(&mut self, mut now: v1::Rollout) -> Vec<v1::WatchRolloutResponse> {
        let mut changed = Vec::new();
        for device in std::mem::take(&mut now.devices) {
            if self.devices.get(&device.id) != Some(&device) {
                self.devices.insert(device.id.clone(), device.clone());
                changed.push(device);
            }
        }
        if changed.is_empty() && self.rollout.as_ref() == Some(&now) {
            return Vec::new();
        }
        self.rollout = Some(now.clone());
        let of = |devices: &[v1::RolloutDevice]| v1::Rollout { devices: devices.to_vec(), ..now.clone() };
        let mut pages: Vec<v1::Rollout> = changed.chunks(MAX_ROWS_PER_CALL as usize).map(of).collect();
        if pages.is_empty() {
            pages.push(now);
        }
        let last = pages.len() - 1;
        let message = |(i, rollout)| v1::WatchRolloutResponse { rollout: Some(rollout), more: i < last };
        pages.into_iter().enumerate().map(message).collect()
    }

    fn is_over(&self) -> bool {
        let state = self.rollout.as_ref().and_then(|r| State::from_name(&r.state));
        state.is_none_or(State::is_over)
    }
}

impl Api {
    /// Tells until the rollout is over, the watcher leaves or loses the right to watch, or the server drains.
    pub(super) async fn watch(
        &self,
        caller: Caller,
        hdo: HdoId,
        request: v1::WatchRolloutRequest,
    ) -> Result<Answers<v1::WatchRolloutResponse>, Refusal> {
        let v1::WatchRolloutRequest { id } = request;
        let id: ApprovalId = parse("id", &id)?;
        let mut news = self.app.news().listen();
        let mut told = Told::default();
        let mut looks = Looks::begun(self.app.now());
        let mut messages = told.news(self.look(&hdo, &id, None).await?);
        let (tx, rx) = tokio::sync::mpsc::channel(1);
        let api = self.clone();
        tokio::spawn(async move {
            loop {
                for message in messages {
                    if tx.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                if told.is_over() {
                    return;
                }
                tokio::select! {
                    () = tx.closed() => return,
                    more = news.wait() => if !more { return },
                }
                let since = looks.next(api.app.now());
                messages = match api.still_watched(&caller, &hdo, &id, since).await {
                    Ok(now) => told.news(now),
                    Err(refusal) => {
                        // The watcher may be gone; then nobody is left to tell.
                        let _ = tx.send(Err(refusal.into())).await;
                        return;
                    }
                };
            }
        });
        Ok(Box::pin(ReceiverStream::new(rx)))
    }

    /// The rollout's state, if the watcher may still know it: a stream stays open longer than a right may hold.
    async fn still_watched(
        &self,
        caller: &Caller,
        hdo: &HdoId,
        id: &ApprovalId,
        since: Option<Timestamp>,
    ) -> Result<v1::Rollout, Refusal> {
        self.app.rights().check(WATCH, Some(&caller.peer)).await?;
        self.look(hdo, id, since).await
    }

    /// The rollout with its devices, or with those that have changed since.
    async fn look(&self, hdo: &HdoId, id: &ApprovalId, since: Option<Timestamp>) -> Result<v1::Rollout, Refusal> {
        let mut tx = self.app.store().read().await?;
        let rollout = tx.rollout(hdo, id).await?.ok_or_else(|| RolloutError::NotFound(id.clone()))?;
        let stages = tx.stages(hdo, id).await?;
        let members = match since {
            Some(since) => tx.members_since(hdo, id, since).await?,
            None => tx.members(hdo, id).await?,
        };
        Ok(message(rollout, stages, members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: usize, fetched_bytes: u64) -> v1::RolloutDevice {
        v1::RolloutDevice { id: format!("pump-{id:05}"), fetched_bytes, ..Default::default() }
    }

    fn rollout(state: &str, devices: Vec<v1::RolloutDevice>) -> v1::Rollout {
        v1::Rollout { state: state.to_owned(), devices, ..Default::default() }
    }

    /// State, ids of the devices and whether more follows, of each message.
    fn read(messages: &[v1::WatchRolloutResponse]) -> Vec<(&str, Vec<&str>, bool)> {
        let read = |m: &v1::WatchRolloutResponse| m.more;
        messages
            .iter()
            .map(|m| {
                let rollout = m.rollout.as_ref().unwrap();
                (rollout.state.as_str(), rollout.devices.iter().map(|d| d.id.as_str()).collect(), read(m))
            })
            .collect()
    }

    #[test]
    fn a_look_goes_back_behind_the_one_before_and_now_and_then_all_is_read() {
        let at = |secs: i64| Timestamp::from_second(1_800_000_000 + secs).unwrap();
        let mut looks = Looks::begun(at(0));
        assert_eq!(looks.next(at(2)), Some(at(-60)));
        assert_eq!(looks.next(at(100)), Some(at(-58)));
        assert_eq!(looks.next(at(599)), Some(at(40)));
        assert_eq!(looks.next(at(600)), None);
        assert_eq!(looks.next(at(602)), Some(at(540)));
    }

    #[test]
    fn only_devices_that_changed_are_told_again() {
        let mut told = Told::default();
        let first = told.news(rollout("running", vec![device(1, 0), device(2, 0)]));
        assert_eq!(read(&first), [("running", vec!["pump-00001", "pump-00002"], false)]);
        assert!(told.news(rollout("running", vec![device(1, 0), device(2, 0)])).is_empty());
        let one = told.news(rollout("running", vec![device(1, 0), device(2, 7)]));
        assert_eq!(read(&one), [("running", vec!["pump-00002"], false)]);
        assert!(!told.is_over());
        // The rollout itself, none of its devices.
        let end = told.news(rollout("complete", vec![device(1, 0), device(2, 7)]));
        assert_eq!(read(&end), [("complete", vec![], false)]);
        assert!(told.is_over());
    }

    #[test]
    fn a_large_rollout_comes_in_several_messages_and_a_change_of_it_in_one() {
        let page = MAX_ROWS_PER_CALL as usize;
        for (devices, pages) in [(page, vec![page]), (page + 1, vec![page, 1]), (2 * page, vec![page, page])] {
            let mut told = Told::default();
            let all: Vec<_> = (0..devices).map(|i| device(i, 0)).collect();
            let messages = told.news(rollout("running", all.clone()));
            assert_eq!(read(&messages).iter().map(|(_, d, _)| d.len()).collect::<Vec<_>>(), pages);
            let more: Vec<bool> = messages.iter().map(|m| m.more).collect();
            assert_eq!((more.iter().filter(|m| !**m).count(), more.last()), (1, Some(&false)));
            let mut later = all;
            later[0].fetched_bytes = 1;
            assert_eq!(read(&told.news(rollout("running", later))), [("running", vec!["pump-00000"], false)]);
        }
    }
}
