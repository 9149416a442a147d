//! A frame of which nothing is copied, packed in one piece: what a device that has nothing fetches, and large new files.
//!
//! zstd at its highest ordinary level finds more in four megabytes than in their chunks one by one, and unpacks at several
//! hundred megabytes a second. x86-64 code is packed better where each call of a function says the same: so distances that
//! look like those of a call, a jump or an operand are turned into places, and back.

use super::loaded;
use super::{DeltaError, rule};

/// As for chunks: packed once, fetched by a fleet.
const LEVEL: i32 = crate::chunk::LEVEL;
/// What decides whether distances are turned into places.
const TRIAL_LEVEL: i32 = 1;

/// A distance that is turned is of so many bits, the sign included, so that its highest byte says whether it is one, before
/// and after.
const DISTANCE_BITS: u32 = 25;

/// What is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The bytes as they are.
    Plain,
    /// With places for distances.
    Places,
}

/// The packed form, and which; `None` if the packer has failed, for there is another way to tell a frame.
pub(crate) fn pack(bytes: &[u8]) -> Option<(Way, Vec<u8>)> {
    let mut places = bytes.to_vec();
    turn(&mut places, u32::wrapping_add);
    let trial = |bytes| zstd::bulk::compress(bytes, TRIAL_LEVEL).ok();
    let (way, bytes) = if trial(places.as_slice())?.len() < trial(bytes)?.len() {
        (Way::Places, places.as_slice())
    } else {
        (Way::Plain, bytes)
    };
    Some((way, zstd::bulk::compress(bytes, LEVEL).ok()?))
}

/// What was packed, which has to be of this length; takes no more memory than that, whatever the packed form claims.
pub(crate) fn unpack(way: Way, packed: &[u8], length: usize) -> Result<Vec<u8>, DeltaError> {
    // One zstd frame and nothing behind it.
    if zstd::zstd_safe::find_frame_compressed_size(packed).ok() != Some(packed.len()) {
        return Err(DeltaError::Code);
    }
    // In one pass into a buffer that is there already: the window that it asks for is never allocated.
    let bytes = zstd::bulk::decompress(packed, length);
    let mut bytes = bytes.map_err(|_| rule("frame", "what is packed cannot be unpacked"))?;
    if bytes.len() != length {
        return Err(DeltaError::Code);
    }
    if way == Way::Places {
        turn(&mut bytes, u32::wrapping_sub);
    }
    Ok(bytes)
}

/// Adds its place to each distance, or takes it off again. What looks like one and is too far is left, and stepped over all
/// the same: so nothing that decides is changed.
fn turn(bytes: &mut [u8], change: fn(u32, u32) -> u32) {
    let unused = 32 - DISTANCE_BITS;
    let mut at = 0;
    while at < bytes.len() {
        let field = loaded::distance_at(bytes, at);
        let Some(place) = field else {
            at += 1;
            continue;
        };
        at = place + 4;
        let Some(word) = bytes.get_mut(place..).and_then(|rest| rest.first_chunk_mut::<4>()) else { break };
        if matches!(word[3], 0 | 0xff) {
            let value = change(u32::from_le_bytes(*word), place as u32);
            *word = ((value << unused).cast_signed() >> unused).to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::turn;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_turned_comes_back(bytes in prop::collection::vec(
            prop::sample::select(&[0_u8, 1, 5, 0x0d, 0x0f, 0x48, 0x7f, 0x80, 0x84, 0x8b, 0x8d, 0xe8, 0xe9, 0xfe, 0xff][..]), 0..400,
        )) {
            let mut turned = bytes.clone();
            turn(&mut turned, u32::wrapping_add);
            turn(&mut turned, u32::wrapping_sub);
            prop_assert_eq!(turned, bytes);
        }
    }
}
