//! Makes a delta between two payloads, or applies one, and prints what that took.
//!
//! ```sh
//! cargo run --release -p suture-core --example delta -- make OLD NEW FILE
//! cargo run --release -p suture-core --example delta -- apply OLD FILE OUT
//! ```
//!
//! OLD and NEW are payload files, archived trees or images; /dev/null is the payload of a device that has nothing. Time is
//! what the step spent on a processor, reading and writing included; memory is the most that the process held above what it
//! held idle.

#![expect(clippy::print_stdout, reason = "what it measures is for whoever ran it")]

use std::error::Error;
use std::io::{BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::{env, fs, io};

use suture_core::chunk;
use suture_core::delta::make::Encoded;
use suture_core::delta::{self, Head, Map, Payload, Source};
use suture_core::digest::Hasher;
use suture_core::limits::MAX_DELTA_HEAD_BYTES;

struct Disk {
    file: fs::File,
    length: u64,
}

impl Disk {
    fn open(path: &str) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }
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

/// What a payload is, and where its chunks end.
fn chunks(path: &str) -> Outcome<(Payload, Vec<u64>)> {
    let mut hash = Hasher::default();
    let mut ends = Vec::new();
    let mut length = 0;
    for chunk in chunk::cut(fs::File::open(path)?) {
        let chunk = chunk?;
        hash.update(&chunk);
        length += chunk.len() as u64;
        ends.push(length);
    }
    Ok((Payload { sha256: hash.finish(), length }, ends))
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

fn make(old_path: &str, new_path: &str, file_path: &str) -> Outcome<()> {
    let (old, new) = (Disk::open(old_path)?, Disk::open(new_path)?);
    let ((old_payload, _), (new_payload, ends)) = (chunks(old_path)?, chunks(new_path)?);
    // The head comes first, and is known last.
    let parts_path = format!("{file_path}.parts");
    let mut parts = fs::File::create(&parts_path)?;
    let mut written = Ok(());
    let (mut maps, mut bytes, mut frames) = (0, 0, 0);

    let idle = memory("VmRSS")?;
    let before = cpu_secs()?;
    let head = delta::make((&old, old_payload), (&new, new_payload), &ends, |encoded: Encoded| {
        maps += encoded.map.len();
        bytes += encoded.frames.iter().map(Vec::len).sum::<usize>();
        frames += encoded.frames.len();
        for part in [&encoded.map].into_iter().chain(&encoded.frames) {
            written = std::mem::replace(&mut written, Ok(())).and_then(|()| parts.write_all(part));
        }
    })?;
    written?;
    let secs = cpu_secs()? - before;
    let most = memory("VmHWM")? - idle;

    let mut file = fs::File::create(file_path)?;
    let head_bytes = head.to_bytes()?;
    file.write_all(&head_bytes)?;
    io::copy(&mut BufReader::new(fs::File::open(&parts_path)?), &mut file)?;
    fs::remove_file(&parts_path)?;
    let head_bytes = head_bytes.len();
    println!("delta bytes   {} (head {head_bytes}, maps {maps}, frames {bytes})", head_bytes + maps + bytes);
    println!("parts         {} regions, {frames} frames", head.regions.len());
    println!("make          {secs:.2} CPU s, {most:.0} MiB");
    Ok(())
}

fn apply(old_path: &str, file_path: &str, out_path: &str) -> Outcome<()> {
    let (old, file) = (Disk::open(old_path)?, Disk::open(file_path)?);
    let mut out = fs::File::create(out_path)?;
    let idle = memory("VmRSS")?;
    let before = cpu_secs()?;
    let first = file.read(0, usize::try_from(file.length)?.min(MAX_DELTA_HEAD_BYTES))?;
    let (head, head_bytes) = Head::parse(&first)?;
    drop(first);
    let mut at = head_bytes as u64;
    for region in &head.regions {
        let map = Map::decode(&file.read(at, region.map_bytes as usize)?, region.length() as u32, old.length())?;
        at += u64::from(region.map_bytes);
        let mut start = 0;
        for frame in &region.frames {
            let bytes = file.read(at, frame.bytes as usize)?;
            out.write_all(&map.apply(&bytes, start..start + frame.length, &old)?)?;
            at += u64::from(frame.bytes);
            start += frame.length;
        }
    }
    if at != file.length {
        return Err("the delta goes on behind its last frame".into());
    }
    let secs = cpu_secs()? - before;
    let rate = head.new.length as f64 / 1e6 / secs;
    println!("apply         {secs:.2} CPU s, {:.1} MiB, {rate:.0} MB/s", memory("VmHWM")? - idle);
    Ok(())
}

fn main() -> Outcome<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", old, new, file] => make(old, new, file),
        ["apply", old, file, out] => apply(old, file, out),
        _ => Err("give `make OLD NEW FILE` or `apply OLD FILE OUT`".into()),
    }
}
