//! Devices that have fallen silent: an alarm wherever devices are listed, by the server's word.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;
use suture_core::limits::{MAX_HOSPITAL_DEVICES, MAX_LOST_AFTER, MAX_ROWS_PER_CALL, MIN_LOST_AFTER};
use suture_proto::v1;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Who is lost, and after what silence a device is.
pub(super) struct Silence {
    lost: BTreeSet<String>,
    after: SignedDuration,
}

impl Silence {
    /// Asks the server.
    pub(super) async fn look(client: &mut Client) -> Outcome<Self> {
        let mut lost = BTreeSet::new();
        let mut after = String::new();
        loop {
            let request = v1::ListLostDevicesRequest { after: after.clone(), limit: MAX_ROWS_PER_CALL };
            let v1::ListLostDevicesResponse { devices, more, lost_after_secs } =
                client.list_lost_devices(request).await?;
            let last = devices.last().map(|device| device.id.clone()).unwrap_or_default();
            let before = lost.len();
            lost.extend(devices.into_iter().map(|device| device.id));
            // Attack: a server that has always more. Each page must lead on, and nobody has more devices than there may be.
            if !more || lost.len() == before || lost.len() > MAX_HOSPITAL_DEVICES {
                let secs = i64::try_from(lost_after_secs).unwrap_or(i64::MAX);
                return Ok(Self { lost, after: SignedDuration::from_secs(secs) });
            }
            after = last;
        }
    }

    /// Whether a device is lost.
    pub(super) fn has(&self, id: &str) -> bool {
        self.lost.contains(id)
    }

    /// Says so where any is.
    pub(super) fn note(&self, context: &mut Context<'_>) {
        if let Some(text) = self.text() {
            context.print.note(&text);
        }
    }

    fn text(&self) -> Option<String> {
        let first = self.lost.first()?;
        let others = self.lost.len() - 1;
        let who = if others == 0 { first.clone() } else { format!("{first} and {others} more") };
        let hours = self.after.as_hours();
        Some(format!(
            "LOST: {who} said nothing for {hours} h; look for them: `suturectl device list --lost` names them"
        ))
    }
}

/// Sets after what silence a device is lost.
pub(super) async fn set(context: &mut Context<'_>, after: SignedDuration) -> Outcome {
    context.home.server()?.hdo()?;
    if after < MIN_LOST_AFTER || after > MAX_LOST_AFTER {
        return Err(Failure::new(format!("{after:#} is not between an hour and a year")).next("as in 48h"));
    }
    let request = v1::SetLostAfterRequest { secs: after.as_secs().unsigned_abs() };
    let v1::SetLostAfterResponse {} = context.connect().await?.set_lost_after(request).await?;
    let result = json!({ "lost_after_secs": after.as_secs() });
    context.print.result(&result, |_| format!("a device that says nothing for {after:#} counts as lost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_names_one_and_counts_the_others() {
        let of = |ids: &[&str]| {
            let lost = ids.iter().map(|id| (*id).to_owned()).collect();
            Silence { lost, after: SignedDuration::from_hours(168) }.text()
        };
        assert_eq!(of(&[]), None);
        assert!(of(&["pump-1"]).unwrap().starts_with("LOST: pump-1 said nothing for 168 h"));
        assert!(of(&["pump-1", "pump-2", "pump-3"]).unwrap().starts_with("LOST: pump-1 and 2 more said"));
    }
}
