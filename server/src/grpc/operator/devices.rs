//! A hospital's devices.

use prost::Message as _;
use serde_json::json;
use suture_core::id::{DeviceId, HdoId};
use suture_core::label::{Label, Labels};
use suture_core::limits::{MAX_HOSPITAL_DEVICES, MAX_IMPORT_DEVICES, MAX_ROWS_PER_CALL, MAX_TEXT_BYTES};
use suture_core::principal::Principal;
use suture_core::token::Grant;
use suture_proto::{Invalid, Repository, parse, parse_digest, v1};
use tonic::Code;

use super::super::device::server_word;
use super::super::{Api, Refusal};
use super::organisation::{sentence, token_end};
use crate::store::Lock;
use crate::store::devices::{Device, DeviceFilter, DeviceState, Record};
use crate::store::forks::ForkRow;
use crate::{audit, offer};

/// Reports of one device in one answer.
const LATEST_REPORTS: u32 = 20;

fn record(message: v1::DeviceRecord) -> Result<Record, Invalid> {
    let v1::DeviceRecord { id, product, hardware_id, ward, serial, udi, labels } = message;
    for (field, text) in [("serial", &serial), ("udi", &udi)] {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Invalid::new(field, format!("more than {MAX_TEXT_BYTES} bytes")));
        }
    }
    Ok(Record {
        id: parse("id", &id)?,
        product: parse("product", &product)?,
        hardware: parse("hardware_id", &hardware_id)?,
        ward: parse("ward", &ward)?,
        serial,
        udi,
        labels: of_labels(&labels)?,
    })
}

fn of_labels(texts: &[String]) -> Result<Labels, Invalid> {
    let labels = texts.iter().map(|text| parse("labels", text)).collect::<Result<Vec<Label>, _>>()?;
    Labels::of(labels).map_err(|e| Invalid::new("labels", e))
}

fn message(device: Device) -> v1::Device {
    let Device { record, state, fingerprint, report_key, enrolled, last_seen, said, proven, reports_through: _ } =
        device;
    let Record { id, product, hardware, ward, serial, udi, labels } = record;
    v1::Device {
        record: Some(v1::DeviceRecord {
            id: id.to_string(),
            product: product.to_string(),
            hardware_id: hardware.to_string(),
            ward: ward.to_string(),
            serial,
            udi,
            labels: labels.texts().collect(),
        }),
        state: state.as_str().to_owned(),
        fingerprint: fingerprint.map(|d| d.as_bytes().to_vec().into()).unwrap_or_default(),
        report_key: report_key.map(|k| k.as_bytes().to_vec().into()).unwrap_or_default(),
        enrolled_ms: enrolled.map_or(0, jiff::Timestamp::as_millisecond),
        last_seen_ms: last_seen.map_or(0, jiff::Timestamp::as_millisecond),
        said: said.and_then(|bytes| v1::CheckInRequest::decode(bytes.as_slice()).ok()),
        proven: proven.as_ref().map(v1::SignedReport::from),
        tls_key_sha256: bytes::Bytes::new(),
        forks: Vec::new(),
        lease: None,
    }
}

fn fork(row: ForkRow) -> v1::Fork {
    let ForkRow { hdo, device, repository, version, sha256, published, proven, first, last, healed } = row;
    v1::Fork {
        repository,
        hdo: hdo.to_string(),
        device: device.to_string(),
        targets_version: version,
        targets_sha256: sha256.as_bytes().to_vec().into(),
        published_sha256: published.map(|d| d.as_bytes().to_vec().into()).unwrap_or_default(),
        proven,
        first_ms: first.as_millisecond(),
        last_ms: last.as_millisecond(),
        healed_ms: healed.map_or(0, jiff::Timestamp::as_millisecond),
    }
}

pub(super) fn unknown(hdo: &HdoId, id: &DeviceId) -> Refusal {
    Refusal::not_found(format!("{hdo} has no device {id}; `suturectl device list` names them"))
}

impl Api {
    pub(super) async fn import(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::ImportDevicesRequest,
    ) -> Result<v1::ImportDevicesResponse, Refusal> {
        let v1::ImportDevicesRequest { devices, dry_run } = request;
        if devices.len() > MAX_IMPORT_DEVICES {
            return Err(Refusal::invalid(format!("devices: more than {MAX_IMPORT_DEVICES}; import them in parts")));
        }
        let mut records = Vec::with_capacity(devices.len());
        for (i, device) in devices.into_iter().enumerate() {
            records.push(record(device).map_err(|e| Refusal::invalid(format!("device {}: {e}", i + 1)))?);
        }
        let now = self.app.now();
        let mut turn = self.app.turns().wait_of(principal).await;
        let mut tx = self.app.store().begin().await?;
        turn.begin();
        let done = tx.import_devices(hdo, &records, now).await?;
        if tx.device_count(hdo).await? > MAX_HOSPITAL_DEVICES as u64 {
            let text =
                format!("devices: with these {hdo} would have more than {MAX_HOSPITAL_DEVICES}; nothing was changed");
            return Err(Refusal::new(Code::ResourceExhausted, text));
        }
        if !dry_run && done.added + done.changed > 0 {
            let detail = json!({ "added": done.added, "changed": done.changed });
            audit::append(&mut tx, now, principal, hdo.into(), "device.imported", hdo.as_str(), detail).await?;
            tx.commit().await?;
        }
        Ok(v1::ImportDevicesResponse { added: done.added, changed: done.changed, unchanged: done.unchanged })
    }

    pub(super) async fn device_token(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::CreateDeviceTokenRequest,
    ) -> Result<v1::CreateDeviceTokenResponse, Refusal> {
        let v1::CreateDeviceTokenRequest { device_id, secret_sha256, expires_ms } = request;
        let secret = parse_digest("secret_sha256", &secret_sha256)?;
        let now = self.app.now();
        let expires = token_end(expires_ms, now)?;
        let id: Option<DeviceId> = (!device_id.is_empty()).then(|| parse("device_id", &device_id)).transpose()?;
        let mut tx = self.app.store().begin().await?;
        if let Some(id) = &id {
            let device = tx.device(hdo, id).await?.ok_or_else(|| unknown(hdo, id))?;
            if device.state == DeviceState::Decommissioned {
                let text = format!("{id} is out of use for good; import the device that is to come under another id");
                return Err(Refusal::new(Code::FailedPrecondition, text));
            }
        }
        let subject = id.as_ref().map_or("any", |id| id.as_str()).to_owned();
        if !tx.insert_token(&secret, &Grant::Device(hdo.clone(), id), principal, now, expires).await? {
            return Err(Refusal::new(Code::AlreadyExists, "secret_sha256: that secret is known here; make a new one"));
        }
        audit::append(&mut tx, now, principal, hdo.into(), "device.token-made", &subject, json!({})).await?;
        tx.commit().await?;
        Ok(v1::CreateDeviceTokenResponse {})
    }

    pub(super) async fn devices(
        &self,
        hdo: &HdoId,
        request: v1::ListDevicesRequest,
    ) -> Result<v1::ListDevicesResponse, Refusal> {
        let v1::ListDevicesRequest { ward, product, state, after, limit } = request;
        let ward = (!ward.is_empty()).then(|| parse("ward", &ward)).transpose()?;
        let product = (!product.is_empty()).then(|| parse("product", &product)).transpose()?;
        let after = (!after.is_empty()).then(|| parse("after", &after)).transpose()?;
        let state = match state.as_str() {
            "" => None,
            text => {
                let unknown =
                    || Refusal::invalid("state: neither imported, pending, active, revoked nor decommissioned");
                Some(DeviceState::from_name(text).ok_or_else(unknown)?)
            }
        };
        let limit = if limit == 0 { MAX_ROWS_PER_CALL } else { limit.min(MAX_ROWS_PER_CALL) };
        let filter = DeviceFilter { ward: ward.as_ref(), product: product.as_ref(), state };
        let mut tx = self.app.store().read().await?;
        let mut devices = tx.devices(hdo, filter, after.as_ref(), limit + 1).await?;
        let more = devices.len() > limit as usize;
        devices.truncate(limit as usize);
        let ends = devices.first().zip(devices.last()).map(|(a, b)| (a.record.id.clone(), b.record.id.clone()));
        let mut forks = match ends {
            Some((first, last)) => tx.forks_of(hdo, &first, &last).await?,
            None => Vec::new(),
        };
        let with_forks = |device: Device| {
            let its = forks.extract_if(.., |f| f.device == device.record.id).map(fork).collect();
            v1::Device { forks: its, ..message(device) }
        };
        Ok(v1::ListDevicesResponse { devices: devices.into_iter().map(with_forks).collect(), more })
    }

    /// What the server has found of forks, as far as it concerns the caller.
    pub(super) async fn forks(&self, principal: &Principal) -> Result<v1::ListForksResponse, Refusal> {
        let mut tx = self.app.store().read().await?;
        let forks = match principal.hdo() {
            Some(hdo) => tx.forks(hdo, MAX_ROWS_PER_CALL).await?.into_iter().map(fork).collect(),
            // Whose devices they are is no affair of the manufacturer's.
            None => {
                let rows = tx.forks_in(&Repository::Catalog.to_string(), MAX_ROWS_PER_CALL).await?;
                rows.into_iter().map(|row| v1::Fork { device: String::new(), ..fork(row) }).collect()
            }
        };
        Ok(v1::ListForksResponse { forks })
    }

    pub(super) async fn device(
        &self,
        hdo: &HdoId,
        request: v1::GetDeviceRequest,
    ) -> Result<v1::GetDeviceResponse, Refusal> {
        let v1::GetDeviceRequest { id } = request;
        let id: DeviceId = parse("id", &id)?;
        let mut tx = self.app.store().read().await?;
        let device = tx.device(hdo, &id).await?.ok_or_else(|| unknown(hdo, &id))?;
        let words = offer::words(&mut tx, hdo, &id, self.app.now()).await?;
        let key = tx.joined_key(&Principal::Device(hdo.clone(), id.clone()).to_string()).await?;
        let forks = tx.forks_of(hdo, &id, &id).await?;
        let lease = tx.lease(hdo, &id).await?.filter(|lease| lease.counts(self.app.now()));
        let decommissioned = tx.decommissioned(hdo, &id).await?;
        drop(tx);
        let reports = self.app.store().latest_reports(hdo, &id, LATEST_REPORTS).await?;
        Ok(v1::GetDeviceResponse {
            device: Some(v1::Device {
                tls_key_sha256: key.map(|k| k.as_bytes().to_vec().into()).unwrap_or_default(),
                forks: forks.into_iter().map(fork).collect(),
                lease: lease.as_ref().map(Into::into),
                ..message(device)
            }),
            words: words.into_iter().map(server_word).collect(),
            reports: reports.iter().map(v1::SignedReport::from).collect(),
            decommissioned: decommissioned.map(Into::into),
        })
    }

    pub(super) async fn confirm(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::ConfirmDeviceRequest,
    ) -> Result<v1::ConfirmDeviceResponse, Refusal> {
        let v1::ConfirmDeviceRequest { id, fingerprint } = request;
        let id: DeviceId = parse("id", &id)?;
        let fingerprint = parse_digest("fingerprint", &fingerprint)?;
        let now = self.app.now();
        let mut tx = self.app.store().begin().await?;
        let device = tx.device(hdo, &id).await?.ok_or_else(|| unknown(hdo, &id))?;
        if device.fingerprint != Some(fingerprint) {
            let text = format!("{id} enrolled with another fingerprint: do not confirm it, look at the device");
            return Err(Refusal::new(Code::FailedPrecondition, text));
        }
        match device.state {
            // A confirmation that was cut off before the roster was signed can be given again.
            DeviceState::Active => return Ok(v1::ConfirmDeviceResponse {}),
            DeviceState::Pending => {}
            DeviceState::Imported | DeviceState::Revoked | DeviceState::Decommissioned => {
                let text = format!("{id} is {}, not pending: it must enrol first", device.state.as_str());
                return Err(Refusal::new(Code::FailedPrecondition, text));
            }
        }
        if !tx.confirm_device(hdo, &id, &fingerprint, now).await? {
            return Err(Refusal::new(Code::Aborted, format!("{id} changed meanwhile; look again")));
        }
        let detail = json!({ "fingerprint": fingerprint });
        audit::append(&mut tx, now, principal, hdo.into(), "device.confirmed", id.as_str(), detail).await?;
        tx.commit().await?;
        Ok(v1::ConfirmDeviceResponse {})
    }

    pub(super) async fn revoke(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::RevokeDeviceRequest,
    ) -> Result<v1::RevokeDeviceResponse, Refusal> {
        let v1::RevokeDeviceRequest { id, reason } = request;
        let id: DeviceId = parse("id", &id)?;
        let reason = sentence("reason", &reason)?;
        let now = self.app.now();
        let mut tx = self.app.store().begin().await?;
        tx.device(hdo, &id).await?.ok_or_else(|| unknown(hdo, &id))?;
        if tx.revoke_device(hdo, &id, now).await? {
            // Before the record, as where a lease is given back.
            tx.drop_lease(hdo, &id).await?;
            tx.lock(Lock::AuditChain).await?;
            // Whoever speaks in its name is heard no more.
            tx.revoke_certificates(&Principal::Device(hdo.clone(), id.clone()), now).await?;
            let detail = json!({ "reason": reason });
            audit::append(&mut tx, now, principal, hdo.into(), "device.revoked", id.as_str(), detail).await?;
            tx.commit().await?;
        }
        Ok(v1::RevokeDeviceResponse {})
    }
}
