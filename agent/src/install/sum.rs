//! Length and digest of a payload's bytes as they pass by.

use std::io::{self, Read, Write};

use suture_core::digest::Hasher;
use suture_core::manifest::Payload;

use super::{InstallError, Within};

/// Length and digest of what passes by.
#[derive(Default)]
pub(super) struct Sum {
    hasher: Hasher,
    length: u64,
}

impl Sum {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
    }

    pub(super) fn check(self, payload: &Payload) -> Result<(), InstallError> {
        if self.length == payload.length && self.hasher.finish() == payload.sha256 {
            Ok(())
        } else {
            Err(InstallError::WrongBytes { payload: payload.name.to_string() })
        }
    }
}

/// The same, where somebody may end it.
pub(super) struct Passed<'a> {
    pub(super) sum: Sum,
    pub(super) pass: &'a mut dyn FnMut(u64) -> io::Result<()>,
}

impl Write for Passed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.pass)(bytes.len() as u64)?;
        self.sum.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same of what is read, within a time.
pub(super) struct Summed<'a, R> {
    pub(super) inner: R,
    pub(super) sum: Sum,
    pub(super) within: &'a Within,
}

impl<R: Read> Read for Summed<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.within.check()?;
        let n = self.inner.read(out)?;
        self.sum.take(out.get(..n).unwrap_or_default());
        Ok(n)
    }
}
