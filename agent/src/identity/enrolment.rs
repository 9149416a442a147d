//! A token spent: the device's keys are made, and one of them is certified.

use std::sync::Arc;

use jiff::Timestamp;
use suture_core::clock::{Clock, format_utc};
use suture_core::digest::Digest;
use suture_core::id::DeviceId;
use suture_core::json;
use suture_core::sign::Signer as _;
use suture_core::token::{Grant, Token};
use suture_proto::connect::{self, ProxyRules, Trust};

use super::asked::Asked;
use super::certificate::{accept, csr, pem, write_tls};
use super::{Device, Identity, IdentityError, Seed, device};
use crate::client::{Client, Enrolment};
use crate::config::Settings;
use crate::departure;
use crate::durable::{self, DurableError};

impl Identity {
    /// Spends a token: makes the keys here, has the TLS key certified, and keeps all of it. Until a person of the hospital
    /// has compared [`Identity::fingerprint`] the device stays pending. Cut off at any place it can be asked again with the
    /// same token, whose end it then comes to.
    pub async fn enroll(
        settings: &Settings,
        token: &str,
        id: Option<DeviceId>,
        (clock, proxy, seed): (Arc<dyn Clock>, ProxyRules, Seed),
    ) -> Result<Self, IdentityError> {
        let dir = settings.state_dir.join("identity");
        departure::finish(&settings.state_dir)?;
        let there = match device(&dir) {
            Ok(there) => there,
            // What was settled is lost, and only another token settles it.
            Err(IdentityError::Damaged(_)) => None,
            Err(e) => return Err(e),
        };
        let read = Token::decode(token);
        if let Some(there) = there {
            // Cut off just before its end.
            if read.is_ok_and(|token| Asked::before(&dir, &token.secret.sha256()).is_ok_and(|asked| asked.is_some())) {
                Asked::forget(&dir)?;
                return Self::open(&settings.state_dir);
            }
            return Err(IdentityError::Enrolled { device: there.device, dir });
        }
        let token = read?;
        let device = device_of(&token, id, clock.now())?;
        durable::make_dir(&dir)?;
        let asked = Asked::with(&dir, &token.secret.sha256(), &seed)?;
        let trust = Trust::CaSha256(token.ca_sha256);
        let connection = connect::Settings { address: token.server.clone(), trust, identity: None, proxy, clock };
        let chain = Client::new(&connection)?
            .enroll(Enrolment {
                secret: token.secret.as_bytes(),
                csr: &csr(&asked.tls)?,
                report_key: asked.report.public().as_bytes(),
                device: device.device.as_str(),
                product: settings.product.as_str(),
                hardware: settings.hardware.as_str(),
            })
            .await?;
        let chain = accept(chain, &device, &asked.tls)?;
        let ca = chain.last().filter(|ca| Digest::of(ca) == token.ca_sha256);
        let ca = ca.ok_or(IdentityError::Chain("it does not end in the CA that the token names"))?.clone();
        let report = asked.report.to_plain_pem()?;
        let keep = || {
            durable::write_twice(&dir.join("report.pem"), report.as_bytes(), durable::SECRET)?;
            durable::write_twice(&dir.join("ca.pem"), pem(&[&ca]).as_bytes(), durable::OPEN)?;
            write_tls(&dir, &asked.tls, &chain)?;
            // Last: without it the device counts as not enrolled.
            let place = dir.join("device.json");
            let bytes =
                json::to_canonical(&device).map_err(|source| DurableError::Damaged { path: place.clone(), source })?;
            durable::write_twice(&place, &bytes, durable::OPEN)?;
            Asked::forget(&dir)
        };
        keep().map_err(IdentityError::NotKept)?;
        Self::open(&settings.state_dir)
    }
}

/// What enrolment by a token settles.
fn device_of(token: &Token, id: Option<DeviceId>, now: Timestamp) -> Result<Device, IdentityError> {
    let wrong = |text: &str| IdentityError::WrongToken(text.to_owned());
    let Grant::Device(hdo, bound) = &token.grant else {
        return Err(wrong("this token is not for a device; ask the hospital for one from `suturectl device token`"));
    };
    if token.expires <= now {
        return Err(IdentityError::WrongToken(format!(
            "the token expired at {}; ask for a new one (or set the clock, if it is wrong)",
            format_utc(token.expires)
        )));
    }
    let device = match (bound, id) {
        (Some(bound), Some(id)) if *bound != id => {
            return Err(IdentityError::WrongToken(format!("the token is for device {bound}, not for {id}")));
        }
        (Some(bound), _) => bound.clone(),
        (None, Some(id)) => id,
        (None, None) => return Err(wrong("the token is for any device of the hospital: say which with --id")),
    };
    let (Some(catalog_root_sha256), Some(approvals_root_sha256)) =
        (token.catalog_root_sha256, token.approvals_root_sha256)
    else {
        return Err(wrong("the token does not name both roots of trust; ask for one made after both sides have them"));
    };
    Ok(Device {
        server: token.server.clone(),
        trust_domain: token.trust_domain.clone(),
        hdo: hdo.clone(),
        device,
        catalog_root_sha256,
        approvals_root_sha256,
        audit_key: token.audit_key.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::token::Secret;

    fn token() -> Token {
        Token {
            server: "https://localhost:7443".into(),
            ca_sha256: Digest::of(b"ca"),
            trust_domain: "acme.example".parse().unwrap(),
            grant: Grant::Device("riverside".parse().unwrap(), Some("pump-1".parse().unwrap())),
            catalog_root_sha256: Some(Digest::of(b"c")),
            approvals_root_sha256: Some(Digest::of(b"a")),
            catalog_edition: None,
            approvals_edition: None,
            audit_key: None,
            expires: "2026-11-25T12:00:00Z".parse().unwrap(),
            secret: Secret::new([1; 32]),
        }
    }

    #[test]
    fn a_token_enrols_the_device_that_it_names_and_in_time() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        assert_eq!(device_of(&token(), None, now).unwrap().device.as_str(), "pump-1");
        assert!(device_of(&token(), Some("pump-2".parse().unwrap()), now).is_err());
        assert!(device_of(&token(), None, token().expires).is_err());
        assert!(device_of(&Token { approvals_root_sha256: None, ..token() }, None, now).is_err());
        assert!(device_of(&Token { grant: Grant::Hdo("h".parse().unwrap()), ..token() }, None, now).is_err());
        let any = Token { grant: Grant::Device("riverside".parse().unwrap(), None), ..token() };
        assert!(device_of(&any, None, now).is_err());
        assert!(device_of(&any, Some("pump-2".parse().unwrap()), now).is_ok());
    }
}
