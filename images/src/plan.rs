//! The load plan: what the monitor does with an image, decided before any guest exists.

use elf::abi::{PF_R, PF_W, PF_X, PT_LOAD};
use hvt_abi::memory_map::{
    LOAD_MIN, MEMORY_MAX, MEMORY_UNIT, PAGE_SIZE, guard_start, is_memory_size,
};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::elf::{ElfFile, Machine};
use crate::error::{ImageError, MemoryError, SegmentError};
use crate::manifest::Manifest;
use crate::note::{self, Abi, Notes, Takes};

/// More segments than any linker makes; bounds the size of a plan.
const MAX_SEGMENTS: usize = 32;

/// An image that passed every check: with the image's bytes, all that is needed to load it.
///
/// A plan that [`plan()`] made keeps these promises:
/// - segments ascend, do not overlap, and lie between [`LOAD_MIN`] and [`MEMORY_MAX`];
/// - none is writable and executable, and no page would have to be;
/// - the octets that each takes from the file are in the file, and not more than it takes in memory;
/// - the entry point lies in an executable segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The processor that the image is for.
    pub machine: Machine,
    /// The interface that it was built for.
    pub abi: Abi,
    /// Guest-physical address of its first instruction.
    pub entry: u64,
    /// What to load where.
    pub segments: Vec<Segment>,
    /// First octet after the last segment, rounded up to a page.
    pub kernel_end: u64,
    /// The devices that it needs.
    pub manifest: Manifest,
    /// The features that it takes from a host that offers them.
    pub takes: Takes,
    /// The hash of the whole file.
    pub digest: Digest,
}

/// One ELF segment to load. The octets in memory past those from the file are zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Guest-physical address of its first octet.
    pub gpa: u64,
    /// Where its octets begin in the file.
    pub file_offset: u64,
    /// Octets to take from the file; possibly none.
    pub file_size: u64,
    /// Octets in memory; never none.
    pub memory_size: u64,
    /// What the guest may do there.
    pub access: Access,
}

impl Segment {
    /// First address after the segment.
    #[must_use]
    pub const fn end(&self) -> u64 {
        // A checked plan never overflows; one that was made by hand must not either.
        self.gpa.saturating_add(self.memory_size)
    }
}

/// What a guest may do with a part of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Access {
    /// Read it.
    pub read: bool,
    /// Write it.
    pub write: bool,
    /// Run it.
    pub execute: bool,
}

impl Access {
    const fn from_flags(flags: u32) -> Self {
        Self { read: flags & PF_R != 0, write: flags & PF_W != 0, execute: flags & PF_X != 0 }
    }

    /// What either of two allows.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            read: self.read | other.read,
            write: self.write | other.write,
            execute: self.execute | other.execute,
        }
    }

    /// Whether it allows to write and to run.
    #[must_use]
    pub const fn is_writable_code(self) -> bool {
        self.write && self.execute
    }
}

impl std::fmt::Display for Access {
    /// Writes the form of `ls`: `rw-`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letter = |allowed, letter| if allowed { letter } else { '-' };
        write!(
            f,
            "{}{}{}",
            letter(self.read, 'r'),
            letter(self.write, 'w'),
            letter(self.execute, 'x')
        )
    }
}

/// Whole pages with one access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRange {
    /// First address; a multiple of [`PAGE_SIZE`].
    pub start: u64,
    /// First address after it; a multiple of [`PAGE_SIZE`].
    pub end: u64,
    /// What the guest may do there.
    pub access: Access,
}

/// Checks an image and says how to load it.
///
/// # Errors
/// When the bytes are not an image that can be booted; the error says what is wrong and what to do.
pub fn plan(bytes: &[u8]) -> Result<Plan, ImageError> {
    let file = ElfFile::parse(bytes)?;
    file.check_interpreter()?;
    let Notes { abi, manifest, takes } = note::notes(&file)?;
    let segments = segments(&file)?;
    check_entry(file.entry, &segments)?;
    Ok(Plan {
        machine: file.machine,
        abi,
        entry: file.entry,
        kernel_end: segments.last().map_or(LOAD_MIN, |last| last.end().next_multiple_of(PAGE_SIZE)),
        segments,
        manifest,
        takes,
        digest: Digest::of(bytes),
    })
}

impl Plan {
    /// Whether the image can be loaded into `memory_size` octets, its stack and the guard below that
    /// included. How much heap is left then is for the guest to judge.
    ///
    /// # Errors
    /// When the size is none that a guest can have, or too small for this image.
    pub fn check_memory(&self, memory_size: u64) -> Result<(), ImageError> {
        if !is_memory_size(memory_size) {
            return Err(MemoryError::Size { memory_size }.into());
        }
        let end = guard_start(memory_size);
        match self.segments.iter().enumerate().find(|(_, segment)| segment.end() > end) {
            None => Ok(()),
            Some((index, segment)) => Err(MemoryError::TooSmall {
                index,
                gpa: segment.gpa,
                segment_size: segment.memory_size,
                end,
                memory_size,
                wanted: self.memory_min() >> 20,
            }
            .into()),
        }
    }

    /// The smallest memory that the image can be loaded into, in octets.
    #[must_use]
    pub fn memory_min(&self) -> u64 {
        let end = self.segments.iter().map(Segment::end).max().unwrap_or(0);
        let below_the_end = MEMORY_UNIT - guard_start(MEMORY_UNIT);
        end.saturating_add(below_the_end).checked_next_multiple_of(MEMORY_UNIT).unwrap_or(u64::MAX)
    }

    /// The segments as whole pages, ascending and without overlap: where two share a page, it allows what
    /// either of them needs. Neighbours with the same access are one range.
    #[must_use]
    pub fn pages(&self) -> Vec<PageRange> {
        let mut ranges: Vec<PageRange> = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let mut start = segment.gpa - segment.gpa % PAGE_SIZE;
            let end = segment.end().checked_next_multiple_of(PAGE_SIZE).unwrap_or(MEMORY_MAX);
            if let Some(last) = ranges.pop_if(|last| last.end > start) {
                // The page that both are on becomes a range of its own.
                let shared = last.end - PAGE_SIZE;
                push(&mut ranges, PageRange { end: shared, ..last });
                let access = last.access.union(segment.access);
                push(&mut ranges, PageRange { start: shared, end: last.end, access });
                start = last.end;
            }
            push(&mut ranges, PageRange { start, end, access: segment.access });
        }
        ranges
    }
}

/// Appends a range, merged with the last one if they touch and agree.
fn push(ranges: &mut Vec<PageRange>, range: PageRange) {
    if range.start >= range.end {
        return;
    }
    match ranges.last_mut() {
        Some(last) if last.end == range.start && last.access == range.access => {
            last.end = range.end;
        }
        _ => ranges.push(range),
    }
}

fn segments(file: &ElfFile<'_>) -> Result<Vec<Segment>, SegmentError> {
    let segments: Vec<Segment> = file
        .of_type(PT_LOAD)
        // Solo5 skips what has no octets in the file. We skip only what has none in memory either: where
        // zeroes are wanted, the page's access and the image's end still count.
        .filter(|(_, header, _)| header.p_memsz > 0 || header.p_filesz > 0)
        .map(|(_, header, _)| Segment {
            gpa: header.p_vaddr,
            file_offset: header.p_offset,
            file_size: header.p_filesz,
            memory_size: header.p_memsz,
            access: Access::from_flags(header.p_flags),
        })
        .collect();
    if segments.is_empty() {
        return Err(SegmentError::None);
    }
    if segments.len() > MAX_SEGMENTS {
        return Err(SegmentError::TooMany { found: segments.len(), max: MAX_SEGMENTS });
    }
    for (index, segment) in segments.iter().enumerate() {
        check_segment(index, segment)?;
        check_order(index, segment, &segments[..index])?;
    }
    Ok(segments)
}

fn check_segment(index: usize, segment: &Segment) -> Result<(), SegmentError> {
    let &Segment { gpa, file_size, memory_size, access, .. } = segment;
    if file_size > memory_size {
        return Err(SegmentError::FileSize { index, gpa, file_size, memory_size });
    }
    let end = gpa.checked_add(memory_size).filter(|end| *end <= MEMORY_MAX);
    if gpa < LOAD_MIN || end.is_none() {
        return Err(SegmentError::Range { index, gpa, memory_size });
    }
    if access.is_writable_code() {
        return Err(SegmentError::WritableCode { index, gpa });
    }
    Ok(())
}

fn check_order(index: usize, segment: &Segment, before: &[Segment]) -> Result<(), SegmentError> {
    let gpa = segment.gpa;
    if let Some(previous) = before.last()
        && gpa < previous.end()
    {
        return Err(SegmentError::Order { index, gpa, previous_end: previous.end() });
    }
    // More than two may share a page, so every earlier one that reaches into it counts.
    let page = gpa - gpa % PAGE_SIZE;
    let access = before
        .iter()
        .filter(|other| other.end() > page)
        .fold(segment.access, |access, other| access.union(other.access));
    if access.is_writable_code() {
        return Err(SegmentError::SharedPage { index, gpa, page });
    }
    Ok(())
}

fn check_entry(entry: u64, segments: &[Segment]) -> Result<(), SegmentError> {
    let holds = |segment: &Segment| (segment.gpa..segment.end()).contains(&entry);
    if segments.iter().any(|segment| segment.access.execute && holds(segment)) {
        Ok(())
    } else {
        Err(SegmentError::Entry { entry })
    }
}
