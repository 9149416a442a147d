//! References in programs: what has only moved costs nothing.

use super::{noise, round_trip, tree};

/// A program of so many functions that call each other, with a table of them; before some of them stands what is new.
pub(super) fn program(functions: u64, inserted: &[u64]) -> Vec<u8> {
    const TEXT: u64 = 0x1000;
    let bodies: Vec<Vec<u8>> = (0..functions)
        .map(|i| noise(40 + (i % 7) as usize, i).iter().map(|byte| byte & 0x3f | 0x90).collect())
        .collect();
    let mut starts = Vec::new();
    let mut at = TEXT;
    for (i, body) in bodies.iter().enumerate() {
        at += if inserted.contains(&(i as u64)) { 100 } else { 0 };
        starts.push(at);
        at += body.len() as u64 + 5;
    }
    let data = at.next_multiple_of(16);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend_from_slice(&[3, 0, 62, 0]);
    file.resize(32, 0);
    file.extend_from_slice(&64_u64.to_le_bytes());
    file.resize(54, 0);
    file.extend_from_slice(&[56, 0, 2, 0]);
    file.resize(64, 0);
    for (flags, start, length) in [(5_u32, TEXT, at - TEXT), (6, data, functions * 8)] {
        file.extend_from_slice(&1_u32.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        for field in [start, start + 0x40_0000, start, length, length, 16] {
            file.extend_from_slice(&field.to_le_bytes());
        }
    }
    file.resize(TEXT as usize, 0);
    for (i, body) in bodies.iter().enumerate() {
        if inserted.contains(&(i as u64)) {
            file.extend_from_slice(&noise(100, i as u64 + 900));
        }
        file.extend_from_slice(body);
        file.push(0xe8);
        let target = starts[i * 7 % bodies.len()];
        file.extend_from_slice(&(target.wrapping_sub(file.len() as u64 + 4) as u32).to_le_bytes());
    }
    file.resize(data as usize, 0);
    starts.iter().for_each(|start| file.extend_from_slice(&(start + 0x40_0000).to_le_bytes()));
    file
}

#[test]
fn what_has_only_moved_in_a_program_costs_nothing() {
    let (old, new) = (program(3_000, &[]), program(3_000, &[500, 1_500, 2_500]));
    // 3,000 calls and 3,000 addresses changed.
    let bytes = round_trip(&old, &new);
    assert!(bytes < 300 + 400, "{bytes} bytes");
    let bytes = round_trip(&tree(&[("d/a", b"1"), ("d/b", &old)]), &tree(&[("d/a", b"1"), ("d/b", &new)]));
    assert!(bytes < 300 + 450, "{bytes} bytes");
}

/// An AArch64 program of so many functions in one segment, each of which calls another one and takes the address of a third;
/// before some of them stands what is new.
pub(super) fn arm_program(functions: usize, inserted: &[usize]) -> Vec<u8> {
    const START: usize = 0x1000;
    // Additions of registers.
    let body = |i: usize, length: usize| {
        noise(length * 3, i as u64).chunks_exact(3).flat_map(|b| [b[0], b[1], b[2] & 0x1f, 0x8b]).collect::<Vec<u8>>()
    };
    let fresh = |i| if inserted.contains(&i) { body(i + 900_000, 25) } else { Vec::new() };
    let bodies: Vec<Vec<u8>> = (0..functions).map(|i| body(i, 10 + i % 7)).collect();
    let mut end = START;
    let begin = |(i, body): (usize, &Vec<u8>)| {
        let begin = end + fresh(i).len();
        end = begin + body.len() + 12;
        begin
    };
    let starts: Vec<usize> = bodies.iter().enumerate().map(begin).collect();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend_from_slice(&[3, 0, 183, 0]);
    file.resize(32, 0);
    file.extend_from_slice(&64_u64.to_le_bytes());
    file.resize(54, 0);
    file.extend_from_slice(&[56, 0, 1, 0]);
    file.resize(64, 0);
    file.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]);
    for field in [START, START, START, end - START, end - START, 16] {
        file.extend_from_slice(&(field as u64).to_le_bytes());
    }
    file.resize(START, 0);
    for (i, body) in bodies.iter().enumerate() {
        file.extend_from_slice(&fresh(i));
        file.extend_from_slice(body);
        let here = file.len();
        let called = starts[i * 7 % functions].wrapping_sub(here) as u32 >> 2;
        let taken = starts[i * 11 % functions];
        let pages = (taken >> 12).wrapping_sub((here + 4) >> 12) as u32;
        for instruction in [
            0x9400_0000 | called & 0x03ff_ffff,
            0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5 | 9,
            0x9100_0000 | (taken as u32 & 0xfff) << 10 | 9 << 5 | 1,
        ] {
            file.extend_from_slice(&instruction.to_le_bytes());
        }
    }
    file
}

#[test]
fn what_has_only_moved_in_an_aarch64_program_costs_nothing() {
    let (old, new) = (arm_program(3_000, &[]), arm_program(3_000, &[500, 1_500, 2_500]));
    // 3,000 calls and 3,000 addresses changed.
    let bytes = round_trip(&old, &new);
    assert!(bytes < 300 + 500, "{bytes} bytes");
}

/// A relocatable file: so many functions, each with a symbol, a call of another one by that one's symbol, and a reference to
/// a place in the section itself; before some of them stands what is new.
pub(super) fn object(functions: usize, inserted: &[usize]) -> Vec<u8> {
    let (mut text, mut names, mut starts) = (Vec::new(), vec![0], Vec::new());
    let mut symbols = vec![0; 24];
    // The symbol of the section itself.
    symbols.extend_from_slice(&[0, 0, 0, 0, 3, 0, 1, 0]);
    symbols.resize(48, 0);
    for i in 0..functions {
        for fresh in [false, true] {
            if fresh && !inserted.contains(&i) {
                continue;
            }
            let name = format!("{}function_{}", if fresh { "new_" } else { "" }, noise(3, i as u64)[0]);
            let body = noise(50 + i % 7, i as u64 + if fresh { 7_000 } else { 0 });
            symbols.extend_from_slice(&(names.len() as u32).to_le_bytes());
            symbols.extend_from_slice(&[0x12, 0, 1, 0]);
            symbols.extend_from_slice(&(text.len() as u64).to_le_bytes());
            symbols.extend_from_slice(&(body.len() as u64).to_le_bytes());
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            if !fresh {
                starts.push((text.len() as u64, symbols.len() as u64 / 24 - 1));
            }
            text.extend_from_slice(&body);
        }
    }
    let mut relocations = Vec::new();
    for (i, (start, _)) in starts.iter().enumerate() {
        let (place, symbol) = starts[i * 7 % functions];
        for (offset, symbol, kind, addend) in [(start + 9, symbol, 4_u64, -4_i64), (start + 19, 1, 2, place as i64 - 4)]
        {
            relocations.extend_from_slice(&offset.to_le_bytes());
            relocations.extend_from_slice(&(symbol << 32 | kind).to_le_bytes());
            relocations.extend_from_slice(&addend.to_le_bytes());
        }
    }
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend_from_slice(&[1, 0, 62, 0]);
    file.resize(64, 0);
    let mut headers = vec![0; 64];
    // Type, the section that it is linked to, the section that it is about, the bytes of an entry.
    for (kind, link, about, entry, content) in [
        (1_u32, 0_u32, 0_u32, 0_u64, &text),
        (4, 3, 1, 24, &relocations),
        (2, 4, 2, 24, &symbols),
        (3, 0, 0, 0, &names),
    ] {
        file.resize(file.len().next_multiple_of(16), 0);
        headers.extend_from_slice(&[0; 4]);
        headers.extend_from_slice(&kind.to_le_bytes());
        headers.extend_from_slice(&[0; 16]);
        headers.extend_from_slice(&(file.len() as u64).to_le_bytes());
        headers.extend_from_slice(&(content.len() as u64).to_le_bytes());
        headers.extend_from_slice(&link.to_le_bytes());
        headers.extend_from_slice(&about.to_le_bytes());
        headers.extend_from_slice(&[0; 8]);
        headers.extend_from_slice(&entry.to_le_bytes());
        file.extend_from_slice(content);
    }
    file.resize(file.len().next_multiple_of(16), 0);
    let at = file.len() as u64;
    file[40..48].copy_from_slice(&at.to_le_bytes());
    file[58..62].copy_from_slice(&[64, 0, 5, 0]);
    file.extend_from_slice(&headers);
    file
}

#[test]
fn what_has_only_moved_in_a_relocatable_file_costs_nothing() {
    let (old, new) = (object(2_000, &[]), object(2_000, &[400, 1_600]));
    // 8,000 relocations' fields and 4,000 symbols' fields changed.
    let bytes = round_trip(&old, &new);
    assert!(bytes < 100 + 100 + 500, "{bytes} bytes");
}
