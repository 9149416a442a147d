//! Makes a delta between two payloads, applies it, compares, and prints what it took.
//!
//! ```sh
//! cargo run --release -p suture-core --example delta -- OLD NEW
//! ```
//!
//! OLD and NEW are payload files, archived trees or images. Time is what this thread spent on a processor; memory is the most that
//! the process held above what it held before.

#![expect(clippy::print_stdout, reason = "what it measures is for whoever ran it")]

use std::error::Error;
use std::os::unix::fs::FileExt as _;
use std::{env, fs, io};

use suture_core::chunk;
use suture_core::delta::make::Encoded;
use suture_core::delta::{self, Map, Payload, Source};
use suture_core::digest::Hasher;

struct Disk {
    file: fs::File,
    length: u64,
}

impl Source for Disk {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A payload, what it is, and where its chunks end.
fn open(path: &str) -> Outcome<(Disk, Payload, Vec<u64>)> {
    let mut hash = Hasher::default();
    let mut ends = Vec::new();
    let mut length = 0;
    for chunk in chunk::cut(fs::File::open(path)?) {
        let chunk = chunk?;
        hash.update(&chunk);
        length += chunk.len() as u64;
        ends.push(length);
    }
    Ok((Disk { file: fs::File::open(path)?, length }, Payload { sha256: hash.finish(), length }, ends))
}

/// Seconds that this thread has spent on a processor.
fn cpu_secs() -> Outcome<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9)
}

/// A figure of this process's memory, in MiB.
fn memory(field: &str) -> Outcome<f64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    Ok(line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<f64>()? / 1024.0)
}

/// From here on the most memory is counted anew.
fn forget_peak() -> Outcome<f64> {
    fs::write("/proc/self/clear_refs", "5")?;
    memory("VmRSS")
}

fn main() -> Outcome<()> {
    let paths: Vec<String> = env::args().skip(1).collect();
    let [old_path, new_path] = paths.as_slice() else { return Err("give OLD and NEW".into()) };
    let (old, old_payload, _) = open(old_path)?;
    let (new, new_payload, ends) = open(new_path)?;

    let idle = forget_peak()?;
    let before = cpu_secs()?;
    let mut parts: Vec<Encoded> = Vec::new();
    let head = delta::make((&old, old_payload), (&new, new_payload), &ends, |encoded| parts.push(encoded))?;
    let make_secs = cpu_secs()? - before;
    let make_memory = memory("VmHWM")? - idle;

    let head_bytes = head.to_bytes()?.len();
    let map_bytes: usize = parts.iter().map(|part| part.map.len()).sum();
    let frame_bytes: usize = parts.iter().flat_map(|part| &part.frames).map(Vec::len).sum();
    let frames: usize = parts.iter().map(|part| part.frames.len()).sum();
    println!(
        "delta bytes   {} (head {head_bytes}, maps {map_bytes}, frames {frame_bytes})",
        head_bytes + map_bytes + frame_bytes
    );
    println!("parts         {} regions, {frames} frames", parts.len());
    println!("make          {make_secs:.1} CPU s, {make_memory:.0} MiB");

    let idle = forget_peak()?;
    let mut at = 0;
    let mut secs = 0.0;
    let mut truth = Vec::new();
    for (region, part) in head.regions.iter().zip(&parts) {
        let before = cpu_secs()?;
        let map = Map::decode(&part.map, region.length() as u32, old.length())?;
        secs += cpu_secs()? - before;
        let mut start = 0;
        for (frame, bytes) in region.frames.iter().zip(&part.frames) {
            let before = cpu_secs()?;
            let made = map.apply(bytes, start..start + frame.length, &old)?;
            secs += cpu_secs()? - before;
            start += frame.length;
            truth.resize(64 << 10, 0);
            for piece in made.chunks(64 << 10) {
                let truth = truth.get_mut(..piece.len()).ok_or("a piece has a length")?;
                new.read_at(at, truth)?;
                if truth != piece {
                    let same = truth.iter().zip(piece).take_while(|(a, b)| a == b).count();
                    return Err(format!("the bytes differ from {} on", at + same as u64).into());
                }
                at += piece.len() as u64;
            }
        }
    }
    if at != new.length() {
        return Err("the new payload is longer".into());
    }
    println!("apply         {secs:.2} CPU s, {:.0} MB/s, {:.1} MiB", at as f64 / 1e6 / secs, memory("VmHWM")? - idle);
    Ok(())
}
