//! Messages are counted before they are read.
//!
//! Attack: two bytes on the wire are an empty message in a list, and eighty bytes or more of memory once they are read. 16
//! MiB of them would be more than half a gigabyte, in the server by a call that any device may make, and in a device by an
//! answer of a captured server. So what is in a message is counted first, by its description, and nothing is read of one
//! that has more than [`MAX_MESSAGE_PARTS`].

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::LazyLock;

use bytes::Buf as _;
use prost::encoding::decode_varint;
use prost::{Message, Name};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};
use suture_core::limits::MAX_MESSAGE_PARTS;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

use crate::DESCRIPTORS;

/// Messages in messages, one within another; ours go no deeper than five.
const MAX_DEPTH: usize = 16;

/// Messages as prost writes them, counted before prost reads them.
#[derive(Debug)]
pub struct CountedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CountedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for CountedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CountedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountedDecoder(PhantomData)
    }
}

/// The reading half of [`CountedCodec`].
#[derive(Debug)]
pub struct CountedDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for CountedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // tonic gathers a message in one piece before it asks.
        let whole = buffer.chunk();
        if whole.len() != buffer.remaining() {
            return Err(Status::internal("a message lies in pieces"));
        }
        count::<U>(whole)?;
        U::decode(buffer).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

/// Counts what is in a message; an error where that is too much, or where it is none.
fn count<U: Name>(message: &[u8]) -> Result<(), Status> {
    let shapes = SHAPES.as_ref().ok_or_else(|| Status::internal("the messages' description cannot be read"))?;
    let shape = shapes.get(&format!(".{}", U::full_name()));
    let mut parts = 0;
    match shape.map(|shape| add(shapes, shape, message, MAX_DEPTH, &mut parts)) {
        Some(Some(())) => Ok(()),
        None => Err(Status::internal(format!("{} is not described", U::full_name()))),
        Some(None) if parts > MAX_MESSAGE_PARTS => {
            Err(Status::out_of_range(format!("a message holds more than {MAX_MESSAGE_PARTS} parts")))
        }
        Some(None) => Err(Status::internal(format!("it is no {}", U::NAME))),
    }
}

/// What counts in a message: its lists, and what is in them.
#[derive(Debug, Clone)]
enum Kind {
    /// A message of this name.
    Message(String),
    /// Text or bytes.
    Bytes,
    /// A list of numbers.
    Numbers,
    /// One number.
    Number,
}

/// What the fields of a message are.
type Shape = HashMap<u64, Kind>;
/// By the messages' full names.
type Shapes = HashMap<String, Shape>;

/// The messages of [`DESCRIPTORS`].
static SHAPES: LazyLock<Option<Shapes>> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(DESCRIPTORS).ok()?.file;
    let mut shapes = Shapes::new();
    for file in files {
        describe(&mut shapes, &format!(".{}", file.package()), &file.message_type);
    }
    Some(shapes)
});

fn describe(shapes: &mut Shapes, within: &str, messages: &[DescriptorProto]) {
    for message in messages {
        let name = format!("{within}.{}", message.name());
        let fields = message.field.iter().map(|field| {
            let kind = match field.r#type() {
                Type::Message | Type::Group => Kind::Message(field.type_name().to_owned()),
                Type::String | Type::Bytes => Kind::Bytes,
                _ if field.label() == Label::Repeated => Kind::Numbers,
                _ => Kind::Number,
            };
            (u64::try_from(field.number()).unwrap_or_default(), kind)
        });
        shapes.insert(name.clone(), fields.collect());
        describe(shapes, &name, &message.nested_type);
    }
}

/// Adds what is in `message` to `parts`. `None`: it is too much, or no message.
fn add(shapes: &Shapes, shape: &Shape, mut message: &[u8], depth: usize, parts: &mut usize) -> Option<()> {
    /// Wire types of protobuf; groups (3 and 4) are in none of our messages.
    const VARINT: u64 = 0;
    const EIGHT_BYTES: u64 = 1;
    const LENGTH_DELIMITED: u64 = 2;
    const FOUR_BYTES: u64 = 5;
    let depth = depth.checked_sub(1)?;
    while !message.is_empty() {
        let key = decode_varint(&mut message).ok()?;
        let kind = shape.get(&(key >> 3));
        let mut more = usize::from(matches!(kind, Some(Kind::Numbers)));
        match key & 7 {
            VARINT => drop(decode_varint(&mut message).ok()?),
            EIGHT_BYTES => message = message.get(8..)?,
            FOUR_BYTES => message = message.get(4..)?,
            LENGTH_DELIMITED => {
                let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                let (field, rest) = message.split_at_checked(length)?;
                message = rest;
                match kind {
                    Some(Kind::Message(name)) => {
                        // One that is not described is never read: prost was given the same descriptions.
                        if let Some(shape) = shapes.get(name) {
                            add(shapes, shape, field, depth, parts)?;
                        }
                        more = 1;
                    }
                    Some(Kind::Bytes) => more = 1,
                    // Packed: one byte each or more, and eight in memory at most.
                    Some(Kind::Numbers) => more = length.div_ceil(8),
                    Some(Kind::Number) | None => {}
                }
            }
            _ => return None,
        }
        *parts = parts.saturating_add(more);
        if *parts > MAX_MESSAGE_PARTS {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;
    use crate::v1;

    /// A field that is so long.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn what_is_small_on_the_wire_and_large_in_memory_is_not_read() {
        let code = |counted: Result<(), Status>| counted.map_err(|status| status.code());
        let words = |n: usize| v1::CheckInResponse { words: vec![v1::ServerWord::default(); n], ..Default::default() };
        assert_eq!(code(count::<v1::CheckInResponse>(&words(MAX_MESSAGE_PARTS).encode_to_vec())), Ok(()));
        let many = words(MAX_MESSAGE_PARTS + 1).encode_to_vec();
        assert_eq!(code(count::<v1::CheckInResponse>(&many)), Err(Code::OutOfRange));
        // Below the top as well: news, of a repository, its files.
        let file = vec![v1::MetadataFile::default(); MAX_MESSAGE_PARTS];
        let news = v1::RepositoryNews { files: file, ..Default::default() };
        let news = v1::RefreshResponse { catalog: Some(news), ..Default::default() };
        assert_eq!(code(count::<v1::RefreshResponse>(&news.encode_to_vec())), Err(Code::OutOfRange));
        // Lists of numbers, packed and not.
        let delta = v1::Delta { chunk_bytes: vec![1; 9 * MAX_MESSAGE_PARTS], ..Default::default() }.encode_to_vec();
        let answer = v1::GetDeltaResponse::decode(&field(1, &delta)[..]).unwrap();
        assert_eq!(
            answer.delta.map(|delta| delta.chunk_bytes.len()),
            Some(9 * MAX_MESSAGE_PARTS),
            "the field's number"
        );
        assert_eq!(code(count::<v1::GetDeltaResponse>(&field(1, &delta))), Err(Code::OutOfRange));
        assert_eq!(code(count::<v1::Delta>(&[2 << 3, 1].repeat(MAX_MESSAGE_PARTS + 1))), Err(Code::OutOfRange));
    }

    #[test]
    fn the_longest_lists_that_are_sent_are_read() {
        use suture_core::limits::MAX_CHUNKS_PER_CALL;
        let ranges = vec![v1::ChunkRange { first: 7, count: 1 }; MAX_CHUNKS_PER_CALL];
        let request = v1::FetchChunksRequest { ranges, ..Default::default() };
        count::<v1::FetchChunksRequest>(&request.encode_to_vec()).unwrap();
    }

    #[test]
    fn every_message_is_described() {
        let shapes = SHAPES.as_ref().unwrap();
        for shape in shapes.values() {
            for kind in shape.values() {
                if let Kind::Message(name) = kind {
                    assert!(shapes.contains_key(name), "{name}");
                }
            }
        }
    }

    proptest! {
        /// What prost refuses is refused, and what is counted well is read as prost reads it.
        #[test]
        fn nothing_is_refused_that_is_small_and_sound(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let read = v1::CheckInResponse::decode(&bytes[..]);
            let counted = count::<v1::CheckInResponse>(&bytes);
            if let Ok(message) = read {
                prop_assert_eq!(count::<v1::CheckInResponse>(&message.encode_to_vec()).map_err(|e| e.code()), Ok(()));
            }
            if let Err(status) = counted {
                prop_assert_eq!(status.code(), Code::Internal);
            }
        }
    }
}
