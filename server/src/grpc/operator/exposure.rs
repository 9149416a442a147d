//! Exposure on the wire.

use std::collections::BTreeMap;

use prost::Message as _;
use suture_core::digest::Digest;
use suture_core::exposure::why::Why;
use suture_core::exposure::{Bundle, Claim, Finding, Question, Source, Versions, Wanted};
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::{
    MAX_ADOPTIONS_PER_CALL, MAX_MESSAGE_BYTES, MAX_PACKAGE_BYTES, MAX_ROWS_PER_CALL, MAX_SHOWN_COMPONENTS,
    MAX_VULNERABILITY_BYTES,
};
use suture_core::principal::Principal;
use suture_proto::{parse, parse_digest, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use crate::exposure::{Asked, Counts, Course, Look, Page, count};
use crate::store::exposure::{Exposed, FixRollout, Running};

/// Reads a question. Attack: one that is everything's, or a text of any length.
fn asked(question: Option<v1::ExposureQuestion>) -> Result<Asked, Refusal> {
    let v1::ExposureQuestion { vulnerability, package, name, version, range, product } = question.unwrap_or_default();
    let bounded = |field: &str, text: String, most: usize| {
        if text.len() > most || text.chars().any(char::is_control) {
            return Err(Refusal::invalid(format!("question.{field}: at most {most} bytes, and no control characters")));
        }
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    };
    let vulnerability = bounded("vulnerability", vulnerability, MAX_VULNERABILITY_BYTES)?;
    let package = bounded("package", package, MAX_PACKAGE_BYTES)?;
    let name = bounded("name", name, MAX_PACKAGE_BYTES)?;
    let version = bounded("version", version, MAX_PACKAGE_BYTES)?;
    let versions = match (version, range.as_str()) {
        (None, "") => Versions::Any,
        (Some(version), "") => Versions::One(version),
        (None, range) => Versions::In(parse("question.range", range)?),
        (Some(_), _) => {
            return Err(Refusal::invalid("question: a version and a range; one of them says which are meant"));
        }
    };
    let component = match (package, name) {
        (None, None) if versions != Versions::Any => {
            return Err(Refusal::invalid("question: versions, and no component that they are of"));
        }
        (None, None) => None,
        (package, name) => Some(Wanted { package, name, versions }),
    };
    if vulnerability.is_none() && component.is_none() {
        return Err(Refusal::invalid("question: it names neither a vulnerability nor a component"));
    }
    let product = (!product.is_empty()).then(|| parse("question.product", &product)).transpose()?;
    Ok(Asked { question: Question { vulnerability, component }, product })
}

fn whys(counts: &BTreeMap<Why, u64>) -> Vec<v1::WhyCount> {
    counts.iter().map(|(why, devices)| v1::WhyCount { why: why.as_str().to_owned(), devices: *devices }).collect()
}

fn statement(source: &Source, claim: &Claim) -> v1::ExposureStatement {
    v1::ExposureStatement {
        path: source.path.clone(),
        document: source.document.clone(),
        status: claim.status.as_str().to_owned(),
        justification: claim.justification.clone().unwrap_or_default(),
        impact: claim.impact.clone().unwrap_or_default(),
        action: claim.action.clone().unwrap_or_default(),
        at_ms: claim.at.map_or(0, |at| at.as_millisecond()),
    }
}

fn bundle(
    (bundle, finding): (&Bundle, &Finding),
    (status, problem): (&str, Option<&str>),
    fix: bool,
    running: Option<&Running>,
    counts: Option<&Counts>,
) -> v1::ExposedBundle {
    let part = |part: &suture_core::exposure::Part| v1::ExposedComponent {
        package: part.package.clone().unwrap_or_default(),
        name: part.name.clone(),
        version: part.version.clone(),
    };
    let overruled = finding.overruled.iter().take(MAX_SHOWN_COMPONENTS).map(|o| v1::ExposureStatement {
        path: o.source.path.clone(),
        document: o.source.document.clone(),
        status: o.status.as_str().to_owned(),
        ..Default::default()
    });
    let more = finding.parts.len().saturating_sub(MAX_SHOWN_COMPONENTS);
    v1::ExposedBundle {
        product: bundle.product.to_string(),
        release: bundle.release.0,
        version: bundle.version.to_string(),
        manifest_sha256: bundle.manifest.as_bytes().to_vec().into(),
        status: status.to_owned(),
        verdict: finding.verdict.as_str().to_owned(),
        fix,
        components: finding.parts.iter().take(MAX_SHOWN_COMPONENTS).map(part).collect(),
        more_components: u32::try_from(more).unwrap_or(u32::MAX),
        by: finding.by.as_ref().map(|(source, claim)| statement(source, claim)),
        overruled: overruled.collect(),
        problem: problem.unwrap_or_default().to_owned(),
        proven_devices: running.map_or(0, |r| r.proven),
        believed_devices: running.map_or(0, |r| r.believed),
        whys: counts.map(|c| whys(&c.whys)).unwrap_or_default(),
    }
}

fn bringing(rollout: &FixRollout) -> v1::BringingRollout {
    v1::BringingRollout {
        id: rollout.id.to_string(),
        product: rollout.product.to_string(),
        release: rollout.release.0,
        version: rollout.version.to_string(),
        state: rollout.state.as_str().to_owned(),
        wave: rollout.wave,
        waves: rollout.waves,
        expires_ms: rollout.expires.as_millisecond(),
        devices: rollout.devices,
        confirmed: rollout.confirmed,
        failed: rollout.failed,
    }
}

impl Api {
    pub(super) async fn exposure(
        &self,
        principal: &Principal,
        request: v1::GetExposureRequest,
    ) -> Result<v1::GetExposureResponse, Refusal> {
        let v1::GetExposureRequest { question } = request;
        let asked = asked(question)?;
        let (store, now) = (self.app.store(), self.app.now());
        let mut tx = store.read().await?;
        let look = Look::take(&mut tx, &asked).await?;
        let mut answer = v1::GetExposureResponse { pending: look.material.pending, ..Default::default() };
        let mut running: BTreeMap<Digest, Running> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        if let Some(hdo) = principal.hdo() {
            let course = Course::of(store, &mut tx, hdo, &look, now).await?;
            counts = count(&mut tx, hdo, &look, &course).await?;
            let (found, unknown) = tx.running(hdo).await?;
            running = found.into_iter().map(|r| (r.manifest, r)).collect();
            let unknown =
                unknown.into_iter().filter(|(of, _)| asked.product.as_ref().is_none_or(|product| product == of));
            answer.unknown_devices = unknown.map(|(product, n)| (product.to_string(), n)).collect();
            answer.rollouts = course.rollouts.iter().filter(|r| r.course.is_open()).map(bringing).collect();
        }
        let said = look.material.statuses.iter().zip(&look.material.problems);
        for (found, (status, problem)) in look.findings().zip(said) {
            let (ran, fix) = (running.remove(&found.0.manifest), look.is_fix(found.0));
            let verdict = found.1.verdict;
            if verdict.is_exposed() || fix || ran.is_some() || !(verdict.is_free() || found.0.listed) {
                let counts = counts.get(&found.0.manifest);
                answer.bundles.push(bundle(found, (status, problem.as_deref()), fix, ran.as_ref(), counts));
            }
        }
        // What is asked of one product leaves those of others.
        if asked.product.is_none() {
            answer.unlisted_devices = running.values().map(|r| r.proven.saturating_add(r.believed)).sum();
        }
        if answer.encoded_len() > MAX_MESSAGE_BYTES {
            let text = format!(
                "question: the answer names {} bundles and takes more than {} MiB; ask of one product: --product",
                answer.bundles.len(),
                MAX_MESSAGE_BYTES >> 20
            );
            return Err(Refusal::new(Code::FailedPrecondition, text));
        }
        Ok(answer)
    }

    pub(super) async fn exposed_devices(
        &self,
        hdo: &HdoId,
        request: v1::ListExposedDevicesRequest,
    ) -> Result<v1::ListExposedDevicesResponse, Refusal> {
        let v1::ListExposedDevicesRequest { question, after_manifest_sha256, after, limit } = request;
        let asked = asked(question)?;
        let from: Option<(Digest, DeviceId)> = match after.as_str() {
            "" => None,
            id => Some((parse_digest("after_manifest_sha256", &after_manifest_sha256)?, parse("after", id)?)),
        };
        let limit = if limit == 0 { MAX_ROWS_PER_CALL } else { limit.min(MAX_ROWS_PER_CALL) };
        let (store, now) = (self.app.store(), self.app.now());
        let mut tx = store.read().await?;
        let look = Look::take(&mut tx, &asked).await?;
        let course = Course::of(store, &mut tx, hdo, &look, now).await?;
        let page = Page::read(&mut tx, hdo, &look, &course, from, limit).await?.ok_or_else(|| {
            Refusal::invalid("after_manifest_sha256: that bundle is not exposed any more; ask from the first device")
        })?;
        let devices = page.devices.into_iter().map(|(found, device)| exposed(device, found, &look, &course)).collect();
        Ok(v1::ListExposedDevicesResponse { devices, more: page.more })
    }

    pub(super) async fn exposed_hospitals(
        &self,
        request: v1::ListExposedHospitalsRequest,
    ) -> Result<v1::ListExposedHospitalsResponse, Refusal> {
        let v1::ListExposedHospitalsRequest { question, after, limit } = request;
        let asked = asked(question)?;
        let after: Option<HdoId> = (!after.is_empty()).then(|| parse("after", &after)).transpose()?;
        let limit = if limit == 0 { MAX_ADOPTIONS_PER_CALL } else { limit.min(MAX_ADOPTIONS_PER_CALL) };
        let (store, now) = (self.app.store(), self.app.now());
        let mut tx = store.read().await?;
        let look = Look::take(&mut tx, &asked).await?;
        let mut found = tx.hospitals_after(after.as_ref(), limit + 1).await?;
        let mut more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let mut last = String::new();
        let mut hospitals = Vec::new();
        for (hdo, name) in found {
            // Of each the bundles that its devices run, of which there may be many.
            if hospitals.len() >= MAX_ROWS_PER_CALL as usize {
                more = true;
                break;
            }
            last = hdo.to_string();
            let course = Course::of(store, &mut tx, &hdo, &look, now).await?;
            let counts = count(&mut tx, &hdo, &look, &course).await?;
            for (bundle, finding) in look.exposed() {
                let Some(Counts { proven, believed, whys: reasons }) = counts.get(&bundle.manifest) else { continue };
                hospitals.push(v1::ExposedHospital {
                    hdo: hdo.to_string(),
                    name: name.clone(),
                    product: bundle.product.to_string(),
                    release: bundle.release.0,
                    version: bundle.version.to_string(),
                    verdict: finding.verdict.as_str().to_owned(),
                    proven_devices: *proven,
                    believed_devices: *believed,
                    whys: whys(reasons),
                });
            }
        }
        Ok(v1::ListExposedHospitalsResponse { hospitals, more, last })
    }
}

fn exposed(device: Exposed, (bundle, finding): (&Bundle, &Finding), look: &Look, course: &Course) -> v1::ExposedDevice {
    let Exposed { device, ward, proven, last_seen, place, phase, reason_code, reason_text } = device;
    let why = course.why(look, bundle, place.as_ref().map(|(_, place)| *place));
    let decided = course.decided(look, &bundle.product, bundle.release);
    let decided = decided.filter(|_| matches!(why, Why::Declined | Why::Deferred));
    v1::ExposedDevice {
        id: device.to_string(),
        ward: ward.to_string(),
        product: bundle.product.to_string(),
        release: bundle.release.0,
        version: bundle.version.to_string(),
        manifest_sha256: bundle.manifest.as_bytes().to_vec().into(),
        verdict: finding.verdict.as_str().to_owned(),
        proven,
        last_seen_ms: last_seen.map_or(0, |at| at.as_millisecond()),
        why: why.as_str().to_owned(),
        rollout: place.map(|(rollout, _)| rollout.to_string()).unwrap_or_default(),
        phase: phase.map(|phase| phase.to_string()).unwrap_or_default(),
        reason: reason_code.map(|code| v1::Reason { code, text: reason_text.unwrap_or_default() }),
        decision: decided.map_or(0, |d| d.number),
        decision_reason: decided.map(|d| d.decision.reason.clone()).unwrap_or_default(),
        review: decided.map(|d| d.decision.review.to_string()).unwrap_or_default(),
    }
}
