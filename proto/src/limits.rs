//! A hospital's limits on transfers, in messages.

use suture_core::pace::{Limits, Rate, RateError};

use crate::{Invalid, v1};

impl From<&Limits> for v1::TransferLimits {
    fn from(limits: &Limits) -> Self {
        let Limits { rate, device_rate, streams } = *limits;
        Self { rate_bits: rate.map(Rate::bits), device_rate_bits: device_rate.map(Rate::bits), streams }
    }
}

impl TryFrom<&v1::TransferLimits> for Limits {
    type Error = Invalid;
    fn try_from(message: &v1::TransferLimits) -> Result<Self, Invalid> {
        let v1::TransferLimits { rate_bits, device_rate_bits, streams } = *message;
        let rate = |field: &'static str, bits: Option<u64>| {
            bits.map(Rate::try_from).transpose().map_err(|e: RateError| Invalid::new(field, e))
        };
        Ok(Self {
            rate: rate("rate_bits", rate_bits)?,
            device_rate: rate("device_rate_bits", device_rate_bits)?,
            streams,
        })
    }
}
