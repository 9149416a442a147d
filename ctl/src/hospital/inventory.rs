//! What the server says of the devices, and what of it they have signed themselves.

use suture_core::approval::RosterDevice;
use suture_core::digest::Digest;
use suture_core::id::DeviceId;
use suture_core::limits::{MAX_HOSPITAL_DEVICES, MAX_ROWS_PER_CALL};
use suture_core::manifest::InstallKind;
use suture_core::phase::Phase;
use suture_core::plan::{Installs, Known};
use suture_core::report::{Report, Running, Signed, Took};
use suture_core::version::Release;
use suture_proto::v1;

use super::Documents;
use crate::client::Client;
use crate::failure::{Failure, Outcome};

/// Devices by the server's filters, empty ones matching all, page by page.
pub async fn devices(client: &mut Client, ward: &str, product: &str, state: &str) -> Outcome<Vec<v1::Device>> {
    let mut all: Vec<v1::Device> = Vec::new();
    loop {
        let after = all.last().and_then(|d| d.record.as_ref()).map(|r| r.id.clone()).unwrap_or_default();
        let request = v1::ListDevicesRequest {
            ward: ward.to_owned(),
            product: product.to_owned(),
            state: state.to_owned(),
            after,
            limit: MAX_ROWS_PER_CALL,
        };
        let v1::ListDevicesResponse { devices, more } = client.list_devices(request).await?;
        let moved = !devices.is_empty();
        all.extend(devices);
        if !more {
            return Ok(all);
        }
        if !moved || all.len() > MAX_HOSPITAL_DEVICES {
            return Err(Failure::untrusted("the server's list of devices does not come to an end"));
        }
    }
}

/// The report, if it is signed by the key that the hospital's roster has for the device, and is about that device.
pub fn proven(report: Option<&v1::SignedReport>, roster: Option<&RosterDevice>) -> Option<Report> {
    let (report, roster) = (report?, roster?);
    let signed = Signed::try_from(report).ok()?;
    signed.verify(&roster.report_key).ok().filter(|r| r.device == roster.id)
}

/// What runs, by the device's last check-in: the server's word.
fn said(said: Option<&v1::CheckInRequest>) -> Option<Running> {
    let said = said?;
    Some(Running {
        version: said.running_version.parse().ok()?,
        release: Release(said.running_release),
        manifest: Digest::try_from(said.running_manifest_sha256.as_ref()).ok()?,
    })
}

/// What installs on a device, by its last check-in: the server's word. None where it names an installer that this program does
/// not know.
fn installs(said: &v1::Installs) -> Option<Installs> {
    let v1::Installs { by, data_format, keeps_data } = said;
    let by = InstallKind::ALL.into_iter().find(|kind| kind.as_str() == by)?;
    Some(Installs { by, data: *data_format, keeps: *keeps_data })
}

/// Whether a device that says so may yet run something else than it does, without beginning anything anew.
pub const fn is_under_way(phase: Phase) -> bool {
    match phase {
        Phase::Installing | Phase::Restarting | Phase::Confirming | Phase::Failed | Phase::Held => true,
        Phase::Idle
        | Phase::Offered
        | Phase::Fetching
        | Phase::Staged
        | Phase::Waiting
        | Phase::Confirmed
        | Phase::FellBack
        | Phase::Stopped
        | Phase::Withdrawn
        | Phase::Superseded
        | Phase::Expired => false,
    }
}

/// How long a device's own installs took, by its last signed report.
pub fn took(device: &v1::Device, documents: &Documents) -> Option<(DeviceId, Took)> {
    let id: DeviceId = device.record.as_ref()?.id.parse().ok()?;
    let report = proven(device.proven.as_ref(), documents.device(&id))?;
    Some((id, report.took))
}

/// What a plan is told of a device.
pub fn known(device: &v1::Device, documents: &Documents) -> Option<Known> {
    let record = device.record.as_ref()?;
    let id = record.id.parse().ok()?;
    let report = proven(device.proven.as_ref(), documents.device(&id));
    let is_proven = report.is_some();
    let is_settled = report.as_ref().is_some_and(|r| !is_under_way(r.phase));
    Some(Known {
        id,
        ward: record.ward.parse().ok(),
        product: record.product.parse().ok(),
        running: report.map(|r| r.running).or_else(|| said(device.said.as_ref())),
        installs: device.said.as_ref().and_then(|said| installs(said.installs.as_ref()?)),
        proven: is_proven,
        settled: is_settled,
    })
}
