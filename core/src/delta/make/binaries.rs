//! Which files are programs in both payloads, so that references in them can be guessed.

use std::ops::Range;

use crate::delta::binary::{Binary, MAX_RATIO};
use crate::delta::elf::Form;
use crate::delta::{DeltaError, Source};
use crate::limits::MAX_DELTA_REGION_BYTES;

/// The pair as a program, if it is one; its new place is that in the new payload.
pub(crate) fn binary<O: Source, N: Source>(
    (old, old_range): (&O, &Range<u64>),
    (new, new_range): (&N, &Range<u64>),
) -> Result<Option<Binary>, DeltaError> {
    let (old_bytes, new_bytes) = (old_range.end - old_range.start, new_range.end - new_range.start);
    let most = 2 * u64::from(MAX_DELTA_REGION_BYTES);
    if old_bytes.max(new_bytes) >= most || old_bytes > new_bytes * MAX_RATIO as u64 {
        return Ok(None);
    }
    let old_form = Form::read(old, old_range.start, old_bytes);
    let new_form = Form::read(new, new_range.start, new_bytes);
    let old_form = old_form.map_err(|source| DeltaError::Read { which: "old", source })?;
    let new_form = new_form.map_err(|source| DeltaError::Read { which: "new", source })?;
    let (moved, zeros_moved) = match (old_form, new_form) {
        (Some(Form::Loaded(old)), Some(Form::Loaded(new)))
            if old.machine == new.machine && old.segments.len() == new.segments.len() =>
        {
            let away = |old: u64, new: u64| new.wrapping_sub(old) as i64;
            let pairs = || old.segments.iter().zip(&new.segments);
            let moved =
                pairs().map(|(old, new)| away(old.address, new.address).wrapping_sub(away(old.offset, new.offset)));
            let zeros = pairs().map(|(old, new)| {
                away(old.address.wrapping_add(old.file_bytes), new.address.wrapping_add(new.file_bytes))
            });
            (moved.collect(), zeros.collect())
        }
        (Some(Form::Relocatable(_)), Some(Form::Relocatable(_))) => (Vec::new(), Vec::new()),
        _ => return Ok(None),
    };
    let (old_length, new_length) = (old_bytes as u32, new_bytes as u32);
    Ok(Some(Binary { old: old_range.start, old_length, new: new_range.start as i64, new_length, moved, zeros_moved }))
}
