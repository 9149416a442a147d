//! What the server says of a rollout, whose devices come page by page.

use std::collections::BTreeMap;

use serde::Serialize;
use suture_core::id::ApprovalId;
use suture_core::limits::{MAX_APPROVAL_DEVICES, MAX_ROWS_PER_CALL};
use suture_proto::v1;

use crate::client::{Client, Watch};
use crate::failure::{Failure, Outcome};

/// Devices that have joined since an approval was signed and that no approval names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unapproved {
    /// How many, as far as the server counts.
    pub count: u32,
    /// The first of them.
    pub ids: Vec<String>,
}

/// A rollout with all its devices.
pub async fn rollout(client: &mut Client, id: &ApprovalId) -> Outcome<v1::Rollout> {
    Ok(with_unapproved(client, id).await?.0)
}

/// The same, and the devices that wait for an approval.
pub async fn with_unapproved(client: &mut Client, id: &ApprovalId) -> Outcome<(v1::Rollout, Unapproved)> {
    let mut gathered = Gathered::default();
    let mut waiting = Unapproved::default();
    loop {
        let after = gathered.last.clone();
        let request = v1::GetRolloutRequest { id: id.to_string(), after, limit: MAX_ROWS_PER_CALL };
        let answer = client.get_rollout(request).await?;
        let v1::GetRolloutResponse { rollout, more, unapproved, unapproved_ids } = answer;
        // The first page tells of them.
        if unapproved > 0 {
            waiting = Unapproved { count: unapproved, ids: unapproved_ids };
        }
        let Some(whole) = gathered.add(rollout, more)? else { continue };
        return Ok((whole, waiting));
    }
}

/// A rollout that is watched.
#[derive(Debug)]
pub struct Watched {
    messages: Watch,
    gathered: Gathered,
}

impl Watched {
    /// Begins to watch.
    pub async fn begin(client: &mut Client, id: &ApprovalId) -> Outcome<Self> {
        Ok(Self { messages: client.watch_rollout(id.as_str()).await?, gathered: Gathered::default() })
    }

    /// The next state, with all devices; `None` once the rollout has ended.
    pub async fn next(&mut self) -> Outcome<Option<v1::Rollout>> {
        while let Some(v1::WatchRolloutResponse { rollout, more }) = self.messages.next().await? {
            if let Some(whole) = self.gathered.add(rollout, more)? {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }
}

/// The devices that were told so far, each as it was told last.
#[derive(Debug, Default)]
struct Gathered {
    devices: BTreeMap<String, v1::RolloutDevice>,
    /// The last that a message told of.
    last: String,
}

impl Gathered {
    /// Adds what a message tells; the whole, unless more follows.
    fn add(&mut self, rollout: Option<v1::Rollout>, more: bool) -> Outcome<Option<v1::Rollout>> {
        let mut rollout = rollout.unwrap_or_default();
        let told = std::mem::take(&mut rollout.devices);
        let last = told.last().map(|d| d.id.clone()).unwrap_or_default();
        self.devices.extend(told.into_iter().map(|d| (d.id.clone(), d)));
        // An approval names no more.
        if (more && (last.is_empty() || last == self.last)) || self.devices.len() > MAX_APPROVAL_DEVICES {
            return Err(Failure::untrusted("the server's list of the rollout's devices does not come to an end")
                .next("ask whoever runs the server; `suturectl device list` shows the devices by themselves"));
        }
        self.last = last;
        let whole = || v1::Rollout { devices: self.devices.values().cloned().collect(), ..rollout };
        Ok((!more).then(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(state: &str, devices: impl IntoIterator<Item = (usize, u64)>) -> Option<v1::Rollout> {
        let device =
            |(id, fetched_bytes)| v1::RolloutDevice { id: format!("d{id:06}"), fetched_bytes, ..Default::default() };
        let devices = devices.into_iter().map(device).collect();
        Some(v1::Rollout { state: state.to_owned(), devices, ..Default::default() })
    }

    #[test]
    fn pages_are_one_state_and_later_messages_change_it() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.add(rollout("running", [(1, 0), (2, 0)]), true).unwrap(), None);
        assert_eq!(gathered.last, "d000002", "where the next page begins");
        let whole = gathered.add(rollout("running", [(3, 0)]), false).unwrap();
        assert_eq!(whole, rollout("running", [(1, 0), (2, 0), (3, 0)]));
        let whole = gathered.add(rollout("paused", [(2, 7)]), false).unwrap();
        assert_eq!(whole, rollout("paused", [(1, 0), (2, 7), (3, 0)]));
        let whole = gathered.add(rollout("complete", []), false).unwrap();
        assert_eq!(whole, rollout("complete", [(1, 0), (2, 7), (3, 0)]));
    }

    #[test]
    fn a_list_without_an_end_is_given_up() {
        let failed = Gathered::default().add(rollout("running", []), true).unwrap_err();
        assert!(failed.exit == crate::failure::Exit::Untrusted && failed.message.contains("does not come to an end"));
        let mut gathered = Gathered::default();
        gathered.add(rollout("running", [(1, 0)]), true).unwrap();
        gathered.add(rollout("running", [(1, 0)]), true).unwrap_err();
        let mut gathered = Gathered::default();
        gathered.add(rollout("running", (0..MAX_APPROVAL_DEVICES).map(|i| (i, 0))), true).unwrap();
        gathered.add(rollout("running", [(MAX_APPROVAL_DEVICES, 0)]), false).unwrap_err();
    }
}
