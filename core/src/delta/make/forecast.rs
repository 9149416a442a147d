//! What the programs of an old text would say if only their places had changed.
//!
//! Compared as they are, two versions of a program are alike in short runs only: between them stand references, and tables
//! consist of nothing else. So a first comparison finds where most of the program went; with that its references are written
//! as they ought to be in the new one; and the second comparison, of that text, finds what is really new.

use super::unit::Run;
use crate::delta::binary::{Binary, Shifts};
use crate::delta::elf::Form;
use crate::delta::map::Copy;
use crate::delta::reference::Program;
use crate::delta::{DeltaError, Source};

/// Rewrites `text`, which is the old file of `binary`, by what the runs say of it. Their places, and the binary's, are those
/// of whole payloads. Says whether there was anything to rewrite.
pub(crate) fn rewrite<O: Source>(text: &mut [u8], binary: &Binary, runs: &[Run], old: &O) -> Result<bool, DeltaError> {
    let form = Form::read(old, binary.old, u64::from(binary.old_length));
    let Some(form) = form.map_err(|source| DeltaError::Read { which: "old", source })? else { return Ok(false) };
    let start = binary.new as u64;
    let end = start + u64::from(binary.new_length);
    let within = runs.iter().filter(|run| run.new < end && run.new + run.length > start).map(|run| {
        let from = run.new.max(start);
        let to = (run.new + run.length).min(end);
        Copy { new: (from - start) as u32, length: (to - from) as u32, old: run.old + (from - run.new) }
    });
    let binary = Binary { new: 0, ..binary.clone() };
    let shifts = Shifts::new(&binary, &within.collect::<Vec<_>>());
    let program = Program { form, binary: &binary, shifts: &shifts };
    let mut sites = Vec::new();
    for (from, to, shift) in shifts.pieces(text.len() as u32) {
        let piece = text.get_mut(from as usize..to as usize).unwrap_or_default();
        program.sites(piece, from, i64::from(from) + i64::from(shift), &mut sites);
        for site in &sites {
            let guess = site.guess.to_le_bytes();
            let place = piece.iter_mut().skip(site.at as usize).take(site.width());
            place.zip(guess).for_each(|(to, from)| *to = from);
        }
    }
    Ok(true)
}
