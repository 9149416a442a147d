use proptest::prelude::*;

use super::*;

fn chunk(ordinal: u32, stored_length: u32) -> v1::FetchedChunk {
    v1::FetchedChunk { ordinal, stored_length }
}

/// A message as gRPC sends it.
fn sent(message: &impl prost::Message) -> Vec<u8> {
    framed(&message.encode_to_vec())
}

fn framed(encoded: &[u8]) -> Vec<u8> {
    let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
    [&[0][..], &length, encoded].concat()
}

/// The chunks in the messages that come in these parts, put together.
fn read(form: Form, parts: impl IntoIterator<Item = Bytes>) -> Result<Vec<(u32, Vec<u8>)>, ClientError> {
    let mut reader = Reader::new(form);
    let mut read: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut left = 0;
    for part in parts {
        for piece in reader.take(part)? {
            assert!(!piece.stored.is_empty());
            match read.last_mut() {
                Some(last) if left > 0 => {
                    assert_eq!((last.0, left), (piece.ordinal, piece.left + piece.stored.len() as u32));
                    last.1.extend(piece.stored);
                }
                _ => read.push((piece.ordinal, piece.stored.into())),
            }
            left = piece.left;
        }
        assert!(reader.head.len() <= MAX_FIELD_BYTES, "no more is kept than a field");
    }
    assert!(reader.is_between_messages() && left == 0, "a message is left");
    Ok(read)
}

/// `bytes` cut at these places.
fn cut(bytes: &[u8], places: &[prop::sample::Index]) -> Vec<Bytes> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| Bytes::copy_from_slice(&bytes[ends[0]..ends[1]])).collect()
}

#[test]
fn a_frame_is_filled_exactly_or_refused() {
    let one = |chunks, data: &'static [u8]| {
        let message = v1::FetchChunksResponse { chunks, data: Bytes::from_static(data) };
        read(Form::Chunks, [sent(&message).into()])
    };
    let good = one(vec![chunk(3, 2), chunk(5, 1)], b"abc").unwrap();
    assert_eq!(good, [(3, b"ab".to_vec()), (5, b"c".to_vec())]);
    for (chunks, data) in [
        (vec![], &b""[..]),
        (vec![], b"abc"),
        (vec![chunk(0, 0)], b""),
        (vec![chunk(0, 3), chunk(1, 0)], b"abc"),
        (vec![chunk(0, 4)], b"abc"),
        (vec![chunk(0, 2)], b"abc"),
        (vec![chunk(0, u32::MAX)], b"abc"),
    ] {
        assert!(matches!(one(chunks, data), Err(ClientError::Senseless { .. })));
    }
    let many = one(vec![chunk(0, 0); MAX_CHUNKS_PER_CALL + 1], b"");
    assert!(matches!(many, Err(ClientError::TooMany { .. })), "{many:?}");

    let delta = |data: &[u8]| read(Form::Delta, [sent(&v1::FetchDeltaResponse { data: data.to_vec().into() }).into()]);
    assert_eq!(delta(b"abc").unwrap(), [(0, b"abc".to_vec())]);
    for data in [vec![], vec![0; FRAME_BYTES + 1]] {
        assert!(matches!(delta(&data), Err(ClientError::Senseless { .. })));
    }
}

#[test]
fn a_frame_that_goes_on_behind_its_data_or_ends_within_a_field_is_refused() {
    let good = v1::FetchChunksResponse { chunks: vec![chunk(0, 3)], data: (&b"abc"[..]).into() }.encode_to_vec();
    // A field of a newer server is passed over, before and behind.
    let newer = [0xf2, 0x01, 2, 7, 7];
    let read = |parts: &[&[u8]]| read(Form::Chunks, [framed(&parts.concat()).into()]);
    assert_eq!(read(&[&newer, &good, &newer]).unwrap(), [(0, b"abc".to_vec())]);
    for bad in
        [&[&good[..], &good][..], &[&good, &newer[..4]], &[&newer[..4], &good], &[&[0xf2, 0x01, 99], &[7; 99], &good]]
    {
        assert!(matches!(read(bad), Err(ClientError::Senseless { .. })), "{bad:?}");
    }
}

#[test]
fn what_lies_in_one_part_is_not_copied() {
    let message = v1::FetchChunksResponse { chunks: vec![chunk(0, 3), chunk(1, 4)], data: (&b"abcdefg"[..]).into() };
    let part = Bytes::from(sent(&message));
    let within = part.as_ptr_range();
    let pieces = Reader::new(Form::Chunks).take(part).unwrap();
    assert!(pieces.len() == 2 && pieces.iter().all(|piece| within.contains(&piece.stored.as_ptr())));
}

#[test]
fn a_long_or_compressed_message_is_refused_by_its_head() {
    let take = |bytes: &'static [u8]| Reader::new(Form::Chunks).take(Bytes::from_static(bytes));
    assert!(matches!(take(&[0, 0xff, 0, 0, 0]), Err(ClientError::TooLong { .. })));
    assert!(matches!(take(&[1, 0, 0, 0, 1]), Err(ClientError::Senseless { .. })));
}

proptest! {
    /// However the bytes come, what they say is the same; and what has come before a cut is there, but for what says what it
    /// is of.
    #[test]
    fn chunks_are_the_same_wherever_they_are_cut(
        frames in prop::collection::vec(prop::collection::vec((any::<u32>(), 1_u32..400), 1..6), 1..5),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        let (mut meant, mut heads) = (Vec::new(), 0);
        for (number, frame) in frames.iter().enumerate() {
            let chunks = frame.iter().map(|&(ordinal, length)| chunk(ordinal, length)).collect();
            let length: u32 = frame.iter().map(|&(_, length)| length).sum();
            let data: Bytes = (0..length).map(|at| (at as usize + number) as u8).collect::<Vec<_>>().into();
            let mut left = data.clone();
            meant.extend(frame.iter().map(|&(o, length)| (o, left.split_to(length as usize).to_vec())));
            let message = sent(&v1::FetchChunksResponse { chunks, data: data.clone() });
            heads += message.len() - data.len();
            bytes.extend(message);
        }
        prop_assert_eq!(read(Form::Chunks, cut(&bytes, &places)).unwrap(), meant.clone());

        let came = &bytes[..end.index(bytes.len())];
        let mut reader = Reader::new(Form::Chunks);
        let pieces: Vec<Piece> = cut(came, &places).into_iter().flat_map(|part| reader.take(part).unwrap()).collect();
        let there: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.stored).collect();
        prop_assert!(there.len() + heads >= came.len());
        let whole: Vec<u8> = meant.into_iter().flat_map(|(_, data)| data).collect();
        prop_assert_eq!(&there, &whole[..there.len()]);
    }

    /// What is no message is refused as prost refuses it, and what prost takes is taken or lacks what a frame needs.
    #[test]
    fn no_bytes_are_read_otherwise_than_prost_reads_them(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let bytes = framed(&bytes);
        if let Ok(read) = read(Form::Chunks, cut(&bytes, &places)) {
            let v1::FetchChunksResponse { chunks, data } = v1::FetchChunksResponse::decode(&bytes[PREFIX_BYTES..]).unwrap();
            prop_assert_eq!(read.iter().map(|(o, _)| *o).collect::<Vec<_>>(), chunks.iter().map(|c| c.ordinal).collect::<Vec<_>>());
            prop_assert_eq!(read.into_iter().flat_map(|(_, stored)| stored).collect::<Vec<u8>>(), data.to_vec());
        }
    }
}
