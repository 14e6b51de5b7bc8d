//! Makes ELF images by hand, right or wrong.
#![allow(dead_code, reason = "each test file uses a part of it")]

use hvt_abi::boot_info::Features;
use hvt_abi::manifest::{Entry, Name};
use hvt_abi::note::{
    Abi1Note, MFT1_PADDING, NoteHeader, TYPE_MFT1, TakesNote, mft1_descriptor_size,
};

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_INTERP: u32 = 3;
pub(crate) const PT_NOTE: u32 = 4;

pub(crate) const READ: u32 = 4;
pub(crate) const WRITE: u32 = 2;
pub(crate) const EXECUTE: u32 = 1;

/// A program header with its content; the sizes and the offset follow from that unless they are set.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) address: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) memory_size: Option<u64>,
    pub(crate) file_size: Option<u64>,
    pub(crate) offset: Option<u64>,
}

impl Part {
    pub(crate) fn new(kind: u32, flags: u32, address: u64, content: Vec<u8>) -> Self {
        Self { kind, flags, address, content, memory_size: None, file_size: None, offset: None }
    }

    pub(crate) fn load(flags: u32, address: u64, size: usize) -> Self {
        Self::new(PT_LOAD, flags, address, vec![0x90; size])
    }
}

/// An image to be.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) class: u8,
    pub(crate) kind: u16,
    pub(crate) machine: u16,
    pub(crate) entry: u64,
    pub(crate) parts: Vec<Part>,
}

/// What [`image`] takes.
pub(crate) const TAKES: Features = Features::SHARED_RING.union(Features::POLL_SERVES_RING);

/// An image that is right: code, data, the notes, the interpreter.
pub(crate) fn image() -> Image {
    Image {
        class: 2,
        kind: 2,
        machine: 62,
        entry: 0x20_0010,
        parts: vec![
            Part::load(READ | EXECUTE, 0x20_0000, 0x100),
            Part::load(READ | WRITE, 0x40_0000, 0x80),
            Part::new(PT_INTERP, READ, 0, b"/nonexistent/solo5/\0".to_vec()),
            Part::new(PT_NOTE, READ, 0, Abi1Note::HVT.as_bytes().to_vec()),
            Part::new(PT_NOTE, READ, 0, manifest_note(&[Entry::RESERVED, net("service")])),
            Part::new(PT_NOTE, READ, 0, TakesNote::new(TAKES).as_bytes().to_vec()),
        ],
    }
}

pub(crate) fn net(name: &str) -> Entry {
    Entry::net(Name::new(name).unwrap())
}

/// An MFT1 note with these entries.
pub(crate) fn manifest_note(entries: &[Entry]) -> Vec<u8> {
    let header =
        NoteHeader { descriptor_size: mft1_descriptor_size(entries.len()), note_type: TYPE_MFT1 };
    let count = u32::try_from(entries.len()).unwrap();
    let mut note = header.to_bytes().to_vec();
    note.extend([0; MFT1_PADDING]);
    note.extend(hvt_abi::manifest::header_to_bytes(count));
    for entry in entries {
        note.extend(entry.to_bytes());
    }
    note
}

impl Image {
    /// The index of the first part of that kind, counted from `skip`.
    pub(crate) fn part(&mut self, kind: u32, skip: usize) -> &mut Part {
        self.parts.iter_mut().filter(|part| part.kind == kind).nth(skip).unwrap()
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let count = u16::try_from(self.parts.len()).unwrap();
        let mut file = vec![0x7f, b'E', b'L', b'F', self.class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(self.entry.to_le_bytes());
        file.extend(64_u64.to_le_bytes());
        file.extend(0_u64.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        for half in [64, 56, count, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut offset = 64 + 56 * u64::from(count);
        for part in &self.parts {
            let len = part.content.len() as u64;
            let file_size = part.file_size.unwrap_or(len);
            file.extend(part.kind.to_le_bytes());
            file.extend(part.flags.to_le_bytes());
            file.extend(part.offset.unwrap_or(offset).to_le_bytes());
            file.extend(part.address.to_le_bytes());
            file.extend(part.address.to_le_bytes());
            file.extend(file_size.to_le_bytes());
            file.extend(part.memory_size.unwrap_or(file_size).to_le_bytes());
            file.extend(8_u64.to_le_bytes());
            offset += len;
        }
        for part in &self.parts {
            file.extend(&part.content);
        }
        file
    }
}
