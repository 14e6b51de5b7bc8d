//! The notes that make an ELF program a unikernel image.

use elf::abi::PT_NOTE;
use hvt_abi::note::{
    self as abi, ABI1_DESCRIPTOR_SIZE, Abi1, MFT1_PADDING, NOTE_HEADER_SIZE, NoteHeader,
};
use serde::{Deserialize, Serialize};

use crate::ImageError;
use crate::elf::ElfFile;
use crate::error::NoteError;
use crate::manifest::Manifest;

/// The interface that an image was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Abi {
    /// Which interface; see [`hvt_abi::note::target_name`].
    pub target: u32,
    /// Which version of it.
    pub version: u32,
}

impl std::fmt::Display for Abi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match abi::target_name(self.target) {
            Some(name) => write!(f, "Solo5 {name} version {}", self.version),
            None => write!(f, "Solo5 target {} version {}", self.target, self.version),
        }
    }
}

/// A Solo5 note: the program header it came from, and its descriptor.
type Found<'a> = Option<(usize, &'a [u8])>;

/// Finds and checks both notes.
pub(crate) fn notes(file: &ElfFile<'_>) -> Result<(Abi, Manifest), ImageError> {
    let (mut abi1, mut mft1): (Found<'_>, Found<'_>) = (None, None);
    for (index, _, bytes) in file.of_type(PT_NOTE) {
        // Notes of others (a build identifier, say) are none of our business.
        let Some((octets, descriptor)) = bytes.split_first_chunk::<NOTE_HEADER_SIZE>() else {
            continue;
        };
        let Some(header) = NoteHeader::from_bytes(octets) else { continue };
        let (name, slot) = match header.note_type {
            abi::TYPE_ABI1 => ("ABI1", &mut abi1),
            abi::TYPE_MFT1 => ("MFT1", &mut mft1),
            _ => continue,
        };
        let found = descriptor.len() as u64;
        let wanted = u64::from(header.descriptor_size);
        if found != wanted {
            return Err(NoteError::Size { index, name, field: "p_filesz", found, wanted }.into());
        }
        if slot.replace((index, descriptor)).is_some() {
            return Err(NoteError::Twice { index, name }.into());
        }
    }
    let abi = abi_of(abi1)?;
    let (index, descriptor) = mft1.ok_or(NoteError::Missing { name: "MFT1" })?;
    let table = descriptor.get(MFT1_PADDING..).unwrap_or_default();
    Ok((abi, Manifest::from_note(index, table)?))
}

fn abi_of(found: Found<'_>) -> Result<Abi, NoteError> {
    let (index, descriptor) = found.ok_or(NoteError::Missing { name: "ABI1" })?;
    let descriptor: &[u8; Abi1::SIZE] = descriptor.try_into().map_err(|_| NoteError::Size {
        index,
        name: "ABI1",
        field: "n_descsz",
        found: descriptor.len() as u64,
        wanted: u64::from(ABI1_DESCRIPTOR_SIZE),
    })?;
    let Abi1 { abi_target: target, abi_version: version, .. } = Abi1::from_bytes(descriptor);
    if (target, version) != (abi::TARGET_HVT, hvt_abi::ABI_VERSION) {
        return Err(NoteError::Abi { target, version });
    }
    Ok(Abi { target, version })
}
