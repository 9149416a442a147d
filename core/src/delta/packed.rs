//! A frame of which nothing is copied, packed in one piece: what a device that has nothing fetches, and large new files.
//!
//! zstd at its highest ordinary level finds more in four megabytes than in their chunks one by one, and unpacks at several hundred
//! megabytes a second.

use super::{DeltaError, rule};

/// As for chunks: packed once, fetched by a fleet.
const LEVEL: i32 = crate::chunk::LEVEL;

/// The packed form; `None` if the packer has failed, for there is another form.
pub(crate) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::compress(bytes, LEVEL).ok()
}

/// What was packed, which has to be of this length; takes no more memory than that, whatever the packed form claims.
pub(crate) fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, DeltaError> {
    // One zstd frame and nothing behind it.
    if zstd::zstd_safe::find_frame_compressed_size(packed).ok() != Some(packed.len()) {
        return Err(DeltaError::Code);
    }
    // In one pass into a buffer that is there already: the window that it asks for is never allocated.
    let bytes =
        zstd::bulk::decompress(packed, length).map_err(|_| rule("frame", "what is packed cannot be unpacked"))?;
    if bytes.len() == length { Ok(bytes) } else { Err(DeltaError::Code) }
}
