use super::*;
use proptest::prelude::*;

/// Bytes that look random and are the same everywhere (xorshift).
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(length);
    out
}

fn entry(raw: &[u8]) -> Entry {
    Entry { sha256: Digest::of(raw), length: u32::try_from(raw.len()).unwrap() }
}

fn lengths(bytes: &[u8]) -> Vec<usize> {
    cut(bytes).map(|c| c.unwrap().len()).collect()
}

/// Yields what it has in pieces of odd sizes, with interruptions.
struct Dribble<'a>(&'a [u8], usize);
impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = out.len().min(self.1 * 37 % 4096 + 1).min(self.0.len());
        out[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[test]
fn cuts_stand_where_they_always_stood() {
    let got = lengths(&noise(1 << 20, 42));
    assert_eq!(got, CUTS, "a change here makes every old chunk useless to every device");
}

const CUTS: &[usize] = &[
    109_198, 93_956, 82_060, 36_431, 205_771, 75_569, 35_913, 22_241, 25_766, 85_260, 41_319, 48_648, 167_679, 18_765,
];

#[test]
fn an_insertion_moves_few_cuts_and_reads_in_any_pieces_cut_alike() {
    let old = noise(4 << 20, 7);
    let mut new = old.clone();
    new.splice(1_000_000..1_000_000, *b"seventeen bytes..");
    let digests = |b: &[u8]| cut(b).map(|c| Digest::of(&c.unwrap())).collect::<Vec<_>>();
    let (old_chunks, new_chunks) = (digests(&old), digests(&new));
    let fresh = new_chunks.iter().filter(|d| !old_chunks.contains(d)).count();
    assert!(fresh <= 3, "{fresh} of {} chunks are new", new_chunks.len());
    let dribbled: Vec<_> = cut(Dribble(&old, 0)).map(|c| Digest::of(&c.unwrap())).collect();
    assert_eq!(dribbled, old_chunks);
}

#[test]
fn sizes_keep_their_bounds_and_zeros_do_not_stall() {
    for bytes in [noise(3 << 20, 1), vec![0; 3 << 20], vec![1; 5], Vec::new()] {
        let got = lengths(&bytes);
        assert_eq!(got.iter().sum::<usize>(), bytes.len());
        assert!(got.iter().all(|n| *n <= CHUNK_MAX_BYTES));
        assert!(got.iter().rev().skip(1).all(|n| *n >= CHUNK_MIN_BYTES));
    }
}

#[test]
fn a_read_error_ends_the_cutting() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
    let mut cutter = cut(noise(100, 1).chain_with(Broken));
    assert!(cutter.next().unwrap().is_err());
    assert!(cutter.next().is_none());
}

trait ChainWith {
    fn chain_with<R: Read>(self, r: R) -> io::Chain<io::Cursor<Vec<u8>>, R>;
}
impl ChainWith for Vec<u8> {
    fn chain_with<R: Read>(self, r: R) -> io::Chain<io::Cursor<Vec<u8>>, R> {
        io::Cursor::new(self).chain(r)
    }
}

#[test]
fn a_bomb_is_refused_before_it_unpacks() {
    // 64 MiB of zeros in some kilobytes, under an entry of 100 kB that it would otherwise pass as.
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let want = Entry { sha256: Digest::of(&vec![0; 100_000]), length: 100_000 };
    assert!(bomb.len() < 100_000);
    assert!(matches!(decode(&bomb, &want), Err(ChunkError::Frame { .. })));
    // Two frames, or a frame and a skippable one, of the right sum.
    let half = zstd::bulk::compress(&vec![0; 50_000], 3).unwrap();
    assert!(decode(&[half.clone(), half.clone()].concat(), &want).is_err());
    let whole = zstd::bulk::compress(&vec![0; 100_000], 3).unwrap();
    assert!(decode(&whole, &want).is_ok());
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
    assert!(decode(&[&whole[..], &skippable].concat(), &want).is_err());
    // An entry that no index would let through.
    assert!(decode(b"x", &Entry { sha256: Digest::of(b"x"), length: u32::MAX }).is_err());
    assert!(decode(b"", &Entry { sha256: Digest::of(b"x"), length: 1 }).is_err());
}

#[test]
fn every_truncation_and_flip_of_a_stored_chunk_is_refused_or_yields_the_chunk() {
    let raw = b"the same words, the same words, the same words, and then others".repeat(9);
    let want = entry(&raw);
    let stored = encode(&raw, 19).unwrap();
    assert!(stored.len() < raw.len());
    for n in 0..stored.len() {
        assert!(decode(&stored[..n], &want).is_err(), "cut at {n}");
    }
    for i in 0..stored.len() {
        for bit in 0..8 {
            let mut bad = stored.clone();
            bad[i] ^= 1 << bit;
            if let Ok(got) = decode(&bad, &want) {
                assert_eq!(got, raw, "byte {i} bit {bit}");
            }
        }
    }
}

#[test]
fn every_truncation_and_flip_of_an_index_is_refused_or_another_index_in_full() {
    let bytes = Index::new(vec![entry(b"one"), entry(b"three"), entry(b"one")]).unwrap().to_bytes();
    for n in 0..bytes.len() {
        assert!(Index::parse(&bytes[..n]).is_err(), "cut at {n}");
    }
    assert!(Index::parse(&[&bytes[..], &[0]].concat()).is_err());
    for i in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[i] ^= 0x10;
        if let Ok(index) = Index::parse(&bad) {
            assert_eq!(index.to_bytes(), bad, "byte {i}");
        }
    }
}

#[test]
fn an_index_that_lies_about_its_size_costs_nothing() {
    let mut huge = MAGIC.to_vec();
    huge.extend_from_slice(&u64::MAX.to_le_bytes());
    huge.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Index::parse(&huge), Err(ChunkError::IndexLength { .. })));
    assert!(matches!(Index::new(Vec::new()), Err(ChunkError::Empty)));
    let zero = Entry { sha256: Digest::of(b""), length: 0 };
    assert!(matches!(Index::new(vec![entry(b"a"), zero]), Err(ChunkError::EntryLength { ordinal: 1, .. })));
}

proptest! {
    #[test]
    fn chunks_survive_the_stored_form(raw in prop::collection::vec(0_u8..4, 1..3000), level in 1..20_i32) {
        let stored = encode(&raw, level).unwrap();
        prop_assert!(stored.len() <= raw.len());
        prop_assert_eq!(&*decode(&stored, &entry(&raw)).unwrap(), &raw[..]);
    }

    #[test]
    fn indexes_survive_their_bytes(lengths in prop::collection::vec(1..=CHUNK_MAX_BYTES as u32, 1..50)) {
        let entries: Vec<_> = lengths.iter().map(|n| Entry { sha256: Digest::of(&n.to_le_bytes()), length: *n }).collect();
        let index = Index::new(entries).unwrap();
        prop_assert_eq!(Index::parse(&index.to_bytes()).unwrap(), index.clone());
        let last = lengths.len() - 1;
        prop_assert_eq!(index.offset(last).unwrap() + u64::from(lengths[last]), index.total_length());
        prop_assert_eq!(index.offset(last + 1), None);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0..70_000_u32) {
        let _ = Index::parse(&bytes);
        let _ = Index::parse(&[&MAGIC[..], &bytes].concat());
        let _ = decode(&bytes, &Entry { sha256: Digest::of(b""), length });
    }
}
