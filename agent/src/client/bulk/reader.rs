//! What bulk messages hold, read as they come. Pure.
//!
//! Of a message no more is kept than what stands before its data, a field at a time, and which chunks the data are of:
//! however small the parts are in which it comes, they are handed on.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use suture_core::limits::{CHUNK_MAX_STORED_BYTES, FRAME_BYTES, MAX_CHUNKS_PER_CALL, MAX_FRAME_BYTES};
use suture_proto::v1;

use super::super::{ClientError, Piece};
use super::senseless;

/// What stands before each gRPC message: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;
/// A field that is read whole: a chunk's place and length, or what a newer server says besides.
const MAX_FIELD_BYTES: usize = 64;

/// Which messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// [`v1::FetchChunksResponse`]: `chunks` is field 1, `data` is field 2.
    Chunks,
    /// [`v1::FetchDeltaResponse`]: `data` is field 1. It reads as one chunk, of place 0.
    Delta,
}

impl Form {
    /// The call, in messages to people.
    pub(super) const fn call(self) -> &'static str {
        match self {
            Self::Chunks => "the transfer",
            Self::Delta => "the delta",
        }
    }

    const fn data_field(self) -> u32 {
        match self {
            Self::Chunks => 2,
            Self::Delta => 1,
        }
    }

    const fn chunks_field(self) -> Option<u32> {
        match self {
            Self::Chunks => Some(1),
            Self::Delta => None,
        }
    }
}

/// Reads one message after another.
#[derive(Debug)]
pub(super) struct Reader {
    form: Form,
    /// What has come of a prefix or a field.
    head: Vec<u8>,
    /// Of the message under way; none between two.
    message: Option<Coming>,
}

/// A message under way.
#[derive(Debug)]
struct Coming {
    /// Bytes that are still to come.
    left: usize,
    /// Bytes of the data that are still to come; none where they have not begun.
    data_left: Option<usize>,
    /// The chunks that these are of, and what is still to come of each.
    chunks: VecDeque<(u32, u32)>,
}

/// A field, as far as it is read whole.
enum Field {
    Chunk(v1::FetchedChunk),
    /// So many bytes of data follow.
    Data(u64),
    Other,
}

impl Reader {
    pub(super) const fn new(form: Form) -> Self {
        Self { form, head: Vec::new(), message: None }
    }

    /// Whether the last message has come whole.
    pub(super) const fn is_between_messages(&self) -> bool {
        self.message.is_none() && self.head.is_empty()
    }

    /// What these bytes bring, which follow those before.
    pub(super) fn take(&mut self, mut came: Bytes) -> Result<Vec<Piece>, ClientError> {
        let mut pieces = Vec::new();
        while !came.is_empty() {
            match &mut self.message {
                Some(message) if message.data_left.is_some_and(|left| left > 0) => {
                    pieces.push(message.piece(&mut came, self.form)?);
                }
                _ => self.take_head(came.get_u8())?,
            }
            if self.message.as_ref().is_some_and(|message| message.left == 0) {
                self.end()?;
            }
        }
        Ok(pieces)
    }

    fn wrong(&self, text: &str) -> ClientError {
        senseless(self.form.call(), text)
    }

    fn take_head(&mut self, byte: u8) -> Result<(), ClientError> {
        self.head.push(byte);
        let Some(message) = &mut self.message else {
            return if self.head.len() < PREFIX_BYTES { Ok(()) } else { self.begin() };
        };
        message.left = message.left.saturating_sub(1);
        let field = field(&self.head, self.form)?;
        if field.is_some() {
            self.head.clear();
        } else if self.head.len() >= MAX_FIELD_BYTES {
            return Err(self.wrong("a field of a frame makes no sense, or is too long"));
        }
        match field {
            None | Some(Field::Other) => Ok(()),
            Some(_) if message.data_left.is_some() => Err(self.wrong("a frame goes on behind its data")),
            Some(Field::Chunk(_)) if message.chunks.len() >= MAX_CHUNKS_PER_CALL => {
                Err(ClientError::TooMany { call: self.form.call() })
            }
            Some(Field::Chunk(v1::FetchedChunk { ordinal, stored_length })) => {
                message.chunks.push_back((ordinal, stored_length));
                Ok(())
            }
            Some(Field::Data(length)) => message.begin_data(length, self.form),
        }
    }

    /// A message begins, whose prefix has come.
    fn begin(&mut self) -> Result<(), ClientError> {
        let mut prefix = self.head.as_slice();
        if prefix.get_u8() != 0 {
            return Err(self.wrong("a frame is compressed, which was not asked for"));
        }
        let left = prefix.get_u32() as usize;
        // Attack: endless data.
        if left > MAX_FRAME_BYTES {
            return Err(ClientError::TooLong { call: self.form.call(), limit: MAX_FRAME_BYTES as u64 });
        }
        self.head.clear();
        self.message = Some(Coming { left, data_left: None, chunks: VecDeque::new() });
        Ok(())
    }

    /// The message has come whole.
    fn end(&mut self) -> Result<(), ClientError> {
        let has_data = self.message.take().is_some_and(|message| message.data_left.is_some());
        if !self.head.is_empty() {
            return Err(self.wrong("a frame ends within a field"));
        }
        if has_data { Ok(()) } else { Err(self.wrong("a frame holds no data")) }
    }
}

impl Coming {
    /// The data begin: they fill the chunks that were named, and nothing else.
    fn begin_data(&mut self, length: u64, form: Form) -> Result<(), ClientError> {
        let wrong = |text| Err(senseless(form.call(), text));
        if length > self.left as u64 {
            return wrong("a field is longer than its frame");
        }
        let most = match form {
            Form::Chunks => CHUNK_MAX_STORED_BYTES as u64,
            Form::Delta => {
                self.chunks = VecDeque::from([(0, u32::try_from(length).unwrap_or(u32::MAX))]);
                FRAME_BYTES as u64
            }
        };
        if !self.chunks.iter().all(|(_, length)| (1..=most).contains(&u64::from(*length))) {
            return wrong("what a frame holds is empty or too long");
        }
        let named = self.chunks.iter().fold(0_u64, |sum, (_, length)| sum.saturating_add((*length).into()));
        if named != length || self.chunks.is_empty() {
            return wrong("the data of a frame are not as long as its chunks");
        }
        self.data_left = usize::try_from(length).ok();
        Ok(())
    }

    /// What has come of the chunk at hand.
    fn piece(&mut self, came: &mut Bytes, form: Form) -> Result<Piece, ClientError> {
        let Some((ordinal, left)) = self.chunks.front_mut() else {
            return Err(senseless(form.call(), "a frame holds more than its chunks"));
        };
        let stored = came.split_to(came.len().min(*left as usize));
        *left = left.saturating_sub(u32::try_from(stored.len()).unwrap_or(u32::MAX));
        let piece = Piece { ordinal: *ordinal, stored, left: *left };
        if piece.left == 0 {
            self.chunks.pop_front();
        }
        self.left = self.left.saturating_sub(piece.stored.len());
        self.data_left = self.data_left.map(|left| left.saturating_sub(piece.stored.len()));
        Ok(piece)
    }
}

/// The field that these bytes are; none where more are to come. What can never become a field is told from one that has not
/// come by its length alone.
fn field(mut head: &[u8], form: Form) -> Result<Option<Field>, ClientError> {
    let head = &mut head;
    let Ok((tag, wire)) = decode_key(head) else { return Ok(None) };
    let is_data = tag == form.data_field();
    if !is_data && Some(tag) != form.chunks_field() {
        return Ok(skip_field(wire, tag, head, DecodeContext::default()).ok().map(|()| Field::Other));
    }
    if wire != WireType::LengthDelimited {
        return Err(senseless(form.call(), "a field of a frame is of another kind"));
    }
    let Ok(length) = decode_varint(head) else { return Ok(None) };
    if is_data {
        return Ok(Some(Field::Data(length)));
    }
    if length > MAX_FIELD_BYTES as u64 {
        return Err(senseless(form.call(), "a field of a frame makes no sense, or is too long"));
    }
    if head.remaining() < usize::try_from(length).unwrap_or(usize::MAX) {
        return Ok(None);
    }
    match v1::FetchedChunk::decode(*head) {
        Ok(chunk) => Ok(Some(Field::Chunk(chunk))),
        Err(e) => Err(senseless(form.call(), &e.to_string())),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
