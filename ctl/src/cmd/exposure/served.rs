//! What the server is asked, page by page. Attack: one that answers without end.

use suture_core::exposure::{Question, Versions};
use suture_core::id::ProductId;
use suture_core::limits::{MAX_ADOPTIONS_PER_CALL, MAX_HOSPITAL_DEVICES, MAX_ROWS_PER_CALL};
use suture_proto::v1;

use crate::client::Client;
use crate::failure::{Failure, Outcome};

/// A question on the wire.
pub(super) fn question(question: &Question, product: Option<&ProductId>) -> v1::ExposureQuestion {
    let wanted = question.component.clone().unwrap_or_default();
    let (version, range) = match wanted.versions {
        Versions::Any => (String::new(), String::new()),
        Versions::One(version) => (version, String::new()),
        Versions::In(range) => (String::new(), range.to_string()),
    };
    v1::ExposureQuestion {
        vulnerability: question.vulnerability.clone().unwrap_or_default(),
        package: wanted.package.unwrap_or_default(),
        name: wanted.name.unwrap_or_default(),
        version,
        range,
        product: product.map(ProductId::to_string).unwrap_or_default(),
    }
}

fn endless(what: &str) -> Failure {
    Failure::untrusted(format!("the server's list of {what} does not come to an end"))
}

/// All exposed devices of the caller's hospital.
pub(super) async fn devices(client: &mut Client, question: &v1::ExposureQuestion) -> Outcome<Vec<v1::ExposedDevice>> {
    let mut all: Vec<v1::ExposedDevice> = Vec::new();
    loop {
        let last = all.last();
        let request = v1::ListExposedDevicesRequest {
            question: Some(question.clone()),
            after_manifest_sha256: last.map(|d| d.manifest_sha256.clone()).unwrap_or_default(),
            after: last.map(|d| d.id.clone()).unwrap_or_default(),
            limit: MAX_ROWS_PER_CALL,
        };
        let v1::ListExposedDevicesResponse { devices, more } = client.list_exposed_devices(request).await?;
        let moved = !devices.is_empty();
        all.extend(devices);
        if !more {
            return Ok(all);
        }
        if !moved || all.len() > MAX_HOSPITAL_DEVICES {
            return Err(endless("exposed devices"));
        }
    }
}

/// The counts of all hospitals.
pub(super) async fn hospitals(
    client: &mut Client,
    question: &v1::ExposureQuestion,
) -> Outcome<Vec<v1::ExposedHospital>> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let request = v1::ListExposedHospitalsRequest {
            question: Some(question.clone()),
            after: after.clone(),
            limit: MAX_ADOPTIONS_PER_CALL,
        };
        let v1::ListExposedHospitalsResponse { hospitals, more, last } = client.list_exposed_hospitals(request).await?;
        all.extend(hospitals);
        if !more {
            return Ok(all);
        }
        // Ascending, so that it ends.
        if last <= after {
            return Err(endless("hospitals"));
        }
        after = last;
    }
}
