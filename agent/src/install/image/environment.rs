//! U-Boot's environment, as it lies on the medium: two copies, of which the older is written anew.
//!
//! Each copy is a CRC-32 of its data in little endian, a counter of one byte, and the data: `name=value` strings, each ended
//! by a zero byte, the last by two. The valid copy with the higher counter is in force, where 0 comes after 255
//! (U-Boot `tools/env/fw_env.c`, its incremental scheme, and `env/common.c`, `env_check_redund`). So a write that is cut
//! leaves the copy before it. Two copies are asked for: with one, a power cut would leave none.
//!
//! Accident: a sector that cannot be read any more. U-Boot takes a copy that it cannot read for one whose CRC is wrong
//! (`env_check_redund`), and starts by the other; so does this, and the next write goes over it.
//!
//! Only files and block devices are written. Raw flash (`/dev/mtd0`) must be erased first and knows another scheme; a device
//! that keeps its environment there uses the installer `command` with `fw_setenv`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::PathBuf;

use super::medium;
use crate::checkpoint::{self, Step};
use crate::durable;
use crate::install::InstallError;
use crate::install::error::io_error;

/// As [`checkpoint::PLACES`] has it.
const PLACE: &str = "the boot loader's environment";
/// Of the CRC and the counter.
const HEAD_BYTES: usize = 5;
/// No environment is larger: 1 MiB.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Where one copy lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// A file or a block device.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// How many bytes, head and all.
    pub size: usize,
}

impl std::str::FromStr for Copy {
    type Err = String;

    /// A line of `fw_env.config`: path, offset and size, the numbers in C's notation; what follows is of raw flash alone.
    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("{line:?} is not a line like \"/dev/mmcblk0 0x400000 0x4000\"");
        let mut words = line.split_ascii_whitespace();
        let path = PathBuf::from(words.next().ok_or_else(wrong)?);
        let offset = number(words.next().ok_or_else(wrong)?).ok_or_else(wrong)?;
        let size = number(words.next().ok_or_else(wrong)?).and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| (HEAD_BYTES + 2..=MAX_BYTES).contains(size)).ok_or_else(wrong)?;
        if path.is_absolute() { Ok(Self { path, offset, size }) } else { Err(wrong()) }
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Both copies.
#[derive(Debug, Clone)]
pub struct Environment(pub [Copy; 2]);

/// What one copy held.
struct Read {
    counter: u8,
    /// None where its CRC is wrong.
    variables: Option<Vec<Vec<u8>>>,
}

impl Read {
    const NOTHING: Self = Self { counter: 0, variables: None };
}

impl Environment {
    /// The values of these names, as the copy in force has them.
    pub fn get<const N: usize>(&self, names: [&str; N]) -> Result<[Option<String>; N], InstallError> {
        let (_, read) = self.read()?;
        let variables = read.variables.unwrap_or_default();
        Ok(names.map(|name| {
            let value = variables.iter().rev().find_map(|v| v.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        }))
    }

    /// Sets these names, all at once: the other copy is written, then it is in force. What is so already is not written.
    pub fn set(&self, values: &[(&str, String)]) -> Result<(), InstallError> {
        let (place, Read { counter, variables }) = self.read()?;
        let before = variables.unwrap_or_default();
        let is_set = |v: &Vec<u8>| {
            values.iter().any(|(name, _)| v.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))
        };
        let mut after: Vec<Vec<u8>> = before.iter().filter(|v| !is_set(v)).cloned().collect();
        after.extend(values.iter().map(|(name, value)| format!("{name}={value}").into_bytes()));
        let (mut sorted_before, mut sorted_after) = (before, after.clone());
        sorted_before.sort();
        sorted_after.sort();
        if sorted_before == sorted_after {
            return Ok(());
        }
        let Some(copy) = self.0.get(1 - place.min(1)) else { return Ok(()) };
        let image = image(copy, counter.wrapping_add(1), &after)?;
        let write = || {
            let file = OpenOptions::new().write(true).open(&copy.path)?;
            refuse_raw_flash(&file)?;
            checkpoint::place(Step::Write, PLACE, &copy.path)?;
            file.write_all_at(&image, copy.offset)?;
            checkpoint::place(Step::Sync, PLACE, &copy.path)?;
            file.sync_all()
        };
        write().map_err(io_error("write the boot loader's environment", &copy.path))?;
        // What the disk has kept, not what was given to it.
        match self.read()? {
            (now, Read { counter: c, .. }) if now != place && c == counter.wrapping_add(1) => Ok(()),
            _ => Err(InstallError::Boot(format!(
                "what was written to the environment in {} is not there when it is read again",
                copy.path.display()
            ))),
        }
    }

    /// The copy in force, and which that is.
    fn read(&self) -> Result<(usize, Read), InstallError> {
        let [first, second] = &self.0;
        let (first, second) = match (read(first), read(second)) {
            (Err(e), Ok(whole)) if is_lost(&e) && whole.variables.is_some() => (Read::NOTHING, whole),
            (Ok(whole), Err(e)) if is_lost(&e) && whole.variables.is_some() => (whole, Read::NOTHING),
            (first, second) => (first?, second?),
        };
        let second_wins = match (&first.variables, &second.variables) {
            (None, None) => {
                return Err(InstallError::Boot(format!(
                    "neither copy of the boot loader's environment ({}) has a right checksum",
                    self.0.each_ref().map(|copy| copy.path.display().to_string()).join(", ")
                )));
            }
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(_), Some(_)) => match (first.counter, second.counter) {
                (255, 0) => true,
                (0, 255) => false,
                (first, second) => second > first,
            },
        };
        Ok(if second_wins { (1, second) } else { (0, first) })
    }
}

fn read(copy: &Copy) -> Result<Read, InstallError> {
    let read = || {
        let file = File::open(&copy.path)?;
        refuse_raw_flash(&file)?;
        medium::forget(&file);
        let mut bytes = vec![0; copy.size];
        file.read_exact_at(&mut bytes, copy.offset)?;
        Ok(bytes)
    };
    let bytes = read().map_err(io_error("read the boot loader's environment", &copy.path))?;
    let Some((sum, rest)) = bytes.split_first_chunk::<4>() else { return Ok(Read::NOTHING) };
    let Some((counter, data)) = rest.split_first() else { return Ok(Read::NOTHING) };
    if crc32(data) != u32::from_le_bytes(*sum) {
        return Ok(Read::NOTHING);
    }
    let variables = data.split(|byte| *byte == 0).take_while(|v| !v.is_empty()).map(<[u8]>::to_vec).collect();
    Ok(Read { counter: *counter, variables: Some(variables) })
}

/// Whether it is the medium that does not give a copy. What is written wrong in the configuration is said instead.
fn is_lost(error: &InstallError) -> bool {
    let said = |e: &io::Error| durable::is_lost(e) && e.kind() != io::ErrorKind::InvalidInput;
    matches!(error, InstallError::Io { source, .. } if said(source))
}

fn image(copy: &Copy, counter: u8, variables: &[Vec<u8>]) -> Result<Vec<u8>, InstallError> {
    let mut data: Vec<u8> = variables.iter().flat_map(|v| v.iter().copied().chain([0])).collect();
    data.push(0);
    let most = copy.size.saturating_sub(HEAD_BYTES);
    if data.len() > most {
        let text = format!("the boot loader's environment needs {} bytes and has {most}", data.len());
        return Err(InstallError::Boot(text));
    }
    data.resize(most, 0);
    Ok([crc32(&data).to_le_bytes().as_slice(), &[counter], &data].concat())
}

fn refuse_raw_flash(file: &File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_block_device() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a block device"))
    }
}

/// CRC-32 as in Ethernet and zlib.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
pub(super) mod tests;
