//! Leases, as the server grants them.

use std::time::Duration;

use suture_core::id::ApprovalId;
use suture_core::lease::Stage;
use suture_core::limits::LEASE_ASK_AGAIN;
use suture_core::phase::{Code, Reason};
use suture_proto::{parse_reason, v1};

use super::{Client, ClientError, timely};

/// What the server answers to a device that asks for a lease. It can only make it wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The device may be down, as far as its ward is concerned.
    Granted,
    /// It waits.
    Refused {
        /// Why.
        reason: Reason,
        /// When it asks again.
        after: Duration,
    },
}

impl Client {
    /// Asks for a lease by an approval, or says again that the device needs the one that it has.
    pub async fn take_lease(&mut self, approval: &ApprovalId, stage: Stage) -> Result<LeaseAnswer, ClientError> {
        let request =
            v1::TakeLeaseRequest { approval_id: approval.to_string(), stage: v1::LeaseStage::from(stage).into() };
        let answer = timely("the lease", self.inner.take_lease(self.traffic.asks(request))).await?;
        let v1::TakeLeaseResponse { lease, reason, ask_again_ms } = self.traffic.hears(answer);
        if lease.is_some() {
            return Ok(LeaseAnswer::Granted);
        }
        let reason = parse_reason(reason.as_ref())
            .unwrap_or_else(|| Reason::new(Code::WardBusy, "the server grants no lease, and does not say why"));
        let most = Duration::try_from(LEASE_ASK_AGAIN).unwrap_or(Duration::from_secs(60));
        let after = Duration::from_millis(ask_again_ms.into()).clamp(Duration::from_secs(1), most);
        Ok(LeaseAnswer::Refused { reason, after })
    }

    /// Gives the device's lease back, if it has one.
    pub async fn return_lease(&mut self) -> Result<(), ClientError> {
        let request = self.traffic.asks(v1::ReturnLeaseRequest {});
        let v1::ReturnLeaseResponse {} =
            self.traffic.hears(timely("the lease's return", self.inner.return_lease(request)).await?);
        Ok(())
    }
}
