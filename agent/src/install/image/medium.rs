//! Bytes on a medium, read from the medium and not from memory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Advice, OFlags, SeekFrom};
use suture_core::manifest::Payload;

use crate::checkpoint::{self, Step};
use crate::install::error::io_error;
use crate::install::sum::{Sum, Summed};
use crate::install::{InstallError, Within};

/// As [`checkpoint::PLACES`] has it.
const PLACE: &str = "a payload's place";
/// In pieces of that: 1 MiB.
const PIECE_BYTES: usize = 1 << 20;
/// What direct reading asks of addresses and lengths on every medium.
const ALIGN: usize = 4096;

/// Makes the next reading of a file that was synced come from the medium.
pub(super) fn forget(file: &File) {
    // Where it is refused, what is read may come from memory; a checksum tells what it can of that too.
    let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
}

/// How many bytes fit: of a block device its size; a file grows.
pub(super) fn capacity(path: &Path) -> Result<Option<u64>, InstallError> {
    let look = || -> io::Result<Option<u64>> {
        if !std::fs::metadata(path)?.file_type().is_block_device() {
            return Ok(None);
        }
        let device = File::open(path)?;
        Ok(Some(rustix::fs::seek(&device, SeekFrom::End(0))?))
    };
    match look() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map_err(io_error("look at", path)),
    }
}

/// Whether both are one and the same file or device.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(one), Ok(other)) = (std::fs::metadata(one), std::fs::metadata(other)) else { return false };
    let is_device = one.file_type().is_block_device() && other.file_type().is_block_device();
    if is_device { one.rdev() == other.rdev() } else { (one.dev(), one.ino()) == (other.dev(), other.ino()) }
}

/// A place that is to be a device and is none. Accident: udev has not made the link to a partition, or its label is lost. A file made
/// in its place would be one in memory; it would read back whole, and the boot loader would start what lies on the partition.
pub(super) fn look_for(place: &Path) -> Result<(), InstallError> {
    let is_named = place.starts_with("/dev") && !place.starts_with("/dev/shm");
    let is_device = || std::fs::metadata(place).is_ok_and(|meta| !meta.file_type().is_file());
    match is_named && !is_device() {
        true => {
            let text = "there is no such block device; udev makes the link to a partition by its label";
            Err(io_error("open", place)(io::Error::new(io::ErrorKind::NotFound, text)))
        }
        false => Ok(()),
    }
}

/// Writes a payload to its place and waits until the medium has it. A device that is mounted is refused by the system.
pub(super) fn write(payload: &Payload, from: &Path, to: &Path, within: &Within) -> Result<(), InstallError> {
    look_for(to)?;
    let source = File::open(from).map_err(io_error("open", from))?;
    let mut summed = Summed { inner: source, sum: Sum::default(), within };
    let is_device = std::fs::metadata(to).is_ok_and(|meta| meta.file_type().is_block_device());
    let mut options = OpenOptions::new();
    options.write(true);
    if is_device {
        // Linux, open(2): of a block device, without O_CREAT, it fails where the device is in use.
        options.custom_flags(OFlags::EXCL.bits().cast_signed());
    } else {
        options.create(true).truncate(false);
    }
    let mut file = options.open(to).map_err(io_error("open", to))?;
    let mut buffer = vec![0; PIECE_BYTES];
    let mut left = payload.length;
    checkpoint::place(Step::Write, PLACE, to).map_err(io_error("write", to))?;
    loop {
        let read = summed.read(&mut buffer).map_err(io_error("read", from))?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        // Never beyond what was signed, whatever lies in the state directory.
        let Some(rest) = left.checked_sub(read as u64) else { break };
        left = rest;
        file.write_all(piece).map_err(io_error("write", to))?;
    }
    if !is_device {
        file.set_len(payload.length).map_err(io_error("cut", to))?;
    }
    checkpoint::place(Step::Sync, PLACE, to).and_then(|()| file.sync_all()).map_err(io_error("sync", to))?;
    summed.sum.check(payload)
}

/// Streams the first `length` bytes, from the medium: past the page cache where the file system can, else after it was told
/// to forget.
pub(in crate::install) fn read(path: &Path, length: u64, mut out: impl Write) -> Result<(), InstallError> {
    let read = io_error("read", path);
    let mut streamed = || -> io::Result<()> {
        let flags = OFlags::DIRECT.bits().cast_signed();
        if let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path)
            && direct(&file, length, &mut out)?
        {
            return Ok(());
        }
        let file = File::open(path)?;
        forget(&file);
        let copied = io::copy(&mut BufReader::with_capacity(PIECE_BYTES, file).take(length), &mut out)?;
        if copied == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    };
    streamed().and_then(|()| out.flush()).map_err(read)
}

/// False where it cannot be read so at all; nothing was given out then.
fn direct(file: &File, length: u64, out: &mut impl Write) -> io::Result<bool> {
    let mut memory = vec![0_u8; PIECE_BYTES + ALIGN];
    let from = memory.as_ptr().align_offset(ALIGN);
    let buffer = memory.get_mut(from..).and_then(|rest| rest.get_mut(..PIECE_BYTES));
    let buffer = buffer.ok_or(io::ErrorKind::OutOfMemory)?;
    let mut at = 0_u64;
    while at < length {
        let read = match file.read_at(buffer, at) {
            Ok(read) => read,
            Err(e) if at == 0 && e.kind() == io::ErrorKind::InvalidInput => return Ok(false),
            Err(e) => return Err(e),
        };
        let take = usize::try_from(length - at).unwrap_or(usize::MAX).min(read);
        let piece = buffer.get(..take).filter(|piece| !piece.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.write_all(piece)?;
        at += take as u64;
    }
    Ok(true)
}
