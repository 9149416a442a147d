//! How a device comes by its certificates.

use suture_proto::v1;

use super::{Client, ClientError, timely};

/// What an enrolment hands over.
#[derive(Debug)]
pub struct Enrolment<'a> {
    /// The token's secret.
    pub secret: &'a [u8; 32],
    /// PKCS#10, DER.
    pub csr: &'a [u8],
    /// Ed25519.
    pub report_key: &'a [u8; 32],
    /// The id that the device takes.
    pub device: &'a str,
    /// What it is.
    pub product: &'a str,
    /// Its hardware revision.
    pub hardware: &'a str,
}

impl Client {
    /// Spends an enrolment token. The certificate chain.
    pub async fn enroll(&mut self, request: Enrolment<'_>) -> Result<Vec<Vec<u8>>, ClientError> {
        let Enrolment { secret, csr, report_key, device, product, hardware } = request;
        let request = v1::EnrollRequest {
            secret: secret.to_vec().into(),
            csr: csr.to_vec().into(),
            report_key: report_key.to_vec().into(),
            device_id: device.to_owned(),
            product: product.to_owned(),
            hardware_id: hardware.to_owned(),
        };
        let v1::EnrollResponse { chain } = timely("the enrolment", self.inner.enroll(request)).await?;
        Ok(chain.into_iter().map(Into::into).collect())
    }

    /// A new certificate. The chain.
    pub async fn renew(&mut self, csr: &[u8]) -> Result<Vec<Vec<u8>>, ClientError> {
        let request = v1::RenewRequest { csr: csr.to_vec().into() };
        let v1::RenewResponse { chain } = timely("the renewal", self.inner.renew(request)).await?;
        Ok(chain.into_iter().map(Into::into).collect())
    }
}
