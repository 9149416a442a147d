//! What a later release says besides: fields that no message has today, at the end of each message of an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tonic::body::Body;

/// A number, eight bytes, four bytes, and text, as fields 1000 to 1003.
pub const MORE: &[u8] = b"\xc0\x3e\x2a\xc9\x3e12345678\xd5\x3e1234\xda\x3e\x05hello";
/// Whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// An answer of which each message says more, and is counted. tonic hands over whole messages, one or several at once.
pub(super) fn said(answer: Body, count: Arc<AtomicU64>) -> Body {
    Body::new(answer.map_frame(move |frame| frame.map_data(|data| messages(data, &count))))
}

fn messages(mut data: Bytes, count: &AtomicU64) -> Bytes {
    let mut later = BytesMut::new();
    while data.remaining() >= PREFIX_BYTES {
        let (compressed, length) = (data.get_u8(), data.get_u32());
        let message = data.split_to(length as usize);
        later.put_u8(compressed);
        later.put_u32(length + u32::try_from(MORE.len()).unwrap());
        later.put_slice(&message);
        later.put_slice(MORE);
        count.fetch_add(1, Ordering::SeqCst);
    }
    assert!(data.is_empty(), "a message came in parts");
    later.freeze()
}
