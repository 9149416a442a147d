//! How wanted chunks become reads of packs and frames of a stream. Pure.

use suture_core::limits::FRAME_BYTES;

use crate::store::chunks::Place;

/// The longest single read of a pack: a few frames, so that the disk reads ahead of the network.
pub(super) const READ_BYTES: u64 = 1 << 20;

/// A read of consecutive bytes of one pack, and the chunks in it, in the order wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// The pack.
    pub(super) pack: String,
    /// Where the first chunk begins.
    pub(super) offset: u64,
    /// How much to read, in bytes.
    pub(super) length: u64,
    /// Ordinal and stored length of each chunk, one behind another.
    pub(super) chunks: Vec<(u32, u32)>,
}

/// Joins chunks that are wanted one after another and lie one behind another.
pub(super) fn plan(wanted: impl Iterator<Item = (u32, Place)>) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    for (ordinal, place) in wanted {
        let stored = u64::from(place.stored_length);
        match reads.last_mut() {
            Some(read)
                if read.pack == place.pack
                    && read.offset + read.length == place.offset
                    && read.length + stored <= READ_BYTES =>
            {
                read.length += stored;
                read.chunks.push((ordinal, place.stored_length));
            }
            _ => reads.push(Read {
                pack: place.pack,
                offset: place.offset,
                length: stored,
                chunks: vec![(ordinal, place.stored_length)],
            }),
        }
    }
    reads
}

/// Groups a read's chunks into frames of about [`FRAME_BYTES`], whole chunks each.
pub(super) fn frames(chunks: &[(u32, u32)]) -> Vec<&[(u32, u32)]> {
    let mut out = Vec::new();
    let mut rest = chunks;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|(_, stored)| {
            bytes += *stored as usize;
            bytes <= FRAME_BYTES
        });
        let count = fits.count().max(1);
        let (frame, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        out.push(frame);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_chunk_is_read_once_in_order_and_within_bounds(
            places in prop::collection::vec((0..3u8, 0..64u64, 1..300_000u32), 1..200)
        ) {
            let wanted: Vec<_> = places
                .iter()
                .enumerate()
                .map(|(i, &(pack, gap, stored))| {
                    let offset = places[..i].iter().filter(|p| p.0 == pack).map(|p| u64::from(p.2)).sum::<u64>()
                        + if gap == 0 { 1 } else { 0 };
                    (i as u32, Place { pack: pack.to_string(), offset, stored_length: stored, raw_length: stored })
                })
                .collect();
            let reads = plan(wanted.iter().cloned());
            let mut seen = Vec::new();
            for read in &reads {
                prop_assert!(read.length <= READ_BYTES || read.chunks.len() == 1);
                let mut at = read.offset;
                for (ordinal, stored) in &read.chunks {
                    let place = &wanted[*ordinal as usize].1;
                    prop_assert_eq!((&place.pack, place.offset, place.stored_length), (&read.pack, at, *stored));
                    at += u64::from(*stored);
                    seen.push(*ordinal);
                }
                prop_assert_eq!(at - read.offset, read.length);
                let framed: Vec<_> = frames(&read.chunks).concat();
                prop_assert_eq!(&framed, &read.chunks);
                for frame in frames(&read.chunks) {
                    let bytes: u64 = frame.iter().map(|f| u64::from(f.1)).sum();
                    prop_assert!(bytes <= FRAME_BYTES as u64 || frame.len() == 1);
                }
            }
            prop_assert_eq!(seen, (0..wanted.len() as u32).collect::<Vec<_>>());
        }
    }
}
