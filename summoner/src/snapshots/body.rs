//! Bodies: copied in with their checksum, and checked when they come back.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use super::error::Reason;
use super::header::{HEADER_LENGTH, Header, LENGTH, Octets};

/// Octets moved at once.
const CHUNK: usize = 256 * 1024;
/// What is left out of the file if it is all zero: the unit in which file systems keep holes.
const BLOCK: usize = 4096;
const ZERO: [u8; BLOCK] = [0; BLOCK];

/// Copies `length` octets from the start of `body` into `file` behind the place of its header; returns their hash.
///
/// Blocks of zeros become holes. `file` must be new, so that what is left out reads as zero. What is hashed is what
/// is written, also if `body` changes meanwhile.
pub(super) fn copy(body: BorrowedFd<'_>, length: u64, file: &File) -> io::Result<[u8; 32]> {
    file.set_len(HEADER_LENGTH.saturating_add(length))?;
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        let part = part_of(&mut chunk, length - at);
        fill(body, part, at)?;
        hasher.update(part);
        write_sparsely(file, part, HEADER_LENGTH.saturating_add(at))?;
        at = at.saturating_add(octets(part));
    }
    Ok(*hasher.finalize().as_bytes())
}

/// Reads the header and compares the file's length with it; the file may hold anything.
pub(super) fn read_header(file: &File) -> Result<Header, Reason> {
    let metadata = file.metadata().map_err(|_| Reason::Unreadable)?;
    if !metadata.is_file() {
        return Err(Reason::Foreign);
    }
    let mut octets: Octets = [0; LENGTH];
    file.read_exact_at(&mut octets, 0).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Reason::Length,
        _ => Reason::Unreadable,
    })?;
    let header = Header::parse(&octets)?;
    if metadata.len() == header.file_length() { Ok(header) } else { Err(Reason::Length) }
}

/// Reads the body and compares its hash with the header's.
pub(super) fn check(file: &File, header: &Header) -> Result<(), Reason> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < header.body_length {
        let part = part_of(&mut chunk, header.body_length - at);
        file.read_exact_at(part, HEADER_LENGTH.saturating_add(at)).map_err(|error| match error
            .kind()
        {
            io::ErrorKind::UnexpectedEof => Reason::Length,
            _ => Reason::Unreadable,
        })?;
        hasher.update(part);
        at = at.saturating_add(octets(part));
    }
    if hasher.finalize() == header.body_hash { Ok(()) } else { Err(Reason::Body) }
}

/// The chunk, or as much of it as is left.
fn part_of(chunk: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
    &mut chunk[..length]
}

fn octets(part: &[u8]) -> u64 {
    // A chunk's length fits every integer.
    u64::try_from(part.len()).unwrap_or(u64::MAX)
}

/// Reads exactly as much as `part` takes, from `at` on. The descriptor is somebody else's: its position is not touched.
fn fill(body: BorrowedFd<'_>, part: &mut [u8], at: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < part.len() {
        let from = at.saturating_add(octets(&part[..filled]));
        match rustix::io::pread(body, &mut part[filled..], from) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the state ends after {from} octets"),
                ));
            }
            Ok(read) => filled += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn write_sparsely(file: &File, part: &[u8], at: u64) -> io::Result<()> {
    let is_zero = |block: &[u8]| block == &ZERO[..block.len()];
    let mut start = 0;
    // Runs of blocks that are not zero, each with one write.
    while start < part.len() {
        let blocks = |from: usize| part[from..].chunks(BLOCK);
        start += blocks(start).take_while(|block| is_zero(block)).map(<[u8]>::len).sum::<usize>();
        let run = blocks(start).take_while(|block| !is_zero(block)).map(<[u8]>::len).sum::<usize>();
        if run > 0 {
            file.write_all_at(
                &part[start..start + run],
                at.saturating_add(octets(&part[..start])),
            )?;
        }
        start += run;
    }
    Ok(())
}
